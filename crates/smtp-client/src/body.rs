//! Where the content of a message comes from.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Where the content of a message comes from: octets with CRLF line ends, not dot-stuffed,
/// exactly as many as the transaction's `size`.
pub struct Body(Source);

enum Source {
    Memory(VecDeque<Bytes>),
    Async(Pin<Box<dyn AsyncRead + Send>>),
}

impl Body {
    /// Content in memory, in pieces; sent without copying.
    #[must_use]
    pub fn from_chunks(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        Self(Source::Memory(chunks.into_iter().collect()))
    }

    /// Read in blocks of 64 KiB.
    #[must_use]
    pub fn from_async_read(reader: impl AsyncRead + Send + 'static) -> Self {
        Self(Source::Async(Box::pin(reader)))
    }

    /// The next piece, never empty; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match &mut self.0 {
            Source::Memory(chunks) => {
                Ok(std::iter::from_fn(|| chunks.pop_front()).find(|chunk| !chunk.is_empty()))
            }
            Source::Async(reader) => {
                let mut block = BytesMut::with_capacity(BLOCK);
                while block.len() < BLOCK {
                    // A full block or the end: short reads would make short packets.
                    if reader.read_buf(&mut block).await? == 0 {
                        break;
                    }
                }
                Ok((!block.is_empty()).then(|| block.freeze()))
            }
        }
    }
}

const BLOCK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_source_gives_the_same_octets() {
        let content: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let pieces = content.chunks(7_000).map(Bytes::copy_from_slice);
        let with_gaps = pieces.flat_map(|p| [p, Bytes::new()]);
        for mut body in [
            Body::from_chunks(with_gaps),
            Body::from_async_read(io::Cursor::new(content.clone())),
        ] {
            let mut got = Vec::new();
            while let Some(piece) = body.next().await.unwrap() {
                assert!(!piece.is_empty());
                got.extend_from_slice(&piece);
            }
            assert_eq!(got, content);
        }
    }
}
