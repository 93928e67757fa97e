//! `sealpost dkim keygen`: a key, its DNS record, and the lines for the configuration.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::BASE64;
use dkim::SigningKey;
use file_rights::cannot_create;
use mail_types::Domain;
use zeroize::Zeroizing;

use crate::cli::{DkimCommand, DkimKeyType, DkimService};
use crate::exit::{Failure, Status};
use terminal::Output;

/// Runs a `dkim` command.
pub(super) fn run(command: &DkimCommand, out: &mut Output) -> anyhow::Result<()> {
    let DkimCommand::Keygen {
        domain,
        selector,
        kind,
        bits,
        service,
        out: file,
        json,
    } = command;
    let domain = signer(domain)?;
    if !is_selector(selector) {
        let text = format!("--selector {selector:?}: use letters, digits and hyphens");
        return Err(Failure::new(Status::Usage, text).into());
    }
    let der = generate(*kind, *bits)?;
    // Read as the daemon will read it, before anything is written.
    let pem = Zeroizing::new(pem(&der));
    let mut record = SigningKey::from_pem(pem.as_bytes())?.record()?;
    if *service == DkimService::Tlsrpt {
        record = record.for_service("tlsrpt");
    }
    let file = file
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{selector}._domainkey.{domain}.pem")));
    write(&file, &pem)?;
    let file = std::path::absolute(&file)?;
    let name = format!("{selector}._domainkey.{domain}");
    if json.json {
        out.json(&serde_json::json!({
            "name": name,
            "record": record.as_str(),
            "strings": record.strings().collect::<Vec<_>>(),
            "private_key": file,
        }))?;
        return Ok(());
    }
    out.line("; 1. Publish this record in DNS, and wait until it is there:")?;
    out.line(&record.zone_line(selector, &domain))?;
    out.line("")?;
    out.line("# 2. Give the key to the server's user, for instance:")?;
    out.line(&format!("#    chown sealpost {}", file.display()))?;
    out.line(
        "# 3. Add this to sealpost.toml, then `sealpost check-config` and `sealpost reload`:",
    )?;
    let path = serde_json::Value::from(file.display().to_string());
    let lines = match service {
        DkimService::All => [
            "[[dkim]]".to_owned(),
            format!("domain = \"{domain}\""),
            format!("selector = \"{selector}\""),
            format!("private-key = {path}"),
        ],
        DkimService::Tlsrpt => [
            "[reporting]".to_owned(),
            format!("dkim-domain = \"{domain}\""),
            format!("dkim-selector = \"{selector}\""),
            format!("dkim-private-key = {path}"),
        ],
    };
    lines.iter().try_for_each(|line| out.line(line))?;
    Ok(())
}

/// As `dkim.domain` takes it.
fn signer(text: &str) -> anyhow::Result<Domain> {
    let wrong = |why: String| Failure::new(Status::Usage, format!("--domain {text:?}: {why}"));
    let domain = Domain::parse(text).map_err(|error| wrong(error.to_string()))?;
    if !domain.is_fully_qualified() {
        return Err(wrong("not fully qualified: it has only one label".into()).into());
    }
    Ok(domain)
}

fn is_selector(selector: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    selector.split('.').all(label)
}

/// PKCS #8.
fn generate(kind: DkimKeyType, bits: Option<u16>) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let failed = |_| Failure::new(Status::Software, "no key could be made");
    let der = match (kind, bits) {
        (DkimKeyType::Ed25519, None) => {
            let key = Ed25519KeyPair::generate().map_err(failed)?;
            key.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()
        }
        (DkimKeyType::Rsa, bits) => {
            let size = match bits.unwrap_or(2048) {
                2048 => KeySize::Rsa2048,
                3072 => KeySize::Rsa3072,
                4096 => KeySize::Rsa4096,
                // RFC 8301 section 3.2.
                other => {
                    let text = format!("--bits {other}: choose 2048, 3072 or 4096");
                    return Err(Failure::new(Status::Usage, text).into());
                }
            };
            let key = KeyPair::generate(size).map_err(failed)?;
            let der: Pkcs8V1Der<'_> = key.as_der().map_err(failed)?;
            der.as_ref().to_vec()
        }
        (DkimKeyType::Ed25519, Some(_)) => {
            let text = "--bits is for RSA: Ed25519 keys have one size";
            return Err(Failure::new(Status::Usage, text).into());
        }
    };
    Ok(Zeroizing::new(der))
}

fn pem(der: &[u8]) -> String {
    let text = Zeroizing::new(BASE64.encode(der));
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = behind;
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

/// Never over a file that is there: its record may be published.
fn write(file: &Path, pem: &str) -> anyhow::Result<()> {
    let made = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut f| {
            f.write_all(pem.as_bytes())?;
            f.sync_all()
        });
    made.map_err(|error| {
        let text = cannot_create(file, &error, "another --out");
        Failure::new(Status::CannotCreate, text).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::cli::Json;

    fn keygen(domain: &str, bits: u16, file: &Path, json: bool) -> anyhow::Result<String> {
        let command = DkimCommand::Keygen {
            domain: domain.to_owned(),
            selector: "s1".to_owned(),
            service: DkimService::All,
            kind: DkimKeyType::Rsa,
            bits: Some(bits),
            out: Some(file.to_owned()),
            json: Json { json },
        };
        let written = tempfile::NamedTempFile::new()?;
        let mut out = Output::to(Box::new(written.reopen()?));
        run(&command, &mut out)?;
        out.flush()?;
        Ok(std::fs::read_to_string(written.path())?)
    }

    /// What is printed is pasted into a zone: RSA keys are longer than one string.
    #[test]
    fn the_printed_record_is_that_of_the_key() {
        let directory = tempfile::tempdir().unwrap();
        for bits in [2048, 3072, 4096] {
            let file = directory.path().join(bits.to_string());
            let text = keygen("d.test", bits, &file, false).unwrap();
            assert!(!text.contains('\u{fffd}'), "{text}");
            let line = text.lines().find(|l| l.contains(" IN TXT ")).unwrap();
            let strings = line.strip_prefix("s1._domainkey.d.test. IN TXT ( ");
            let strings = strings.and_then(|s| s.strip_suffix(" )")).unwrap();
            // Nothing but blanks between the strings.
            let parts: Vec<&str> = strings.split('"').collect();
            let (inside, between): (Vec<_>, Vec<_>) =
                parts.iter().enumerate().partition(|(n, _)| n % 2 == 1);
            assert!(between.iter().all(|(_, s)| s.trim().is_empty()), "{line}");
            assert!(inside.len() >= 2, "{line}");
            let joined: String = inside.into_iter().map(|(_, s)| *s).collect();
            let key = SigningKey::from_pem(&std::fs::read(&file).unwrap()).unwrap();
            assert_eq!(joined, key.record().unwrap().as_str());
        }
        let file = directory.path().join("json");
        let text = keygen("d.test", 2048, &file, true).unwrap();
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        let key = SigningKey::from_pem(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(told["record"], key.record().unwrap().as_str());
    }

    #[test]
    fn a_directory_that_is_missing_is_told_with_the_command_that_makes_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys").join("s1.pem");
        let error = keygen("d.test", 2048, &file, false).unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(failure.status, Status::CannotCreate);
        assert!(failure.message.contains("`mkdir -p"), "{error}");
        assert!(!file.parent().unwrap().exists(), "nothing is made");
    }

    #[test]
    fn no_key_is_written_for_a_domain_that_the_configuration_refuses() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        for domain in ["example", "a b", ""] {
            let error = keygen(domain, 2048, &file, false).unwrap_err();
            let failure = error.downcast_ref::<Failure>().unwrap();
            assert_eq!(failure.status, Status::Usage, "{domain}: {error}");
            assert!(!file.exists(), "{domain}");
        }
    }

    #[test]
    fn b4_11_a_key_for_reports_alone_is_printed_with_the_lines_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("k.pem");
        let command = DkimCommand::Keygen {
            domain: "org.test".to_owned(),
            selector: "r1".to_owned(),
            service: DkimService::Tlsrpt,
            kind: DkimKeyType::Ed25519,
            bits: None,
            out: Some(file.clone()),
            json: Json { json: false },
        };
        let written = tempfile::NamedTempFile::new().unwrap();
        let mut out = Output::to(Box::new(written.reopen().unwrap()));
        run(&command, &mut out).unwrap();
        out.flush().unwrap();
        let text = std::fs::read_to_string(written.path()).unwrap();
        assert!(text.contains("; s=tlsrpt; p="), "{text}");
        let lines = format!(
            "[reporting]\ndkim-domain = \"org.test\"\ndkim-selector = \"r1\"\ndkim-private-key = \"{}\"\n",
            file.display()
        );
        assert!(text.ends_with(&lines), "{text}");
    }
}
