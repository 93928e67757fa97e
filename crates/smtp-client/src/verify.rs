//! The verifiers of server certificates. The only place of this crate where rustls' own verifier
//! is replaced; to be read as a whole when it is changed.
//!
//! *Authenticate* accepts what PKIX accepts for the MX name, and nothing else. *Observe* lets the
//! handshake go on whatever the certificate says, and records what *authenticate* would have said.
//! Both check the handshake's signature: a copied certificate without its key never gets through
//! *authenticate*, and gets through *observe* only if its key is of a kind that nobody here can
//! check; that is recorded, and such a session is authenticated for nobody (row I4-02).
//!
//! Invariant: [`TlsVerdict::Authenticated`] is made in one place, [`Record::verdict`], and only
//! for the strict mode.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mail_types::{HostName, Timestamp};
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::roots::RootSet;
use crate::{CertificateFailure, LeafCertificate, SignatureCheck, TlsVerdict};

mod inspect;
mod pkix;

/// What the certificate has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Strictness {
    /// Valid for the MX name, or the handshake fails.
    Authenticate,
    /// Anything; its verdict is recorded.
    DangerousObserve,
}

/// What a verifier saw in one handshake.
#[derive(Debug)]
pub(crate) struct Record {
    strictness: Strictness,
    seen: Mutex<Seen>,
    client_certificate_requested: AtomicBool,
}

#[derive(Debug, Default)]
struct Seen {
    certificate: Option<Result<(), Box<CertificateFailure>>>,
    leaf: Option<LeafCertificate>,
    signature_checked: bool,
}

/// A TLS client configuration for one handshake, and where its verdict will be. TLS 1.2 and 1.3,
/// SNI, no resumption, no early data, no key log, no client certificate.
///
/// # Errors
/// Only if the crypto provider has no cipher suite for these versions.
pub(crate) fn client_config(
    strictness: Strictness,
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootSet>,
    now: Timestamp,
) -> Result<(ClientConfig, Arc<Record>), Error> {
    let record = Arc::new(Record {
        strictness,
        seen: Mutex::default(),
        client_certificate_requested: AtomicBool::new(false),
    });
    let verifier = Verifier {
        record: Arc::clone(&record),
        roots,
        now,
        algorithms: provider.signature_verification_algorithms,
    };
    let time = Arc::new(FixedTime(now));
    let mut config = ClientConfig::builder_with_details(Arc::clone(provider), time)
        // RFC 8461 section 7.2 and RFC 8996: nothing below 1.2 (decision AMB-15).
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::<Record>::clone(&record));
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // RFC 8461 section 7.1: the MX name, always.
    config.enable_sni = true;
    Ok((config, record))
}

impl Record {
    /// The verdict, after the handshake succeeded. Without a recorded certificate nothing is
    /// authenticated.
    pub(crate) fn verdict(&self) -> TlsVerdict {
        let seen = self.seen.lock();
        let signature = if seen.signature_checked {
            SignatureCheck::Checked
        } else {
            SignatureCheck::Unchecked
        };
        let certificate = seen.certificate.clone().unwrap_or_else(|| {
            Err(Box::new(CertificateFailure::unread(
                "no-certificate",
                seen.leaf.clone(),
                0,
            )))
        });
        match (self.strictness, &certificate, signature) {
            (Strictness::Authenticate, Ok(()), SignatureCheck::Checked) => {
                TlsVerdict::Authenticated
            }
            (Strictness::Authenticate | Strictness::DangerousObserve, _, _) => {
                TlsVerdict::Observed {
                    certificate,
                    signature,
                }
            }
        }
    }

    /// Why the certificate was refused, if it was.
    pub(crate) fn failure(&self) -> Option<Box<CertificateFailure>> {
        self.seen.lock().certificate.clone()?.err()
    }

    pub(crate) fn leaf(&self) -> Option<LeafCertificate> {
        self.seen.lock().leaf.clone()
    }

    pub(crate) fn client_certificate_requested(&self) -> bool {
        self.client_certificate_requested.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
struct Verifier {
    record: Arc<Record>,
    roots: Arc<RootSet>,
    now: Timestamp,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = pkix::judge(
            end_entity,
            intermediates,
            server_name,
            &self.roots,
            &self.algorithms,
            self.now,
        );
        let mut seen = self.record.seen.lock();
        seen.leaf = inspect::leaf(end_entity);
        let passed = judged.is_ok();
        seen.certificate = Some(judged.map_err(|fault| {
            Box::new(CertificateFailure {
                fault,
                leaf: seen.leaf.clone(),
                presented: intermediates.len() + 1,
            })
        }));
        match (passed, self.record.strictness) {
            (true, _) | (false, Strictness::DangerousObserve) => {
                Ok(ServerCertVerified::assertion())
            }
            // The exact cause is in the record; the peer gets a plain alert.
            (false, Strictness::Authenticate) => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let checked = verify_tls12_signature(message, cert, dss, &self.algorithms);
        self.signature(checked, cert)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let checked = verify_tls13_signature(message, cert, dss, &self.algorithms);
        self.signature(checked, cert)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

impl Verifier {
    /// A signature that was checked and is wrong is wrong in every mode. Only a certificate that
    /// cannot be read, or a key of a kind that cannot be checked, is let through by *observe*.
    fn signature(
        &self,
        checked: Result<HandshakeSignatureValid, Error>,
        certificate: &CertificateDer<'_>,
    ) -> Result<HandshakeSignatureValid, Error> {
        match (checked, self.record.strictness) {
            (Ok(valid), _) => {
                self.record.seen.lock().signature_checked = true;
                Ok(valid)
            }
            (Err(_), Strictness::DangerousObserve) if !inspect::is_checkable(certificate) => {
                Ok(HandshakeSignatureValid::assertion())
            }
            (Err(error), Strictness::Authenticate | Strictness::DangerousObserve) => Err(error),
        }
    }
}

/// No client certificate is ever sent; that one was asked for is recorded (row H3-27).
impl ResolvesClientCert for Record {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.client_certificate_requested
            .store(true, Ordering::Release);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// The moment at which the session is judged, for rustls' own needs.
#[derive(Debug)]
struct FixedTime(Timestamp);

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(pkix::unix_time(self.0))
    }
}

/// The name as rustls wants it.
///
/// # Errors
/// It cannot be the name in a certificate (row I1-10).
pub(crate) fn server_name(mx: &HostName) -> Result<ServerName<'static>, CertificateFailure> {
    ServerName::try_from(mx.as_str().to_owned())
        .ok()
        .filter(|name| matches!(name, ServerName::DnsName(_)))
        .ok_or_else(|| CertificateFailure::unread("mx-name-is-no-dns-name", None, 0))
}

impl CertificateFailure {
    const fn unread(code: &'static str, leaf: Option<LeafCertificate>, presented: usize) -> Self {
        Self {
            fault: crate::CertificateFault::Malformed(code),
            leaf,
            presented,
        }
    }
}

#[cfg(test)]
mod tests;
