//! Everything that happens, told to the event log and to the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use attempt::{DsnSent, Level, Outcome, PlainEvent, Record, Removed};
use delivery::decide::destination::Suspension;
use delivery::{NoticeSummary, NoticeWithheld, PossibleDuplicate, SessionEvent, Story, TracedPart};
use event_log::{Ends, EventLog, Sparing};
use mail_types::Timestamp;
use metrics::{Metrics, SessionResult, TlsResult, TlsVersion};
use policy_cache::{Clock, EventSink, JudgedClock, PolicyEvent};
use report_ports::Reporting;
use tls_rpt::Finding;

use super::alarm::CertificateAlarm;
use super::events::{PolicyLine, TraceLine};
use super::otlp::{Exporter, Telemetry};
use super::trace::{About, Traces};

mod clients;

/// The one observer of all parts. Cloning shares.
#[derive(Clone)]
pub(crate) struct Observer {
    pub(crate) log: EventLog,
    /// The machine's clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// What all that is told goes by (row H8-06): while the machine's clock is doubted, mail and log have the
    /// same time.
    pub(crate) judged: Arc<JudgedClock>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) alarm: Arc<CertificateAlarm>,
    pub(crate) sparing: Arc<Sparing>,
    pub(crate) traces: Arc<Traces>,
    /// What operators ask about when it has left the queue.
    pub(crate) ends: Arc<Ends>,
    /// Where deliveries are told in full, if anywhere.
    pub(crate) telemetry: Option<Arc<Telemetry>>,
    /// What sessions and fetches show is counted there.
    pub(crate) reports: Option<Reporting>,
}

/// Recipients by outcome since the start, and clients connected now.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: AtomicU64,
    pub(crate) deferred: AtomicU64,
    pub(crate) bounced: AtomicU64,
    pub(crate) clients: AtomicU64,
    /// NXDOMAIN is not believed now.
    pub(crate) dns_doubted: AtomicBool,
    /// The last day.
    pub(crate) history: Arc<web::History>,
    /// What came of the last reload.
    pub(crate) reload: parking_lot::Mutex<admin::LastReloadView>,
}

impl Observer {
    pub(crate) fn new(
        log: EventLog,
        clock: Arc<dyn Clock>,
        judged: Arc<JudgedClock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            log,
            clock,
            judged,
            counts: Arc::default(),
            metrics,
            alarm: Arc::default(),
            traces: Arc::default(),
            ends: Arc::default(),
            sparing: Arc::default(),
            telemetry: None,
            reports: None,
        }
    }

    /// From now on deliveries are told in full, if there is anybody to tell.
    pub(crate) fn trace_to(
        &mut self,
        ends: Option<(Arc<Telemetry>, Exporter)>,
    ) -> Option<Exporter> {
        let (telemetry, exporter) = ends.unzip();
        self.telemetry = telemetry;
        exporter
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.judged.wall()
    }

    /// Says something about the process itself.
    pub(crate) fn process(
        &self,
        event: &'static str,
        level: Level,
        fields: &[(&'static str, &str)],
    ) {
        self.log.write(&PlainEvent {
            at: self.now(),
            event,
            level,
            fields,
        });
    }
}

impl delivery::Observer for Observer {
    fn attempt(&self, record: &Record<'_>) {
        let count = match record.outcome {
            Outcome::Sent => &self.counts.sent,
            Outcome::Deferred | Outcome::Held => &self.counts.deferred,
            Outcome::Bounced | Outcome::Expired => &self.counts.bounced,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.metrics.attempt(record);
        self.ends.attempt(record);
        self.log.write(record);
        if let Some(domains) = self.alarm.note(record) {
            let domains = domains.to_string();
            let detail = "the certificates of that many domains were refused within ten minutes; if nothing \
                is wrong with them, look at tls.roots and at this machine's clock";
            let fields = [("domains", domains.as_str()), ("detail", detail)];
            self.process("tls.many-refused", Level::Error, &fields);
        }
    }

    fn removed(&self, event: &Removed<'_>) {
        self.log.write(event);
    }

    fn dsn_sent(&self, event: &DsnSent<'_>) {
        self.metrics.dsn_sent(event.kind);
        self.ends.notified(event);
        self.log.write(event);
    }

    fn notice_withheld(&self, event: &NoticeWithheld<'_>) {
        self.metrics.dsn_withheld(event.kind);
        let (id, to) = (event.queue_id.to_string(), event.to.to_string());
        let count = event.recipients.to_string();
        let fields = [
            ("queue_id", id.as_str()),
            ("to", to.as_str()),
            ("kind", event.kind.key()),
            ("nrcpt", count.as_str()),
            ("limit", event.limit.key()),
        ];
        self.process("dsn.withheld", Level::Warn, &fields);
    }

    fn notices_summarised(&self, summary: &NoticeSummary) {
        let to = match &summary.sender {
            Some(sender) => sender.to_string(),
            None => "others".to_owned(),
        };
        let (withheld, nrcpt) = (summary.withheld.to_string(), summary.recipients.to_string());
        let (first, last) = (
            summary.messages.0.to_string(),
            summary.messages.1.to_string(),
        );
        let fields = [
            ("to", to.as_str()),
            ("withheld", withheld.as_str()),
            ("nrcpt", nrcpt.as_str()),
            ("first_queue_id", first.as_str()),
            ("last_queue_id", last.as_str()),
        ];
        self.process("dsn.withheld-summary", Level::Warn, &fields);
    }

    fn session(&self, session: SessionEvent) {
        let m = &self.metrics;
        match session {
            SessionEvent::Opened { tls, verified, .. } => {
                m.session(SessionResult::Opened);
                if let Some(version) = tls {
                    let result = if verified {
                        TlsResult::Verified
                    } else {
                        TlsResult::Unverified
                    };
                    m.tls_handshake(TlsVersion::from_name(&version), result);
                }
            }
            SessionEvent::HandshakeFailed => {
                m.session(SessionResult::HandshakeFailed);
                m.tls_handshake(TlsVersion::None, TlsResult::Failed);
            }
            SessionEvent::Failed => m.session(SessionResult::Failed),
            SessionEvent::Reused => m.session(SessionResult::Reused),
        }
    }

    fn possible_duplicate(&self, event: &PossibleDuplicate<'_>) {
        self.metrics.possible_duplicate();
        let (id, ip) = (event.queue_id.to_string(), event.ip.to_string());
        let fields = [
            ("queue_id", id.as_str()),
            ("mx", event.mx.as_str()),
            ("ip", ip.as_str()),
            ("detail", event.cause),
        ];
        self.process("smtp.out.dot-unknown", Level::Warn, &fields);
    }

    fn suspended(&self, host: &str, route: Option<&str>, suspension: &Suspension, pause: Duration) {
        self.metrics.suspended();
        let seconds = pause.as_secs().to_string();
        let fields = [
            ("destination", host),
            ("route", route.unwrap_or_default()),
            ("reason", suspension.cause.reason.key()),
            ("seconds", seconds.as_str()),
            ("detail", suspension.cause.detail.as_str()),
        ];
        self.process("destination.suspended", Level::Warn, &fields);
    }

    fn times_attempts(&self) -> bool {
        self.telemetry.is_some()
    }

    fn attempt_timed(&self, story: &Story<'_>) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.tell(story);
        }
    }

    fn reports_tls(&self) -> bool {
        self.reports.as_ref().is_some_and(|r| r.reports.is_on())
    }

    fn tls_finding(&self, finding: &Finding<'_>) {
        if let Some(reporting) = &self.reports {
            reporting.reports.note(finding);
        }
    }

    fn traces(&self) -> bool {
        self.traces.any()
    }

    fn traced(&self, part: &TracedPart<'_>) {
        let id = part.queue_id.to_string();
        let about = About {
            queue_id: &id,
            domain: part.domain,
            mx: part.mx.map_or("", |mx| mx.as_str()),
        };
        if let Some(subject) = self.traces.wanting(about, self.now()) {
            self.log.write(&TraceLine {
                at: self.now(),
                subject: &subject,
                part,
            });
        }
    }

    fn hosts_cut(&self, domain: &str, hosts: usize, tried: usize) {
        let (hosts, tried) = (hosts.to_string(), tried.to_string());
        let fields = [
            ("domain", domain),
            ("hosts", hosts.as_str()),
            ("tried", tried.as_str()),
        ];
        self.process("smtp.out.mx-cap", Level::Warn, &fields);
    }

    fn dns_doubted(&self, absent: usize, asked: usize) {
        self.counts.dns_doubted.store(true, Ordering::Relaxed);
        let (absent, asked) = (absent.to_string(), asked.to_string());
        let fields = [
            ("absent", absent.as_str()),
            ("asked", asked.as_str()),
            (
                "advice",
                "See whether the name servers of dns.servers answer truly: nearly every domain is said not to \
              exist, or several that were there lately. Mail for such domains waits and is not returned as long as that lasts.",
            ),
        ];
        self.process("dns.mass-nxdomain-guard", Level::Error, &fields);
    }

    fn dns_believed(&self) {
        self.counts.dns_doubted.store(false, Ordering::Relaxed);
        self.process("dns.mass-nxdomain-over", Level::Info, &[]);
    }
}

impl Observer {
    /// Says which traces are over.
    pub(crate) fn end_traces(&self) {
        for trace in self.traces.ended(self.now()) {
            let why = if trace.left == 0 { "events" } else { "time" };
            let fields = [("subject", trace.subject.as_str()), ("because", why)];
            self.process("trace.ended", Level::Info, &fields);
        }
    }
}

impl EventSink for Observer {
    fn policy_event(&self, event: &PolicyEvent) {
        self.log.write(&PolicyLine(event));
        if let Some(reporting) = &self.reports {
            reporting.policy_event(event);
        }
    }
}
