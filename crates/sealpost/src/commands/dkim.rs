//! `sealpost dkim keygen`: a key, its DNS record, and the lines for the configuration.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::BASE64;
use dkim::SigningKey;
use mail_types::Domain;
use zeroize::Zeroizing;

use crate::cli::{DkimCommand, DkimKeyType};
use crate::exit::{Failure, Status};
use crate::output::Output;

/// Runs a `dkim` command.
pub(super) fn run(command: &DkimCommand, out: &mut Output) -> anyhow::Result<()> {
    let DkimCommand::Keygen {
        domain,
        selector,
        kind,
        bits,
        out: file,
        json,
    } = command;
    let domain = Domain::parse(domain)
        .map_err(|e| Failure::new(Status::Usage, format!("--domain {domain:?}: {e}")))?;
    if !is_selector(selector) {
        let text = format!("--selector {selector:?}: use letters, digits and hyphens");
        return Err(Failure::new(Status::Usage, text).into());
    }
    let der = generate(*kind, *bits)?;
    // Read as the daemon will read it, before anything is written.
    let pem = Zeroizing::new(pem(&der));
    let record = SigningKey::from_pem(pem.as_bytes())?.record()?;
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
    out.line("[[dkim]]")?;
    out.line(&format!("domain = \"{domain}\""))?;
    out.line(&format!("selector = \"{selector}\""))?;
    let path = file.display().to_string();
    out.line(&format!("private-key = {}", serde_json::Value::from(path)))?;
    Ok(())
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
        let file = file.display();
        let text = match error.kind() {
            std::io::ErrorKind::AlreadyExists => format!(
                "{file} is there already and is not overwritten: remove it, or name another --out"
            ),
            _ => format!("{file} cannot be written: {error}"),
        };
        Failure::new(Status::CannotCreate, text).into()
    })
}
