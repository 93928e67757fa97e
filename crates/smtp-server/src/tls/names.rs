//! Which certificate a client gets: by the server name that it asks for (SNI, RFC 6066 section 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Certificates by server name, and one for everybody else: mail clients that name no server, or an
/// unknown one, are common, and whether the certificate pleases them is theirs to judge.
#[derive(Debug)]
pub(super) struct ByName {
    default: Arc<CertifiedKey>,
    names: HashMap<Box<str>, Arc<CertifiedKey>>,
}

impl ByName {
    pub(super) fn new(default: Arc<CertifiedKey>) -> Self {
        Self {
            default,
            names: HashMap::new(),
        }
    }

    /// Of two certificates for one name the first stays.
    pub(super) fn add(&mut self, names: &[Box<str>], key: &Arc<CertifiedKey>) {
        for name in names {
            self.names
                .entry(name.to_ascii_lowercase().into())
                .or_insert_with(|| Arc::clone(key));
        }
    }

    fn of(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        // RFC 9525 section 6.3: a wildcard stands for exactly one label, the leftmost.
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.names.get(format!("*.{parent}").as_str())
        };
        let found = self.names.get(name).or_else(wildcard);
        found.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = hello
            .server_name()
            .map_or(&self.default, |name| self.of(name));
        Some(Arc::clone(key))
    }
}

/// The DNS names of the server's own certificate.
pub(super) fn names_in(key: &CertifiedKey) -> Vec<Box<str>> {
    let own = key.cert.first();
    let Some((_, certificate)) = own.and_then(|der| X509Certificate::from_der(der).ok()) else {
        return Vec::new();
    };
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.iter().flat_map(|e| &e.value.general_names);
    let dns = names.filter_map(|name| match name {
        GeneralName::DNSName(dns) => Some((*dns).into()),
        _ => None,
    });
    dns.collect()
}
