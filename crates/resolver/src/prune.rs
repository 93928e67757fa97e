//! What of a reply reaches the validator. It verifies every record of every section, with queries
//! of its own for each: what no verdict rests on is left out, and so is what has misled it.

use crate::dname;
use hickory_resolver::net::{DnsError as NetDnsError, NetError};
use hickory_resolver::proto::dnssec::rdata::DNSSECRData;
use hickory_resolver::proto::op::{DnsResponse, Query, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};

/// A reply with records in its answer section.
pub(crate) fn response(question: &Query, mut response: DnsResponse) -> DnsResponse {
    if question.query_type() == RecordType::NS {
        // Read by hickory without a verdict, the authority section too.
        return response;
    }
    let message = &mut *response;
    message.additionals.clear();
    if message.answers.is_empty() {
        message.authorities.retain(is_of_denial);
        return response;
    }
    cut_after_alias(question, message);
    // Only a record made from a wildcard needs a proof beside it (RFC 4035 section 5.3.4).
    if message.answers.iter().any(is_wildcard_signature) {
        message.authorities.retain(is_proof);
    } else {
        message.authorities.clear();
    }
    response
}

/// A CNAME whose target has no records in the same answer: the proofs beside it are about the
/// target, and hickory measures them against the alias. The target is asked for by itself.
fn cut_after_alias(question: &Query, message: &mut hickory_resolver::proto::op::Message) {
    let kind = question.query_type();
    let has_records = message.answers.iter().any(|r| r.record_type() == kind);
    let alias = |r: &Record| r.name == *question.name() && r.record_type() == RecordType::CNAME;
    if kind == RecordType::CNAME || has_records || !message.answers.iter().any(alias) {
        return;
    }
    message.answers.retain(|r| {
        let of_alias = r.name == *question.name() && covered(r) == Some(RecordType::CNAME);
        alias(r) || of_alias || dname::is_of_subtree(r, question.name())
    });
    message.metadata.response_code = ResponseCode::NoError;
}

/// A denial, which hickory has made an error of.
pub(crate) fn denial(error: NetError) -> NetError {
    let NetError::Dns(NetDnsError::NoRecordsFound(mut denial)) = error else {
        return error;
    };
    if let Some(authorities) = denial.authorities.take() {
        let kept = authorities.iter().filter(|r| is_of_denial(r));
        denial.authorities = Some(kept.cloned().collect());
    }
    NetError::Dns(NetDnsError::NoRecordsFound(denial))
}

/// Whether a signature says that its record was made from a wildcard (RFC 4035 section 5.3.4).
pub(crate) fn is_wildcard_signature(record: &Record) -> bool {
    let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = &record.data else {
        return false;
    };
    signature.input().num_labels < record.name.num_labels()
}

fn is_of_denial(record: &Record) -> bool {
    let soa = |kind| kind == RecordType::SOA;
    soa(record.record_type()) || covered(record).is_some_and(soa) || is_proof(record)
}

fn is_proof(record: &Record) -> bool {
    let kind = covered(record).unwrap_or_else(|| record.record_type());
    matches!(kind, RecordType::NSEC | RecordType::NSEC3)
}

/// What a signature is of.
pub(crate) fn covered(record: &Record) -> Option<RecordType> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => Some(signature.input().type_covered),
        _ => None,
    }
}
