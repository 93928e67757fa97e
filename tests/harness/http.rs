//! A small HTTP client that sends exactly what it is told, headers included.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends requests to one address, each over a connection of its own.
#[derive(Clone, Copy, Debug)]
pub struct Http(pub SocketAddr);

/// What came back.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, as it came if it was chunked.
    pub body: String,
}

impl Http {
    /// Sends a request. `Host` is the address unless `headers` have one.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<HttpAnswer> {
        let mut stream = TcpStream::connect(self.0).await?;
        stream
            .write_all(self.head(method, path, headers, body).as_bytes())
            .await?;
        let mut octets = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let n = stream.read(&mut buffer).await?;
            octets.extend_from_slice(buffer.get(..n).unwrap_or_default());
            let text = String::from_utf8_lossy(&octets);
            let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                length(head).is_some_and(|length| body.len() >= length)
            });
            if n == 0 || whole {
                return HttpAnswer::parse(&text).ok_or_else(|| {
                    std::io::Error::other(format!("{method} {path}: no HTTP answer: {text:?}"))
                });
            }
        }
    }

    /// Sends a request and leaves the connection open, for answers without end.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn open(&self, path: &str, headers: &[(&str, &str)]) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.0).await?;
        let head = self.head("GET", path, headers, "");
        stream.write_all(head.as_bytes()).await?;
        Ok(stream)
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("host")) {
            text += &format!("Host: {}\r\n", self.0);
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        let has_length = headers
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case("content-length"));
        if !has_length && (!body.is_empty() || method == "POST") {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text + "\r\n" + body
    }
}

impl HttpAnswer {
    /// An answer as it came; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        Some(Self {
            status,
            headers: headers
                .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
                .collect(),
            body: body.to_owned(),
        })
    }

    /// A header's value, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The end of a problem's `type`; empty if this is no problem.
    pub fn problem(&self) -> String {
        if self.header("content-type") != "application/problem+json" {
            return String::new();
        }
        let kind = self.json()["type"].as_str().unwrap_or_default().to_owned();
        kind.strip_prefix("urn:sealpost:problem:")
            .unwrap_or_default()
            .to_owned()
    }
}

fn length(head: &str) -> Option<usize> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}
