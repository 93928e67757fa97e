//! An attempt as spans.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use attempt::{Outcome, PolicyUse, Reason, Record, Tried};
use aws_lc_rs::digest::{SHA256, digest};
use delivery::{Look, Story, Visit};
use mail_types::Clean;
use mail_types::{QueueId, Timestamp};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use outbound_queue::Cancelled;

/// How traces get their names, and which messages have one.
#[derive(Debug)]
pub struct Naming {
    hostname: String,
    one_in: u64,
}

/// A message's trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    id: [u8; 16],
}

impl Naming {
    /// Of the relay with this name, for one message in so many.
    #[must_use]
    pub fn new(hostname: &str, one_in: u64) -> Self {
        Self {
            hostname: hostname.to_owned(),
            one_in: one_in.max(1),
        }
    }

    /// The same for each attempt of a message; `None` if it is not one of the sample.
    #[must_use]
    pub fn trace(&self, id: QueueId) -> Option<Trace> {
        let text = format!("sealpost {} {id}", self.hostname);
        let (trace, chance) = halves(text.as_bytes());
        (u64::from_be_bytes(chance).is_multiple_of(self.one_in)).then_some(Trace { id: trace })
    }
}

impl Trace {
    /// The span of the message's way to one domain.
    fn message(self, domain: &str) -> SpanId {
        let mut text = self.id.to_vec();
        text.extend_from_slice(domain.as_bytes());
        SpanId::from_bytes(halves(&text).1)
    }
}

/// The spans of an attempt; with that of the message if it is the last one.
#[must_use]
pub fn of(story: &Story<'_>, trace: Trace) -> Vec<SpanData> {
    let message = trace.message(story.domain);
    let number = story.records.first().map_or(0, |r| r.attempt);
    let mut seed = message.to_bytes().to_vec();
    seed.extend(number.to_be_bytes());
    seed.extend(story.ended.as_millis().to_be_bytes());
    let mut making = Making {
        trace,
        next: u64::from_be_bytes(halves(&seed).1),
        as_of: (story.ended_at, system(story.ended)),
        spans: Vec::new(),
    };
    let attempt = making.attempt(story, message, number);
    let steps = story.steps;
    for look in steps.iter().flat_map(|s| &s.looks) {
        making.plan(look, attempt);
    }
    for visit in steps.iter().flat_map(|s| &s.visits) {
        making.host(visit, attempt);
    }
    if story.is_last {
        let span = making.span(message, SpanId::INVALID, "message");
        making.spans.push(SpanData {
            start_time: system(story.arrived),
            end_time: system(story.ended),
            attributes: subject(story),
            status: status(story.records),
            ..span
        });
    }
    making.spans
}

/// The ends of what a message still had to do when an operator removed it: a span for each domain.
#[must_use]
pub fn of_cancelled(message: &Cancelled, at: Timestamp, trace: Trace) -> Vec<SpanData> {
    let mut making = Making {
        trace,
        // No span in it is below another.
        next: 0,
        as_of: (Instant::now(), system(at)),
        spans: Vec::new(),
    };
    for host in &message.hosts {
        let domain = host.to_string();
        let id = trace.message(&domain);
        let span = making.span(id, SpanId::INVALID, "message");
        making.spans.push(SpanData {
            start_time: system(message.arrived),
            end_time: system(at),
            attributes: vec![
                KeyValue::new("sealpost.queue_id", message.id.to_string()),
                KeyValue::new("sealpost.domain", domain),
                KeyValue::new("sealpost.outcome", "cancelled"),
            ],
            ..span
        });
    }
    making.spans
}

struct Making {
    trace: Trace,
    next: u64,
    /// One moment by both clocks.
    as_of: (Instant, SystemTime),
    spans: Vec<SpanData>,
}

impl Making {
    fn attempt(&mut self, story: &Story<'_>, message: SpanId, number: u32) -> SpanId {
        let id = self.id();
        let mut attributes = subject(story);
        let count = |wanted: fn(Outcome) -> bool| {
            let matching = story.records.iter().filter(|r| wanted(r.outcome));
            i64::try_from(matching.count()).unwrap_or(i64::MAX)
        };
        attributes.push(KeyValue::new("sealpost.attempt", i64::from(number)));
        attributes.push(KeyValue::new("sealpost.recipients", count(|_| true)));
        let delivered = count(|o| o == Outcome::Sent);
        attributes.push(KeyValue::new("sealpost.recipients.sent", delivered));
        if let Some(record) = telling(story.records) {
            attributes.extend(facts(record));
        }
        let span = self.span(id, message, "attempt");
        self.spans.push(SpanData {
            start_time: system(story.began),
            end_time: system(story.ended),
            attributes,
            status: status(story.records),
            ..span
        });
        id
    }

    fn plan(&mut self, look: &Look, attempt: SpanId) {
        let mut attributes = vec![
            KeyValue::new("sealpost.policy.mode", look.policy),
            KeyValue::new(
                "sealpost.hosts",
                i64::try_from(look.hosts).unwrap_or(i64::MAX),
            ),
        ];
        attributes.extend(look.reason.map(reason));
        let times = (look.began, look.ended);
        self.step(attempt, "plan", times, attributes, look.reason);
    }

    fn host(&mut self, visit: &Visit, attempt: SpanId) {
        let mut attributes = peer(visit.mx.as_str(), visit.at);
        attributes.push(KeyValue::new("sealpost.session.reused", visit.reused));
        if let Some(version) = &visit.tls {
            let version = version.trim_start_matches("TLSv").to_owned();
            attributes.push(KeyValue::new("tls.protocol.version", version));
        }
        attributes.extend(visit.reason.map(reason));
        let times = (visit.began, visit.ended);
        let host = self.step(attempt, "host", times, attributes, visit.reason);
        if let Some(made) = self.spans.last_mut() {
            made.span_kind = SpanKind::Client;
        }
        if let Some(times) = visit.times {
            let connected = times.connected.unwrap_or(visit.opened);
            let failed = times.connected.is_none().then_some(visit.reason).flatten();
            let span = (visit.began, connected);
            self.step(host, "connect", span, Vec::new(), failed);
            if times.connected.is_some() {
                let failed = (!visit.transferred).then_some(visit.reason).flatten();
                let name = match times.handshake {
                    Some(_) => "starttls",
                    None => "greeting",
                };
                let mut attributes = Vec::new();
                if let (Some(began), Some(ended)) = (times.handshake, times.secured) {
                    let seconds = ended.saturating_duration_since(began).as_secs_f64();
                    attributes.push(KeyValue::new("sealpost.handshake.seconds", seconds));
                }
                self.step(host, name, (connected, visit.opened), attributes, failed);
            }
        }
        if visit.transferred {
            let span = (visit.opened, visit.ended);
            self.step(host, "transfer", span, Vec::new(), visit.reason);
        }
    }

    fn step(
        &mut self,
        parent: SpanId,
        name: &'static str,
        (began, ended): (Instant, Instant),
        attributes: Vec<KeyValue>,
        failed: Option<Reason>,
    ) -> SpanId {
        let id = self.id();
        let span = self.span(id, parent, name);
        let status = failed.map_or(Status::Unset, |reason| Status::error(reason.key()));
        self.spans.push(SpanData {
            start_time: self.wall(began),
            end_time: self.wall(ended),
            attributes,
            status,
            ..span
        });
        id
    }

    fn span(&self, id: SpanId, parent: SpanId, name: &'static str) -> SpanData {
        let trace = TraceId::from_bytes(self.trace.id);
        let flags = TraceFlags::SAMPLED;
        SpanData {
            span_context: SpanContext::new(trace, id, flags, false, TraceState::NONE),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: Cow::Borrowed(name),
            start_time: self.as_of.1,
            end_time: self.as_of.1,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope(),
        }
    }

    /// Distinct, and never zero, which would be invalid.
    fn id(&mut self) -> SpanId {
        self.next = self.next.wrapping_add(STRIDE);
        SpanId::from_bytes(self.next.max(1).to_be_bytes())
    }

    fn wall(&self, at: Instant) -> SystemTime {
        let (instant, wall) = self.as_of;
        match instant.checked_duration_since(at) {
            Some(before) => wall - before,
            None => wall + at.saturating_duration_since(instant),
        }
    }
}

/// What all spans of an attempt share.
fn subject(story: &Story<'_>) -> Vec<KeyValue> {
    vec![
        KeyValue::new("sealpost.queue_id", story.queue_id.to_string()),
        KeyValue::new("sealpost.domain", story.domain.to_owned()),
    ]
}

/// The recipient that has most to tell: one that was not delivered to.
fn telling<'a>(records: &'a [Record<'a>]) -> Option<&'a Record<'a>> {
    let failed = records.iter().find(|r| r.outcome != Outcome::Sent);
    failed.or_else(|| records.first())
}

fn facts(record: &Record<'_>) -> Vec<KeyValue> {
    let mut facts = vec![
        KeyValue::new("sealpost.outcome", record.outcome.word()),
        KeyValue::new("sealpost.dsn", record.dsn.to_string()),
    ];
    facts.extend(record.reason.map(reason));
    if let (Some(mx), Some(ip), Some(port)) = (record.mx, record.ip, record.port) {
        facts.extend(peer(mx, SocketAddr::new(ip, port)));
    }
    if let Some(reply) = record.reply {
        facts.push(KeyValue::new("sealpost.reply", clean(reply)));
    }
    if let Some(by) = record.weakened_by {
        facts.push(KeyValue::new("sealpost.weakened_by", by.key()));
    }
    if !record.policies.is_empty() {
        let policies = record.policies.iter().map(demand);
        facts.push(list("sealpost.policies", policies));
    }
    if !record.tried.is_empty() {
        let tried = record.tried.iter().take(MOST_TRIED).map(candidate);
        facts.push(list("sealpost.tried", tried));
    }
    facts
}

fn peer(mx: &str, at: SocketAddr) -> Vec<KeyValue> {
    vec![
        KeyValue::new("server.address", clean(mx)),
        KeyValue::new("network.peer.address", at.ip().to_string()),
        KeyValue::new("network.peer.port", i64::from(at.port())),
    ]
}

fn reason(reason: Reason) -> KeyValue {
    KeyValue::new("error.type", reason.key())
}

fn demand(policy: &PolicyUse) -> String {
    let (source, result) = (policy.source.key(), policy.result.key());
    format!("{source} {} {result}", policy.mode)
}

fn candidate(tried: &Tried) -> String {
    let ip = tried.ip.map(|ip| format!(" [{ip}]")).unwrap_or_default();
    let reason = tried.reason.map_or("took it", Reason::key);
    clean(&format!("{}{ip}: {reason}", tried.mx))
}

fn list(key: &'static str, texts: impl Iterator<Item = String>) -> KeyValue {
    let texts: Vec<StringValue> = texts.map(StringValue::from).collect();
    KeyValue::new(key, Value::Array(Array::String(texts)))
}

fn status(records: &[Record<'_>]) -> Status {
    match telling(records) {
        Some(record) if record.outcome != Outcome::Sent => Status::error(clean(record.detail)),
        Some(_) | None => Status::Ok,
    }
}

/// What others said, harmless and short.
fn clean(text: &str) -> String {
    Clean::new(text, LONGEST).to_string()
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("sealpost").build()
}

fn system(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(at.as_millis())
}

/// A trace's id, and as much again for other uses.
fn halves(text: &[u8]) -> ([u8; 16], [u8; 8]) {
    let sum = digest(&SHA256, text);
    let (mut trace, mut rest) = ([0; 16], [0; 8]);
    trace
        .iter_mut()
        .zip(sum.as_ref())
        .for_each(|(t, s)| *t = *s);
    let second = sum.as_ref().iter().skip(16);
    rest.iter_mut().zip(second).for_each(|(t, s)| *t = *s);
    (trace, rest)
}

/// Octets of a text that a peer had a part in.
const LONGEST: usize = 500;
/// Candidates that are listed.
const MOST_TRIED: usize = 20;
/// Odd: no id comes twice before all have come.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests;
