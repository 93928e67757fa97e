//! Why a certificate is refused, with its names and dates.

use mail_types::Timestamp;
use reasons::Reason;
use tls_words::Untrusted;

use crate::LeafCertificate;

/// Why a certificate is refused. Made once, by the verifier; logs, reports and DSNs derive from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFailure {
    /// What is wrong.
    pub fault: CertificateFault,
    /// The peer's certificate, if it could be read.
    pub leaf: Option<LeafCertificate>,
    /// How many certificates the peer presented.
    pub presented: usize,
}

/// What is wrong with a certificate or its chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[must_use]
pub enum CertificateFault {
    /// A certificate of the chain is past its end.
    #[error("it expired on {} and now is {}", to_the_second(*not_after), to_the_second(*now))]
    Expired {
        /// Last valid moment.
        not_after: Timestamp,
        /// The moment of the check.
        now: Timestamp,
    },
    /// A certificate of the chain is before its start.
    #[error("it is valid only from {} and now is {}", to_the_second(*not_before), to_the_second(*now))]
    NotYetValid {
        /// First valid moment.
        not_before: Timestamp,
        /// The moment of the check.
        now: Timestamp,
    },
    /// None of its names is the MX name.
    #[error("it is not for {expected} but for {}", names_or_none(names))]
    HostMismatch {
        /// The MX name.
        expected: Box<str>,
        /// The DNS names that it has, at most 32.
        names: Vec<Box<str>>,
    },
    /// The chain leads to an authority that is not trusted.
    #[error("{}", Untrusted::UnknownIssuer { issuer: issuer.clone() })]
    UnknownIssuer {
        /// The leaf's issuer.
        issuer: Box<str>,
    },
    /// Signed by its own key.
    #[error("{}", Untrusted::SelfSigned)]
    SelfSigned,
    /// The leaf's issuer was neither presented nor is it a trust anchor.
    #[error("{}", Untrusted::MissingIntermediate { issuer: issuer.clone() })]
    MissingIntermediate {
        /// The leaf's issuer.
        issuer: Box<str>,
    },
    /// Not for TLS servers (extended key usage), or a CA certificate used as a leaf.
    #[error("it is not meant for servers ({0})")]
    Purpose(&'static str),
    /// Name constraints, path length, basic constraints, depth, unknown critical extension.
    #[error("its chain breaks a constraint ({0})")]
    Constraint(&'static str),
    /// A key or signature algorithm that is not acceptable.
    #[error("it uses an algorithm or key that is not acceptable ({0})")]
    Algorithm(&'static str),
    /// A signature in the chain is wrong.
    #[error("a signature in its chain is wrong")]
    BadSignature,
    /// Revoked, or its revocation status is not known.
    #[error("its revocation was checked and failed ({0})")]
    Revocation(&'static str),
    /// It cannot be read.
    #[error("it cannot be read ({0})")]
    Malformed(&'static str),
    /// The chain is fine, but the peer did not prove to hold the key.
    #[error("the host did not prove that it holds the certificate's key")]
    KeyNotProven,
    /// Anything else.
    #[error("it was refused: {0}")]
    Other(Box<str>),
}

impl CertificateFailure {
    /// The reason that stands in the record of an attempt.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.fault.reason()
    }

    /// The cause in kebab case: the failure-reason-code of a TLS report (RFC 8460 section 4.4).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.fault.code()
    }
}

impl CertificateFault {
    /// The reason that stands in the record of an attempt.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Expired { .. } => Reason::CertExpired,
            Self::HostMismatch { .. } => Reason::CertHostMismatch,
            Self::NotYetValid { .. }
            | Self::UnknownIssuer { .. }
            | Self::SelfSigned
            | Self::MissingIntermediate { .. }
            | Self::Purpose(_)
            | Self::Constraint(_)
            | Self::Algorithm(_)
            | Self::BadSignature
            | Self::Revocation(_)
            | Self::Malformed(_)
            | Self::KeyNotProven
            | Self::Other(_) => Reason::CertNotTrusted,
        }
    }

    /// The cause in kebab case: the failure-reason-code of a TLS report (RFC 8460 section 4.4).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::HostMismatch { .. } => "host-mismatch",
            Self::UnknownIssuer { .. } => "unknown-issuer",
            Self::SelfSigned => "self-signed",
            Self::MissingIntermediate { .. } => "missing-intermediate",
            Self::Purpose(code)
            | Self::Constraint(code)
            | Self::Algorithm(code)
            | Self::Revocation(code)
            | Self::Malformed(code) => code,
            Self::BadSignature => "bad-signature",
            Self::KeyNotProven => "key-not-proven",
            Self::Other(_) => "other",
        }
    }
}

impl std::fmt::Display for CertificateFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the certificate is not valid: {}", self.fault)
    }
}

impl std::error::Error for CertificateFailure {}

/// Certificates know no fractions of a second.
fn to_the_second(at: Timestamp) -> String {
    Timestamp::from_secs(at.as_secs())
        .rfc3339()
        .replace(".000Z", "Z")
}

fn names_or_none(names: &[Box<str>]) -> String {
    if names.is_empty() {
        return "no name at all".to_owned();
    }
    few_names(names)
}

/// The first names of a certificate, which tell whose it is, and how many more there are: it may have
/// hundreds.
#[must_use]
pub fn few_names(names: &[Box<str>]) -> String {
    let shown = &names[..names.len().min(NAMES)];
    match names.len() - shown.len() {
        0 => shown.join(", "),
        // Of a long list the rest was not kept.
        more if names.len() >= NAMES_KEPT => {
            format!("{} and at least {more} more", shown.join(", "))
        }
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Of a certificate, in a sentence.
const NAMES: usize = 5;
/// Of a certificate, in the record of a session.
pub(crate) const NAMES_KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_names_a_few_are_told() {
        let names = |n: usize| {
            (0..n)
                .map(|n| format!("n{n}.test").into())
                .collect::<Vec<_>>()
        };
        assert_eq!(few_names(&names(2)), "n0.test, n1.test");
        assert!(few_names(&names(5)).ends_with("n3.test, n4.test"));
        let fault = CertificateFault::HostMismatch {
            expected: "mx.d.test".into(),
            names: names(31),
        };
        let said = fault.to_string();
        assert!(
            said.contains("n4.test and 26 more") && !said.contains("n5.test"),
            "{said}"
        );
        // Of a certificate with ninety so many were kept.
        assert!(few_names(&names(NAMES_KEPT)).ends_with("n4.test and at least 27 more"));
    }
}
