//! What is wrong with an answer that fails validation, as far as it shows itself.

use hickory_resolver::proto::dnssec::rdata::DNSSECRData;
use hickory_resolver::proto::dnssec::rdata::sig::SigInput;
use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::RData;

use crate::anchors::named;

/// One sentence for the operator. `now` is seconds since 1970.
pub(crate) fn diagnose(question: &Query, message: &Message, now: u64) -> String {
    let kind = question.query_type();
    let denied = message.answers.is_empty();
    let section = if denied {
        &message.authorities
    } else {
        &message.answers
    };
    let signatures: Vec<&SigInput> = section
        .iter()
        .filter_map(|r| match &r.data {
            RData::DNSSEC(DNSSECRData::RRSIG(signature)) => Some(signature.input()),
            _ => None,
        })
        .collect();
    let what = if denied {
        format!("the proof that there are no {kind} records")
    } else {
        format!("the answer for {kind}")
    };
    let Some(first) = signatures.first() else {
        return format!("{what} is not signed, although its zone is");
    };
    let zone = named(&first.signer_name);
    // RFC 4034 section 3.1.5: seconds since 1970, modulo 2^32, compared as serial numbers.
    let now = (now % (1 << 32)) as u32;
    let after = |a: u32, b: u32| a.wrapping_sub(b) < 1 << 31;
    if signatures
        .iter()
        .all(|s| after(now, s.sig_expiration.get()) && now != s.sig_expiration.get())
    {
        let age = now.wrapping_sub(first.sig_expiration.get());
        return format!("{what} has a signature of {zone} that expired {}", ago(age));
    }
    if signatures
        .iter()
        .all(|s| after(s.sig_inception.get(), now) && now != s.sig_inception.get())
    {
        return format!(
            "{what} has a signature of {zone} that is not valid yet: is our clock right?"
        );
    }
    format!("{what} has a signature of {zone} that does not verify, or whose key does not")
}

fn ago(seconds: u32) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds ago"),
        120..7_200 => format!("{} minutes ago", seconds / 60),
        7_200..172_800 => format!("{} hours ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
