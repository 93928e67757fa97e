//! TLS of a listener: its certificates, chosen by the name that the client asks for, and the
//! authorities of client certificates. Loaded with clear errors, replaced without restart.
//!
//! Invariant: a client that presents a certificate which does not verify gets no session at all; it
//! is never taken for one that has been verified, nor quietly for one that presented none (row
//! G1-09). A client that presents none is served as a stranger.

mod error;
mod fault;
mod listed;
mod load;
mod names;
mod peer;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mail_types::Timestamp;
use rustls::ServerConfig;

pub use self::error::TlsLoadError;
pub use self::fault::handshake_fault;
pub use self::peer::VerifiedCertificate;
pub(crate) use self::peer::client_certificate;

/// TLS of one listener. Sessions take what is current when they begin their handshake.
#[derive(Debug)]
pub struct ServerTls(ArcSwap<LoadedTls>);

/// The files that TLS of a listener is made from, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// For clients that name no server, or none that is in `by_name`.
    pub key_pair: KeyPairFiles,
    /// For clients that name one of these (SNI, RFC 6066 section 3).
    pub by_name: Vec<NamedKeyPair>,
    /// Authorities of client certificates. Clients are asked for one only if this is set.
    pub client_roots: Option<PathBuf>,
}

/// A certificate chain, the server's own first, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPairFiles {
    /// The chain.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub private_key: PathBuf,
}

/// A certificate and the server names that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKeyPair {
    /// Names, or `*.` and a domain for all names one label below it. None: those in the certificate.
    pub server_names: Vec<Box<str>>,
    /// Its files.
    pub key_pair: KeyPairFiles,
}

/// Everything of [`TlsFiles`], read and checked, so that several listeners can be changed together
/// or not at all.
#[derive(Debug)]
pub struct LoadedTls {
    config: Arc<ServerConfig>,
    certificates: Vec<CertificateDates>,
}

/// Until when a certificate is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateDates {
    /// Its file.
    pub file: PathBuf,
    /// The earliest end of the chain's certificates.
    pub not_after: Timestamp,
}

impl TlsFiles {
    /// One certificate for all names; no client certificates.
    #[must_use]
    pub fn new(certificate: impl Into<PathBuf>, private_key: impl Into<PathBuf>) -> Self {
        Self {
            key_pair: KeyPairFiles {
                certificate: certificate.into(),
                private_key: private_key.into(),
            },
            by_name: Vec::new(),
            client_roots: None,
        }
    }
}

impl LoadedTls {
    /// Until when each certificate is valid, the default one first.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDates] {
        &self.certificates
    }
}

impl From<LoadedTls> for ServerTls {
    fn from(loaded: LoadedTls) -> Self {
        Self(ArcSwap::from_pointee(loaded))
    }
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsLoadError`].
    pub fn load(files: &TlsFiles) -> Result<Self, TlsLoadError> {
        Self::read(files).map(Self::from)
    }

    /// Reads the files and changes nothing yet: [`ServerTls::replace`] does.
    ///
    /// # Errors
    /// [`TlsLoadError`].
    pub fn read(files: &TlsFiles) -> Result<LoadedTls, TlsLoadError> {
        load::load(files)
    }

    /// From now on handshakes use these.
    pub fn replace(&self, loaded: LoadedTls) {
        self.0.store(Arc::new(loaded));
    }

    /// What is in use.
    #[must_use]
    pub fn current(&self) -> Arc<LoadedTls> {
        self.0.load_full()
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.load().config)
    }
}

#[cfg(test)]
mod tests;
