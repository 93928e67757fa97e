//! The connection, in clear and then in TLS, with everything written down.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{Line, State, Way};
use crate::board::Board;

pub(super) struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    session: usize,
    board: Arc<Board<State>>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// While a handshake has the socket, and after it has failed.
    None,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, session: usize, board: Arc<Board<State>>) -> Self {
        Self {
            stream: Stream::Plain(stream),
            buffer: Vec::new(),
            session,
            board,
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// One line with its CRLF; `None` at the end of the connection.
    pub(super) async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\n") {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                self.note(Way::Client, line.clone(), false);
                return Ok(Some(line));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Exactly `n` octets (BDAT).
    pub(super) async fn exactly(&mut self, n: usize) -> io::Result<Option<Vec<u8>>> {
        while self.buffer.len() < n {
            if !self.fill().await? {
                return Ok(None);
            }
        }
        let chunk: Vec<u8> = self.buffer.drain(..n).collect();
        self.note(Way::Client, chunk.clone(), true);
        Ok(Some(chunk))
    }

    /// Waits for the first octets of a body, which stay unread.
    pub(super) async fn first_octets(&mut self) -> io::Result<bool> {
        Ok(!self.buffer.is_empty() || self.fill().await?)
    }

    /// All up to the line with a single dot, unstuffed (RFC 5321 section 4.5.2).
    pub(super) async fn dotted(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut scanned = 0;
        let end = loop {
            if self.buffer.starts_with(b".\r\n") {
                break 0;
            }
            let from = scanned.min(self.buffer.len());
            if let Some(at) = find(&self.buffer[from..], b"\r\n.\r\n") {
                break from + at + 2;
            }
            scanned = self.buffer.len().saturating_sub(4);
            if !self.fill().await? {
                return Ok(None);
            }
        };
        let raw: Vec<u8> = self.buffer.drain(..end + 3).collect();
        let content = unstuff(&raw[..end]);
        self.note(Way::Client, raw, true);
        Ok(Some(content))
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.note(Way::Server, bytes.to_vec(), false);
        match &mut self.stream {
            Stream::Plain(s) => write(s, bytes).await,
            Stream::Tls(s) => write(s, bytes).await,
            Stream::None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// What the client sent ahead, taken away.
    pub(super) fn take_residue(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// The socket, for a handshake.
    pub(super) fn take_plain(&mut self) -> io::Result<TcpStream> {
        match std::mem::replace(&mut self.stream, Stream::None) {
            Stream::Plain(stream) => Ok(stream),
            Stream::Tls(_) | Stream::None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(super) fn put_tls(&mut self, stream: TlsStream<TcpStream>) {
        self.stream = Stream::Tls(Box::new(stream));
    }

    /// Says that the close was meant (TLS close_notify).
    pub(super) async fn close(&mut self) {
        let _ = match &mut self.stream {
            Stream::Plain(s) => s.shutdown().await,
            Stream::Tls(s) => s.shutdown().await,
            Stream::None => Ok(()),
        };
    }

    /// Makes the end a TCP reset.
    pub(super) fn reset(&mut self) {
        let _ = match &self.stream {
            Stream::Plain(s) => s.set_zero_linger(),
            Stream::Tls(s) => s.get_ref().0.set_zero_linger(),
            Stream::None => Ok(()),
        };
    }

    /// Reads on and says nothing until the client goes.
    pub(super) async fn ignore(&mut self) {
        self.buffer.clear();
        while let Ok(true) = self.fill().await {
            self.buffer.clear();
        }
    }

    async fn fill(&mut self) -> io::Result<bool> {
        let n = match &mut self.stream {
            Stream::Plain(s) => read(s, &mut self.buffer).await?,
            Stream::Tls(s) => read(s, &mut self.buffer).await?,
            Stream::None => 0,
        };
        Ok(n > 0)
    }

    fn note(&self, way: Way, bytes: Vec<u8>, body: bool) {
        let line = Line {
            session: self.session,
            way,
            tls: self.is_tls(),
            body,
            bytes,
        };
        self.board.update(|s| s.transcript.push(line));
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<usize> {
    buffer.reserve(16 * 1024);
    stream.read_buf(buffer).await
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

fn unstuff(raw: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(raw.len());
    let mut line_start = true;
    for (i, byte) in raw.iter().enumerate() {
        if !(line_start && *byte == b'.') {
            content.push(*byte);
        }
        line_start = *byte == b'\n' && i > 0 && raw[i - 1] == b'\r';
    }
    content
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_dots_after_crlf_are_stuffing() {
        for (raw, want) in [
            ("..a\r\n..\r\n", ".a\r\n.\r\n"),
            ("a.b\r\nc\n.d\r\n", "a.b\r\nc\n.d\r\n"),
            ("", ""),
        ] {
            assert_eq!(super::unstuff(raw.as_bytes()), want.as_bytes());
        }
    }
}
