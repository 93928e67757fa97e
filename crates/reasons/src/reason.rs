//! Why an attempt failed: one key per cause, with everything that is said about it.

use std::fmt;

use mail_types::EnhancedStatus;
use serde::{Serialize, Serializer};

mod cases;
mod dane;
mod facts;
mod local;
mod network;
mod remote;
mod replies;
mod sender;
mod tls;

pub use facts::{Case, DemandedBy, Facts, Reader};

use cases::Variant;
use facts::fill;

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

impl Side {
    /// All, who can do most about it first.
    pub const ALL: [Self; 3] = [Self::Us, Self::RecipientAdmin, Self::Wait];
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

    /// Paragraphs that explain this case of it to an operator.
    #[must_use]
    pub const fn explanation_in(self, case: Case) -> &'static [&'static str] {
        match cases::explanation(self, case) {
            Some(of_the_case) => of_the_case,
            None => self.explanation(),
        }
    }

    /// Whether this case has an explanation of its own: then [`Reason::clause`] does not speak of it.
    #[must_use]
    pub const fn is_explained_apart(self, case: Case) -> bool {
        cases::explanation(self, case).is_some()
    }

    /// Whose move it is, in this case.
    #[must_use]
    pub const fn side_in(self, case: Case, by: DemandedBy) -> Side {
        facts::side(self, self.said(case).side, by)
    }

    /// Whether somebody has to act on a host that failed like this, and not only to wait: that is told
    /// before what passes.
    #[must_use]
    pub fn is_more_serious(self, case: Case, by: DemandedBy) -> bool {
        facts::is_of_tls(self) && self.side_in(case, by) != Side::Wait
    }

    /// Whether a session did not meet what is demanded of its TLS, or a host was left out by a policy.
    #[must_use]
    pub const fn is_of_tls(self) -> bool {
        facts::is_of_tls(self)
    }

    /// Whether it is the certificate or the name that does not fit, in a session that is encrypted.
    #[must_use]
    pub const fn is_of_certificate(self) -> bool {
        matches!(
            self,
            Self::CertExpired | Self::CertHostMismatch | Self::CertNotTrusted | Self::MxNotInPolicy
        )
    }

    /// Whether it is the sender who has to act.
    #[must_use]
    pub fn is_for_sender(self, case: Case) -> bool {
        let said = self.said(case);
        said.side == Side::Us && said.advice.contains("{sender}")
    }

    /// One sentence in plain words, for the `detail` field and DSNs, with its full stop.
    #[must_use]
    pub fn sentence(self, facts: &Facts<'_>) -> String {
        let mut text = fill(self.said(facts.case).sentence, facts);
        if let Some(specifics) = facts.specifics.map(str::trim).filter(|s| !s.is_empty()) {
            text.push_str(": ");
            text.push_str(specifics.trim_end_matches('.'));
        }
        text.push('.');
        text
    }

    /// What to do next, for [`Reason::side_in`] to do; empty if there is nothing.
    #[must_use]
    pub fn advice(self, facts: &Facts<'_>) -> String {
        let template = self.said(facts.case).advice;
        let side = self.side_in(facts.case, facts.by);
        if template.is_empty() {
            return String::new();
        }
        let template = match (facts.reader, side) {
            _ if facts.given_up && side == Side::Wait => "",
            (Reader::Operator, _) | (Reader::Sender, Side::RecipientAdmin) => template,
            // Nobody has to act, and they least of all.
            (Reader::Sender, Side::Wait) => "",
            (Reader::Sender, Side::Us) if template.contains("{sender}") => template,
            (Reader::Sender, Side::Us) => {
                "It is for the administrators of this mail system to put right."
            }
        };
        // The rest is for who runs this relay.
        let template = match (facts.reader, template.split_once("{us}")) {
            (Reader::Sender, Some((theirs, _))) => theirs,
            (Reader::Operator | Reader::Sender, _) => template,
        };
        let mut text = fill(template, facts);
        if facts.given_up {
            text.push_str(match (template.is_empty(), facts.reader) {
                (false, Reader::Operator) => GIVEN_UP,
                (false, Reader::Sender) => " You may send it again after that.",
                (true, Reader::Operator) => NOTHING_TO_MEND,
                (true, Reader::Sender) => "You may send it again later.",
            });
        }
        text
    }

    /// What to ask of the administrator of the recipient's domain, in words for them; `None` if they
    /// can do nothing about it, or if it is not they who demand it or whose host it is.
    #[must_use]
    pub fn request(self, facts: &Facts<'_>) -> Option<String> {
        let text = self.said(facts.case).request;
        let theirs = match facts.by {
            DemandedBy::Recipient | DemandedBy::TlsaRecords | DemandedBy::Sender => true,
            DemandedBy::Rule | DemandedBy::Default => {
                self.side_in(facts.case, facts.by) == self.side()
            }
            _ => false,
        };
        (theirs && !text.is_empty()).then(|| fill(text, facts))
    }

    /// What is said in this case.
    const fn said(self, case: Case) -> Variant {
        match cases::variant(self, case) {
            Some(variant) => *variant,
            None => {
                let entry = self.entry();
                Variant {
                    side: entry.side,
                    sentence: entry.sentence,
                    advice: entry.advice,
                    request: entry.request,
                }
            }
        }
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

const GIVEN_UP: &str =
    " It was given up at the end of its lifetime; the sender may send it again after that.";
const NOTHING_TO_MEND: &str =
    "It was given up at the end of its lifetime; the sender may send it again later.";

#[cfg(test)]
mod tests;
