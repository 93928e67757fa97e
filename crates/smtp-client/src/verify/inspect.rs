//! Names and dates of a certificate, for people: nothing here decides whether it is valid.

use aws_lc_rs::digest::{SHA256, digest};
use mail_types::Timestamp;
use rustls_pki_types::CertificateDer;
use tls_words::{Untrusted, printable};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

use crate::certificate::NAMES_KEPT;
use crate::{CertificateFault, LeafCertificate};

/// What is shown of a certificate; `None` if it cannot be read.
pub(super) fn leaf(der: &CertificateDer<'_>) -> Option<LeafCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let dns_names = names
        .iter()
        .flat_map(|n| &n.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(dns) => Some(printable(dns)),
            _ => None,
        });
    let fingerprint = digest(&SHA256, der);
    Some(LeafCertificate {
        subject_alt_names: dns_names.take(NAMES_KEPT).collect(),
        issuer: printable(&certificate.issuer().to_string()),
        not_before: timestamp(certificate.validity().not_before),
        not_after: timestamp(certificate.validity().not_after),
        sha256: hex(fingerprint.as_ref()).into(),
    })
}

/// See [`tls_words::why_untrusted`].
pub(super) fn why_unknown(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> CertificateFault {
    match tls_words::why_untrusted(end_entity, intermediates) {
        Untrusted::UnknownIssuer { issuer } => CertificateFault::UnknownIssuer { issuer },
        Untrusted::SelfSigned => CertificateFault::SelfSigned,
        Untrusted::MissingIntermediate { issuer } => {
            CertificateFault::MissingIntermediate { issuer }
        }
    }
}

/// Whether a handshake signature by this certificate can be checked at all: webpki can read it and
/// the key is of a supported kind and size. Not for RSA below 2048 or above 8192 bits, DSA, other
/// curves, version 1 certificates.
pub(super) fn is_checkable(der: &CertificateDer<'_>) -> bool {
    if EndEntityCert::try_from(der).is_err() {
        return false;
    }
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        // webpki reads it: then its signature counts.
        return true;
    };
    let spki = certificate.public_key();
    match spki.parsed() {
        Ok(PublicKey::RSA(key)) => (2048..=8192).contains(&key.key_size()),
        Ok(PublicKey::EC(point)) => matches!(point.key_size(), 256 | 384 | 521 | 528),
        _ => spki.algorithm.algorithm.to_id_string() == ED25519,
    }
}

fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, b| {
        // Writing to a string does not fail.
        let _ = write!(text, "{b:02x}");
        text
    })
}

const ED25519: &str = "1.3.101.112";
