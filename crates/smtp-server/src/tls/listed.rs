//! Client certificates that stand in `client-ca` themselves.
//!
//! Whoever lists a certificate means the holder of its key. WebPKI's rules are about what others
//! may certify, and do not fit it: `openssl req -x509` makes certificates that call themselves an
//! authority, which a client's must not be. So what is listed counts by its octets and its dates
//! alone; everything else is verified as issued by one of those in the file that are authorities.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Debug)]
pub(super) struct ListedOrIssued {
    listed: Vec<CertificateDer<'static>>,
    /// The subjects of what is listed.
    hints: Vec<DistinguishedName>,
    /// `None`: nothing that is listed is an authority.
    issued: Option<Arc<dyn ClientCertVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ListedOrIssued {
    pub(super) fn new(
        listed: Vec<CertificateDer<'static>>,
        hints: Vec<DistinguishedName>,
        issued: Option<Arc<dyn ClientCertVerifier>>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self {
            listed,
            hints,
            issued,
            algorithms,
        }
    }
}

impl ClientCertVerifier for ListedOrIssued {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.listed.contains(end_entity) {
            let Some(issued) = &self.issued else {
                return Err(CertificateError::UnknownIssuer.into());
            };
            return issued.verify_client_cert(end_entity, intermediates, now);
        }
        within_dates(end_entity, now)?;
        Ok(ClientCertVerified::assertion())
    }

    // That the client holds the key is proved in the handshake, for every certificate.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// RFC 5280 section 4.1.2.5.
fn within_dates(der: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|_| CertificateError::BadEncoding)?;
    let validity = certificate.validity();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet);
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired);
    }
    Ok(())
}
