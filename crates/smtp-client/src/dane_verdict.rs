//! What a host's TLSA records say of its certificate (RFC 7672 section 3).

use crate::{CertificateFault, LeafCertificate};
use reasons::Reason;

/// What the TLSA records of the host say of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum DaneVerdict {
    /// It has none that can be used.
    NotPublished,
    /// Its certificate matches, and the connection was opened to demand that.
    Authenticated(DaneMatch),
    /// Only observed: authenticated for nobody, whatever it saw.
    Observed(Result<DaneMatch, Box<DaneFailure>>),
}

/// By which kind of record a certificate is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DaneMatch {
    /// DANE-EE(3): the certificate or its key is the published one; its names and dates do not
    /// matter (RFC 7672 section 3.1.1).
    EndEntity,
    /// DANE-TA(2): its chain leads to the published authority, and names and dates are right
    /// (RFC 7672 section 3.1.2).
    TrustAnchor,
}

/// Why a host is not authenticated by its TLSA records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaneFailure {
    /// What is wrong.
    pub fault: DaneFault,
    /// The peer's certificate, if it could be read.
    pub leaf: Option<LeafCertificate>,
    /// How many certificates the peer presented.
    pub presented: usize,
}

/// What is wrong with a certificate in the light of the TLSA records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[must_use]
pub enum DaneFault {
    /// No record matches it or an authority above it.
    #[error("none of the TLSA records of {base} matches it ({records})")]
    NoMatch {
        /// The TLSA base domain.
        base: Box<str>,
        /// The records, cut short.
        records: Box<str>,
    },
    /// A DANE-TA record names an authority, but the chain to it, its names or its dates are wrong.
    #[error("the authority that the TLSA records of {base} name does not vouch for it: {fault}")]
    Anchored {
        /// The TLSA base domain.
        base: Box<str>,
        /// What is wrong.
        fault: CertificateFault,
    },
    /// It matches, but the peer did not prove to hold its key.
    #[error("the host did not prove that it holds the certificate's key")]
    KeyNotProven,
}

impl DaneVerdict {
    /// How the host was authenticated, if it was.
    #[must_use]
    pub const fn authenticated(&self) -> Option<DaneMatch> {
        match self {
            Self::Authenticated(by) => Some(*by),
            Self::NotPublished | Self::Observed(_) => None,
        }
    }

    /// Why the records would have refused, or did refuse, the session.
    #[must_use]
    pub fn failure(&self) -> Option<&DaneFailure> {
        match self {
            Self::Observed(Err(failure)) => Some(failure),
            Self::NotPublished | Self::Authenticated(_) | Self::Observed(Ok(_)) => None,
        }
    }

    /// By which record the certificate matches, demanded or not. Never a ground for relying on the
    /// connection.
    #[must_use]
    pub const fn would_match(&self) -> Option<DaneMatch> {
        match self {
            Self::Authenticated(by) | Self::Observed(Ok(by)) => Some(*by),
            Self::NotPublished | Self::Observed(Err(_)) => None,
        }
    }
}

impl DaneFailure {
    /// The reason that stands in the record of an attempt.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match &self.fault {
            DaneFault::NoMatch { .. } | DaneFault::KeyNotProven => Reason::DaneMismatch,
            DaneFault::Anchored { fault, .. } => fault.reason(),
        }
    }

    /// The failure-reason-code of a TLS report (RFC 8460 section 4.4, decision AMB-31).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match &self.fault {
            DaneFault::NoMatch { .. } => "dane-no-match",
            DaneFault::Anchored { fault, .. } => fault.code(),
            DaneFault::KeyNotProven => "key-not-proven",
        }
    }
}

impl std::fmt::Display for DaneFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the certificate is not the one that DNS names: {}",
            self.fault
        )
    }
}

impl std::error::Error for DaneFailure {}
