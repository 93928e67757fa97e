//! The verifiers of server certificates. The only place where rustls' own verifier is replaced; to be read
//! as a whole when it is changed. For policy hosts that verifier decides, and [`noting_config`] only notes.
//!
//! *Authenticate* accepts what PKIX accepts for the MX name, and nothing else. *DANE* accepts what
//! the host's TLSA records accept, and nothing else; both can be demanded of one handshake. *Observe*
//! lets the handshake go on whatever the certificate says. What is not demanded is recorded all the
//! same. All check the handshake's signature: a copied certificate without its key never gets
//! through where anything is demanded, and gets through *observe* only if its key is of a kind that
//! nobody here can check; that is recorded, and such a session is authenticated for nobody (row
//! I4-02).
//!
//! Invariant: [`TlsVerdict::Authenticated`] is made in one place, [`Record::verdict`], and
//! [`DaneVerdict::Authenticated`] in another, [`Record::dane_verdict`]; each only where it is
//! demanded.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dane::HostRecords;
use mail_types::{HostName, Timestamp};
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, DistinguishedName, Error,
    RootCertStore, SignatureScheme, WantsVerifier,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tls_words::Untrusted;

use crate::roots::RootSet;
use crate::{
    Cause, CertificateFailure, DaneFailure, DaneFault, DaneMatch, DaneVerdict, Judged,
    LeafCertificate, SignatureCheck, TlsVerdict,
};

mod inspect;
mod pkix;
mod tlsa;

/// What the certificate has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Strictness {
    /// Valid for the MX name, or the handshake fails.
    Authenticate,
    /// Accepted by the TLSA records, or the handshake fails.
    Dane,
    /// Both, or the handshake fails.
    DaneAndAuthenticate,
    /// Anything; its verdict is recorded.
    DangerousObserve,
}

impl Strictness {
    const fn demands_pkix(self) -> bool {
        match self {
            Self::Authenticate | Self::DaneAndAuthenticate => true,
            Self::Dane | Self::DangerousObserve => false,
        }
    }

    const fn demands_dane(self) -> bool {
        match self {
            Self::Dane | Self::DaneAndAuthenticate => true,
            Self::Authenticate | Self::DangerousObserve => false,
        }
    }
}

/// What the certificate is held against, beside the trust anchors.
#[derive(Debug)]
pub(crate) struct Names {
    /// PKIX: the MX name (decision AMB-12).
    pub(crate) pkix: ServerName<'static>,
    /// DANE: the host's usable TLSA records.
    pub(crate) dane: Option<Arc<HostRecords>>,
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
    /// `None` without TLSA records.
    dane: Option<Result<DaneMatch, Box<DaneFailure>>>,
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
    names: Names,
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
        names,
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
    // RFC 8461 section 7.1, RFC 7672 section 8.1: always.
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
        match (self.strictness.demands_pkix(), &certificate, signature) {
            (true, Ok(()), SignatureCheck::Checked) => TlsVerdict::Authenticated,
            (true | false, _, _) => TlsVerdict::Observed {
                certificate,
                signature,
            },
        }
    }

    /// What the TLSA records say, after the handshake succeeded. A key that was not proven matches
    /// nothing.
    pub(crate) fn dane_verdict(&self) -> DaneVerdict {
        let seen = self.seen.lock();
        let result = match &seen.dane {
            None => return DaneVerdict::NotPublished,
            Some(Ok(_)) if !seen.signature_checked => Err(Box::new(DaneFailure {
                fault: DaneFault::KeyNotProven,
                leaf: seen.leaf.clone(),
                presented: 1,
            })),
            Some(result) => result.clone(),
        };
        match (self.strictness.demands_dane(), result) {
            (true, Ok(by)) => DaneVerdict::Authenticated(by),
            (true | false, result) => DaneVerdict::Observed(result),
        }
    }

    /// All that was said of the certificate, if one was looked at.
    pub(crate) fn judged(&self) -> Option<Box<Judged>> {
        let seen = self.seen.lock();
        Some(Box::new(Judged {
            certificate: seen.certificate.clone()?,
            dane: match seen.dane.clone() {
                None => DaneVerdict::NotPublished,
                Some(result) => DaneVerdict::Observed(result),
            },
        }))
    }

    /// Why the certificate was refused, if it was. DANE comes first: nothing else makes up for it
    /// (decision AMB-14).
    pub(crate) fn refusal(&self) -> Option<Cause> {
        let seen = self.seen.lock();
        if self.strictness.demands_dane() {
            match seen.dane.clone() {
                Some(Ok(_)) => {}
                Some(Err(failure)) => return Some(Cause::Dane(failure)),
                None => return Some(Cause::Local(NO_RECORDS.into())),
            }
        }
        if self.strictness.demands_pkix() {
            return seen.certificate.clone()?.err().map(Cause::Certificate);
        }
        None
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
    names: Names,
    now: Timestamp,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _sni: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = pkix::judge(
            end_entity,
            intermediates,
            &self.names.pkix,
            &self.roots,
            &self.algorithms,
            self.now,
        );
        let dane = self.names.dane.as_ref().map(|records| {
            tlsa::judge(
                end_entity,
                intermediates,
                records,
                &self.algorithms,
                self.now,
            )
        });
        {
            let mut seen = self.record.seen.lock();
            let (leaf, presented) = (inspect::leaf(end_entity), intermediates.len() + 1);
            seen.leaf.clone_from(&leaf);
            seen.dane = dane.map(|result| {
                let leaf = leaf.clone();
                result.map_err(|fault| {
                    Box::new(DaneFailure {
                        fault,
                        leaf,
                        presented,
                    })
                })
            });
            seen.certificate = Some(judged.map_err(|fault| {
                Box::new(CertificateFailure {
                    fault,
                    leaf,
                    presented,
                })
            }));
        }
        // The exact cause is in the record; the peer gets a plain alert.
        match self.record.refusal() {
            None => Ok(ServerCertVerified::assertion()),
            Some(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
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
            (
                Err(error),
                Strictness::Authenticate
                | Strictness::Dane
                | Strictness::DaneAndAuthenticate
                | Strictness::DangerousObserve,
            ) => Err(error),
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

/// A TLS client configuration for policy hosts. rustls' own verifier decides, and without trust anchors
/// nobody is trusted; why it refused a chain goes to `note`, since its error does not say.
pub fn noting_config(
    versions: ConfigBuilder<ClientConfig, WantsVerifier>,
    roots: &Arc<RootCertStore>,
    note: Arc<dyn Fn(Untrusted) + Send + Sync>,
) -> ClientConfig {
    let provider = Arc::clone(versions.crypto_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider).build();
    match verifier {
        Ok(verifier) => versions
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Noting { verifier, note }))
            .with_no_client_auth(),
        Err(_) => versions
            .with_root_certificates(Arc::clone(roots))
            .with_no_client_auth(),
    }
}

/// Gives every answer of the verifier on as it is.
struct Noting {
    verifier: Arc<WebPkiServerVerifier>,
    note: Arc<dyn Fn(Untrusted) + Send + Sync>,
}

impl fmt::Debug for Noting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verifier.fmt(f)
    }
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self
            .verifier
            .verify_server_cert(end_entity, intermediates, name, ocsp, now);
        match &verdict {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                (self.note)(tls_words::why_untrusted(end_entity, intermediates));
            }
            // An authority's own certificate is refused in its place for a reason of its own.
            Err(_) if tls_words::is_self_issued(end_entity) => (self.note)(Untrusted::SelfSigned),
            Ok(_) | Err(_) => {}
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
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

const NO_RECORDS: &str = "DANE is demanded of a host without TLSA records";

#[cfg(test)]
mod tests;
