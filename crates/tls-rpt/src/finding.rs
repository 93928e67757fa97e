//! What one session, or one fetch of a policy, showed.

use std::borrow::Cow;
use std::net::IpAddr;

use mail_types::Timestamp;
use serde::{Deserialize, Serialize};

/// What one session showed about one policy, or what came of one fetch of it (RFC 8460 section 4).
/// Borrowed: most of it is known to the day's counts already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'a> {
    /// When the session, or the fetch, was begun: the report is that day's.
    pub at: Timestamp,
    /// The Policy Domain (section 1.1) in A-label form: the recipient domain, the next hop's name where a
    /// route leads there, or the TLSA base domain.
    pub domain: &'a str,
    /// What applied.
    pub policy: Policy<'a>,
    /// Whether TLS was as the policy demands; `None` if so.
    pub failure: Option<Failure<'a>>,
}

/// A policy that applied to a session (RFC 8460 section 4.4, `policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy<'a> {
    /// MTA-STS (RFC 8461), of mode enforce or testing: its text as it was received; empty if none was had.
    Sts(&'a str),
    /// TLSA records (RFC 7672), one in each string: four fields with one space between.
    Tlsa(&'a [String]),
    /// Neither.
    NoPolicyFound,
}

/// The `policy-type` (RFC 8460 section 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyType {
    /// `sts`.
    Sts,
    /// `tlsa`.
    Tlsa,
    /// `no-policy-found`.
    NoPolicyFound,
}

/// What was wrong (RFC 8460 section 4.4, `failure-details`). What cannot apply is `None`, and then left out
/// of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// `result-type`.
    pub result: ResultType,
    /// `sending-mta-ip`: where the session came from, as the world sees it.
    pub sending_ip: Option<IpAddr>,
    /// `receiving-mx-hostname`: the MX record's name in A-label form.
    pub mx: Option<&'a str>,
    /// `receiving-mx-helo`: the name in the peer's greeting, as it came.
    pub helo: Option<&'a str>,
    /// `receiving-ip`.
    pub receiving_ip: Option<IpAddr>,
    /// `failure-reason-code`: a short word of ours.
    pub reason: Option<Cow<'a, str>>,
}

/// The `result-type` of a failure (RFC 8460 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultType {
    /// The host does not offer STARTTLS, or refused it (section 4.3.1).
    StarttlsNotSupported,
    /// The certificate is for other names (section 4.3.1).
    CertificateHostMismatch,
    /// The certificate has run out (section 4.3.1).
    CertificateExpired,
    /// Nobody that is trusted vouches for the certificate (section 4.3.1).
    CertificateNotTrusted,
    /// Anything else (section 4.3.1).
    ValidationFailure,
    /// No TLSA record can be used (section 4.3.2.1).
    TlsaInvalid,
    /// DNSSEC does not vouch for the records (section 4.3.2.1).
    DnssecInvalid,
    /// DANE is demanded here, and there are no records (section 4.3.2.1).
    DaneRequired,
    /// The policy could not be fetched (section 4.3.2.2).
    StsPolicyFetchError,
    /// What was fetched is no policy (section 4.3.2.2).
    StsPolicyInvalid,
    /// The policy host's certificate is not valid for it (section 4.3.2.2).
    StsWebpkiInvalid,
}

impl PolicyType {
    /// As in reports.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Sts => "sts",
            Self::Tlsa => "tlsa",
            Self::NoPolicyFound => "no-policy-found",
        }
    }
}

impl Policy<'_> {
    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> PolicyType {
        match self {
            Self::Sts(_) => PolicyType::Sts,
            Self::Tlsa(_) => PolicyType::Tlsa,
            Self::NoPolicyFound => PolicyType::NoPolicyFound,
        }
    }
}

impl ResultType {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::StarttlsNotSupported,
        Self::CertificateHostMismatch,
        Self::CertificateExpired,
        Self::CertificateNotTrusted,
        Self::ValidationFailure,
        Self::TlsaInvalid,
        Self::DnssecInvalid,
        Self::DaneRequired,
        Self::StsPolicyFetchError,
        Self::StsPolicyInvalid,
        Self::StsWebpkiInvalid,
    ];

    /// As in reports.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::StarttlsNotSupported => "starttls-not-supported",
            Self::CertificateHostMismatch => "certificate-host-mismatch",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::ValidationFailure => "validation-failure",
            Self::TlsaInvalid => "tlsa-invalid",
            Self::DnssecInvalid => "dnssec-invalid",
            Self::DaneRequired => "dane-required",
            Self::StsPolicyFetchError => "sts-policy-fetch-error",
            Self::StsPolicyInvalid => "sts-policy-invalid",
            Self::StsWebpkiInvalid => "sts-webpki-invalid",
        }
    }

    /// Whether a fetch of the policy failed so; sessions never do.
    #[must_use]
    pub const fn is_of_fetches(self) -> bool {
        matches!(
            self,
            Self::StsPolicyFetchError | Self::StsPolicyInvalid | Self::StsWebpkiInvalid
        )
    }

    /// The one with this [`key`](Self::key).
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|result| result.key() == key)
    }
}
