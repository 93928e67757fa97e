//! The `_smtp._tls` record (RFC 8460 section 3), read as those read it who send reports.

use tls_rpt::{NoReports, TlsRptRecord, record};

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
    match record(records) {
        Ok(record) => match record.skipped.first() {
            None => found.add(Kind::ReportingFound, places(&record)),
            Some(skipped) => found.add(Kind::ReportingInvalid, not_used(skipped)),
        },
        Err(NoReports::NoRecord) => found.add(Kind::ReportingAbsent, ""),
        Err(NoReports::Several(count)) => found.add(Kind::ReportingSeveral, count.to_string()),
        Err(NoReports::NothingUsable(skipped)) => {
            let first = skipped.first().map(not_used).unwrap_or_default();
            found.add(Kind::ReportingInvalid, first);
        }
        Err(error @ NoReports::NoRua) => found.add(Kind::ReportingInvalid, error.to_string()),
    }
}

fn places(record: &TlsRptRecord) -> String {
    let places: Vec<String> = record.rua.iter().map(ToString::to_string).collect();
    printable(places.join(", ").as_bytes())
}

fn not_used((uri, why): &(String, &'static str)) -> String {
    format!("\"{uri}\" in rua is not used: {why}")
}
