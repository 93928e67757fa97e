//! The record of one attempt on one recipient, and the facts it is made of.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use mail_types::{EnhancedStatus, HostName, Mailbox, QueueId, ReversePath, Timestamp};
use serde::Serialize;

use crate::fields::{ser_time, ser_time_option};
use crate::{Case, Reason, Side};

mod colonless;
mod log;

/// Everything about one attempt on one recipient: complete in itself.
///
/// Untrusted text is passed as it came: the formats neutralise it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When the attempt ended.
    pub at: Timestamp,
    /// How it ended for this recipient; names the event.
    pub outcome: Outcome,
    /// Our id of the message.
    pub queue_id: QueueId,
    /// The id that the upstream gave it (XFORWARD IDENT).
    pub upstream_id: Option<&'a str>,
    /// The Message-ID field's value.
    pub message_id: Option<&'a str>,
    /// `MAIL FROM`.
    pub from: &'a ReversePath,
    /// `RCPT TO`.
    pub to: &'a Mailbox,
    /// The recipient's domain in A-label form, or its address literal in brackets.
    pub domain: &'a str,
    /// The last host tried; `None` if no host was tried.
    pub mx: Option<&'a str>,
    /// The address of that host that was tried last.
    pub ip: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// Every candidate of the attempt in the order tried.
    pub tried: &'a [Tried],
    /// What went wrong; `None` exactly if the outcome is [`Outcome::Sent`].
    pub reason: Option<Reason>,
    /// The enhanced status code of the outcome.
    pub dsn: EnhancedStatus,
    /// The peer's reply, if it gave one: lines joined with `\n` or spaces.
    pub reply: Option<&'a str>,
    /// The command that the reply answered, as Postfix words it, if it is known and was one.
    pub in_reply_to: Option<&'static str>,
    /// One sentence in plain words (see [`Reason::sentence`]).
    pub detail: &'a str,
    /// Every demand on this delivery (decision AMB-33).
    pub policies: &'a [PolicyUse],
    /// Whether the domain has a policy rests on a look-up before which nothing was known of it: who
    /// suppressed or forged that one answer has weakened this delivery (RFC 8461 section 10.2).
    pub first_contact: bool,
    /// Why no MTA-STS policy was had, though the domain publishes one or may do so: the mail goes without
    /// its protection.
    pub no_policy: Option<&'a NoPolicy>,
    /// What took demands away, if anything did.
    pub weakened_by: Option<Weakened>,
    /// The TLS session; `None` without TLS.
    pub tls: Option<&'a TlsSession>,
    /// Counts from 1; where none was made, how many there were.
    pub attempt: u32,
    /// When the next attempt comes; `None` if none does.
    pub next_attempt: Option<Timestamp>,
    /// When the message expires; `None` if the recipient is done with.
    pub gives_up: Option<Timestamp>,
    /// Time since arrival.
    pub delay: Duration,
    /// Where that time went.
    pub delays: Delays,
    /// Whose move it is, where that is not [`Reason::side`].
    pub side: Option<Side>,
    /// Whether, of our side, it is the sender who has to act.
    pub for_sender: bool,
    /// What to do next, for them to do; usually [`Reason::advice`]. Empty if nothing.
    pub advice: &'a str,
}

/// How an attempt ended for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The next hop has taken responsibility.
    Sent,
    /// A transient failure: there will be a next attempt.
    Deferred,
    /// A permanent failure: the sender is told, if entitled.
    Bounced,
    /// A transient failure and the message's lifetime is over: the sender is told, if entitled.
    Expired,
    /// The message waits until the operator releases it.
    Held,
}

/// One candidate host of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// The MX record's name (or the route's, or the address literal in brackets).
    pub mx: Box<str>,
    /// The address tried; `None` if it did not come to that.
    pub ip: Option<IpAddr>,
    /// Why this candidate did not take the mail; `None` if it did.
    pub reason: Option<Reason>,
    /// Which of the reason's cases it is.
    #[serde(skip)]
    pub case: Case,
    /// What exactly went wrong there, in plain words; may be empty.
    #[serde(skip_serializing_if = "str_is_empty")]
    pub detail: Box<str>,
}

/// One demand on a delivery (decision AMB-33) and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyUse {
    /// Who demands.
    pub source: PolicySource,
    /// What is demanded: `enforce`, `testing`, `none`, `require`, `encrypted`, `verified` …
    pub mode: Cow<'static, str>,
    /// The policy's id (RFC 8461 section 3.1), if it has one.
    pub id: Option<Box<str>>,
    /// Whether it was fetched for this attempt.
    pub from: Option<PolicyFrom>,
    /// When it was fetched.
    #[serde(serialize_with = "ser_time_option")]
    pub fetched_at: Option<Timestamp>,
    /// When it expires.
    #[serde(serialize_with = "ser_time_option")]
    pub expires_at: Option<Timestamp>,
    /// Nothing was known of this domain before (RFC 8461 section 10.2, row A7-07).
    pub first_contact: bool,
    /// What came of it.
    pub result: PolicyResult,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// What met it in its stead: TLSA records, where `delivery.dane-satisfies-sts` lets them, or for
    /// REQUIRETLS (RFC 8689 section 4.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<PolicySource>,
    /// Whose TLSA records they are, for [`PolicySource::Dane`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dane: Option<DaneUse>,
}

/// Whose TLSA records a delivery was held against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DaneUse {
    /// The TLSA base domain: what the MX name stands for if it is an alias (RFC 7672 section 2.2.3).
    pub target: Box<str>,
    /// Whether DNSSEC or the configuration vouches for the host's name. If not, the delivery is no
    /// secure delivery to the domain, whatever the host proved (RFC 7672 section 2.2.1).
    pub mx_secure: bool,
    /// What is wrong with them, where none can be used: TLS is then mandatory, and authenticates nobody
    /// (RFC 7672 section 2.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable: Option<Box<str>>,
}

/// Why a domain that publishes an MTA-STS policy, or may do so, is written to as if it had none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPolicy {
    /// Which step failed: `record-unusable`, `fetch-failed` or `dns-unanswered`.
    pub step: &'static str,
    /// How, in plain words.
    pub why: Box<str>,
}

/// Who makes a demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicySource {
    /// The recipient domain's MTA-STS policy (RFC 8461).
    #[serde(rename = "mta-sts")]
    MtaSts,
    /// TLSA records of the MX host (RFC 7672).
    Dane,
    /// The sender (RFC 8689).
    RequireTls,
    /// Our configuration: `delivery.tls` or `[[domain]]`.
    Local,
    /// Our configuration: `[[route]]`.
    Route,
}

/// Where a policy came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyFrom {
    /// Fetched for this attempt.
    Live,
    /// Stored before.
    Cache,
}

/// What came of a demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyResult {
    /// The session met it.
    Satisfied,
    /// No session met it.
    Failed,
    /// The attempt did not get that far.
    NotEvaluated,
}

/// What took a demand away from a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weakened {
    /// The sender's `TLS-Required: No` (RFC 8689, decision AMB-32).
    TlsRequiredNo,
    /// The operator's exemption of the domain: of its policy, or `dane = "dangerous-off"`.
    Exempt,
    /// `mta-sts = "dangerous-audit"` or `dane = "dangerous-audit"`.
    Audit,
    /// The message is a TLS report of ours (RFC 8460 section 3).
    Report,
}

/// The TLS session of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsSession {
    /// For instance `TLSv1.3`.
    pub version: Cow<'static, str>,
    /// For instance `TLS_AES_256_GCM_SHA384`.
    pub cipher: Cow<'static, str>,
    /// The key exchange group, for instance `X25519MLKEM768`.
    pub group: Option<Cow<'static, str>>,
    /// How the host was authenticated.
    pub authenticated: Authenticated,
    /// What PKIX verification said, whether or not it was demanded.
    pub would_verify: bool,
    /// What PKIX has against the certificate, in plain words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Box<str>>,
    /// The end-entity certificate, if it could be read.
    pub cert: Option<Certificate>,
}

/// How the host was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authenticated {
    /// Against trust anchors, with the MX name.
    Pkix,
    /// By a DANE-EE record (usage 3).
    DaneEe,
    /// By a DANE-TA record (usage 2).
    DaneTa,
    /// Not at all: encryption without authentication.
    None,
}

/// What an operator needs to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// The names of the subjectAltName extension.
    #[serde(serialize_with = "ser_names")]
    pub subject_alt_names: Vec<Box<str>>,
    /// The issuer's name, printable.
    pub issuer: Box<str>,
    /// The last instant of its validity.
    #[serde(serialize_with = "ser_time")]
    pub not_after: Timestamp,
    /// SHA-256 in lower-case hexadecimal: what tells a certificate by a rogue authority from the one
    /// of the day before (row H4-17).
    pub sha256: Box<str>,
}

/// Where the time since arrival went, as in Postfix's `delays=a/b/c/d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// From the start of the inbound transaction to its end.
    pub before_queue: Duration,
    /// In the queue, until this attempt began.
    pub in_queue: Duration,
    /// DNS, connecting, EHLO, STARTTLS.
    pub connect: Duration,
    /// From `MAIL FROM` to the last reply.
    pub transmit: Duration,
}

impl Outcome {
    /// Every outcome, for tables.
    pub const ALL: [Self; 5] = [
        Self::Sent,
        Self::Deferred,
        Self::Bounced,
        Self::Expired,
        Self::Held,
    ];

    /// The event's name.
    #[must_use]
    pub const fn event(self) -> &'static str {
        match self {
            Self::Sent => "delivery.sent",
            Self::Deferred => "delivery.deferred",
            Self::Bounced => "delivery.bounced",
            Self::Expired => "delivery.expired",
            Self::Held => "delivery.held",
        }
    }

    /// One word, for instance `deferred`: also the metrics' label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Deferred => "deferred",
            Self::Bounced => "bounced",
            Self::Expired => "expired",
            Self::Held => "held",
        }
    }
}

impl PolicySource {
    /// Every source, for tables.
    pub const ALL: [Self; 5] = [
        Self::MtaSts,
        Self::Dane,
        Self::RequireTls,
        Self::Local,
        Self::Route,
    ];

    /// The one with this [`key`](Self::key).
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.key() == key)
    }

    /// As in the `source` field.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::MtaSts => "mta-sts",
            Self::Dane => "dane",
            Self::RequireTls => "requiretls",
            Self::Local => "local",
            Self::Route => "route",
        }
    }
}

impl PolicyResult {
    /// Every result, for tables.
    pub const ALL: [Self; 3] = [Self::Satisfied, Self::Failed, Self::NotEvaluated];

    /// The one with this [`key`](Self::key).
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|result| result.key() == key)
    }

    /// As in the `result` field.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Satisfied => "satisfied",
            Self::Failed => "failed",
            Self::NotEvaluated => "not-evaluated",
        }
    }
}

impl Weakened {
    /// Every cause, for tables.
    pub const ALL: [Self; 4] = [Self::TlsRequiredNo, Self::Exempt, Self::Audit, Self::Report];

    /// As in the `weakened_by` field.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::TlsRequiredNo => "tls-required-no",
            Self::Exempt => "exempt",
            Self::Audit => "audit",
            Self::Report => "report",
        }
    }
}

impl Authenticated {
    /// As in the `tls.authenticated` field.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Pkix => "pkix",
            Self::DaneEe => "dane-ee",
            Self::DaneTa => "dane-ta",
            Self::None => "none",
        }
    }
}

impl Tried {
    /// The same candidate as `{mx, ip, reason, detail}` with the host's own name type.
    #[must_use]
    pub fn new(mx: &HostName, ip: Option<IpAddr>, reason: Option<Reason>, detail: &str) -> Self {
        Self {
            mx: mx.as_str().into(),
            ip,
            reason,
            case: Case::Usual,
            detail: detail.into(),
        }
    }
}

fn str_is_empty(s: &str) -> bool {
    s.is_empty()
}

/// A certificate may have hundreds of names; the first ones tell whose it is.
fn ser_names<S: serde::Serializer>(names: &[Box<str>], s: S) -> Result<S::Ok, S::Error> {
    let more = names.len().saturating_sub(MAX_NAMES);
    let shown = names.iter().take(MAX_NAMES).map(|n| Cow::from(&**n));
    s.collect_seq(shown.chain((more > 0).then(|| Cow::from(format!("… and {more} more")))))
}

/// Names of a certificate that are shown.
const MAX_NAMES: usize = 20;
