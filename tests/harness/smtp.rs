//! A minimal SMTP client that says exactly what a test wants.

use std::net::SocketAddr;
use std::time::Duration;

use rustls_pki_types::ServerName;
use testkit::TestCa;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A connection to a server.
pub struct SmtpClient {
    stream: Option<BufReader<Box<dyn Stream>>>,
    greeting: Reply,
}

/// A reply, of one line or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// For instance 250.
    pub code: u16,
    /// The text of each line, without code and line end.
    pub lines: Vec<String>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl SmtpClient {
    /// Connects and reads the greeting.
    ///
    /// # Panics
    /// If nobody listens or greets.
    pub async fn connect(address: SocketAddr) -> Self {
        let tcp = match TcpStream::connect(address).await {
            Ok(tcp) => tcp,
            Err(e) => panic!("cannot connect to {address}: {e}"),
        };
        tcp.set_nodelay(true).expect("a TCP socket");
        let mut client = Self {
            stream: Some(BufReader::new(Box::new(tcp))),
            greeting: Reply {
                code: 0,
                lines: Vec::new(),
            },
        };
        client.greeting = client.reply().await;
        client
    }

    /// Connects with TLS from the first octet, and reads the greeting.
    ///
    /// # Panics
    /// If nobody listens, the handshake fails, or nobody greets.
    pub async fn connect_tls(address: SocketAddr, ca: &TestCa, name: &str) -> Self {
        let tcp = match TcpStream::connect(address).await {
            Ok(tcp) => tcp,
            Err(e) => panic!("cannot connect to {address}: {e}"),
        };
        let name = ServerName::try_from(name.to_owned()).expect("a host name");
        let tls = TlsConnector::from(ca.client_config()).connect(name, tcp);
        let tls = match tls.await {
            Ok(tls) => tls,
            Err(e) => panic!("the TLS handshake failed: {e}"),
        };
        let mut client = Self {
            stream: Some(BufReader::new(Box::new(tls))),
            greeting: Reply {
                code: 0,
                lines: Vec::new(),
            },
        };
        client.greeting = client.reply().await;
        client
    }

    /// AUTH PLAIN, with an initial response.
    pub async fn auth_plain(&mut self, user: &str, password: &str) -> Reply {
        let response = format!("\0{user}\0{password}");
        let response = data_encoding::BASE64.encode(response.as_bytes());
        self.command(&format!("AUTH PLAIN {response}")).await
    }

    /// The greeting.
    pub fn greeting(&self) -> &Reply {
        &self.greeting
    }

    /// EHLO, which must succeed; returns the extensions.
    pub async fn ehlo(&mut self, name: &str) -> Vec<String> {
        let reply = self.command(&format!("EHLO {name}")).await;
        reply.demand(250).lines.split_off(1)
    }

    /// STARTTLS and the handshake, with the authority's root as the only trust anchor.
    ///
    /// # Panics
    /// If either fails.
    pub async fn starttls(&mut self, ca: &TestCa, name: &str) {
        self.command("STARTTLS").await.demand(220);
        let plain = self.stream.take().expect("a connection").into_inner();
        let name = ServerName::try_from(name.to_owned()).expect("a host name");
        let connector = TlsConnector::from(ca.client_config());
        match connector.connect(name, plain).await {
            Ok(tls) => self.stream = Some(BufReader::new(Box::new(tls))),
            Err(e) => panic!("the TLS handshake failed: {e}"),
        }
    }

    /// Sends a line (CRLF is added) and reads the reply.
    pub async fn command(&mut self, line: &str) -> Reply {
        self.write(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// Sends octets as they are.
    ///
    /// # Panics
    /// If the connection is gone.
    pub async fn write(&mut self, bytes: &[u8]) {
        let stream = self.stream.as_mut().expect("a connection");
        let sent = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        if let Err(e) = sent.await {
            panic!("the server is gone: {e}");
        }
    }

    /// Reads a reply.
    ///
    /// # Panics
    /// If none comes, or what comes is none.
    pub async fn reply(&mut self) -> Reply {
        match self.try_reply().await {
            Some(reply) => reply,
            None => panic!("the server closed the connection instead of replying"),
        }
    }

    /// Reads a reply; `None` if the connection ends instead.
    pub async fn try_reply(&mut self) -> Option<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            let code = line.get(..3).and_then(|c| c.parse::<u16>().ok());
            let Some(code) = code else {
                panic!("no SMTP reply: {line:?}");
            };
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Some(Reply { code, lines });
            }
        }
    }

    /// One whole transaction; returns the queue id. The message is dot-stuffed here; it needs CRLF
    /// line ends, and gets one at the end if it lacks it.
    ///
    /// # Panics
    /// If any part of it is refused.
    pub async fn send(&mut self, from: &str, to: &[&str], message: &[u8]) -> String {
        self.send_with(from, "", to, "", message).await
    }

    /// As [`SmtpClient::send`], with parameters for MAIL and RCPT, for instance `" RET=HDRS"`.
    ///
    /// # Panics
    /// If any part of it is refused.
    pub async fn send_with(
        &mut self,
        from: &str,
        mail: &str,
        to: &[&str],
        rcpt: &str,
        message: &[u8],
    ) -> String {
        self.command(&format!("MAIL FROM:<{from}>{mail}"))
            .await
            .demand(250);
        for to in to {
            self.command(&format!("RCPT TO:<{to}>{rcpt}"))
                .await
                .demand(250);
        }
        self.command("DATA").await.demand(354);
        self.write(&stuffed(message)).await;
        self.reply().await.demand(250).queue_id()
    }

    async fn line(&mut self) -> Option<String> {
        let stream = self.stream.as_mut().expect("a connection");
        let mut line = Vec::new();
        let read = stream.read_until(b'\n', &mut line);
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(n)) if n > 0 => Some(String::from_utf8_lossy(&line).trim_end().to_owned()),
            Ok(_) => None,
            Err(_) => panic!("the server says nothing for {PATIENCE:?}"),
        }
    }
}

impl Reply {
    /// The reply, which must have this code.
    ///
    /// # Panics
    /// If it has another.
    pub fn demand(self, code: u16) -> Self {
        assert_eq!(self.code, code, "unexpected reply: {self:?}");
        self
    }

    /// All lines as one text.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The id in `250 2.0.0 Ok: queued as ID`.
    ///
    /// # Panics
    /// If there is none.
    pub fn queue_id(&self) -> String {
        let text = self.text();
        match text.split_once("queued as ") {
            Some((_, id)) => id.trim().to_owned(),
            None => panic!("no queue id: {self:?}"),
        }
    }
}

/// RFC 5321 section 4.5.2, and the line with the dot.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    let mut line_start = true;
    for byte in message {
        if line_start && *byte == b'.' {
            out.push(b'.');
        }
        out.push(*byte);
        line_start = out.ends_with(b"\r\n");
    }
    if !line_start {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffs_dots_and_ends() {
        for (message, want) in [
            ("", ".\r\n"),
            (".a\r\n..\r\nb.c", "..a\r\n...\r\nb.c\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(message.as_bytes()), want.as_bytes());
        }
    }
}
