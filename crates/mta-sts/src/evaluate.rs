//! What a policy permits for one MX host, before connecting and after the handshake
//! (RFC 8461 sections 4 and 5).
//!
//! | mode | name | TLS | permission |
//! |---|---|---|---|
//! | none | any | any | [`Permission::Unrestricted`] |
//! | testing, enforce | listed | TLS 1.2 or later, valid certificate | [`Permission::Validated`] |
//! | testing | otherwise | | [`Permission::DespiteFailure`]: deliver as if there were no policy, report |
//! | enforce | otherwise | | [`Permission::Refused`]: not this host, now or on any retry; try the next |

use mail_types::HostName;

use crate::pattern::MxPattern;
use crate::policy::{HostVerdict, Mode, Policy};

/// What is known about TLS to an MX host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsOutcome {
    /// EHLO did not offer STARTTLS.
    NotOffered,
    /// STARTTLS was answered by something else than 220, or the dialogue broke there.
    Refused,
    /// The handshake failed, for instance for want of TLS 1.2 (RFC 8461 section 7.2, RFC 8996).
    HandshakeFailed,
    /// The handshake is complete, but the certificate is not valid for the MX name.
    BadCertificate(CertificateFault),
    /// TLS 1.2 or later, and a certificate that leads to a trusted root, is unexpired, and has the
    /// MX name as a DNS-ID. No other name counts: not the domain's, not that of a CNAME target.
    Verified,
}

/// What is wrong with a certificate (RFC 8461 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateFault {
    /// Expired or not yet valid.
    Expired,
    /// No DNS-ID is the MX name.
    HostMismatch,
    /// No path to a trusted root, revoked, or unusable.
    NotTrusted,
}

/// The result of validating a host (RFC 8461 section 4), whatever the mode makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Validation<'a> {
    /// Name and certificate are as the policy demands.
    Passed {
        /// The pattern that covers the name.
        pattern: &'a MxPattern,
    },
    /// They are not.
    Failed(Failure),
}

/// Why validation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    /// No pattern covers the MX name.
    #[error("the MX is not listed in the policy")]
    NotListed,
    /// STARTTLS is not offered.
    #[error("the MX does not offer STARTTLS")]
    StarttlsNotOffered,
    /// STARTTLS is refused.
    #[error("the MX refuses STARTTLS")]
    StarttlsRefused,
    /// No handshake.
    #[error("the TLS handshake failed")]
    Handshake,
    /// Expired or not yet valid.
    #[error("the certificate is expired or not yet valid")]
    CertificateExpired,
    /// For another name.
    #[error("the certificate is not for the name of the MX")]
    CertificateHostMismatch,
    /// Not trusted.
    #[error("the certificate is not trusted")]
    CertificateNotTrusted,
}

/// What the policy permits. Must be matched without `_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Permission<'a> {
    /// Mode none: as if there were no policy.
    Unrestricted,
    /// Everything the policy demands holds.
    Validated {
        /// The pattern that covers the name.
        pattern: &'a MxPattern,
    },
    /// Mode testing: deliver exactly as without a policy, and report the failure.
    DespiteFailure(Failure),
    /// Mode enforce: this host MUST NOT get the message (RFC 8461 section 5).
    Refused(Failure),
}

impl Policy {
    /// What may be done with this host before a connection is made: only the name is known.
    /// `None`: nothing forbids connecting; ask [`Policy::evaluate`] again after the handshake.
    #[must_use]
    pub fn refusal_by_name(&self, mx: &HostName) -> Option<Failure> {
        match (self.mode(), self.host(mx)) {
            (Mode::Enforce, HostVerdict::NotListed) => Some(Failure::NotListed),
            (Mode::Enforce, HostVerdict::Listed { .. }) | (Mode::Testing | Mode::None, _) => None,
        }
    }

    /// Validates a host by its MX name and what the handshake gave (section 4). The name is judged
    /// first: a host that is not listed has failed whatever certificate it shows.
    pub fn validate(&self, mx: &HostName, tls: TlsOutcome) -> Validation<'_> {
        let pattern = match self.host(mx) {
            HostVerdict::Listed { pattern } => pattern,
            HostVerdict::NotListed => return Validation::Failed(Failure::NotListed),
        };
        Validation::Failed(match tls {
            TlsOutcome::Verified => return Validation::Passed { pattern },
            TlsOutcome::NotOffered => Failure::StarttlsNotOffered,
            TlsOutcome::Refused => Failure::StarttlsRefused,
            TlsOutcome::HandshakeFailed => Failure::Handshake,
            TlsOutcome::BadCertificate(CertificateFault::Expired) => Failure::CertificateExpired,
            TlsOutcome::BadCertificate(CertificateFault::HostMismatch) => {
                Failure::CertificateHostMismatch
            }
            TlsOutcome::BadCertificate(CertificateFault::NotTrusted) => {
                Failure::CertificateNotTrusted
            }
        })
    }

    /// What the policy permits for a host (section 5): [`Policy::validate`], and then the mode.
    pub fn evaluate(&self, mx: &HostName, tls: TlsOutcome) -> Permission<'_> {
        match (self.mode(), self.validate(mx, tls)) {
            (Mode::None, Validation::Passed { .. } | Validation::Failed(_)) => {
                Permission::Unrestricted
            }
            (Mode::Testing | Mode::Enforce, Validation::Passed { pattern }) => {
                Permission::Validated { pattern }
            }
            (Mode::Testing, Validation::Failed(failure)) => Permission::DespiteFailure(failure),
            (Mode::Enforce, Validation::Failed(failure)) => Permission::Refused(failure),
        }
    }
}

impl Failure {
    /// The result type of a TLS report (RFC 8460 section 4.3).
    #[must_use]
    pub const fn result_type(self) -> &'static str {
        match self {
            Self::NotListed | Self::Handshake => "validation-failure",
            Self::StarttlsNotOffered | Self::StarttlsRefused => "starttls-not-supported",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateHostMismatch => "certificate-host-mismatch",
            Self::CertificateNotTrusted => "certificate-not-trusted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULTS: [(TlsOutcome, Failure); 6] = [
        (TlsOutcome::NotOffered, Failure::StarttlsNotOffered),
        (TlsOutcome::Refused, Failure::StarttlsRefused),
        (TlsOutcome::HandshakeFailed, Failure::Handshake),
        (
            TlsOutcome::BadCertificate(CertificateFault::Expired),
            Failure::CertificateExpired,
        ),
        (
            TlsOutcome::BadCertificate(CertificateFault::HostMismatch),
            Failure::CertificateHostMismatch,
        ),
        (
            TlsOutcome::BadCertificate(CertificateFault::NotTrusted),
            Failure::CertificateNotTrusted,
        ),
    ];

    fn policy(mode: Mode) -> Policy {
        let text = format!("version: STSv1\nmode: {mode}\nmx: mx1.d.test\nmax_age: 60");
        Policy::parse(text.as_bytes()).unwrap().policy
    }

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    #[test]
    fn a6_01_a6_02_a6_03_a6_04_enforce_refuses_every_failure() {
        let p = policy(Mode::Enforce);
        for (tls, failure) in FAULTS {
            assert_eq!(
                p.evaluate(&host("mx1.d.test"), tls),
                Permission::Refused(failure)
            );
        }
        assert_eq!(p.refusal_by_name(&host("mx1.d.test")), None);
        assert_eq!(
            p.refusal_by_name(&host("mx9.d.test")),
            Some(Failure::NotListed)
        );
    }

    #[test]
    fn a5_07_an_unlisted_host_fails_with_any_certificate() {
        let p = policy(Mode::Enforce);
        assert_eq!(
            p.evaluate(&host("evil.test"), TlsOutcome::Verified),
            Permission::Refused(Failure::NotListed)
        );
    }

    #[test]
    fn a6_06_a6_07_testing_delivers_and_tells() {
        let p = policy(Mode::Testing);
        for (tls, failure) in FAULTS {
            let got = p.evaluate(&host("mx1.d.test"), tls);
            assert_eq!(got, Permission::DespiteFailure(failure));
        }
        assert_eq!(
            p.refusal_by_name(&host("mx9.d.test")),
            None,
            "never filtered by name"
        );
    }

    #[test]
    fn a6_08_none_restricts_nothing() {
        let p = policy(Mode::None);
        for (tls, _) in FAULTS {
            assert_eq!(
                p.evaluate(&host("evil.test"), tls),
                Permission::Unrestricted
            );
        }
        let verified = p.evaluate(&host("mx1.d.test"), TlsOutcome::Verified);
        assert_eq!(verified, Permission::Unrestricted);
    }

    #[test]
    fn validated_names_its_pattern() {
        for mode in [Mode::Testing, Mode::Enforce] {
            let p = policy(mode);
            let Permission::Validated { pattern } =
                p.evaluate(&host("mx1.d.test"), TlsOutcome::Verified)
            else {
                panic!("{mode}: not validated");
            };
            assert_eq!(pattern.as_str(), "mx1.d.test");
        }
    }

    #[test]
    fn a6_24_result_types() {
        for (_, failure) in FAULTS {
            assert!(!failure.result_type().is_empty());
        }
        assert_eq!(Failure::NotListed.result_type(), "validation-failure");
        assert_eq!(
            Failure::StarttlsRefused.result_type(),
            "starttls-not-supported"
        );
    }
}
