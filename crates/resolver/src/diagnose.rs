//! What is wrong with an answer that fails validation, as far as it shows itself.

use hickory_resolver::proto::dnssec::rdata::DNSSECRData;
use hickory_resolver::proto::dnssec::rdata::sig::SigInput;
use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::{RData, Record};
use mail_types::Timestamp;

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

/// What is said of the keys of a zone all of whose signatures are out of their time: they prove nothing about
/// the keys, and a wrong clock is the likely cause. `now` is seconds since 1970.
pub(crate) fn out_of_time(zone: &str, keys: &[Record], now: u64) -> Option<String> {
    let signatures: Vec<&SigInput> = keys
        .iter()
        .filter_map(|r| match &r.data {
            RData::DNSSEC(DNSSECRData::RRSIG(signature)) => Some(signature.input()),
            _ => None,
        })
        .collect();
    // RFC 4034 section 3.1.5, as above.
    let clock = (now % (1 << 32)) as u32;
    let past = |end: u32| clock.wrapping_sub(end) < 1 << 31 && clock != end;
    let expired = signatures
        .iter()
        .map(|s| s.sig_expiration.get())
        .filter(|end| past(*end));
    let early = signatures
        .iter()
        .map(|s| s.sig_inception.get())
        .filter(|begin| !past(*begin) && clock != *begin);
    let today = Timestamp::from_secs(now).rfc3339();
    let today = today.split('T').next().unwrap_or_default().to_owned();
    let (expired, early): (Vec<u32>, Vec<u32>) = (expired.collect(), early.collect());
    if !expired.is_empty() && expired.len() == signatures.len() {
        let age = expired.iter().map(|end| clock.wrapping_sub(*end)).min()?;
        let when = ago(age);
        return Some(format!(
            "the signatures on the keys of {zone} expired {when} by this machine's clock ({today})"
        ));
    }
    if !early.is_empty() && early.len() == signatures.len() {
        return Some(format!(
            "the signatures on the keys of {zone} are not valid yet by this machine's clock ({today})"
        ));
    }
    None
}

fn ago(seconds: u32) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds ago"),
        120..7_200 => format!("{} minutes ago", seconds / 60),
        7_200..172_800 => format!("{} hours ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::dnssec::Algorithm;
    use hickory_resolver::proto::dnssec::rdata::RRSIG;
    use hickory_resolver::proto::rr::{Name, RecordType, SerialNumber};

    use super::*;

    const DAY: u64 = 86_400;
    /// 2026-11-23.
    const NOW: u64 = 1_795_392_000;

    fn signed(from: u64, until: u64) -> Record {
        let time = |at: u64| SerialNumber::new(u32::try_from(at).unwrap());
        let input = SigInput {
            type_covered: RecordType::DNSKEY,
            algorithm: Algorithm::ECDSAP256SHA256,
            num_labels: 0,
            original_ttl: 3600,
            sig_expiration: time(until),
            sig_inception: time(from),
            key_tag: 1,
            signer_name: Name::root(),
        };
        let signature = RRSIG::from_sig(input, vec![0; 64]);
        let data = RData::DNSSEC(DNSSECRData::RRSIG(signature));
        Record::from_rdata(Name::root(), 3600, data)
    }

    #[test]
    fn c4_06_signatures_out_of_their_time_are_told_as_such() {
        let keys = [signed(NOW - 30 * DAY, NOW + 10 * DAY)];
        let said = |now| out_of_time("the root", &keys, now);
        assert_eq!(said(NOW), None);
        let late = said(NOW + 380 * DAY).unwrap();
        assert_eq!(
            late,
            "the signatures on the keys of the root expired 370 days ago by this machine's clock (2027-12-08)"
        );
        let early = said(NOW - 400 * DAY).unwrap();
        assert!(
            early.contains("not valid yet by this machine's clock (2025-10-19)"),
            "{early}"
        );
        // One that counts is enough: something else is wrong then.
        let both = [
            signed(NOW - 30 * DAY, NOW - DAY),
            signed(NOW - DAY, NOW + DAY),
        ];
        assert_eq!(out_of_time("the root", &both, NOW), None);
    }
}
