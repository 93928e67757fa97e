//! Why an attempt failed: one key per cause, with everything that is said about it.

use std::fmt;

use mail_types::EnhancedStatus;
use serde::{Serialize, Serializer};

mod dane;
mod local;
mod markdown;
mod network;
mod remote;
mod sender;
mod tls;

pub use markdown::reasons_markdown;

/// Why an attempt did not deliver. The keys are an interface: logs, filters, metrics and
/// documentation use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// TLS is demanded and the host does not offer STARTTLS.
    StarttlsNotOffered,
    /// The host offers STARTTLS and then refuses it.
    StarttlsRefused,
    /// Something stood behind the reply to STARTTLS in plain text.
    StarttlsInjection,
    /// The TLS handshake failed.
    TlsHandshake,
    /// The certificate has expired.
    CertExpired,
    /// The certificate is for other names.
    CertHostMismatch,
    /// The certificate's chain is not trusted.
    CertNotTrusted,
    /// The MX host is not in the domain's MTA-STS policy.
    MxNotInPolicy,
    /// No TLSA record matches the certificate.
    DaneMismatch,
    /// TLSA records could not be looked up securely.
    DaneLookup,
    /// There are TLSA records, but none can be used.
    DaneUnusable,
    /// DANE is required locally and the host has none.
    DaneRequired,
    /// The sender demanded REQUIRETLS and no host supports it.
    RequireTlsUnsupported,
    /// The sender demanded REQUIRETLS and no host has verified TLS.
    RequireTlsNoTls,
    /// The peer demands TLS and none could be had.
    TlsRequiredByPeer,
    /// The route's credentials were not accepted or could not be used.
    RouteAuth,
    /// It could not be found out whether the domain has an MTA-STS policy.
    PolicyLookup,
    /// DNS gave no answer.
    DnsTemporary,
    /// DNS answers failed DNSSEC validation.
    DnsBogus,
    /// No connection to any host.
    Connect,
    /// The connection was lost in mid-session.
    ConnectionLost,
    /// The peer took too long.
    Timeout,
    /// The host's addresses are not to be connected to.
    AddressRefused,
    /// The peer said 4yz.
    Remote4xx,
    /// The peer said 5yz.
    Remote5xx,
    /// The recipient's domain does not exist.
    NoSuchDomain,
    /// The recipient's domain says that it takes no mail.
    NullMx,
    /// The domain has MX records of which none can be used.
    NoUsableMx,
    /// The mail would come back to us.
    Loop,
    /// The message needs an SMTP extension that no host has.
    ExtensionMissing,
    /// The destination is being left alone after repeated failures.
    DestinationSuspended,
    /// This message fails in us while others do not.
    Parked,
    /// Something here is broken.
    Local,
}

/// Whose move it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The administrator of the recipient's domain has to act.
    RecipientAdmin,
    /// We (or the sender, through us) have to act.
    Us,
    /// Nobody: it usually passes.
    Wait,
}

/// When a failure counts in TLS reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReportCondition {
    /// Never.
    Never,
    /// Whenever the domain has a policy that the failure concerns, as this result type
    /// (RFC 8460 section 4.3).
    WithPolicy(&'static str),
    /// Only where DANE applies to the host.
    WithDane(&'static str),
}

/// What a sentence about a failure speaks of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The recipient's domain.
    pub domain: &'a str,
    /// The host that failed.
    pub mx: Option<&'a str>,
    /// What exactly happened, a phrase without full stop: a peer's reply, a date, a list of names.
    pub specifics: Option<&'a str>,
}

/// Everything that is said about one reason.
pub(crate) struct Entry {
    pub(crate) key: &'static str,
    /// The default first.
    pub(crate) statuses: &'static [EnhancedStatus],
    pub(crate) report: ReportCondition,
    pub(crate) side: Side,
    /// One sentence without its full stop; `{mx}` and `{domain}` are filled in.
    pub(crate) sentence: &'static str,
    /// What to do, one or two sentences; `{mx}` and `{domain}` are filled in.
    pub(crate) advice: &'static str,
    /// What to ask of the recipient's administrator, in a letter; empty if nothing would help.
    pub(crate) request: &'static str,
    /// For instance `RFC 8461 section 4.2`.
    pub(crate) clause: &'static str,
    /// Paragraphs: what it means, why mail waits or fails, how to find out more.
    pub(crate) explanation: &'static [&'static str],
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 33] = [
        Self::StarttlsNotOffered,
        Self::StarttlsRefused,
        Self::StarttlsInjection,
        Self::TlsHandshake,
        Self::CertExpired,
        Self::CertHostMismatch,
        Self::CertNotTrusted,
        Self::MxNotInPolicy,
        Self::DaneMismatch,
        Self::DaneLookup,
        Self::DaneUnusable,
        Self::DaneRequired,
        Self::RequireTlsUnsupported,
        Self::RequireTlsNoTls,
        Self::TlsRequiredByPeer,
        Self::RouteAuth,
        Self::PolicyLookup,
        Self::DnsTemporary,
        Self::DnsBogus,
        Self::Connect,
        Self::ConnectionLost,
        Self::Timeout,
        Self::AddressRefused,
        Self::Remote4xx,
        Self::Remote5xx,
        Self::NoSuchDomain,
        Self::NullMx,
        Self::NoUsableMx,
        Self::Loop,
        Self::ExtensionMissing,
        Self::DestinationSuspended,
        Self::Parked,
        Self::Local,
    ];

    /// The key, for instance `cert-expired`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        self.entry().key
    }

    /// The reason with this key.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.key() == key)
    }

    /// Position in [`Reason::ALL`], for tables.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The enhanced status where nothing more exact is known: the peer's own code goes before it,
    /// and so does the cause's where the reason is a consequence.
    #[must_use]
    pub const fn status(self) -> EnhancedStatus {
        match self.entry().statuses {
            [first, ..] => *first,
            [] => EnhancedStatus::transient(0, 0),
        }
    }

    /// Every status that comes with this reason, the default first.
    #[must_use]
    pub const fn statuses(self) -> &'static [EnhancedStatus] {
        self.entry().statuses
    }

    /// How TLS reports count it.
    #[must_use]
    pub const fn report(self) -> ReportCondition {
        self.entry().report
    }

    /// Whose move it is.
    #[must_use]
    pub const fn side(self) -> Side {
        self.entry().side
    }

    /// The clause that speaks of it.
    #[must_use]
    pub const fn clause(self) -> &'static str {
        self.entry().clause
    }

    /// Paragraphs that explain it to an operator.
    #[must_use]
    pub const fn explanation(self) -> &'static [&'static str] {
        self.entry().explanation
    }

    /// One sentence in plain words, for the `detail` field and DSNs, with its full stop.
    #[must_use]
    pub fn sentence(self, facts: &Facts<'_>) -> String {
        let mut text = fill(self.entry().sentence, facts);
        if let Some(specifics) = facts.specifics.map(str::trim).filter(|s| !s.is_empty()) {
            text.push_str(": ");
            text.push_str(specifics.trim_end_matches('.'));
        }
        text.push('.');
        text
    }

    /// What to do next, for [`Reason::side`] to do.
    #[must_use]
    pub fn advice(self, facts: &Facts<'_>) -> String {
        fill(self.entry().advice, facts)
    }

    /// What to ask of the administrator of the recipient's domain, in words for them; `None` if they
    /// can do nothing about it.
    #[must_use]
    pub fn request(self, facts: &Facts<'_>) -> Option<String> {
        let text = self.entry().request;
        (!text.is_empty()).then(|| fill(text, facts))
    }

    const fn entry(self) -> &'static Entry {
        match self {
            Self::StarttlsNotOffered => &tls::STARTTLS_NOT_OFFERED,
            Self::StarttlsRefused => &tls::STARTTLS_REFUSED,
            Self::StarttlsInjection => &tls::STARTTLS_INJECTION,
            Self::TlsHandshake => &tls::TLS_HANDSHAKE,
            Self::CertExpired => &tls::CERT_EXPIRED,
            Self::CertHostMismatch => &tls::CERT_HOST_MISMATCH,
            Self::CertNotTrusted => &tls::CERT_NOT_TRUSTED,
            Self::MxNotInPolicy => &tls::MX_NOT_IN_POLICY,
            Self::DaneMismatch => &dane::DANE_MISMATCH,
            Self::DaneLookup => &dane::DANE_LOOKUP,
            Self::DaneUnusable => &dane::DANE_UNUSABLE,
            Self::DaneRequired => &dane::DANE_REQUIRED,
            Self::RequireTlsUnsupported => &sender::REQUIRETLS_UNSUPPORTED,
            Self::RequireTlsNoTls => &sender::REQUIRETLS_NO_TLS,
            Self::TlsRequiredByPeer => &sender::TLS_REQUIRED_BY_PEER,
            Self::RouteAuth => &sender::ROUTE_AUTH,
            Self::PolicyLookup => &network::POLICY_LOOKUP,
            Self::DnsTemporary => &network::DNS_TEMPORARY,
            Self::DnsBogus => &network::DNS_BOGUS,
            Self::Connect => &network::CONNECT,
            Self::ConnectionLost => &network::CONNECTION_LOST,
            Self::Timeout => &network::TIMEOUT,
            Self::AddressRefused => &network::ADDRESS_REFUSED,
            Self::Remote4xx => &remote::REMOTE_4XX,
            Self::Remote5xx => &remote::REMOTE_5XX,
            Self::NoSuchDomain => &remote::NO_SUCH_DOMAIN,
            Self::NullMx => &remote::NULL_MX,
            Self::NoUsableMx => &remote::NO_USABLE_MX,
            Self::Loop => &remote::LOOP,
            Self::ExtensionMissing => &remote::EXTENSION_MISSING,
            Self::DestinationSuspended => &local::DESTINATION_SUSPENDED,
            Self::Parked => &local::PARKED,
            Self::Local => &local::LOCAL,
        }
    }
}

/// Fills in `{mx}` and `{domain}`.
fn fill(template: &str, facts: &Facts<'_>) -> String {
    let mx = facts.mx.unwrap_or("the mail server");
    let domain = if facts.domain.is_empty() {
        "the recipient's domain"
    } else {
        facts.domain
    };
    let mut text = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        match name {
            "mx" => text.push_str(mx),
            "domain" => text.push_str(domain),
            _ => {}
        }
        rest = after;
    }
    text.push_str(rest);
    // A sentence may begin with the host's name; without one it begins with "the".
    if let Some(lower) = text.strip_prefix("the ") {
        text = format!("The {lower}");
    }
    text
}

impl Side {
    /// As in the `advice` field.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::RecipientAdmin => "recipient-admin",
            Self::Us => "us",
            Self::Wait => "wait",
        }
    }
}

impl ReportCondition {
    /// The result type of RFC 8460 section 4.3, if there is one.
    #[must_use]
    pub const fn result_type(self) -> Option<&'static str> {
        match self {
            Self::Never => None,
            Self::WithPolicy(t) | Self::WithDane(t) => Some(t),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.key())
    }
}

#[cfg(test)]
mod tests;
