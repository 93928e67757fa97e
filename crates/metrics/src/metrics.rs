//! The metrics: what is counted, and how it is shown to Prometheus.
//!
//! One table ([`families`]) names every family with its meaning and what to alert on; registration
//! and `docs/metrics.md` are made from it. What happens on the way of a message is counted here, by
//! atomic counters in arrays indexed by enums: nothing is looked up by text, nothing allocates. What
//! other parts know anyway is asked for at each scrape, as a [`Snapshot`].
//!
//! Labels come from fixed sets. No address, domain or id ever is a label: it would tell of
//! somebody's mail, and grow without end.

use std::fmt;
use std::time::Duration;

use attempt::{
    DsnKind, Outcome, PolicyResult, PolicySource, PolicyUse, Reason, Record, RefusedBy, Weakened,
};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use self::cells::{Cells, counter, histograms, register};
use self::collect::Collect;

mod cells;
mod collect;
mod docs;
mod families;
mod labels;
mod snapshot;

pub use docs::metrics_markdown;
pub use labels::{
    Cap, ClientIncident, ConnectionLimit, DaneResult, DnsResult, DnsType, Label, LoginResult,
    PolicyLookup, PolicyMode, QueueState, ReportResult, Resource, SessionResult, SpanResult, Stage,
    Store, TlsResult, TlsVersion, Verified,
};
pub use snapshot::{DnsSeries, HistogramSnapshot, PolicyModes, Snapshot, Usage};

/// Everything that is counted for Prometheus. Cheap to use from any thread.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    accepted: Counter,
    refused: Cells<RefusedBy, Counter>,
    logins: Cells<LoginResult, Counter>,
    attempts: Attempts,
    stages: Cells<Stage, Histogram>,
    weakened: Cells<Weakened, Counter>,
    dane: Cells<DaneResult, Counter>,
    sessions: Cells<SessionResult, Counter>,
    turned_away: Cells<ConnectionLimit, Counter>,
    incidents: Cells<ClientIncident, Counter>,
    handshakes: Handshakes,
    possible_duplicates: Counter,
    suspensions: Counter,
    dsns: Cells<DsnKind, Counter>,
    dsns_withheld: Cells<DsnKind, Counter>,
    reports: Cells<ReportResult, Counter>,
    log_dropped: Counter,
    spans: Cells<SpanResult, Counter>,
}

impl Metrics {
    /// `snapshot` is called at each scrape, on the thread that serves it: it must not block.
    #[must_use]
    pub fn new(snapshot: impl Fn() -> Snapshot + Send + Sync + 'static) -> Self {
        let mut registry = Registry::with_prefix("sealpost");
        let r = &mut registry;
        let metrics = Self {
            accepted: counter(r, &families::MESSAGES_ACCEPTED),
            refused: register(r, &families::MESSAGES_REFUSED),
            logins: register(r, &families::LOGINS),
            attempts: Attempts::new(r),
            stages: histograms(r, &families::DELIVERY_SECONDS),
            weakened: register(r, &families::WEAKENED_DELIVERIES),
            dane: register(r, &families::DANE_ATTEMPTS),
            sessions: register(r, &families::SESSIONS),
            turned_away: register(r, &families::CONNECTIONS_REFUSED),
            incidents: register(r, &families::CLIENT_INCIDENTS),
            handshakes: Handshakes::new(r),
            possible_duplicates: counter(r, &families::POSSIBLE_DUPLICATES),
            suspensions: counter(r, &families::SUSPENSIONS),
            dsns: register(r, &families::DSNS_SENT),
            dsns_withheld: register(r, &families::DSNS_WITHHELD),
            reports: register(r, &families::REPORTS),
            log_dropped: counter(r, &families::LOG_EVENTS_DROPPED),
            spans: register(r, &families::TRACE_SPANS),
            registry: Registry::default(),
        };
        registry.register_collector(Box::new(Collect::new(snapshot)));
        Self {
            registry,
            ..metrics
        }
    }

    /// A message was answered `250`.
    pub fn accepted(&self) {
        self.accepted.inc();
    }

    /// A message or command was refused.
    pub fn refused(&self, cause: RefusedBy) {
        self.refused.at(cause).inc();
    }

    /// Somebody tried to log in.
    pub fn login(&self, result: LoginResult) {
        self.logins.at(result).inc();
    }

    /// One attempt on one recipient: result, reason and, if it was delivered, where its time went.
    pub fn attempt(&self, record: &Record<'_>) {
        self.attempts.inc(record.outcome, record.reason);
        for policy in record
            .policies
            .iter()
            .filter(|p| p.source == PolicySource::Dane)
        {
            self.dane.at(dane_result(policy)).inc();
        }
        if record.outcome != Outcome::Sent {
            return;
        }
        let d = &record.delays;
        for (stage, time) in [
            (Stage::BeforeQueue, d.before_queue),
            (Stage::InQueue, d.in_queue),
            (Stage::Connect, d.connect),
            (Stage::Transmit, d.transmit),
            (Stage::Total, record.delay),
        ] {
            self.stages.at(stage).observe(time.as_secs_f64());
        }
        if let Some(by) = record.weakened_by {
            self.weakened.at(by).inc();
        }
    }

    /// A client's connection was turned away.
    pub fn turned_away(&self, limit: ConnectionLimit) {
        self.turned_away.at(limit).inc();
    }

    /// A client did what it should not have done.
    pub fn incident(&self, incident: ClientIncident) {
        self.incidents.at(incident).inc();
    }

    /// An outbound session was opened, taken from the pool, or not had.
    pub fn session(&self, result: SessionResult) {
        self.sessions.at(result).inc();
    }

    /// A TLS handshake with a mail server ended.
    pub fn tls_handshake(&self, version: TlsVersion, result: TlsResult) {
        self.handshakes.inc(version, result);
    }

    /// A host may have taken a message without saying so.
    pub fn possible_duplicate(&self) {
        self.possible_duplicates.inc();
    }

    /// A destination is being left alone for a while.
    pub fn suspended(&self) {
        self.suspensions.inc();
    }

    /// A delivery status notification was not made, since there were too many already.
    pub fn dsn_withheld(&self, kind: DsnKind) {
        self.dsns_withheld.at(kind).inc();
    }

    /// A delivery status notification was put into the queue.
    pub fn dsn_sent(&self, kind: DsnKind) {
        self.dsns.at(kind).inc();
    }

    /// A TLS report was sent, or not.
    pub fn report(&self, result: ReportResult) {
        self.reports.at(result).inc();
    }

    /// Spans of traces went to the collector, or not.
    pub fn spans(&self, result: SpanResult, count: u64) {
        self.spans.at(result).inc_by(count);
    }

    /// Log events could not be written and were dropped (row H9-07).
    pub fn log_dropped(&self, events: u64) {
        self.log_dropped.inc_by(events);
    }

    /// Appends everything in the text format of OpenMetrics 1.0, which Prometheus reads.
    ///
    /// # Errors
    /// Only if `out` fails, which a `String` does not.
    pub fn encode(&self, out: &mut impl fmt::Write) -> fmt::Result {
        encode(out, &self.registry)
    }
}

fn dane_result(policy: &PolicyUse) -> DaneResult {
    match policy.result {
        PolicyResult::Satisfied if policy.mode == "encrypt" => DaneResult::Encrypted,
        PolicyResult::Satisfied => DaneResult::Authenticated,
        PolicyResult::Failed => DaneResult::Failed,
        PolicyResult::NotEvaluated => DaneResult::NotEvaluated,
    }
}

/// Attempts by result and reason: `sent` has one cell, every other result one for each reason.
#[derive(Debug)]
struct Attempts {
    sent: Counter,
    others: Vec<Cells<Reason, Counter>>,
}

impl Attempts {
    fn new(registry: &mut Registry) -> Self {
        let family = cells::family2(registry, &families::DELIVERY_ATTEMPTS);
        let [result, reason] = ["result", "reason"];
        Self {
            sent: family.get_or_create_owned(&[(result, Outcome::Sent.word()), (reason, "none")]),
            others: UNDELIVERED
                .into_iter()
                .map(|outcome| {
                    Cells::from_fn(|r: Reason| {
                        family.get_or_create_owned(&[(result, outcome.word()), (reason, r.key())])
                    })
                })
                .collect(),
        }
    }

    fn inc(&self, outcome: Outcome, reason: Option<Reason>) {
        // A failure without a reason is a defect of ours: it must not vanish.
        let reason = reason.unwrap_or(Reason::Local);
        let place = match outcome {
            Outcome::Sent => {
                self.sent.inc();
                return;
            }
            Outcome::Deferred => 0,
            Outcome::Bounced => 1,
            Outcome::Expired => 2,
            Outcome::Held => 3,
        };
        if let Some(cells) = self.others.get(place) {
            cells.at(reason).inc();
        }
    }
}

/// Handshakes by version and result.
#[derive(Debug)]
struct Handshakes(Vec<Cells<TlsResult, Counter>>);

impl Handshakes {
    fn new(registry: &mut Registry) -> Self {
        let family = cells::family2(registry, &families::TLS_HANDSHAKES);
        let cells = TlsVersion::ALL.iter().map(|version| {
            Cells::from_fn(|result: TlsResult| {
                family.get_or_create_owned(&[("version", version.key()), ("result", result.key())])
            })
        });
        Self(cells.collect())
    }

    fn inc(&self, version: TlsVersion, result: TlsResult) {
        if let Some(cells) = self.0.get(version.index()) {
            cells.at(result).inc();
        }
    }
}

/// A length of time in seconds.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// In the order of their cells.
const UNDELIVERED: [Outcome; 4] = [
    Outcome::Deferred,
    Outcome::Bounced,
    Outcome::Expired,
    Outcome::Held,
];

#[cfg(test)]
mod tests;
