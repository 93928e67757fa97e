//! TLS for `admin.http`.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tls_words::why_no_pem;

/// Certificate and key; connections take what is current when they begin.
#[derive(Debug)]
pub struct Tls(ArcSwap<ServerConfig>);

impl Tls {
    /// Loads a chain (the leaf first) and its key, both PEM.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, String> {
        Ok(Self(ArcSwap::from(load(certificate, key)?)))
    }

    /// Puts another in force for the connections to come.
    pub fn replace(&self, other: &Self) {
        self.0.store(other.current());
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let of_chain = |e: &dyn std::fmt::Display| format!("{}: {e}", certificate.display());
    let of_key = |e: &dyn std::fmt::Display| format!("{}: {e}", key.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .map_err(|e| of_chain(&why_no_pem(&e)))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| of_chain(&why_no_pem(&e)))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| of_key(&why_no_pem(&e)))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| of_chain(&e))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| format!("{} and {}: {e}", certificate.display(), key.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
