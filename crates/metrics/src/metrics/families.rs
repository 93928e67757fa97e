//! Every family: name, meaning, and what to alert on. Registration and `docs/metrics.md` are made
//! from this table.

use attempt::{DsnKind, Outcome, RefusedBy, Weakened};

use super::labels::{
    ClientIncident, ConnectionLimit, DaneResult, DnsResult, DnsType, Label, LoginResult,
    PolicyLookup, PolicyMode, QueueState, ReportResult, Resource, SessionResult, SpanResult, Stage,
    Store, TlsResult, TlsVersion, Verified,
};

/// One family of metrics.
#[derive(Debug)]
pub(super) struct Family {
    /// Without `sealpost_`, unit and `_total`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Base unit, part of the name.
    pub(super) unit: Option<&'static str>,
    pub(super) labels: &'static [Named],
    pub(super) meaning: &'static str,
    /// What to alert on; empty if nothing.
    pub(super) alert: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A label and where its values come from.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) values: Values,
}

/// The values of a label.
#[derive(Debug)]
pub(super) enum Values {
    /// A fixed set, the one that the code counts by: each value with what it means, which may be empty.
    Set(fn() -> Vec<(&'static str, &'static str)>),
    /// Told of elsewhere: in these words.
    Elsewhere(&'static str),
}

/// The values of a label whose set is `L`.
const fn of<L: Label>() -> Values {
    Values::Set(|| L::ALL.iter().map(|l| (l.key(), l.meaning())).collect())
}

impl Family {
    /// The name that Prometheus shows.
    pub(super) fn full_name(&self) -> String {
        let unit = self.unit.map(|u| format!("_{u}")).unwrap_or_default();
        let total = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("sealpost_{}{unit}{total}", self.name)
    }

    /// The name of a label; empty if there is none at that place.
    pub(super) fn label(&self, place: usize) -> &'static str {
        self.labels.get(place).map_or("", |label| label.name)
    }
}

macro_rules! families {
    ($($id:ident = $kind:ident $name:literal $(in $unit:literal)? [$($label:literal = $values:expr),*]
        $meaning:literal $(alert $alert:literal)?;)+) => {
        $(pub(super) const $id: Family = Family {
            name: $name,
            kind: Kind::$kind,
            unit: families!(@unit $($unit)?),
            labels: &[$(Named { name: $label, values: $values }),*],
            meaning: $meaning,
            alert: concat!($($alert)?),
        };)+

        /// In the order of the documentation.
        pub(super) const ALL: &[&Family] = &[$(&$id),+];
    };
    (@unit $unit:literal) => { Some($unit) };
    (@unit) => { None };
}

families! {
    MESSAGES_ACCEPTED = Counter "messages_accepted" []
        "Messages that were answered 250, each after it was durable.";
    MESSAGES_REFUSED = Counter "messages_refused" ["cause" = of::<RefusedBy>()]
        "Commands and messages that were refused, by cause."
        alert "`cause=\"disk-full\"` or `cause=\"queue\"` rising: free some space, or see why the queue does not take mail.";
    LOGINS = Counter "logins" ["result" = of::<LoginResult>()]
        "Logins at the listeners, by result: accepted, rejected (wrong name or password), too-weak (a mechanism that the user may not use), not-now (held off after failures, or too many at once)."
        alert "`result=\"rejected\"` rising: somebody guesses, or an application has an old password. `result=\"not-now\"`: it goes on.";
    DELIVERY_ATTEMPTS = Counter "delivery_attempts" ["result" = of::<Outcome>(), "reason" = Values::Elsewhere("`none`, or a key of [reasons.md](reasons.md)")]
        "Attempts, counted once for each recipient, by result (sent, deferred, bounced, expired, held) and reason. Delivered ones have the reason none."
        alert "`reason=\"local\"` rising: something is broken here. `result=\"expired\"` rising: mail was lost to a failure that lasted. `reason=\"parked\"`: a defect in Sealpost.";
    DELIVERY_SECONDS = Histogram "delivery" in "seconds" ["stage" = of::<Stage>()]
        "Where the time of delivered mail went, once for each recipient."
        alert "`stage=\"in_queue\"` high while `sealpost_queue_messages{state=\"due\"}` is high: too few connections or attempts are allowed.";
    WEAKENED_DELIVERIES = Counter "weakened_deliveries" ["by" = of::<Weakened>()]
        "Deliveries from which a security demand was taken away, by what took it."
        alert "Any that you do not expect: an exemption was left in place, or senders use `TLS-Required: No`.";
    DANE_ATTEMPTS = Counter "dane_attempts" ["result" = of::<DaneResult>()]
        "Attempts at hosts with TLSA records (DANE), counted once for each recipient, by what the records said."
        alert "`result=\"failed\"` rising for many domains: a provider forgot its records at a key change, or this relay's resolver fails on TLSA queries.";
    SESSIONS = Counter "sessions" ["result" = of::<SessionResult>()]
        "Sessions with mail servers: opened, reused from the pool, or not had."
        alert "`failed` far above `opened` for all destinations: port 25 is blocked, or the network is down.";
    TLS_HANDSHAKES = Counter "tls_handshakes" ["version" = of::<TlsVersion>(), "result" = of::<TlsResult>()]
        "TLS handshakes with mail servers, by version and result. A failed one has the version none.";
    POSSIBLE_DUPLICATES = Counter "possible_duplicates" []
        "Messages that a mail server may have taken although the connection was lost before it said so: the next attempt may deliver them twice."
        alert "Rising for one destination: something cuts its connections, or `delivery.timeouts.data-done` is too short.";
    SUSPENSIONS = Counter "destination_suspensions" []
        "Times that a destination was left alone for a while after repeated failures to connect.";
    DSNS_SENT = Counter "dsns_sent" ["kind" = of::<DsnKind>()]
        "Delivery status notifications put into the queue, by what they say.";
    DSNS_WITHHELD = Counter "dsns_withheld" ["kind" = of::<DsnKind>()]
        "Delivery status notifications that were not made, since the limits of queue.notifications-per-sender or queue.notifications-in-all were reached, by what they would have said."
        alert "Any: somebody's mail fails in masses, or a sender's address is being forged. `dsn.withheld` in the log names senders.";
    REPORTS = Counter "reports" ["result" = of::<ReportResult>()]
        "TLS reports (RFC 8460), by result.";
    LOG_EVENTS_DROPPED = Counter "log_events_dropped" []
        "Log events that could not be written because the log did not take them."
        alert "Any: the log is incomplete. `sealpost status` says so while it lasts, and the event `log.resumed` tells how many were lost.";
    TRACE_SPANS = Counter "trace_spans" ["result" = of::<SpanResult>()]
        "Spans of delivery traces (`telemetry.otlp.endpoint`): exported, or dropped since the collector did not take them or more came than it took."
        alert "`result=\"dropped\"` rising: the collector is down or too slow, or `telemetry.otlp.sample-one-in` is too low. Mail does not wait for it.";
    QUEUE_MESSAGES = Gauge "queue_messages" ["state" = of::<QueueState>()]
        "Messages in the queue, by what they are doing; one that goes to several domains counts for each of them."
        alert "`deferred` well above its usual level: see `sealpost queue summary`.";
    OLDEST_MESSAGE_AGE = Gauge "oldest_message_age" in "seconds" []
        "Age of the oldest message in the queue; 0 if the queue is empty."
        alert "Above half of `queue.lifetime`: that message will soon be given up.";
    POLICIES = Gauge "policies" ["mode" = of::<PolicyMode>()]
        "Stored MTA-STS policies that are in force, by mode."
        alert "A sudden drop: the store was lost, or many refreshes failed.";
    POLICY_LOOKUPS = Counter "policy_lookups" ["result" = of::<PolicyLookup>()]
        "Look-ups of a domain's policy, by result."
        alert "`wait` or `unknown` rising: our resolver does not answer. `unusable` and `fetch-failed` above a few in a hundred: mail goes without the policy that its domain publishes; the field `no_policy` of the deliveries says why. Answers from memory count as well.";
    POLICY_SOONEST_EXPIRY = Gauge "policy_soonest_unrefreshed_expiry" in "seconds" []
        "Time until the first policy expires whose refresh failed or is overdue; absent if there is none. Those with a life under 20 minutes are not counted."
        alert "Below 3 days: that domain's mail will lose its protection. `sealpost policy list` shows which.";
    POLICIES_AT_RISK = Gauge "policies_at_risk" []
        "Policies whose refresh has been failing for so long that an operator should look; those with a life under 20 minutes are not counted."
        alert "Above 0.";
    POLICIES_EXPIRED = Counter "policies_expired" []
        "Policies in mode enforce or testing that ran out while this process ran although they were to be refreshed; those with a life under 20 minutes are not counted."
        alert "Rising: mail to that domain is no longer protected. The events `policy.expired` and `sealpost policy list` say which.";
    POLICY_REFRESH_FAILURES = Counter "policy_refresh_failures" []
        "Background refreshes of policies that failed."
        alert "Rising for many domains at once: outgoing HTTPS is blocked.";
    POLICY_FIRST_CONTACTS = Counter "policy_first_contacts" ["verified" = of::<Verified>()]
        "First contacts: domains whose policy was met for the first time (yes), or that got mail because DNS did not answer (no)."
        alert "`verified=\"no\"` rising: mail may have gone out without the protection that its recipients publish.";
    DNS_LOOKUP_SECONDS = Histogram "dns_lookup" in "seconds" ["type" = of::<DnsType>(), "result" = of::<DnsResult>()]
        "DNS look-ups and the time that they took, by type and result; answers from memory included. The count is the number of look-ups."
        alert "`result=\"temporary\"` or `\"bogus\"` for a large share: our resolver or our clock is broken.";
    DNSSEC_AVAILABLE = Gauge "dnssec_available" []
        "1 if the path to DNS carries DNSSEC, so that DANE works; else 0."
        alert "0, if `dns.dnssec` is not off.";
    DNS_DOUBTED = Gauge "dns_doubted" []
        "1 while the name servers say of nearly every domain that it does not exist, or of several that were there lately: that is not believed, and their mail waits; else 0."
        alert "1: a resolver does not tell the truth, and mail waits for it.";
    FSYNC_SECONDS = Histogram "fsync" in "seconds" []
        "Time of each fdatasync of the queue's journal."
        alert "Its 99th percentile above 0.5 s: the disk is too slow or dying.";
    GROUP_COMMIT_SIZE = Histogram "group_commit_messages" []
        "How many appends shared one fdatasync.";
    STORE_BYTES = Gauge "store" in "bytes" ["store" = of::<Store>()]
        "Octets on disk."
        alert "Growing while `sealpost_queue_messages` does not.";
    QUEUE_HEALTHY = Gauge "queue_healthy" []
        "1 if the queue takes mail; 0 after a failed write or sync, or below the floor of free space."
        alert "0: no mail is accepted. `sealpost status` says why.";
    DAMAGED_RECORDS = Counter "damaged_records" []
        "Records on disk that were found damaged."
        alert "Any: the disk or the memory of this machine is failing.";
    IN_USE = Gauge "in_use" ["resource" = of::<Resource>()]
        "How much is in use of what has a cap.";
    LIMIT = Gauge "limit" ["resource" = of::<Resource>()]
        "The cap: `sealpost_in_use` never exceeds it."
        alert "`sealpost_in_use / sealpost_limit` above 0.9 for long.";
    CONNECTIONS_REFUSED = Counter "connections_refused" ["limit" = of::<ConnectionLimit>()]
        "Connections of clients that were turned away with 421 or closed at once, by the limit that was reached."
        alert "`limit=\"connections\"` rising: raise `access.connections`, or find out who opens so many. `limit=\"proxy\"`: a load balancer and `access.proxy-hosts` do not agree, or somebody forges its header.";
    CLIENT_INCIDENTS = Counter "client_incidents" ["incident" = of::<ClientIncident>()]
        "What clients did that they should not have done, by kind: the words of `smtp.in.incident` in the log, handshakes that failed, and `timeout_` with the stage at which a client was too slow."
        alert "`incident=\"bare_newline\"` or `incident=\"timeout_data\"` rising: one of your own machines may need mending. `tls_failed` after a change of certificates: clients do not trust the new one.";
    CERTIFICATE_EXPIRY = Gauge "certificate_expiry_timestamp" in "seconds" ["listener" = Values::Elsewhere("`listener.name`")]
        "When the first of a listener's certificates ends, in seconds since 1970. The label is the listener's name in the configuration."
        alert "`sealpost_certificate_expiry_timestamp_seconds - time() < 7 * 86400`: clients that verify certificates will soon send nothing.";
    LAST_RELOAD_SUCCESSFUL = Gauge "config_last_reload_successful" []
        "1 if the last reload took the configuration, or there was none; 0 if it was refused and what was in force before stays."
        alert "0: a restart may fail. `sealpost status` says why it was refused.";
    KEYS_NEED_RESTART = Gauge "config_keys_need_restart" []
        "Keys that have been changed, and whose new values a reload has left for the next restart."
        alert "Above 0 for long: what the file says is not what is done. `sealpost status` names the keys.";
    START_TIME = Gauge "start_time" in "seconds" []
        "When the process started, in seconds since 1970."
        alert "Changing often: it restarts again and again.";
}
