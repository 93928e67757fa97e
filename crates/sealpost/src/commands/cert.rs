//! `sealpost cert self-signed`: a certificate for the hop from a Postfix of one's own, and the lines
//! that make Postfix trust exactly it.
//!
//! REQUIRETLS is only offered inside TLS (RFC 8689 section 2), and Postfix only says it to a server
//! that it has verified. On one machine nobody certifies a name for that hop; a fingerprint does as
//! well, since both ends belong to the same administrator.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use file_rights::cannot_create;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use serde_json::json;
use settings::Settings;

use crate::cli::CertCommand;
use crate::exit::{Failure, Status};
use terminal::Output;

/// Carries out `sealpost cert …`.
pub(super) fn run(config: Option<&Path>, command: CertCommand) -> anyhow::Result<Status> {
    let CertCommand::SelfSigned {
        hostnames,
        directory,
        days,
        json,
    } = command;
    // The command is of use before there is a configuration that works: the files that it names may be
    // those that are to be made.
    let read = match config {
        None if !settings::has_standard_file() => None,
        None => Some(super::sources(None).and_then(|_| settings::values(None))),
        Some(_) => Some(settings::values(config)),
    };
    let (settings, unread) = match read {
        None => (None, None),
        Some(Ok(settings)) => (Some(settings), None),
        // Named is what it is for: the configuration may come later.
        Some(Err(error)) if !hostnames.is_empty() => (None, Some(error)),
        Some(Err(error)) => return Err(error.into()),
    };
    let hostnames = named(hostnames, settings.as_ref())?;
    let made = make(&hostnames, days)?;
    // The lines that are printed are read elsewhere.
    let directory = std::path::absolute(&directory).unwrap_or(directory);
    let files = write(&directory, &hostnames[0], &made)?;
    let address = listener(settings.as_ref());
    let mut out = Output::stdout();
    if json.json {
        out.json(&json!({
            "certificate": files.certificate,
            "private_key": files.private_key,
            "hostnames": hostnames,
            "fingerprint_sha256": made.fingerprint,
        }))?;
    } else {
        for line in story(&files, &made, address).lines() {
            out.line(line)?;
        }
        if let Some(why) = unread {
            let why = why.to_string().replace('\n', "; ");
            eprintln!("sealpost: the listener is taken to be on {address}: {why}");
        }
    }
    out.flush()?;
    Ok(Status::Ok)
}

struct Made {
    certificate: String,
    private_key: String,
    /// As Postfix and OpenSSL write it: pairs of hexadecimal digits between colons.
    fingerprint: String,
}

struct Files {
    certificate: PathBuf,
    private_key: PathBuf,
}

fn named(hostnames: Vec<String>, settings: Option<&Settings>) -> anyhow::Result<Vec<String>> {
    if !hostnames.is_empty() {
        // A certificate has A-labels (RFC 5280 section 7.2), whatever was typed.
        let a_labels = |name: String| match mail_types::HostName::parse(&name) {
            Ok(host) => Ok(host.as_str().to_owned()),
            Err(_) => {
                let text = format!("{} is not a host name", admin::quoted(&name));
                Err(Failure::new(Status::Usage, text).into())
            }
        };
        return hostnames.into_iter().map(a_labels).collect();
    }
    match settings {
        Some(settings) => Ok(vec![settings.server.hostname.to_string()]),
        None => {
            let text =
                "name the host that the certificate is for: there is no configuration that says it";
            Err(Failure::new(Status::Usage, text).into())
        }
    }
}

fn make(hostnames: &[String], days: u32) -> anyhow::Result<Made> {
    let mut params = CertificateParams::new(hostnames.to_vec())?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, hostnames[0].as_str());
    params.distinguished_name = name;
    // The other end may show it too, to a listener that lists it in client-ca.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // Clocks differ.
    params.not_before = epoch + now.saturating_sub(DAY);
    params.not_after = epoch + now + DAY * days;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let sum = digest(&SHA256, certificate.der());
    let pairs: Vec<String> = sum.as_ref().iter().map(|b| format!("{b:02X}")).collect();
    Ok(Made {
        certificate: certificate.pem(),
        private_key: key.serialize_pem(),
        fingerprint: pairs.join(":"),
    })
}

/// Both files are new, or none is written.
fn write(directory: &Path, name: &str, made: &Made) -> anyhow::Result<Files> {
    let files = Files {
        certificate: directory.join(format!("{name}.pem")),
        private_key: directory.join(format!("{name}.key")),
    };
    let refuse = |path: &Path, error: &std::io::Error| {
        let text = cannot_create(path, error, "another --directory");
        Failure::new(Status::CannotCreate, text)
    };
    if files.certificate.exists() {
        let there = std::io::ErrorKind::AlreadyExists.into();
        return Err(refuse(&files.certificate, &there).into());
    }
    create(&files.private_key, 0o600, &made.private_key)
        .map_err(|error| refuse(&files.private_key, &error))?;
    create(&files.certificate, 0o644, &made.certificate)
        .map_err(|error| refuse(&files.certificate, &error))?;
    Ok(files)
}

fn create(path: &Path, mode: u32, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Where Postfix reaches us: the first address on loopback, or else the default one.
fn listener(settings: Option<&Settings>) -> SocketAddr {
    let listeners = settings.iter().flat_map(|s| &s.listeners);
    let mut addresses = listeners.flat_map(|l| l.addresses.iter().copied());
    let loopback = addresses.find(|a| a.ip().is_loopback());
    loopback.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 2525)))
}

fn story(files: &Files, made: &Made, address: SocketAddr) -> String {
    let (certificate, key) = (files.certificate.display(), files.private_key.display());
    let (ip, port, fingerprint) = (address.ip(), address.port(), &made.fingerprint);
    let hop = format!("[{ip}]:{port}");
    format!(
        "certificate  {certificate}
private key  {key} (mode 0600: give it to the user that sealpost runs as)
SHA-256      {fingerprint}

For the listener on {address} in sealpost.toml:

    tls = \"optional\"
    certificate = \"{certificate}\"
    private-key = \"{key}\"

For Postfix on this machine (3.0 or later), so that it believes this certificate and no other:

    postconf -e 'relayhost = {hop}'
    postconf -e 'smtp_tls_fingerprint_digest = sha256'
    postconf -e 'smtp_tls_policy_maps = inline:{{ {{ {hop} = fingerprint match={fingerprint} }} }}'
    postconf -e 'smtp_send_xforward_command = yes'
    postfix reload

Without this hop in TLS no message can be sent on with REQUIRETLS: see docs/listeners.md."
    )
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_missing_is_told_with_the_command_that_makes_it() {
        let directory = tempfile::tempdir().unwrap();
        let made = make(&["relay.test".to_owned()], 1).unwrap();
        let missing = directory.path().join("tls");
        let Err(error) = write(&missing, "relay.test", &made) else {
            panic!("there is no such directory")
        };
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(failure.status, Status::CannotCreate);
        let command = format!("`mkdir -p -m 0750 {}`", missing.display());
        assert!(failure.message.contains(&command), "{error}");
    }

    #[test]
    fn names_are_a_labels_in_the_certificate() {
        let names = |list: &[&str]| named(list.iter().map(|&n| n.to_owned()).collect(), None);
        let made = names(&["b\u{fc}.test", "Relay.Test"]).unwrap();
        assert_eq!(made, ["xn--b-eha.test", "relay.test"]);
        assert!(make(&made, 1).is_ok());
        let error = names(&["a b"]).unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(failure.status, Status::Usage);
    }
}
