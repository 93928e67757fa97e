//! The PKIX verdict (RFC 5280 section 6, RFC 9525) with its exact cause.

use mail_types::Timestamp;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::time::Duration;
use webpki::{EndEntityCert, Error, KeyUsage};

use super::inspect;
use crate::CertificateFault;
use crate::roots::RootSet;

/// Whether the presented chain leads to a trust anchor at `now`, for a TLS server of this name.
/// Depends on nothing but its arguments: no certificate is fetched or remembered (row I2-11).
pub(super) fn judge(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    roots: &RootSet,
    algorithms: &WebPkiSupportedAlgorithms,
    now: Timestamp,
) -> Result<(), CertificateFault> {
    let explain = |error| explain(error, end_entity, intermediates, name);
    let leaf = EndEntityCert::try_from(end_entity).map_err(explain)?;
    let lists = roots.revocation().lists();
    leaf.verify_for_usage(
        algorithms.all,
        &roots.store().roots,
        intermediates,
        unix_time(now),
        KeyUsage::server_auth(),
        roots.revocation().options(&lists),
        None,
    )
    .map_err(explain)?;
    // RFC 8461 section 4.2: a subjectAltName of type DNS-ID; the common name is never looked at.
    leaf.verify_is_valid_for_subject_name(name).map_err(explain)
}

pub(super) fn unix_time(t: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(t.as_millis()))
}

fn timestamp(t: UnixTime) -> Timestamp {
    Timestamp::from_secs(t.as_secs())
}

/// The cause in our own words.
pub(super) fn explain(
    error: Error,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    name: &ServerName<'_>,
) -> CertificateFault {
    use CertificateFault as F;
    match error {
        Error::CertExpired { time, not_after } => F::Expired {
            not_after: timestamp(not_after),
            now: timestamp(time),
        },
        Error::CertNotValidYet { time, not_before } => F::NotYetValid {
            not_before: timestamp(not_before),
            now: timestamp(time),
        },
        Error::CertNotValidForName(_) => F::HostMismatch {
            expected: name.to_str().into(),
            names: inspect::leaf(end_entity).map_or_else(Vec::new, |l| l.subject_alt_names),
        },
        Error::UnknownIssuer => inspect::why_unknown(end_entity, intermediates),
        // Also how a self-signed CA certificate shows itself.
        Error::CaUsedAsEndEntity if tls_words::is_self_issued(end_entity) => F::SelfSigned,
        Error::CaUsedAsEndEntity => F::Purpose("ca-used-as-end-entity"),
        Error::RequiredEkuNotFoundContext(_) => F::Purpose("invalid-purpose"),
        Error::EmptyEkuExtension => F::Purpose("empty-extended-key-usage"),
        Error::EndEntityUsedAsCa => F::Constraint("issuer-is-not-a-ca"),
        Error::NameConstraintViolation => F::Constraint("name-constraint"),
        Error::MalformedNameConstraint | Error::InvalidNetworkMaskConstraint => {
            F::Constraint("malformed-name-constraint")
        }
        Error::PathLenConstraintViolated => F::Constraint("path-length"),
        Error::MaximumPathDepthExceeded => F::Constraint("path-depth"),
        Error::MaximumPathBuildCallsExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => F::Constraint("path-too-complex"),
        Error::UnsupportedCriticalExtension => F::Constraint("unhandled-critical-extension"),
        Error::InvalidSignatureForPublicKey => F::BadSignature,
        Error::SignatureAlgorithmMismatch => F::Algorithm("signature-algorithm-mismatch"),
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            F::Algorithm("unsupported-signature-algorithm")
        }
        Error::CertRevoked => F::Revocation("revoked"),
        Error::UnknownRevocationStatus => F::Revocation("unknown-revocation-status"),
        Error::CrlExpired { .. } => F::Revocation("crl-expired"),
        Error::InvalidCrlSignatureForPublicKey
        | Error::IssuerNotCrlSigner
        | Error::UnsupportedCrlSignatureAlgorithmContext(_)
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
            F::Revocation("crl-not-by-the-issuer")
        }
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => F::Malformed("bad-encoding"),
        Error::MalformedExtensions | Error::ExtensionValueInvalid => F::Malformed("bad-extension"),
        Error::MalformedDnsIdentifier => F::Malformed("bad-dns-name"),
        Error::UnsupportedCertVersion => F::Malformed("unsupported-version"),
        Error::InvalidCertValidity => F::Malformed("bad-validity"),
        Error::InvalidSerialNumber => F::Malformed("bad-serial-number"),
        // The list of webpki is open.
        other => F::Other(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RootSet, RootSource};
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    /// A root set with one CA, and a certificate by it for `mx.test`, valid 1975 to 4096.
    fn good() -> (RootSet, CertificateDer<'static>) {
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
        let (roots, _) = RootSet::load(&[RootSource::File(file.path().to_owned())]).unwrap();
        let leaf = CertificateParams::new(vec!["mx.test".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        (roots, leaf.der().clone())
    }

    fn verdict(roots: &RootSet, der: &[u8], name: &str) -> Result<(), CertificateFault> {
        let algorithms =
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = Timestamp::from_secs(1_772_366_400);
        judge(&der.into(), &[], &name, roots, &algorithms, now)
    }

    #[test]
    fn i1_03_case_does_not_matter() {
        let (roots, der) = good();
        assert_eq!(verdict(&roots, &der, "mx.test"), Ok(()));
        assert_eq!(verdict(&roots, &der, "MX.Test"), Ok(()));
        assert!(verdict(&roots, &der, "mx.test.x").is_err());
    }

    #[test]
    fn i2_07_a_damaged_certificate_is_refused_and_never_a_panic() {
        let (roots, der) = good();
        for at in 0..der.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut damaged = der.to_vec();
                damaged[at] ^= mask;
                assert!(
                    verdict(&roots, &damaged, "mx.test").is_err(),
                    "{at} {mask:#x}"
                );
                let _ = inspect::leaf(&damaged.as_slice().into());
                let _ = inspect::is_checkable(&damaged.as_slice().into());
            }
            assert!(
                verdict(&roots, &der[..at], "mx.test").is_err(),
                "cut at {at}"
            );
        }
        let trailing = [&der[..], b"x"].concat();
        assert!(verdict(&roots, &trailing, "mx.test").is_err());
    }
}
