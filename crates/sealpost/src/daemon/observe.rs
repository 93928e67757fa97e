//! Everything that happens, told to the event log and to the metrics.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use attempt::{DsnSent, Level, Outcome, Received, Record, Refused, RefusedBy, Removed};
use delivery::decide::destination::Suspension;
use delivery::{NoticeSummary, NoticeWithheld, PossibleDuplicate, SessionEvent, Story, TracedPart};
use event_log::{Ends, EventLog};
use mail_types::{EnhancedStatus, QueueId, Timestamp};
use metrics::{ClientIncident, ConnectionLimit, Metrics, SessionResult, TlsResult, TlsVersion};
use policy_cache::{Clock, EventSink, JudgedClock, PolicyEvent};
use smtp_server::{
    Cause, Client, Event, Incident, Limit, LoginResult, SaslMechanism, TimeoutStage,
    handshake_fault,
};

use super::alarm::CertificateAlarm;
use super::events::{PolicyLine, ProcessLine, TraceLine, sha256};
use super::otlp::{Exporter, Telemetry};
use super::sparing::Sparing;
use super::trace::{About, Traces};

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
        self.log.write(&ProcessLine {
            at: self.now(),
            event,
            level,
            fields,
        });
    }

    fn client(
        &self,
        event: &'static str,
        level: Level,
        client: Client<'_>,
        more: &[(&'static str, &str)],
    ) {
        let address = client.address.ip().to_string();
        let mut fields = vec![
            ("listener", client.listener),
            ("client", address.as_str()),
            ("helo", client.helo),
        ];
        fields.extend_from_slice(more);
        self.process(event, level, &fields);
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
    }
}

impl smtp_server::Observer for Observer {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Connected(_) => {
                self.counts.clients.fetch_add(1, Ordering::Relaxed);
            }
            Event::Disconnected { .. } => {
                self.counts.clients.fetch_sub(1, Ordering::Relaxed);
            }
            Event::Received(received) => self.received(received),
            Event::Login {
                client,
                mechanism,
                user,
                result,
            } => self.login(client, mechanism, user, result),
            Event::Refused {
                client,
                stage,
                cause,
                refusal,
                sender,
                recipient,
                orig_client,
            } => {
                let cause = match refused_by(cause) {
                    RefusedBy::Queue if refusal.status() == DISK_FULL => RefusedBy::DiskFull,
                    RefusedBy::Queue | RefusedBy::Recipient if refusal.status() == OVER_RATE => {
                        RefusedBy::Limit
                    }
                    other => other,
                };
                self.metrics.refused(cause);
                self.log.write(&Refused {
                    at: self.now(),
                    client: client.address.ip(),
                    orig_client,
                    helo: client.helo,
                    listener: client.listener,
                    stage: stage.key(),
                    cause,
                    code: refusal.code(),
                    dsn: refusal.status(),
                    detail: refusal.text(),
                    from: sender,
                    to: recipient,
                });
            }
            Event::TurnedAway { client, limit } => self.turned_away(client, limit),
            Event::ProxyRefused { client, instead } => self.proxy_refused(client, instead),
            // The message's own record says that it came over TLS.
            Event::TlsEstablished { .. } => {}
            Event::TlsFailed { client, error } => self.tls_failed(client, error),
            Event::Incident { client, incident } => self.incident(client, incident),
            Event::ReplyLost {
                client,
                id,
                message_id,
            } => self.reply_lost(client, id, message_id),
            Event::TimedOut { client, stage } => self.timed_out(client, stage),
            Event::SessionPanicked { listener } => {
                let fields = [("listener", listener)];
                self.process("smtp.in.session-panicked", Level::Error, &fields);
            }
            Event::AcceptFailed { listener, error } => self.accept_failed(listener, error),
        }
    }
}

/// What clients, the network or the system do wrong.
impl Observer {
    fn proxy_refused(&self, client: Client<'_>, instead: &str) {
        self.metrics.turned_away(ConnectionLimit::Proxy);
        let fields = [("cause", instead), ("remedy", NO_PROXY)];
        self.sparingly("smtp.in.proxy-header-missing", client, &fields);
    }

    fn tls_failed(&self, client: Client<'_>, error: &io::Error) {
        self.metrics.incident(ClientIncident::TlsFailed);
        let fields = [("cause", &*handshake_fault(error))];
        self.client("smtp.in.tls-failed", Level::Warn, client, &fields);
    }

    fn incident(&self, client: Client<'_>, incident: Incident) {
        if incident == Incident::ProxyUntrusted {
            self.metrics.turned_away(ConnectionLimit::Proxy);
        }
        self.metrics.incident(counted(incident));
        let fields = [("incident", incident.key())];
        self.client("smtp.in.incident", Level::Warn, client, &fields);
    }

    fn reply_lost(&self, client: Client<'_>, id: QueueId, message_id: Option<&str>) {
        // Row H5-11: a second copy has the same Message-ID.
        let hash = message_id.map(sha256).unwrap_or_default();
        let fields = [
            ("queue_id", &*id.to_string()),
            ("message_id_sha256", &*hash),
        ];
        self.client("smtp.in.reply-lost", Level::Warn, client, &fields);
    }

    fn timed_out(&self, client: Client<'_>, stage: TimeoutStage) {
        self.metrics.incident(too_slow(stage));
        let fields = [("stage", stage.key())];
        self.client("smtp.in.timeout", Level::Info, client, &fields);
    }

    fn accept_failed(&self, listener: &str, error: &io::Error) {
        let event = "smtp.in.accept-failed";
        if let Some(left_out) = self.sparing.note(event, self.clock.monotonic()) {
            let (cause, left_out) = (error.to_string(), left_out.to_string());
            let fields = [
                ("listener", listener),
                ("cause", cause.as_str()),
                ("left_out", left_out.as_str()),
            ];
            self.process(event, Level::Error, &fields);
        }
    }

    fn turned_away(&self, client: Client<'_>, limit: Limit) {
        let (metric, key) = match limit {
            Limit::Connections => (ConnectionLimit::Connections, "access.connections"),
            Limit::PerAddress => (ConnectionLimit::PerClient, "access.connections-per-client"),
            Limit::Memory => (ConnectionLimit::Memory, "memory"),
            Limit::Rate { .. } => (ConnectionLimit::Rate, "access.connection-rate-per-client"),
        };
        self.metrics.turned_away(metric);
        self.sparingly("smtp.in.turned-away", client, &[("limit", key)]);
    }

    /// What a flood repeats is written now and then, with how often it was left out.
    fn sparingly(&self, event: &'static str, client: Client<'_>, more: &[(&'static str, &str)]) {
        let Some(left_out) = self.sparing.note(event, self.clock.monotonic()) else {
            return;
        };
        let left_out = left_out.to_string();
        let mut fields = more.to_vec();
        fields.push(("left_out", left_out.as_str()));
        self.client(event, Level::Warn, client, &fields);
    }

    /// Never with a password; the name is the client's word, in which people do type one.
    fn login(&self, client: Client<'_>, mechanism: SaslMechanism, user: &str, result: LoginResult) {
        let (login, event, level) = match result {
            LoginResult::Accepted => (metrics::LoginResult::Accepted, "smtp.in.login", Level::Info),
            LoginResult::Rejected => (metrics::LoginResult::Rejected, LOGIN_FAILED, Level::Warn),
            LoginResult::TooWeak => (metrics::LoginResult::TooWeak, LOGIN_FAILED, Level::Warn),
            LoginResult::NotNow => (metrics::LoginResult::NotNow, LOGIN_FAILED, Level::Warn),
        };
        self.metrics.login(login);
        let fields = [
            ("mechanism", mechanism.name()),
            ("user", user),
            ("result", result.key()),
        ];
        self.client(event, level, client, &fields);
    }

    fn received(&self, r: smtp_server::Received<'_>) {
        self.metrics.accepted();
        self.log.write(&Received {
            at: self.now(),
            queue_id: r.id,
            upstream_id: r.upstream_id,
            message_id: r.message_id,
            client: Some(r.client),
            orig_client: r.orig_client,
            helo: r.helo,
            listener: r.listener,
            identity: r.identity,
            from: r.sender,
            nrcpt: r.recipients,
            size: r.size,
            tls: r.tls,
        });
    }
}

const NO_PROXY: &str = "let this host begin with a PROXY header of version 1 or 2 (HAProxy: \
                        send-proxy), or, if it is no proxy, take it out of access.proxy-hosts";
const LOGIN_FAILED: &str = "smtp.in.login-failed";

/// What happened as it is counted, one to one.
const fn counted(incident: Incident) -> ClientIncident {
    match incident {
        Incident::BareNewline => ClientIncident::BareNewline,
        Incident::BareNewlineNormalized { .. } => ClientIncident::BareNewlineNormalized,
        Incident::LongLines { .. } => ClientIncident::LongLines,
        Incident::NulDot => ClientIncident::NulDot,
        Incident::StartTlsInjection => ClientIncident::StartTlsInjection,
        Incident::CrossProtocol => ClientIncident::CrossProtocol,
        Incident::TlsOnPlainPort => ClientIncident::TlsOnPlainPort,
        Incident::EarlyTalker => ClientIncident::EarlyTalker,
        Incident::XforwardDenied => ClientIncident::XforwardDenied,
        Incident::XclientDenied => ClientIncident::XclientDenied,
        Incident::ProxyUntrusted => ClientIncident::ProxyUntrusted,
        Incident::TooManyErrors => ClientIncident::TooManyErrors,
        Incident::TooManyMessages => ClientIncident::TooManyMessages,
        Incident::AlpnMismatch => ClientIncident::AlpnMismatch,
    }
}

const fn too_slow(stage: TimeoutStage) -> ClientIncident {
    match stage {
        TimeoutStage::Command => ClientIncident::TimeoutCommand,
        TimeoutStage::Data => ClientIncident::TimeoutData,
        TimeoutStage::Handshake => ClientIncident::TimeoutHandshake,
        TimeoutStage::Write => ClientIncident::TimeoutWrite,
    }
}

/// The session's causes as the record's, one to one.
const fn refused_by(cause: Cause) -> RefusedBy {
    match cause {
        Cause::RelayDenied => RefusedBy::RelayDenied,
        Cause::TlsRequired => RefusedBy::TlsRequired,
        Cause::TooLarge => RefusedBy::TooLarge,
        Cause::TooManyRecipients => RefusedBy::TooManyRecipients,
        Cause::BareNewline => RefusedBy::BareNewline,
        Cause::Loop => RefusedBy::Loop,
        Cause::LineTooLong => RefusedBy::LineTooLong,
        Cause::Syntax => RefusedBy::Syntax,
        Cause::Parameter => RefusedBy::Parameter,
        Cause::Utf8Address => RefusedBy::Utf8Address,
        Cause::Queue => RefusedBy::Queue,
        Cause::Recipient => RefusedBy::Recipient,
        Cause::SenderDomain => RefusedBy::SenderDomain,
        Cause::AuthRequired => RefusedBy::AuthRequired,
        Cause::SenderDenied => RefusedBy::SenderDenied,
        Cause::Content => RefusedBy::Content,
    }
}

/// "Mail system full" (RFC 3463 section 3.4).
const DISK_FULL: EnhancedStatus = EnhancedStatus::transient(3, 1);
/// The rates of identities, and nothing else, refuse with this.
const OVER_RATE: EnhancedStatus = EnhancedStatus::transient(7, 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_counted_as_what_it_is() {
        for cause in [
            Cause::RelayDenied,
            Cause::TlsRequired,
            Cause::TooLarge,
            Cause::TooManyRecipients,
            Cause::BareNewline,
            Cause::Loop,
            Cause::LineTooLong,
            Cause::Syntax,
            Cause::Parameter,
            Cause::Utf8Address,
            Cause::Queue,
            Cause::Recipient,
            Cause::SenderDomain,
            Cause::Content,
            Cause::AuthRequired,
            Cause::SenderDenied,
        ] {
            assert_eq!(refused_by(cause).key(), cause.key());
        }
    }
}
