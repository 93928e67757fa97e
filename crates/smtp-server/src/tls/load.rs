//! From PEM files to a TLS configuration.

use std::io;
use std::path::Path;
use std::sync::Arc;

use mail_types::Timestamp;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::listed::ListedOrIssued;
use super::names::{ByName, names_in};
use super::{CertificateDates, KeyPairFiles, LoadedTls, TlsFiles, TlsLoadError};

pub(super) fn load(files: &TlsFiles) -> Result<LoadedTls, TlsLoadError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let default = certified(&files.key_pair, &provider)?;
    let mut certificates = vec![dates(&files.key_pair, &default)];
    let mut resolver = ByName::new(Arc::new(default));
    for named in &files.by_name {
        let key = certified(&named.key_pair, &provider)?;
        certificates.push(dates(&named.key_pair, &key));
        let names = if named.server_names.is_empty() {
            names_in(&key)
        } else {
            named.server_names.clone()
        };
        if names.is_empty() {
            return Err(TlsLoadError::NoNames {
                path: named.key_pair.certificate.clone(),
            });
        }
        resolver.add(&names, &Arc::new(key));
    }
    let path = &files.key_pair.certificate;
    // TLS 1.2 and 1.3, nothing older (RFC 8997, row G1-05).
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|problem| bad_certificate(path, problem))?;
    let mut config = match &files.client_roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = client_verifier(roots, provider)?;
            builder.with_client_cert_verifier(Arc::new(verifier))
        }
    }
    .with_cert_resolver(Arc::new(resolver));
    if files.client_roots.is_some() {
        // A resumed session would carry a verdict past the certificate's end.
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    // Row G1-08: mail in early data could be played again by whoever recorded it.
    config.max_early_data_size = 0;
    // A client that insists on another protocol was led here by an attacker (ALPACA, row H5-10).
    // Clients that name none, which is all mail software, are served.
    config.alpn_protocols = vec![b"smtp".to_vec()];
    Ok(LoadedTls {
        config: Arc::new(config),
        certificates,
    })
}

/// Chain and key, which belong together.
fn certified(
    files: &KeyPairFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsLoadError> {
    let (certificate, key) = (&files.certificate, &files.private_key);
    let chain = chain(certificate)?;
    let private_key = PrivateKeyDer::from_pem_slice(&read("private key", key)?)
        .map_err(|e| not_pem("private key", key, &e))?;
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
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsLoadError::Mismatch {
            certificate: certificate.into(),
            key: key.into(),
        }),
        Err(problem) => Err(bad_certificate(certificate, problem)),
    }
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

fn client_verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<ListedOrIssued, TlsLoadError> {
    let listed = chain(path)?;
    let (mut all, mut authorities) = (RootCertStore::empty(), RootCertStore::empty());
    for certificate in &listed {
        all.add(certificate.clone())
            .map_err(|problem| bad_client_roots(path, problem))?;
        if may_sign(certificate).map_err(|problem| bad_client_roots(path, problem))? {
            authorities
                .add(certificate.clone())
                .map_err(|problem| bad_client_roots(path, problem))?;
        }
    }
    let algorithms = provider.signature_verification_algorithms;
    let issued = if authorities.is_empty() {
        None
    } else {
        let verifier = WebPkiClientVerifier::builder_with_provider(authorities.into(), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|problem| bad_client_roots(path, problem))?;
        Some(verifier)
    };
    // Clients choose their certificate by these names: those of all that are listed.
    let hints = all.subjects();
    Ok(ListedOrIssued::new(listed, hints, issued, algorithms))
}

/// Whether what a certificate signs counts. WebPKI does not ask that of a trust anchor. "If the basic
/// constraints extension is not present in a version 3 public key certificate, or the extension is
/// present but the cA boolean is not asserted, then the certified public key MUST NOT be used to
/// verify certificate signatures" (RFC 5280 section 4.2.1.9); nor without keyCertSign in a key usage
/// (section 4.2.1.3). Those before version 3 cannot say it, and rustls takes none of them as a client's.
fn may_sign(der: &CertificateDer<'_>) -> Result<bool, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|e| e.to_string())?;
    if certificate.version() != X509Version::V3 {
        return Err(format!(
            "{} is of an X.509 version before 3, which cannot say whether it may sign others",
            certificate.subject()
        ));
    }
    let constraints = certificate.basic_constraints().map_err(|e| e.to_string())?;
    let usage = certificate.key_usage().map_err(|e| e.to_string())?;
    let is_ca = constraints.is_some_and(|c| c.value.ca);
    Ok(is_ca && usage.is_none_or(|usage| usage.value.key_cert_sign()))
}

/// An expired intermediate makes the chain as useless as an expired certificate.
fn dates(files: &KeyPairFiles, key: &CertifiedKey) -> CertificateDates {
    let end = |der: &CertificateDer<'_>| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        u64::try_from(certificate.validity().not_after.timestamp()).ok()
    };
    let ends = key.cert.iter().filter_map(end);
    CertificateDates {
        file: files.certificate.clone(),
        // What TLS can use and the parser cannot read is not known to end.
        not_after: Timestamp::from_secs(ends.min().unwrap_or(FAR)),
    }
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
        problem: tls_words::why_no_pem(problem),
    }
}

fn bad_certificate(path: &Path, problem: rustls::Error) -> TlsLoadError {
    TlsLoadError::Certificate {
        path: path.into(),
        problem,
    }
}

fn bad_client_roots(path: &Path, problem: impl ToString) -> TlsLoadError {
    TlsLoadError::ClientRoots {
        path: path.into(),
        problem: problem.to_string(),
    }
}

/// The end of the year 9999, "no well-defined expiration" (RFC 5280 section 4.1.2.5).
const FAR: u64 = 253_402_300_799;
