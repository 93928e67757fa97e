//! The `_mta-sts` record (RFC 8461 section 3.1).

use mta_sts::{NoRecord, Record, Selection};

use super::{Found, unless_ours};
use crate::facts::TxtAnswer;
use crate::finding::printable;
use crate::table::Kind;

pub(super) fn look(found: &mut Found<'_>) {
    let facts = found.facts;
    let records = match &facts.record {
        TxtAnswer::Records(records) => records,
        TxtAnswer::Failed(error) => {
            let kind = unless_ours(error, Kind::RecordLookup, Kind::RecordLocal);
            return found.add(kind, error.to_string());
        }
        TxtAnswer::NameTooLong => return found.add(Kind::RecordNameTooLong, ""),
    };
    match facts.selection() {
        Some(Selection::Found(record)) => {
            found.add(Kind::RecordFound, record.id().as_str());
            if let (Some(known), Ok(served)) = (&facts.known, &facts.policy)
                && known.id == record.id().as_str()
                && known.text != served.policy.text()
            {
                let detail = format!("{} under the same id {}", known.fetched, known.id);
                found.add(Kind::RecordIdKept, printable(detail.as_bytes()));
            }
        }
        Some(Selection::None(NoRecord::Several(n))) => {
            found.add(Kind::RecordSeveral, n.to_string());
        }
        Some(Selection::None(NoRecord::Invalid(error))) => {
            found.add(Kind::RecordInvalid, error.to_string());
        }
        Some(Selection::None(NoRecord::Absent | NoRecord::NearMiss)) | None => {
            match records.iter().find(|text| Record::looks_meant(text)) {
                Some(text) => found.add(Kind::RecordNearMiss, printable(text)),
                None => found.add(Kind::RecordAbsent, ""),
            }
        }
    }
}
