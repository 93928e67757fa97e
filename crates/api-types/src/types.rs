//! What is asked and answered about the queue, policies and the process.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod attempt;
mod process;
mod report;

pub use attempt::{AttemptView, TranscriptView};
pub use process::{
    CertificateView, ConfigChange, LastReloadView, ListenerView, LogLossView, LookupView,
    RecentView, ReloadResult, Role, TraceRequest, TraceView,
};
pub use report::{ReportDetail, ReportView, ReportsView, SendReportsRequest, SendReportsResult};

/// A page of a list: `GET /v1/queue`, `GET /v1/policies`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Give it back as `cursor` for the next page; `null` on the last.
    pub next: Option<String>,
}

/// Which messages; every field that is present must match. In a query string the names are
/// written with hyphens (`attempts-over`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Filter {
    /// Whose move it is: `recipient-admin`, `us` or `wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<String>,
    /// Recipient domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Reverse-path; the empty string or `<>` is the null reverse-path, `@` and a domain all of that domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// One recipient; `@` and a domain is all of that domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// The key of the last attempt's reason, for instance `cert-expired`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `queued`, `deferred`, `active` or `held`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// In the queue for longer than this many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older: Option<u64>,
    /// More attempts than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts_over: Option<u32>,
}

impl Filter {
    /// Whether it matches everything because nothing was asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One message in `GET /v1/queue`, in the order of the next attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueItem {
    /// Queue id.
    pub id: String,
    /// Reverse-path, empty for null.
    pub sender: String,
    /// Recipients that are still to be served.
    pub recipients: Vec<String>,
    /// Recipients in all.
    pub recipient_count: u32,
    /// Octets of the message.
    pub size: u64,
    /// When it was accepted.
    pub arrived: String,
    /// `queued`, `deferred`, `active` or `held`.
    pub state: String,
    /// Whether an operator keeps it back with its destination: then no attempt is made.
    #[serde(default)]
    pub paused: bool,
    /// Attempts so far.
    pub attempts: u32,
    /// When the next attempt is due; `null` while held, active or paused.
    pub next_attempt: Option<String>,
    /// The key of the last attempt's reason.
    pub reason: Option<String>,
    /// The last attempt in one sentence.
    pub detail: Option<String>,
    /// Whose move it is: `recipient-admin`, `us` or `wait`; `null` without a reason.
    #[serde(default)]
    pub side: Option<String>,
}

/// `GET /v1/queue/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueDetail {
    /// As in the list.
    #[serde(flatten)]
    pub item: QueueItem,
    /// The id that the upstream server gave it (XFORWARD IDENT).
    pub upstream_id: Option<String>,
    /// The header's Message-ID.
    pub message_id: Option<String>,
    /// Who handed it over: address and EHLO name.
    pub client: Option<String>,
    /// When it is given up; `null` while it is held or its destination paused, unless such mail is given
    /// up too.
    pub expires: Option<String>,
    /// Every recipient, finished ones included.
    pub per_recipient: Vec<RecipientView>,
    /// Results of attempts, oldest first: of the first attempt and of the last five, equal repeats counted;
    /// of very many not all.
    pub history: Vec<AttemptView>,
    /// Results that are not kept.
    #[serde(default)]
    pub history_left_out: u32,
}

/// One recipient in [`QueueDetail`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecipientView {
    /// Forward-path.
    pub address: String,
    /// `pending`, `delivered`, `bounced`, `expired` or `cancelled`.
    pub state: String,
    /// Enhanced status of the last attempt.
    pub dsn: Option<String>,
    /// The peer's last reply.
    pub reply: Option<String>,
}

/// `POST /v1/queue/actions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionRequest {
    /// What to do.
    pub action: QueueAction,
    /// With these messages, if any are named: then without a filter.
    #[serde(default)]
    pub ids: Vec<String>,
    /// With those that match, if anything is asked.
    #[serde(default)]
    pub filter: Filter,
    /// With every message: needed where neither ids nor filter are given.
    #[serde(default)]
    pub all: bool,
    /// Only count.
    #[serde(default)]
    pub dry_run: bool,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What can be done to messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueueAction {
    /// Make the next attempt due now.
    Retry,
    /// Keep, but do not try.
    Hold,
    /// Undo a hold.
    Release,
    /// Remove without telling the sender.
    Cancel,
    /// Return to the sender with a DSN.
    Bounce,
}

/// Answer to [`ActionRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionResult {
    /// Messages that it concerns; with `dry_run` nothing was done to them.
    pub matched: u64,
    /// With `hold` and `release`: how many more match and were held, or were not held, already.
    #[serde(default)]
    pub already: u64,
    /// Ids that were named and are not in the queue: done with, or never there.
    #[serde(default)]
    pub unknown: Vec<String>,
    /// Of those that were cancelled, how many were being delivered at that moment: they may still arrive.
    #[serde(default)]
    pub under_way: u64,
    /// With `retry`: how many of them are held, and so are not tried.
    #[serde(default)]
    pub held: u64,
    /// With `retry`: how many of them have a paused destination, which is not tried.
    #[serde(default)]
    pub paused: u64,
}

/// `GET /v1/queue/summary`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueSummary {
    /// Messages in the queue.
    pub messages: u64,
    /// Rows by domain, reason and whose move it is, most messages first.
    pub rows: Vec<DestinationSummary>,
    /// The `cursor` of the next page; `null` on the last one.
    #[serde(default)]
    pub next: Option<String>,
    /// The same by reason and whose move it is, most messages first; of all rows, even if fewer are shown.
    #[serde(default)]
    pub reasons: Vec<ReasonSummary>,
    /// Destinations whose mail an operator keeps back.
    #[serde(default)]
    pub paused: Vec<PausedView>,
}

/// What waits for one reason, for the same to act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonSummary {
    /// Key of the last reason; `null` for mail that was not tried yet.
    pub reason: Option<String>,
    /// Whose move it is: `recipient-admin`, `us` or `wait`.
    #[serde(default)]
    pub side: Option<String>,
    /// No attempt is made until it is released.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// What is to be said of all of it, if that is not what `/v1/reasons` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<CaseView>,
    /// Where it waits for different causes, what is to be said of each, most messages first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<CaseCount>,
    /// Messages; one with several domains counts for each.
    pub messages: u64,
    /// Domains or routes.
    pub domains: u64,
}

/// How much of the mail that waits for one reason is in one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CaseCount {
    /// Messages; one with several domains counts for each.
    pub messages: u64,
    /// What is to be said of them.
    #[serde(flatten)]
    pub said: CaseView,
}

/// What is said of a failure in a case of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CaseView {
    /// What happened.
    pub sentence: String,
    /// What to do.
    pub advice: String,
    /// What it means, in paragraphs.
    pub explanation: Vec<String>,
    /// The clause that speaks of it, if one does.
    pub clause: Option<String>,
}

/// A paused destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PausedView {
    /// The recipient domain.
    pub domain: String,
    /// Since when.
    pub since: String,
    /// Who has paused it.
    pub by: String,
    /// The reason given.
    pub because: String,
}

/// `POST /v1/destinations/{domain}/pause` and `/resume`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PauseRequest {
    /// For the audit log.
    pub reason: Option<String>,
}

/// `GET /v1/clock`, `POST /v1/clock/accept` (with a [`PauseRequest`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClockView {
    /// The time by which mail and policies run out.
    pub judged: String,
    /// What the wall clock says, if that is doubted: it has jumped.
    pub doubted: Option<String>,
    /// For how many seconds the new time has been steady; two hours make it believed.
    pub steady: Option<u64>,
}

/// The answer to [`PauseRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseResult {
    /// The recipient domain.
    pub domain: String,
    /// False if it was so already.
    pub changed: bool,
    /// Messages that wait for it now; `null` while the index is rebuilt.
    pub messages: Option<u64>,
    /// The pause that holds now; what was given with a second one does not replace it.
    #[serde(default)]
    pub paused: Option<PausedView>,
}

/// One row of [`QueueSummary`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DestinationSummary {
    /// Recipient domain.
    pub domain: String,
    /// The next hop of its explicit route, if it has one.
    #[serde(default)]
    pub route: Option<String>,
    /// Key of the last reason; `null` for mail that was not tried yet.
    pub reason: Option<String>,
    /// The key of what began it, for `destination-suspended`, while that lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Whose move it is: `recipient-admin`, `us` or `wait`.
    #[serde(default)]
    pub side: Option<String>,
    /// Why most of it waits, in a sentence.
    #[serde(default)]
    pub sentence: Option<String>,
    /// No attempt is made until it is released.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// No attempt is made while an operator keeps the domain paused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Messages.
    pub messages: u64,
    /// Arrival of the oldest.
    pub oldest: String,
    /// Seconds since then.
    #[serde(default)]
    pub oldest_age: u64,
    /// The soonest next attempt.
    pub next_attempt: Option<String>,
}

/// One policy in `GET /v1/policies`. A domain for which there is only a pin or an exemption has
/// `null` for what only a stored policy has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyView {
    /// Policy domain.
    pub domain: String,
    /// `enforce`, `testing` or `none`.
    pub mode: Option<String>,
    /// Policy id (RFC 8461 section 3.1).
    pub id: Option<String>,
    /// MX patterns.
    pub mx: Vec<String>,
    /// Last complete fetch.
    pub fetched: Option<String>,
    /// When it stops counting unless it is fetched again.
    pub expires: Option<String>,
    /// Why the last fetch failed, if it did: a refresh, or one that a message or an operator asked for.
    pub refresh_failure: Option<String>,
    /// What the operator has pinned: a minimum, whatever the domain publishes.
    #[serde(default)]
    pub pin: Option<PinView>,
    /// What the operator has exempted from the policy, and until when.
    #[serde(default)]
    pub exemption: Option<ExemptionView>,
}

/// A pin: enforce with these patterns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PinView {
    /// MX patterns.
    pub mx: Vec<String>,
    /// Who.
    pub by: String,
    /// Why.
    pub because: String,
    /// When.
    pub at: String,
}

/// An exemption: the policy is not enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExemptionView {
    /// When it ends.
    pub until: String,
    /// Whether it still counts.
    pub active: bool,
    /// Who.
    pub by: String,
    /// Why.
    pub because: String,
    /// When.
    pub at: String,
}

/// `POST /v1/policies/{domain}/pin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PinRequest {
    /// MX patterns, at least one; `null` removes the pin.
    pub mx: Option<Vec<String>>,
    /// Why, for the audit log.
    pub because: String,
}

/// `POST /v1/policies/{domain}/exempt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExemptRequest {
    /// When it ends, 90 days ahead at most; `null` ends it now.
    pub until: Option<String>,
    /// Must be true with `until`: mail to the domain is unprotected for that time.
    #[serde(default)]
    pub dangerous: bool,
    /// Why, for the audit log.
    pub because: String,
}

/// `GET /v1/policies/{domain}`, and the answer to `refresh`, `pin` and `exempt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyDetail {
    /// As in the list.
    #[serde(flatten)]
    pub policy: PolicyView,
    /// `max_age` in seconds.
    pub max_age: Option<u64>,
    /// When the next background refresh is due.
    pub next_refresh: Option<String>,
    /// In mode testing: the last delivery since the start that enforcing would have stopped.
    #[serde(default)]
    pub testing_failure: Option<TestingFailureView>,
    /// The policy's text as fetched.
    pub text: Option<String>,
    /// Messages that wait for the domain and are not held, in the answer to an order; it counts from their next attempt on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    /// Messages for the domain that are held, in the answer to an order: until they are released there is no attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
    /// Mail for the domain is paused, in the answer to an order: there is no attempt until it is resumed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// What enforcing a policy in mode testing would have stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TestingFailureView {
    /// When.
    pub at: String,
    /// The MX host.
    pub mx: String,
    /// The reason key of what failed.
    pub reason: String,
}

/// `GET /v1/explain/{id-or-domain}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The queue id or domain that was asked about.
    pub subject: String,
    /// Plain words in paragraphs: what happens, why, which clause, who can do what.
    pub paragraphs: Vec<String>,
    /// The same under headings.
    #[serde(default)]
    pub sections: Vec<Section>,
    /// A letter to the administrator of the recipient's domain, ready to be sent, where they can
    /// help: header fields, an empty line, text. Nothing of the message or its sender is in it.
    #[serde(default)]
    pub letter: Option<String>,
}

/// A part of an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Section {
    /// For instance `What happens`.
    pub title: String,
    /// Plain words.
    pub paragraphs: Vec<String>,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// Version of the daemon.
    pub version: String,
    /// Its host name.
    pub hostname: String,
    /// When it started.
    pub started: String,
    /// Whether it takes and delivers mail; if not, why.
    pub ready: bool,
    /// What is wrong, in plain words; empty if nothing is.
    pub problems: Vec<String>,
    /// Its listeners.
    pub listeners: Vec<ListenerView>,
    /// Messages in the queue.
    pub queue_messages: u64,
    /// Messages by state, for instance `deferred`.
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    pub queue_by_state: Vec<(String, u64)>,
    /// Waiting messages by whose move it is (`recipient-admin`, `us`, `wait`); one that waits at several
    /// domains counts for each.
    #[serde(default)]
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    pub waiting_for: Vec<(String, u64)>,
    /// The clock.
    #[serde(default)]
    pub clock: ClockView,
    /// Destinations whose mail an operator keeps back.
    #[serde(default)]
    pub paused: Vec<PausedView>,
    /// Arrival of the oldest message.
    pub oldest: Option<String>,
    /// Recipients delivered since the start.
    pub delivered: u64,
    /// Attempts that ended in a deferral since the start.
    pub deferred: u64,
    /// Recipients bounced since the start.
    pub bounced: u64,
    /// What became of recipients in the last minutes; `null` for the first two after the start.
    #[serde(default)]
    pub recently: Option<RecentView>,
    /// Outbound connections open now.
    pub connections: u64,
    /// Deliveries that wait for a place at a host that has as many sessions as it may.
    #[serde(default)]
    pub waiting_for_hosts: u64,
    /// Stored policies by mode.
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    pub policies_by_mode: Vec<(String, u64)>,
    /// DNSSEC as in effect: `off`, `validate`, `trust-ad`, or `unavailable` where it is wanted and
    /// does not reach us.
    pub dnssec: String,
    /// Policies whose refresh has been failing for so long that somebody should look.
    #[serde(default)]
    pub policies_at_risk: u64,
    /// Policies that have run out without a refresh.
    #[serde(default)]
    pub policies_ran_out: u64,
    /// Domains whose policies are not enforced for now, since an operator has exempted them.
    #[serde(default)]
    pub policies_exempt: u64,
    /// When the last of these exemptions ends.
    #[serde(default)]
    pub exempt_until: Option<String>,
    /// Seconds until the first policy expires whose refresh failed or is overdue.
    #[serde(default)]
    pub policy_expiry_in: Option<u64>,
    /// TLS reports; `null` if none are sent.
    #[serde(default)]
    pub reports: Option<ReportsView>,
    /// DNS look-ups since the start.
    #[serde(default)]
    pub lookups: Vec<LookupView>,
    /// Certificates that this relay shows to others.
    #[serde(default)]
    pub certificates: Vec<CertificateView>,
    /// The events of the log that are being lost; `null` if none are.
    #[serde(default)]
    pub log: Option<LogLossView>,
    /// What came of the last reload.
    #[serde(default)]
    pub reload: LastReloadView,
    /// Bytes used in the data directory.
    pub store_bytes: u64,
    /// Bytes free on its file system.
    pub free_bytes: u64,
}

/// An error, `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDetails {
    /// `urn:sealpost:problem:` and a key that never changes.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Short, the same for every occurrence.
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// What is wrong this time and what to do.
    #[serde(default)]
    pub detail: Option<String>,
    /// The query parameter that is at fault, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
}
