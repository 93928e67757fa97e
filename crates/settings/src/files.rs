//! What the configuration says about files: whether they are there, belong together, and are
//! readable by the right people.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use file_rights::{Fault, read_failed, readable};
use rustix::fs::{Access, access};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tls_words::why_no_pem;

use super::build::Built;
use super::problem::{Problem, printable};
use super::reader::Places;
use super::request_headers::{RequestHeaderError, request_headers};
use super::settings::{CrlFailure, Dnssec, KeyPair, Settings};

/// Looks at every file and directory that the settings name.
pub(super) fn check(built: &Built, places: &Places) -> Vec<Problem> {
    let settings = &built.settings;
    let mut problems = Vec::new();
    let mut note = |path: &str, result: Result<(), Fault>| {
        if let Err(fault) = result {
            // A file that is not there is missed by all who look into it.
            let told = |p: &Problem| p.key == path && p.message == printable(&fault.message);
            if problems.last().is_some_and(told) {
                return;
            }
            let place = places.of(path);
            problems.push(Problem::error(place, path, fault.message, fault.remedy));
        }
    };
    for (listener, path) in settings.listeners.iter().zip(&built.listeners) {
        if let Some(pair) = &listener.key_pair {
            note(&format!("{path}.private-key"), secret(&pair.private_key));
            note(&format!("{path}.certificate"), key_pair(pair));
        }
        if let Some(file) = &listener.client_ca {
            note(&format!("{path}.client-ca"), roots(file));
        }
    }
    for (certificate, path) in settings.certificates.iter().zip(&built.certificates) {
        let pair = &certificate.key_pair;
        note(&format!("{path}.private-key"), secret(&pair.private_key));
        note(&format!("{path}.certificate"), key_pair(pair));
    }
    authorities(settings, &mut note);
    for (dkim, path) in settings.dkim.iter().zip(&built.dkim) {
        for (key, fault) in dkim.faults() {
            note(&format!("{path}.{key}"), Err(fault));
        }
    }
    for (key, fault) in super::reporting::faults(settings) {
        note(&key, Err(fault));
    }
    for (route, path) in settings.routes.iter().zip(&built.routes) {
        for (n, file) in route.roots.iter().enumerate() {
            note(&format!("{path}.roots[{n}]"), roots(file));
        }
        if let Some(credentials) = &route.credentials {
            let path = format!("{path}.password-file");
            note(&path, secret(&credentials.password_file));
            if readable(&credentials.password_file).is_ok() {
                note(&path, password(&credentials.password_file));
            }
        }
    }
    if let Some(file) = &settings.logins.users_file {
        note("access.users-file", users(file));
    }
    if let Some(pair) = &settings.admin.key_pair {
        note("admin.private-key", secret(&pair.private_key));
        note("admin.certificate", key_pair(pair));
    }
    if let Some(file) = &settings.admin.token_file {
        note("admin.token-file", own_secret(file));
    }
    if let Some(file) = &settings.otlp.headers_file {
        note("telemetry.otlp.headers-file", own_secret(file));
        if readable(file).is_ok() {
            note("telemetry.otlp.headers-file", header_lines(file));
        }
    }
    if let Some(file) = &settings.otlp.ca_file {
        note("telemetry.otlp.ca-file", roots(file));
    }
    directories(settings, &mut note);
    problems.extend(log_directory(settings, places));
    if settings.tls.crl_failure == CrlFailure::Soft {
        for (n, file) in settings.tls.crls.iter().enumerate() {
            // Row I3-08: the server runs without it, and says so.
            if let Err(fault) = revocation_list(file) {
                let path = format!("tls.crls[{n}]");
                let place = places.of(&path);
                problems.push(Problem::warning(place, &path, fault.message, fault.remedy));
            }
        }
    }
    problems
}

fn authorities(settings: &Settings, note: &mut impl FnMut(&str, Result<(), Fault>)) {
    if settings.dns.dnssec == Dnssec::Validate {
        for (n, file) in settings.dns.trust_anchors.iter().enumerate() {
            let path = format!("dns.trust-anchors[{n}]");
            note(&path, readable(file).map(drop));
        }
    }
    for (n, file) in settings.tls.dangerous_extra_roots.iter().enumerate() {
        note(&format!("tls.dangerous-extra-roots[{n}]"), roots(file));
    }
    if settings.tls.crl_failure == CrlFailure::Hard {
        for (n, file) in settings.tls.crls.iter().enumerate() {
            note(&format!("tls.crls[{n}]"), revocation_list(file));
        }
    }
}

fn directories(settings: &Settings, note: &mut impl FnMut(&str, Result<(), Fault>)) {
    note("server.data-dir", directory(&settings.server.data_dir));
    if let Some(parent) = settings.admin.socket.parent() {
        note("admin.socket", directory(parent));
    }
    if let Some(parent) = settings.log.file.as_deref().and_then(Path::parent) {
        note("log.file", directory(parent));
    }
}

/// That the chain parses and the key is its first certificate's.
fn key_pair(pair: &KeyPair) -> Result<(), Fault> {
    let chain = certificates(&pair.certificate)?;
    if readable(&pair.private_key).is_err() {
        // Told of with private-key.
        return Ok(());
    }
    let key = PrivateKeyDer::from_pem_file(&pair.private_key).map_err(|error| Fault {
        message: format!(
            "{}: no private key: {}",
            pair.private_key.display(),
            why_no_pem(&error)
        ),
        remedy: "private-key needs a PEM file with one key",
    })?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(chain, key, &provider).map(Arc::new) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Fault {
            message: format!(
                "{} and {} do not belong together",
                pair.certificate.display(),
                pair.private_key.display()
            ),
            remedy: "give the key that the first certificate of the file was made for",
        }),
        Err(error) => Err(Fault {
            message: format!("{}: {error}", pair.certificate.display()),
            remedy: "give a chain and a key that TLS can use",
        }),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let fault = |what: &str| Fault {
        message: format!("{}: {what}", file.display()),
        remedy: "give a PEM file with at least one certificate",
    };
    readable(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file)
        .map_err(|error| fault(&why_no_pem(&error)))?
        .collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(fault("no certificate in it")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(fault(&why_no_pem(&error))),
    }
}

/// That each certificate can serve as a trust anchor.
fn roots(file: &Path) -> Result<(), Fault> {
    let mut store = rustls::RootCertStore::empty();
    for certificate in certificates(file)? {
        store.add(certificate).map_err(|error| Fault {
            message: format!("{}: {error}", file.display()),
            remedy: "give certificates of certificate authorities",
        })?;
    }
    Ok(())
}

/// That it is a file with revocation lists; whose and how fresh they are shows when they are used.
fn revocation_list(file: &Path) -> Result<(), Fault> {
    let fault = |what: String| Fault {
        message: format!("{}: {what}", file.display()),
        remedy: "give a file with certificate revocation lists, PEM or DER",
    };
    readable(file)?;
    let octets = fs::read(file).map_err(|error| read_failed(file, &error))?;
    // DER begins with a SEQUENCE.
    if octets.first() == Some(&0x30) {
        return Ok(());
    }
    match CertificateRevocationListDer::pem_slice_iter(&octets).next() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(fault(why_no_pem(&error))),
        None => Err(fault("no revocation list in it".to_owned())),
    }
}

/// That a secret is there and that not everybody may read it (row H10-09).
pub(super) fn secret(file: &Path) -> Result<(), Fault> {
    let mode = readable(file)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(Fault {
            message: format!(
                "{} is open to everybody (mode {:o})",
                file.display(),
                mode & 0o777
            ),
            remedy: "chmod 0600 it, owned by the server's user",
        });
    }
    Ok(())
}

/// What stands in it is judged by those who read it.
fn users(file: &Path) -> Result<(), Fault> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Fault {
            message: format!("{} does not exist", file.display()),
            remedy: "`sealpost user add NAME` makes it",
        }),
        _ => secret(file),
    }
}

/// That nobody but its owner may read or write it.
fn own_secret(file: &Path) -> Result<(), Fault> {
    secret(file)?;
    let metadata = fs::metadata(file);
    let mode = metadata.map_or(0, |found| found.permissions().mode());
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Fault {
        message: format!(
            "{} is open to its group (mode {:o})",
            file.display(),
            mode & 0o777
        ),
        remedy: "chmod 0600 it, owned by the server's user",
    })
}

/// That the start will take each line.
fn header_lines(file: &Path) -> Result<(), Fault> {
    let text = fs::read_to_string(file).map_err(|error| read_failed(file, &error))?;
    request_headers(&text).map(drop).map_err(|error| Fault {
        message: format!("{}: {error}", file.display()),
        remedy: match error {
            RequestHeaderError::Form(_) => "write lines such as \"Authorization: Bearer …\"",
            RequestHeaderError::Taken(_) => "remove it",
        },
    })
}

fn password(file: &Path) -> Result<(), Fault> {
    match fs::read_to_string(file) {
        Ok(text) if text.lines().next().is_none_or(str::is_empty) => Err(Fault {
            message: format!("{}: the first line is empty", file.display()),
            remedy: "write the password on the first line",
        }),
        Ok(_) => Ok(()),
        Err(error) => Err(read_failed(file, &error)),
    }
}

/// That the directory is writable, or can be made; nothing is made here.
fn directory(wanted: &Path) -> Result<(), Fault> {
    let wanted = if wanted.as_os_str().is_empty() {
        Path::new(".")
    } else {
        wanted
    };
    let Some(existing) = wanted.ancestors().map(or_here).find(|path| path.exists()) else {
        return Ok(());
    };
    let remedy = "choose another directory, or give the server's user write permission";
    if !existing.is_dir() {
        return Err(Fault {
            message: format!("{} is not a directory", existing.display()),
            remedy,
        });
    }
    access(&existing, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| Fault {
        message: format!(
            "{} is not writable: {}",
            existing.display(),
            std::io::Error::from(error)
        ),
        remedy,
    })
}

/// A warning only: the systemd unit makes its own when it starts.
fn log_directory(settings: &Settings, places: &Places) -> Option<Problem> {
    let directory = settings.log.file.as_deref().and_then(Path::parent)?;
    if or_here(directory).exists() {
        return None;
    }
    let said = format!(
        "{} is not there, and the server does not make it",
        directory.display()
    );
    let remedy =
        "make the directory, open to the server's user; the systemd unit makes /var/log/sealpost";
    Some(Problem::warning(
        places.of("log.file"),
        "log.file",
        said,
        remedy,
    ))
}

/// A relative path's last ancestor is empty and means the working directory.
fn or_here(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use crate::load;
    use crate::tests::{sources, text_file};

    /// The server does not make it, and would end with status 73.
    #[test]
    fn a_log_whose_directory_is_not_there_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let warned = |file: &str| {
            let text = format!("log.file = \"{}/{file}\"", dir.path().display());
            let loaded = load(&sources(&text_file(&dir, &text))).unwrap();
            loaded.warnings.iter().any(|p| p.key == "log.file")
        };
        assert!(warned("logs/events.log"));
        assert!(!warned("events.log"));
    }
}
