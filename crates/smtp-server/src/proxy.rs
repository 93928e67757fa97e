//! The PROXY protocol, versions 1 and 2 (HAProxy, `proxy-protocol.txt`): who is really there, said
//! by a load balancer before anything else on its connection.
//!
//! Invariant: only hosts that are listed are believed, those must say it, and nobody else's header
//! is ever read (rows G3-05, H5-08). What says that it speaks for nobody in particular, such as a
//! health check, has no rights: the balancer's own address may be one that relays.

use std::io;

use smtp_proto::server::{ProxyHeader, ProxySource};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Reads the header, and nothing behind it.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if there is none; else what reading says.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<ProxySource> {
    let mut taken = Vec::with_capacity(ProxyHeader::V1_LONGEST);
    let mut ahead = [0; ProxyHeader::V1_LONGEST];
    loop {
        let n = stream.peek(&mut ahead).await?;
        let before = taken.len();
        taken.extend_from_slice(&ahead[..n]);
        let (used, source) = match ProxyHeader::parse(&taken) {
            ProxyHeader::Complete(len, source) => (len.saturating_sub(before), Some(source)),
            ProxyHeader::Incomplete if n > 0 => (n, None),
            ProxyHeader::Incomplete => return Err(io::ErrorKind::UnexpectedEof.into()),
            ProxyHeader::Invalid => return Err(io::ErrorKind::InvalidData.into()),
        };
        stream.read_exact(&mut ahead[..used]).await?;
        if let Some(source) = source {
            return Ok(source);
        }
    }
}
