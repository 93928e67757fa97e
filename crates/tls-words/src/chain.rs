//! Why a chain of certificates leads to no authority that is trusted.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

/// Why no path to a trust anchor was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// The chain leads to an authority that is not trusted.
    #[error("its issuer {issuer} is not trusted")]
    UnknownIssuer {
        /// The leaf's issuer.
        issuer: Box<str>,
    },
    /// Signed by its own key.
    #[error("it is self-signed")]
    SelfSigned,
    /// The leaf's issuer was neither presented nor is it a trust anchor.
    #[error("the host does not present the certificate of its issuer {issuer}")]
    MissingIntermediate {
        /// The leaf's issuer.
        issuer: Box<str>,
    },
}

/// Why no path to a trust anchor was found: self-signed, the issuer's certificate is missing, or
/// the authority is not trusted.
#[must_use]
pub fn why_untrusted(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Untrusted {
    let Ok((_, certificate)) = X509Certificate::from_der(end_entity) else {
        let issuer = "(unreadable)".into();
        return Untrusted::UnknownIssuer { issuer };
    };
    let issuer = certificate.issuer();
    if certificate.subject().as_raw() == issuer.as_raw() {
        return Untrusted::SelfSigned;
    }
    let presented = intermediates.iter().any(|der| {
        X509Certificate::from_der(der).is_ok_and(|(_, c)| c.subject().as_raw() == issuer.as_raw())
    });
    let issuer = name(issuer);
    match presented {
        true => Untrusted::UnknownIssuer { issuer },
        false => Untrusted::MissingIntermediate { issuer },
    }
}

/// Whether the certificate names itself as its issuer.
#[must_use]
pub fn is_self_issued(der: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, c)| c.subject().as_raw() == c.issuer().as_raw())
}

/// Certificates are untrusted text too (row H3-32).
#[must_use]
pub fn printable(text: &str) -> Box<str> {
    let shown = text.chars().take(TEXT_SHOWN);
    let clean = shown.map(|c| {
        if c.is_ascii_graphic() || c == ' ' {
            c
        } else {
            '?'
        }
    });
    clean.collect::<String>().into()
}

fn name(name: &X509Name<'_>) -> Box<str> {
    printable(&name.to_string())
}

const TEXT_SHOWN: usize = 256;

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    use super::*;

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn h2_01_the_three_causes_are_told_apart() {
        let ca = authority("Our CA");
        let other = authority("Other CA");
        let params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &ca).unwrap();
        let said = |leaf: &CertificateDer<'_>, beside: &[CertificateDer<'_>]| {
            why_untrusted(leaf, beside).to_string()
        };
        let alone = said(leaf.der(), &[]);
        assert!(alone.contains("does not present") && alone.contains("Our CA"));
        assert_eq!(said(leaf.der(), &[other.der().clone()]), alone);
        let whole = said(leaf.der(), &[ca.der().clone()]);
        assert!(whole.contains("Our CA is not trusted"), "{whole}");
        assert_eq!(said(ca.der(), &[]), "it is self-signed");
        assert!(is_self_issued(ca.der()) && !is_self_issued(leaf.der()));
        assert!(said(&CertificateDer::from(vec![0]), &[]).contains("unreadable"));
        assert_eq!(&*printable("a\u{1b}\u{202e}é"), "a???");
    }
}
