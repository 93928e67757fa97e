//! Serves the router on TCP, with limits on connections and time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::guard::Ends;
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
pub async fn serve(listener: TcpListener, router: Router, tls: Option<Arc<Tls>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "admin.http could not accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (router, tls) = (router.clone(), tls.clone());
        connections.spawn(async move {
            connection(stream, peer, router, tls).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, tls: Option<Arc<Tls>>) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    // Small answers go out at once; if that cannot be set they are only slower.
    let _ = stream.set_nodelay(true);
    let ends = Ends { peer, local };
    let Some(tls) = tls else {
        return speak(stream, ends, router).await;
    };
    let handshake = TlsAcceptor::from(tls.current()).accept(stream);
    match tokio::time::timeout(HANDSHAKE, handshake).await {
        Ok(Ok(stream)) => speak(stream, ends, router).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS session on admin.http"),
        Err(_) => tracing::debug!(%peer, "the TLS handshake on admin.http took too long"),
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin, ends: Ends, router: Router) {
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ends);
        // A router is always ready.
        let mut router = router.clone();
        async move { router.call(request.map(Body::new)).await }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to admin.http ended badly");
    }
}

/// At a time.
const CONNECTIONS: usize = 256;
/// Octets of request line and headers.
const BUFFER: usize = 64 * 1024;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the head of a request, and between requests.
const HEADER: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
