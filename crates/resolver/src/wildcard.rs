//! Records made from a wildcard, in a zone that proves absence with NSEC: that nothing closer to
//! the name exists (RFC 4035 section 5.3.4).
//!
//! hickory 0.26 accepts such records only if the wildcard lies two or more labels above the name;
//! `*.example.org`, the usual one, it calls bogus. What it has verified is each signature, and on
//! these marks the proof rests here.

use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::dnssec::rdata::sig::SigInput;
use hickory_resolver::proto::dnssec::rdata::{DNSSECRData, NSEC};
use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use crate::prune::is_wildcard_signature;

/// Whether each record of the answer that was made from a wildcard may have been.
pub(crate) fn is_proven(message: &Message) -> bool {
    let made = message.answers.iter().filter(|r| is_wildcard_signature(r));
    let mut any = false;
    for record in made.filter(|r| r.proof == Proof::Secure) {
        any = true;
        let proven = signature(record).is_some_and(|of| {
            let proofs = message.authorities.iter();
            proofs
                .filter_map(|p| as_proof(message, p, &of.signer_name))
                .any(|(owner, nsec)| denies_closer(&record.name, of.num_labels, owner, nsec))
        });
        if !proven {
            return false;
        }
    }
    any
}

/// A verified NSEC record of this very zone: that of the parent says nothing about names below.
fn as_proof<'m>(
    message: &Message,
    record: &'m Record,
    zone: &Name,
) -> Option<(&'m Name, &'m NSEC)> {
    let RData::DNSSEC(DNSSECRData::NSEC(nsec)) = &record.data else {
        return None;
    };
    let signed_there = message.authorities.iter().any(|r| {
        r.proof == Proof::Secure
            && r.name == record.name
            && signature(r)
                .is_some_and(|s| s.type_covered == RecordType::NSEC && s.signer_name == *zone)
    });
    (record.proof == Proof::Secure && signed_there).then_some((&record.name, nsec))
}

/// Whether the NSEC record shows that `name` is absent, and that the closest name above it that
/// exists has `labels` labels.
fn denies_closer(name: &Name, labels: u8, owner: &Name, nsec: &NSEC) -> bool {
    let types = nsec.type_set();
    let is_cut = types.contains(RecordType::NS) && !types.contains(RecordType::SOA);
    if is_cut && owner.zone_of(name) {
        // RFC 6840 section 4.1.
        return false;
    }
    let next = nsec.next_domain_name();
    let covers = owner < name && (name < next || next <= owner && next.zone_of(name));
    covers && common(name, owner).max(common(name, next)) == usize::from(labels)
}

/// How many labels two names share, from the root.
fn common(one: &Name, other: &Name) -> usize {
    let labels = |name: &Name| {
        name.iter()
            .map(<[u8]>::to_ascii_lowercase)
            .collect::<Vec<_>>()
    };
    let (one, other) = (labels(one), labels(other));
    let pairs = one.iter().rev().zip(other.iter().rev());
    pairs.take_while(|(a, b)| a == b).count()
}

fn signature(record: &Record) -> Option<&SigInput> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => Some(signature.input()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        let mut name = Name::from_ascii(text).unwrap();
        name.set_fqdn(true);
        name
    }

    fn denies(of: &str, labels: u8, owner: &str, next: &str, types: &[RecordType]) -> bool {
        let nsec = NSEC::new(name(next), types.iter().copied());
        denies_closer(&name(of), labels, &name(owner), &nsec)
    }

    #[test]
    fn a_wildcard_answers_only_where_nothing_closer_exists() {
        let mx = [RecordType::MX];
        // The wildcard itself comes before the name, or a sibling does.
        assert!(denies("x.d.test", 2, "*.d.test", "z.d.test", &mx));
        assert!(denies("x.d.test", 2, "a.d.test", "z.d.test", &mx));
        assert!(
            denies("X.D.test", 2, "a.d.test", "d.test", &mx),
            "the last of the zone"
        );
        assert!(
            denies("a.z.w.test", 2, "x.y.w.test", "xx.test", &mx),
            "RFC 4035 B.6"
        );
        // The name exists; it is not covered; something closer exists; another zone's cut.
        assert!(!denies("x.d.test", 2, "x.d.test", "z.d.test", &mx));
        assert!(!denies("x.d.test", 2, "a.d.test", "b.d.test", &mx));
        assert!(!denies("y.x.d.test", 2, "a.x.d.test", "z.d.test", &mx));
        assert!(!denies("y.x.d.test", 2, "a.d.test", "z.x.d.test", &mx));
        assert!(!denies(
            "y.x.d.test",
            1,
            "x.d.test",
            "z.d.test",
            &[RecordType::NS]
        ));
    }
}
