//! Serves the router on TCP, with limits on connections and time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::StreamExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::guard::Ends;
use crate::places::{Places, Seat};
use crate::tls::Tls;

/// The address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "admin.http cannot listen on {address}: {cause}; stop what uses it, or set another address"
)]
pub struct HttpError {
    address: SocketAddr,
    cause: std::io::Error,
}

/// Binds the address.
///
/// # Errors
/// [`HttpError`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, HttpError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|cause| HttpError { address, cause })
}

/// Serves until the future is dropped; connections end with it.
///
/// If all places are taken, the connection that has been idle for longest gives its place up, or that a
/// stranger has kept busy for longest: whoever opens many, and says nothing or says it slowly, keeps
/// neither probes nor people out.
pub async fn serve(listener: TcpListener, router: Router, tls: Option<Arc<Tls>>) {
    let places = Places::default();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "admin.http could not accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Those that have ended meanwhile hold no place.
        while connections.try_join_next().is_some() {}
        while connections.len() >= CONNECTIONS {
            places.end_one();
            // One that gives up ends at once; if nobody had to, one may have become idle by then.
            let _ = tokio::time::timeout(PAUSE, connections.join_next()).await;
        }
        let (router, tls) = (router.clone(), tls.clone());
        let place = places.take();
        connections.spawn(async move {
            let ended = Arc::clone(&place.seat);
            tokio::select! {
                () = connection(stream, peer, router, tls, &place.seat) => {}
                () = ended.gives_up.notified() => {
                    tracing::debug!(%peer, "an idle connection to admin.http made room for another");
                }
            }
        });
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    tls: Option<Arc<Tls>>,
    seat: &Arc<Seat>,
) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    // Small answers go out at once; if that cannot be set they are only slower.
    let _ = stream.set_nodelay(true);
    let ends = Ends { peer, local };
    let Some(tls) = tls else {
        return speak(stream, ends, router, seat).await;
    };
    let handshake = TlsAcceptor::from(tls.current()).accept(stream);
    match tokio::time::timeout(HANDSHAKE, handshake).await {
        Ok(Ok(stream)) => speak(stream, ends, router, seat).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS session on admin.http"),
        Err(_) => tracing::debug!(%peer, "the TLS handshake on admin.http took too long"),
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    ends: Ends,
    router: Router,
    seat: &Arc<Seat>,
) {
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ends);
        request.extensions_mut().insert(Arc::clone(seat));
        // A router is always ready.
        let mut router = router.clone();
        let busy = Seat::busy(seat);
        async move {
            let answer = router.call(request.map(Body::new)).await?;
            if hyper::body::Body::size_hint(answer.body())
                .exact()
                .is_some()
            {
                return Ok(answer);
            }
            // Until the last of it is written, or given up: some answers go on for hours.
            let (head, body) = answer.into_parts();
            let body = body.into_data_stream().inspect(move |_| {
                let _ = &busy;
            });
            Ok::<_, Infallible>(Response::from_parts(head, Body::from_stream(body)))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), answer)
        .without_shutdown()
        .await;
    match served {
        Ok(parts) => linger(parts.io.into_inner()).await,
        Err(error) => tracing::debug!(%error, "a connection to admin.http ended badly"),
    }
}

/// RFC 9112 §9.6: closing at once resets a client that still sends, and takes from it the answer that it has
/// not read yet. First only our side is closed, and what it still has to say is read for a while.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let until_it_closes = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // Whether it ends in order matters to nobody any more.
    let _ = tokio::time::timeout(LINGER, until_it_closes).await;
}

/// At a time.
pub(crate) const CONNECTIONS: usize = 256;
/// Octets of request line and headers.
const BUFFER: usize = 64 * 1024;
/// For what a client still sends when its answer is given.
const LINGER: Duration = Duration::from_secs(2);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the head of a request, and between requests.
const HEADER: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
