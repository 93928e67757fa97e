//! What is known of a client by its certificate.

use aws_lc_rs::digest::{SHA256, digest};
use rustls::ServerConnection;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The client's certificate, verified against the authorities of its listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCertificate {
    /// Its DNS names; printable ASCII.
    pub dns_names: Vec<Box<str>>,
    /// Its mail addresses (`rfc822Name`); printable ASCII.
    pub mailboxes: Vec<Box<str>>,
    /// SHA-256 over the whole certificate in DER form.
    pub fingerprint: [u8; 32],
}

/// The client's certificate. The handshake does not end well unless the verifier of this listener
/// took it, so that one which is there has been verified.
pub(crate) fn client_certificate(connection: &ServerConnection) -> Option<VerifiedCertificate> {
    let der = connection.peer_certificates()?.first()?;
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, der).as_ref());
    let (mut dns_names, mut mailboxes) = (Vec::new(), Vec::new());
    if let Ok((_, certificate)) = X509Certificate::from_der(der) {
        let extension = certificate.subject_alternative_name().ok().flatten();
        for name in extension.iter().flat_map(|e| &e.value.general_names) {
            match name {
                GeneralName::DNSName(name) => dns_names.extend(printable(name)),
                GeneralName::RFC822Name(name) => mailboxes.extend(printable(name)),
                _ => {}
            }
        }
    }
    Some(VerifiedCertificate {
        dns_names,
        mailboxes,
        fingerprint,
    })
}

/// A name with anything else in it is no name, and stands for nobody.
fn printable(name: &str) -> Option<Box<str>> {
    let clean = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    clean.then(|| name.into())
}
