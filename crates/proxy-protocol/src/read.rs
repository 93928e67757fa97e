//! The PROXY protocol, versions 1 and 2 (HAProxy, `proxy-protocol.txt`): who is really there, said
//! by a load balancer before anything else on its connection.
//!
//! Invariant: only hosts that are listed are believed, those must say it, and nobody else's header
//! is ever read (rows G3-05, H5-08). What says that it speaks for nobody in particular, such as a
//! health check, has no rights: the balancer's own address may be one that relays.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{ProxyHeader, ProxySource};

/// Reads the header, and nothing behind it.
///
/// # Errors
/// What came instead, in words.
pub async fn read(stream: &mut TcpStream, limit: Duration) -> Result<ProxySource, String> {
    let mut taken = Vec::with_capacity(ProxyHeader::V1_LONGEST);
    let then = match timeout(limit, header(stream, &mut taken)).await {
        Ok(Ok(Some(source))) => return Ok(source),
        Ok(Ok(None)) => String::new(),
        Ok(Err(error)) => error.to_string(),
        Err(_elapsed) => format!("{} s were over", limit.as_secs()),
    };
    Err(ProxyHeader::instead(&taken, &then))
}

/// `None`: what was taken is no header.
async fn header(stream: &mut TcpStream, taken: &mut Vec<u8>) -> io::Result<Option<ProxySource>> {
    let mut ahead = [0; ProxyHeader::V1_LONGEST];
    loop {
        let n = stream.peek(&mut ahead).await?;
        let before = taken.len();
        taken.extend_from_slice(&ahead[..n]);
        let (used, source) = match ProxyHeader::parse(taken) {
            ProxyHeader::Complete(len, source) => (len.saturating_sub(before), Some(source)),
            ProxyHeader::Incomplete if n > 0 => (n, None),
            ProxyHeader::Incomplete => return Err(io::Error::other("the end of the connection")),
            ProxyHeader::Invalid => return Ok(None),
        };
        stream.read_exact(&mut ahead[..used]).await?;
        if source.is_some() {
            return Ok(source);
        }
    }
}

/// Whether a stranger sends a PROXY header where TLS is expected (row H5-08). Waits for its first
/// octets, but not beyond the handshake's own limit: that sees to it.
pub async fn says_proxy(stream: &TcpStream) -> bool {
    let mut front = [0; FRONT];
    let looked = timeout(LOOK, stream.peek(&mut front)).await;
    matches!(looked, Ok(Ok(n)) if ProxyHeader::begins(&front[..n]))
}

/// Enough to tell a header of either version.
pub const FRONT: usize = 16;
/// How long the first octets of a header may take.
pub const LOOK: Duration = Duration::from_secs(5);
