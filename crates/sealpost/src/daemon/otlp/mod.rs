//! Traces of deliveries for a collector: OTLP over HTTP (`telemetry.otlp.*`).
//!
//! Off by default; then each message costs a look at one `Option`. Where it is on, spans are made
//! after an attempt is in the books, from its record and the few moments that delivery has noted:
//!
//! ```text
//! message            arrival to end; comes when nothing is left to be done for this domain
//! └─ attempt
//!    ├─ plan         policy, MX and addresses
//!    └─ host         one address of one mail host
//!       ├─ connect   TCP
//!       ├─ starttls  greeting, EHLO, STARTTLS, handshake and verification
//!       └─ transfer  MAIL to the reply to the last dot
//! ```
//!
//! The trace's id and that of the span `message` follow from the queue id, so that attempts days
//! apart, before and after a restart, are one trace. What is exported are hosts, times, reasons and
//! what peers said, neutralised; no address of a sender or recipient by itself, no content, no
//! credentials. Mail never waits: a full channel drops spans, which is counted.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use delivery::Story;
use mail_types::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use outbound_queue::Cancelled;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use settings::{Settings, request_headers};
use smtp_client::Roots;
use spans::Naming;
use tls_words::why_no_pem;
use tokio::sync::mpsc;

pub(super) use self::export::Exporter;
use self::http::Collector;

use super::open::fail;
use crate::exit::Status;

mod export;
mod http;

/// Takes what delivery tells of.
pub(crate) struct Telemetry {
    naming: Naming,
    sender: mpsc::Sender<Vec<SpanData>>,
    /// Spans for which there was no room, not yet counted by the exporter.
    overflow: Arc<AtomicU64>,
}

/// Both ends, if `telemetry.otlp.endpoint` is set.
///
/// # Errors
/// A file that cannot be used, with its name.
pub(super) fn open(
    s: &Settings,
    roots: &Roots,
) -> anyhow::Result<Option<(Arc<Telemetry>, Exporter)>> {
    let ends = made(s, roots);
    ends.map_err(|e| fail(Status::Configuration, &e))
}

fn made(s: &Settings, roots: &Roots) -> Result<Option<(Arc<Telemetry>, Exporter)>, String> {
    let Some(endpoint) = &s.otlp.endpoint else {
        return Ok(None);
    };
    let headers = s.otlp.headers_file.as_deref().map(headers).transpose()?;
    let own = s.otlp.ca_file.as_deref().map(authorities).transpose()?;
    let anchors = own.unwrap_or_else(|| Arc::clone(roots.current().store()));
    let hostname = s.server.hostname.to_string();
    // Made without the detectors of the SDK, which read the environment.
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "sealpost"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("host.name", hostname.clone()),
        ])
        .build();
    let (sender, receiver) = mpsc::channel(WAITING);
    let overflow = Arc::new(AtomicU64::new(0));
    let exporter = Exporter {
        collector: Collector::new(endpoint, headers.unwrap_or_default(), anchors, &resource)?,
        receiver,
        overflow: Arc::clone(&overflow),
    };
    let telemetry = Telemetry {
        naming: Naming::new(&hostname, s.otlp.sample_one_in),
        sender,
        overflow,
    };
    Ok(Some((Arc::new(telemetry), exporter)))
}

impl Telemetry {
    /// Never waits.
    pub(crate) fn tell(&self, story: &Story<'_>) {
        let Some(trace) = self.naming.trace(story.queue_id) else {
            return;
        };
        self.send(spans::of(story, trace));
    }

    /// An operator has removed a message at this time.
    pub(crate) fn cancelled(&self, message: &Cancelled, at: Timestamp) {
        if let Some(trace) = self.naming.trace(message.id) {
            self.send(spans::of_cancelled(message, at, trace));
        }
    }

    fn send(&self, spans: Vec<SpanData>) {
        let count = spans.len() as u64;
        if self.sender.try_send(spans).is_err() {
            self.overflow.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// As `check-config` reads them.
fn headers(file: &Path) -> Result<HeaderMap, String> {
    let fault = |what: String| format!("telemetry.otlp.headers-file: {}: {what}", file.display());
    let text = std::fs::read_to_string(file).map_err(|e| fault(e.to_string()))?;
    let mut headers = HeaderMap::new();
    for (name, value) in request_headers(&text).map_err(|e| fault(e.to_string()))? {
        // Neither fails: a token and visible ASCII. What stands there may be a secret.
        let name: HeaderName = name.parse().map_err(|_| fault(NO_FIELD.into()))?;
        let mut value: HeaderValue = value.parse().map_err(|_| fault(NO_FIELD.into()))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn authorities(file: &Path) -> Result<Arc<rustls::RootCertStore>, String> {
    let fault = |what: String| format!("{}: {what}", file.display());
    let mut store = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| fault(why_no_pem(&e)))? {
        let certificate = certificate.map_err(|e| fault(why_no_pem(&e)))?;
        store.add(certificate).map_err(|e| fault(e.to_string()))?;
    }
    Ok(Arc::new(store))
}

/// Attempts whose spans wait for the exporter: some 10 MB at most.
const WAITING: usize = 2048;
const NO_FIELD: &str = "a line is no header field";
