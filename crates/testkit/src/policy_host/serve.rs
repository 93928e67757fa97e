//! One connection, one request.

use std::io;
use std::sync::Arc;

use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Domain, PolicyFault, PolicyRequest, State};
use crate::board::Board;

pub(super) async fn accept(listener: TcpListener, board: Arc<Board<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let board = Arc::clone(&board);
        connections.spawn(async move {
            if let Err(e) = serve(stream, &board).await {
                board.update(|s| s.handshake_errors.push(e.to_string()));
            }
        });
    }
}

async fn serve(stream: TcpStream, board: &Board<State>) -> io::Result<()> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let sni = hello.client_hello().server_name().map(str::to_owned);
    let domain = board.update(|s| {
        s.hellos.push(sni.clone());
        let name = sni.as_deref()?.strip_prefix("mta-sts.")?;
        s.domains.get(name).cloned()
    });
    let Some(domain) = domain else {
        return Err(io::Error::other(format!("no policy for {sni:?}")));
    };
    if domain.fault == Some(PolicyFault::Reset) {
        return hello.io.set_zero_linger();
    }
    let mut tls = hello.into_stream(Arc::clone(&domain.tls)).await?;
    let Some(request) = read_request(&mut tls, sni).await? else {
        return Ok(());
    };
    let found = request.path == PATH;
    board.update(|s| s.requests.push(request));
    if domain.fault == Some(PolicyFault::Stall) {
        let _ = tls.read_u8().await;
        return Ok(());
    }
    // The client may turn away in the middle of a bad response: that is no fault here.
    if respond(&mut tls, &domain, found).await.is_ok() {
        let _ = tls.shutdown().await;
    }
    Ok(())
}

async fn read_request(
    tls: &mut TlsStream<TcpStream>,
    sni: Option<String>,
) -> io::Result<Option<PolicyRequest>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        if tls.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.split("\r\n").take_while(|l| !l.is_empty());
    let mut words = lines.next().unwrap_or_default().split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    Ok(Some(PolicyRequest {
        sni,
        method: word(),
        path: word(),
        headers: lines
            .filter_map(|l| l.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
    }))
}

async fn respond(tls: &mut TlsStream<TcpStream>, domain: &Domain, found: bool) -> io::Result<()> {
    let mut status = if found {
        "200 OK".to_owned()
    } else {
        "404 Not Found".to_owned()
    };
    let mut fields = String::new();
    let mut kind = "text/plain".to_owned();
    let mut body = domain.policy.clone();
    match &domain.fault {
        Some(PolicyFault::Status(code)) => status = format!("{code} Status"),
        Some(PolicyFault::ContentType(other)) => kind.clone_from(other),
        Some(PolicyFault::Redirect(to)) => {
            status = "301 Moved Permanently".into();
            fields = format!("Location: {to}\r\n");
        }
        Some(PolicyFault::Delay(time)) => tokio::time::sleep(*time).await,
        Some(PolicyFault::Oversize(n)) => {
            body.push_str("x: ");
            body.push_str(&"x".repeat(*n));
        }
        _ => {}
    }
    if !kind.is_empty() {
        fields.push_str(&format!("Content-Type: {kind}\r\n"));
    }
    if domain.fault == Some(PolicyFault::Chunked) {
        fields.push_str("Transfer-Encoding: chunked\r\n");
        body = body
            .split_inclusive('\n')
            .map(|line| format!("{:x}\r\n{line}\r\n", line.len()))
            .chain(["0\r\n\r\n".to_owned()])
            .collect();
    } else {
        fields.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let head = format!("HTTP/1.1 {status}\r\n{fields}Connection: close\r\n\r\n");
    tls.write_all(head.as_bytes()).await?;
    match &domain.fault {
        Some(PolicyFault::SlowBody(each)) => {
            for byte in body.as_bytes() {
                tls.write_all(&[*byte]).await?;
                tls.flush().await?;
                tokio::time::sleep(*each).await;
            }
        }
        Some(PolicyFault::CutBody) => {
            tls.write_all(&body.as_bytes()[..body.len() / 2]).await?;
            tls.flush().await?;
            tls.get_ref().0.set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        _ => tls.write_all(body.as_bytes()).await?,
    }
    tls.flush().await
}

const PATH: &str = "/.well-known/mta-sts.txt";
