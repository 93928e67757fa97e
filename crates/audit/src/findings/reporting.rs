//! The `_smtp._tls` record (RFC 8460 section 3).

use super::{Found, unless_ours};
use crate::facts::TxtAnswer;
use crate::finding::printable;
use crate::table::Kind;

pub(super) fn look(found: &mut Found<'_>) {
    let facts = found.facts;
    let records = match &facts.reporting {
        TxtAnswer::Records(records) => records,
        TxtAnswer::Failed(error) => {
            let kind = unless_ours(error, Kind::ReportingLookup, Kind::ReportingLocal);
            return found.add(kind, error.to_string());
        }
        TxtAnswer::NameTooLong => return found.add(Kind::ReportingAbsent, ""),
    };
    // "Records that do not begin with v=TLSRPTv1; are discarded", then counted.
    let mut candidates = records.iter().filter_map(|text| fields(text));
    match (candidates.next(), candidates.count()) {
        (None, _) => found.add(Kind::ReportingAbsent, ""),
        (Some(rest), 0) => match addresses(rest) {
            Ok(list) => found.add(Kind::ReportingFound, list),
            Err(why) => found.add(Kind::ReportingInvalid, why),
        },
        (Some(_), more) => found.add(Kind::ReportingSeveral, (more + 1).to_string()),
    }
}

fn fields(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"v=TLSRPTv1")?.trim_ascii_start();
    rest.strip_prefix(b";")
}

/// The addresses of `rua`, or what is wrong.
fn addresses(fields: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(fields).map_err(|_| "it is not ASCII".to_owned())?;
    let rua = text
        .split(';')
        .filter_map(|field| field.trim().split_once('='))
        .find(|(name, _)| name.trim() == "rua")
        .map(|(_, value)| value.trim());
    let Some(rua) = rua.filter(|value| !value.is_empty()) else {
        return Err("the field rua is missing".to_owned());
    };
    let uris: Vec<&str> = rua.split(',').map(str::trim).collect();
    let good = |uri: &&str| {
        let lower = uri.to_ascii_lowercase();
        let mail = lower
            .strip_prefix("mailto:")
            .is_some_and(|a| a.contains('@'));
        mail || lower
            .strip_prefix("https://")
            .is_some_and(|host| !host.is_empty())
    };
    match uris.iter().find(|uri| !good(uri)) {
        Some(bad) => Err(format!(
            "\"{}\" is neither mailto: with an address nor https:",
            printable(bad.as_bytes())
        )),
        None => Ok(printable(uris.join(", ").as_bytes())),
    }
}
