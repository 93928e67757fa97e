//! Why certificates cannot be used, with the file at fault.

use std::io;
use std::path::PathBuf;

/// Why certificate and key cannot be used. Each names the file at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsLoadError {
    /// There is no such file.
    #[error("{} does not exist: put the {what} there, in PEM form", path.display())]
    Missing {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{} ({what}) cannot be read: {source}", path.display())]
    Unreadable {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No PEM section of the right kind.
    #[error("{} holds no {what} in PEM form (\"-----BEGIN ...\"): {problem}", path.display())]
    NotPem {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the parser says.
        problem: String,
    },
    /// The certificate belongs to another key.
    #[error(
        "the private key in {} does not match the first certificate in {}: \
         put the server's own certificate first, and use the key that it was made for",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The key is of a kind that is not supported, or damaged.
    #[error("the private key in {} cannot be used (RSA, ECDSA and Ed25519 can): {problem}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What the TLS library says.
        problem: rustls::Error,
    },
    /// The certificate is damaged.
    #[error("the certificate in {} cannot be used: {problem}", path.display())]
    Certificate {
        /// The certificate file.
        path: PathBuf,
        /// What the TLS library says.
        problem: rustls::Error,
    },
    /// No client certificate could be verified with these authorities.
    #[error("the authorities of client certificates in {} cannot be used: {problem}", path.display())]
    ClientRoots {
        /// The file.
        path: PathBuf,
        /// What the TLS library says.
        problem: String,
    },
    /// A certificate is to be chosen by the names in it, and has none.
    #[error(
        "the certificate in {} names no server: give it server-names, or a certificate with \
         subject alternative names",
        path.display()
    )]
    NoNames {
        /// The certificate file.
        path: PathBuf,
    },
}
