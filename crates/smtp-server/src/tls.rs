//! The listener's certificate: loaded with clear errors, replaced without restart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// TLS of one listener. Sessions take what is current when they begin their handshake.
#[derive(Debug)]
pub struct ServerTls(ArcSwap<ServerConfig>);

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
}

impl ServerTls {
    /// Loads a certificate chain (the server's own first) and its key, both PEM.
    ///
    /// # Errors
    /// [`TlsLoadError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsLoadError> {
        let config = load(certificate, key)?;
        Ok(Self(ArcSwap::from(config)))
    }

    /// Loads again; on error what is in use stays in use.
    ///
    /// # Errors
    /// [`TlsLoadError`].
    pub fn reload(&self, certificate: &Path, key: &Path) -> Result<(), TlsLoadError> {
        self.0.store(load(certificate, key)?);
        Ok(())
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsLoadError> {
    let chain = chain(certificate)?;
    let private_key = PrivateKeyDer::from_pem_slice(&read("private key", key)?)
        .map_err(|e| not_pem("private key", key, &e))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let signer = provider
        .key_provider
        .load_private_key(private_key)
        .map_err(|problem| TlsLoadError::Key {
            path: key.into(),
            problem,
        })?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        // A key that cannot tell its public half is not refused for that.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(TlsLoadError::Mismatch {
                certificate: certificate.into(),
                key: key.into(),
            });
        }
        Err(problem) => return Err(bad_certificate(certificate, problem)),
    }
    let resolver = rustls::sign::SingleCertAndKey::from(certified);
    // TLS 1.2 and 1.3 (RFC 8997); no early data (rustls' default).
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|problem| bad_certificate(certificate, problem))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    // A client that insists on another protocol was led here by an attacker (ALPACA, row H5-10).
    // Clients that name none, which is all mail software, are served.
    config.alpn_protocols = vec![b"smtp".to_vec()];
    Ok(Arc::new(config))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsLoadError> {
    let what = "certificate";
    let pem = read(what, path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|e| not_pem(what, path, &e))?;
    if chain.is_empty() {
        let none = rustls_pki_types::pem::Error::NoItemsFound;
        return Err(not_pem(what, path, &none));
    }
    Ok(chain)
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsLoadError> {
    std::fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => TlsLoadError::Missing {
            what,
            path: path.into(),
        },
        _ => TlsLoadError::Unreadable {
            what,
            path: path.into(),
            source,
        },
    })
}

fn not_pem(
    what: &'static str,
    path: &Path,
    problem: &rustls_pki_types::pem::Error,
) -> TlsLoadError {
    TlsLoadError::NotPem {
        what,
        path: path.into(),
        problem: problem.to_string(),
    }
}

fn bad_certificate(path: &Path, problem: rustls::Error) -> TlsLoadError {
    TlsLoadError::Certificate {
        path: path.into(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::generate_simple_self_signed;

    #[test]
    fn errors_name_the_file_and_the_fault() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
        let one = generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let two = generate_simple_self_signed(["b.test".to_owned()]).unwrap();
        write("one.crt", &one.cert.pem());
        write("one.key", &one.signing_key.serialize_pem());
        write("two.key", &two.signing_key.serialize_pem());
        write("junk", "junk");
        write(
            "bad.crt",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        );
        write(
            "bad.key",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        );
        assert!(ServerTls::load(&path("one.crt"), &path("one.key")).is_ok());
        for (crt, key, want) in [
            (
                "none",
                "one.key",
                "none does not exist: put the certificate",
            ),
            (
                "one.crt",
                "none",
                "none does not exist: put the private key",
            ),
            ("junk", "one.key", "junk holds no certificate"),
            ("one.crt", "junk", "junk holds no private key"),
            ("one.crt", "one.crt", "one.crt holds no private key"),
            ("one.crt", "two.key", "does not match the first certificate"),
            ("bad.crt", "one.key", "bad.crt cannot be used"),
            ("one.crt", "bad.key", "bad.key cannot be used"),
        ] {
            let error = ServerTls::load(&path(crt), &path(key))
                .unwrap_err()
                .to_string();
            assert!(error.contains(want), "{crt} {key}: {error}");
        }
    }

    #[test]
    fn g1_06_a_bad_reload_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (crt, key) = (dir.path().join("crt"), dir.path().join("key"));
        let made = generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        std::fs::write(&crt, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let tls = ServerTls::load(&crt, &key).unwrap();
        let before = tls.current();
        std::fs::write(&key, "").unwrap();
        assert!(tls.reload(&crt, &key).is_err());
        assert!(Arc::ptr_eq(&before, &tls.current()));
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        tls.reload(&crt, &key).unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.current()));
    }
}
