//! `dns.trust-anchors`: files of DNSKEY records, or the root's keys as built in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hickory_resolver::proto::dnssec::{PublicKey, PublicKeyBuf, TrustAnchors};
use hickory_resolver::proto::rr::{LowerName, Name};
use hickory_resolver::proto::serialize::txt::ParseError;
use hickory_resolver::proto::serialize::txt::trust_anchor::{Entry, Parser};

use crate::config::BuildError;
use crate::records::printable;

/// The keys that are trusted without a signature, and the zones that they are of.
#[derive(Clone)]
pub(crate) struct Anchors {
    pub(crate) keys: Arc<TrustAnchors>,
    pub(crate) zones: Arc<[Name]>,
}

impl Anchors {
    /// Those of the files, or the root's if none is named.
    pub(crate) fn load(files: &[PathBuf]) -> Result<Self, BuildError> {
        if files.is_empty() {
            return Ok(Self {
                keys: Arc::new(TrustAnchors::default()),
                zones: Arc::new([Name::root()]),
            });
        }
        let mut keys = TrustAnchors::empty();
        let mut zones = Vec::new();
        for file in files {
            read(file, &mut keys, &mut zones).map_err(|why| BuildError::TrustAnchor {
                file: file.clone(),
                why,
            })?;
        }
        Ok(Self {
            keys: Arc::new(keys),
            zones: zones.into(),
        })
    }

    /// Whether one of them speaks of this name. For others nothing is claimed (RFC 4033 section 5,
    /// "indeterminate").
    pub(crate) fn cover(&self, name: &Name) -> bool {
        self.zones.iter().any(|zone| zone.zone_of(name))
    }
}

fn read(file: &Path, keys: &mut TrustAnchors, zones: &mut Vec<Name>) -> Result<(), String> {
    let mut text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    // The parser takes a record for complete at the end of its line.
    text.push('\n');
    let entries = Parser::new(text).parse().map_err(|e| explain(&e))?;
    if entries.is_empty() {
        return Err("there is no DNSKEY record in it".to_owned());
    }
    for entry in entries {
        let Entry::DNSKEY(record) = entry else {
            continue;
        };
        let zone = record.name();
        let data = record.data();
        let public = data.public_key();
        if !data.zone_key() || data.revoke() {
            return Err(format!(
                "the key of {} is no zone key, or revoked",
                named(zone)
            ));
        }
        if !public.algorithm().is_supported() {
            return Err(format!(
                "the algorithm {} of the key of {} cannot be validated",
                public.algorithm(),
                named(zone)
            ));
        }
        let key = PublicKeyBuf::new(public.public_bytes().to_vec(), public.algorithm());
        keys.insert_with_name(&key, LowerName::from(zone));
        let mut zone = zone.to_lowercase();
        zone.set_fqdn(true);
        if !zones.contains(&zone) {
            zones.push(zone);
        }
    }
    Ok(())
}

fn explain(error: &ParseError) -> String {
    match error {
        ParseError::UnsupportedRecordType(kind) => {
            format!(
                "it holds a {kind} record; DNSKEY records are needed, as `dig DNSKEY` shows them"
            )
        }
        other => format!("it is no list of DNSKEY records: {other}"),
    }
}

/// A zone for a reader.
pub(crate) fn named(zone: &Name) -> String {
    if zone.is_root() {
        "the root".to_owned()
    } else {
        printable(zone)
    }
}
