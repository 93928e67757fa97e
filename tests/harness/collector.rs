//! A collector of traces: OTLP over HTTP, decoded.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;
use testkit::Leaf;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Takes spans until it is dropped.
pub struct Collector {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// A span, and the resource that it came from.
#[derive(Clone, Debug)]
pub struct SpanSeen {
    /// For instance `attempt`.
    pub name: String,
    /// Hexadecimal.
    pub trace: String,
    /// Hexadecimal.
    pub id: String,
    /// Hexadecimal; empty for a root.
    pub parent: String,
    /// Nanoseconds since 1970.
    pub began: u64,
    /// Nanoseconds since 1970.
    pub ended: u64,
    /// By key; lists joined by `, `.
    pub attributes: BTreeMap<String, String>,
    /// Whether its status is an error, and what is said of it.
    pub error: Option<String>,
    /// Attributes of the resource.
    pub resource: BTreeMap<String, String>,
}

#[derive(Default)]
struct Seen {
    spans: Vec<SpanSeen>,
    heads: Vec<String>,
    /// Requests are read and never answered.
    silent: bool,
}

impl Collector {
    /// Listens there.
    ///
    /// # Panics
    /// If it cannot.
    pub async fn start(address: SocketAddr) -> Self {
        Self::serving(address, None).await
    }

    /// As [`Collector::start`], with TLS.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start_tls(address: SocketAddr, leaf: &Leaf) -> Self {
        Self::serving(address, Some(leaf.server_config().into())).await
    }

    async fn serving(address: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        // Whoever does not like our certificate has gone.
                        Some(tls) => serve(tls.accept(stream).await.ok()?, seen).await,
                        None => serve(stream, seen).await,
                    }
                });
            }
        });
        Self { seen, task }
    }

    /// From now on requests are read and not answered.
    pub fn fall_silent(&self) {
        self.seen.lock().unwrap().silent = true;
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<SpanSeen> {
        self.seen.lock().unwrap().spans.clone()
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.seen.lock().unwrap().heads.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SpanSeen {
    /// An attribute; empty if there is none.
    pub fn text(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: Arc<Mutex<Seen>>,
) -> Option<()> {
    let mut octets = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = octets.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            read_more(&mut stream, &mut octets).await?;
        };
        let head = String::from_utf8_lossy(&octets[..end]).into_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        })?;
        while octets.len() < end + length {
            read_more(&mut stream, &mut octets).await?;
        }
        let request = ExportTraceServiceRequest::decode(&octets[end..end + length]);
        octets.drain(..end + length);
        let silent = {
            let mut seen = seen.lock().unwrap();
            seen.heads.push(head);
            seen.spans.extend(spans(request.expect("OTLP")));
            seen.silent
        };
        if silent {
            std::future::pending::<()>().await;
        }
        let answer =
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.ok()?;
    }
}

async fn read_more(stream: &mut (impl AsyncRead + Unpin), octets: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(octets).await.ok()?;
    (read > 0).then_some(())
}

fn spans(request: ExportTraceServiceRequest) -> Vec<SpanSeen> {
    let mut all = Vec::new();
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap_or_default();
        let resource = map(&resource.attributes);
        for span in of_resource.scope_spans.into_iter().flat_map(|s| s.spans) {
            let error = span.status.filter(|s| s.code == 2).map(|s| s.message);
            all.push(SpanSeen {
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                began: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
                attributes: map(&span.attributes),
                error,
                resource: resource.clone(),
            });
        }
    }
    all
}

fn map(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let each = attributes.iter();
    each.map(|a| (a.key.clone(), text(a.value.as_ref())))
        .collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|v| v.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::ArrayValue(list)) => {
            let texts: Vec<String> = list.values.iter().map(|v| text(Some(v))).collect();
            texts.join(", ")
        }
        other => format!("{other:?}"),
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|o| format!("{o:02x}")).collect()
}
