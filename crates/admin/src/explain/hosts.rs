//! What DNS says of a domain's hosts with regard to DANE, in plain words.

use delivery::Hosts;
use delivery::plan::Candidate;
use delivery::standing::{HostDane, Vouched};

/// A paragraph; nothing if no host has TLSA records, and DNSSEC vouches for none.
pub(super) fn paragraph(hosts: &Hosts) -> Option<String> {
    let Hosts::Candidates(candidates) = hosts else {
        return None;
    };
    let secure = candidates
        .iter()
        .any(|c| c.standing.vouched == Vouched::Dnssec);
    let sentences: Vec<String> = candidates.iter().filter_map(of_host).collect();
    if sentences.is_empty() && !secure {
        return None;
    }
    let names = if secure {
        "DNSSEC vouches for the list of mail hosts."
    } else {
        "DNSSEC does not vouch for the list of mail hosts."
    };
    let records = if sentences.is_empty() {
        "None of them has TLSA records (DANE, RFC 7672).".to_owned()
    } else {
        sentences.join(" ")
    };
    Some(format!("{names} {records}"))
}

fn of_host(candidate: &Candidate) -> Option<String> {
    let name = &candidate.name;
    let at = |base: &mail_types::HostName| format!("_{}._tcp.{base}", candidate.port);
    match &candidate.standing.dane {
        HostDane::Absent => None,
        HostDane::Usable(records) => {
            let shown: Vec<String> = records
                .set
                .records()
                .iter()
                .map(ToString::to_string)
                .collect();
            Some(format!(
                "{name} has TLSA records at {} ({}): its certificate has to match one of them, or nothing \
                 is sent there.",
                at(&records.base),
                shown.join("; ")
            ))
        }
        HostDane::Unusable { base, why } => Some(format!(
            "None of the TLSA records of {name} at {} can be used ({why}): TLS is mandatory there, with \
             any certificate.",
            at(base)
        )),
        HostDane::Failed { detail, .. } => Some(format!(
            "The TLSA records of {name} could not be looked up ({detail}), so nothing is sent there for \
             now."
        )),
    }
}
