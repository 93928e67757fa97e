//! The TLSA records of a host as a set: what is usable of it, and what it matches.

use aws_lc_rs::digest;
use mail_types::TlsaRecord;

use crate::{Association, Discarded, Matching, Selector, Usage};

/// The usable TLSA records of a host, at least one; in an order of its own, so that equal sets are
/// equal values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsaSet {
    records: Vec<Association>,
}

/// What TLSA records amount to (RFC 7672 section 2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Records {
    /// At least one can be used.
    Usable(TlsaSet),
    /// There are some, and none can be used: TLS is mandatory, and unauthenticated.
    Unusable(Vec<Discarded>),
    /// There are none.
    None,
}

/// A certificate as it is held against TLSA records.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    /// The certificate in DER.
    pub der: &'a [u8],
    /// Its `SubjectPublicKeyInfo` in DER, as it stands in the certificate.
    pub spki: &'a [u8],
}

impl TlsaSet {
    /// Reads the records of one answer: malformed ones are left out before anything else is
    /// considered (row C3-09), then of several digests of one thing only the strongest counts.
    pub fn read(records: &[TlsaRecord]) -> Records {
        let (mut usable, mut discarded) = (Vec::with_capacity(records.len()), Vec::new());
        for record in records {
            match Association::parse(record) {
                Ok(association) => usable.push(association),
                Err(flaw) => discarded.push(Discarded {
                    record: record.clone(),
                    flaw,
                }),
            }
        }
        if usable.is_empty() {
            return if discarded.is_empty() {
                Records::None
            } else {
                Records::Unusable(discarded)
            };
        }
        usable.sort_unstable();
        usable.dedup();
        let records = strongest(usable);
        Records::Usable(Self { records })
    }

    /// The records that count.
    #[must_use]
    pub fn records(&self) -> &[Association] {
        &self.records
    }

    /// The DANE-EE(3) record that matches the host's own certificate, if one does. Names and dates
    /// of the certificate do not matter then (RFC 7672 section 3.1.1).
    #[must_use]
    pub fn end_entity(&self, certificate: &Certificate<'_>) -> Option<&Association> {
        self.matching(Usage::EndEntity, certificate)
    }

    /// The DANE-TA(2) record that matches this certificate of an authority, if one does.
    #[must_use]
    pub fn trust_anchor(&self, certificate: &Certificate<'_>) -> Option<&Association> {
        self.matching(Usage::TrustAnchor, certificate)
    }

    /// Whether there is any DANE-TA(2) record: then the names of the certificate matter.
    #[must_use]
    pub fn has_trust_anchors(&self) -> bool {
        self.of(Usage::TrustAnchor).next().is_some()
    }

    /// Certificates of authorities that stand in the records themselves (`2 0 0`): they count even
    /// if the host does not present them (RFC 7671 section 5.2.2, row C3-08).
    pub fn anchor_certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.whole(Selector::Certificate)
    }

    /// Keys of authorities that stand in the records themselves (`2 1 0`).
    pub fn anchor_keys(&self) -> impl Iterator<Item = &[u8]> {
        self.whole(Selector::PublicKey)
    }

    fn of(&self, usage: Usage) -> impl Iterator<Item = &Association> {
        self.records.iter().filter(move |r| r.usage == usage)
    }

    fn whole(&self, selector: Selector) -> impl Iterator<Item = &[u8]> {
        self.of(Usage::TrustAnchor)
            .filter(move |r| r.selector == selector && r.matching == Matching::Full)
            .map(Association::data)
    }

    fn matching(&self, usage: Usage, certificate: &Certificate<'_>) -> Option<&Association> {
        self.of(usage).find(|record| {
            let part = match record.selector {
                Selector::Certificate => certificate.der,
                Selector::PublicKey => certificate.spki,
            };
            match record.matching {
                Matching::Full => record.data() == part,
                Matching::Sha256 => digest::digest(&digest::SHA256, part).as_ref() == record.data(),
                Matching::Sha512 => digest::digest(&digest::SHA512, part).as_ref() == record.data(),
            }
        })
    }
}

/// Digest agility (RFC 7671 section 9, row C3-06): for each usage and selector only the records with
/// the strongest digest count, and those with Full(0) always.
fn strongest(sorted: Vec<Association>) -> Vec<Association> {
    let best = |of: &Association| {
        let same = sorted
            .iter()
            .filter(|r| (r.usage, r.selector) == (of.usage, of.selector));
        same.map(|r| r.matching).max()
    };
    let counts = |r: &&Association| r.matching == Matching::Full || best(r) == Some(r.matching);
    sorted.iter().filter(counts).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const LEAF: Certificate<'_> = Certificate {
        der: b"\x30\x04leaf",
        spki: b"\x30\x03key",
    };
    const OTHER: Certificate<'_> = Certificate {
        der: b"\x30\x05other",
        spki: b"\x30\x04its.",
    };

    /// The record that matches this certificate.
    fn tlsa(usage: u8, selector: u8, matching: u8, of: &Certificate<'_>) -> TlsaRecord {
        let part = if selector == 0 { of.der } else { of.spki };
        let data = match matching {
            0 => part.to_vec(),
            1 => digest::digest(&digest::SHA256, part).as_ref().to_vec(),
            _ => digest::digest(&digest::SHA512, part).as_ref().to_vec(),
        };
        TlsaRecord {
            usage,
            selector,
            matching,
            data,
        }
    }

    fn usable(records: &[TlsaRecord]) -> TlsaSet {
        match TlsaSet::read(records) {
            Records::Usable(set) => set,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn c3_05_every_selector_and_matching_type_for_both_usages() {
        for selector in [0, 1] {
            for matching in [0, 1, 2] {
                let ee = usable(&[tlsa(3, selector, matching, &LEAF)]);
                assert!(ee.end_entity(&LEAF).is_some(), "3 {selector} {matching}");
                assert!(ee.end_entity(&OTHER).is_none(), "3 {selector} {matching}");
                assert!(ee.trust_anchor(&LEAF).is_none() && !ee.has_trust_anchors());
                let ta = usable(&[tlsa(2, selector, matching, &LEAF)]);
                assert!(ta.trust_anchor(&LEAF).is_some(), "2 {selector} {matching}");
                assert!(ta.trust_anchor(&OTHER).is_none(), "2 {selector} {matching}");
                assert!(ta.end_entity(&LEAF).is_none() && ta.has_trust_anchors());
            }
        }
    }

    #[test]
    fn c3_06_of_several_digests_only_the_strongest_counts() {
        // The weaker digest matches, the stronger one does not: no match.
        let set = usable(&[tlsa(3, 1, 1, &LEAF), tlsa(3, 1, 2, &OTHER)]);
        assert!(set.end_entity(&LEAF).is_none());
        // Per selector and usage: another selector's digest is not weaker.
        let set = usable(&[tlsa(3, 0, 1, &LEAF), tlsa(3, 1, 2, &OTHER)]);
        assert!(set.end_entity(&LEAF).is_some());
        let set = usable(&[tlsa(3, 1, 1, &LEAF), tlsa(2, 1, 2, &OTHER)]);
        assert!(set.end_entity(&LEAF).is_some());
        // Full(0) is no digest and always counts.
        let set = usable(&[tlsa(3, 1, 0, &LEAF), tlsa(3, 1, 2, &OTHER)]);
        assert!(set.end_entity(&LEAF).is_some());
        // Several of the same strength: any of them.
        let set = usable(&[tlsa(3, 1, 2, &LEAF), tlsa(3, 1, 2, &OTHER)]);
        assert!(set.end_entity(&LEAF).is_some());
    }

    #[test]
    fn c3_09_a_malformed_record_neither_counts_nor_spoils_the_others() {
        let mut broken = tlsa(3, 1, 2, &OTHER);
        broken.data.pop();
        // It would be the strongest digest, but it is discarded before that is considered.
        let set = usable(&[broken.clone(), tlsa(3, 1, 1, &LEAF)]);
        assert!(set.end_entity(&LEAF).is_some());
        let all_bad = TlsaSet::read(&[broken]);
        assert!(matches!(all_bad, Records::Unusable(list) if list.len() == 1));
    }

    #[test]
    fn c2_02_c2_03_c3_04_usable_unusable_none() {
        assert_eq!(TlsaSet::read(&[]), Records::None);
        for usage in [0, 1] {
            let only = TlsaSet::read(&[tlsa(usage, 1, 1, &LEAF)]);
            assert!(matches!(only, Records::Unusable(_)), "{usage}");
            let set = usable(&[tlsa(usage, 1, 2, &OTHER), tlsa(3, 1, 1, &LEAF)]);
            assert!(set.end_entity(&LEAF).is_some(), "{usage}");
        }
    }

    #[test]
    fn c3_08_anchors_that_stand_in_the_records() {
        let set = usable(&[
            tlsa(2, 0, 0, &LEAF),
            tlsa(2, 1, 0, &OTHER),
            tlsa(3, 0, 0, &OTHER),
        ]);
        assert_eq!(set.anchor_certificates().collect::<Vec<_>>(), [LEAF.der]);
        assert_eq!(set.anchor_keys().collect::<Vec<_>>(), [OTHER.spki]);
    }

    fn any_record() -> impl Strategy<Value = TlsaRecord> {
        let data = prop_oneof![
            vec(any::<u8>(), 0..70),
            vec(any::<u8>(), 32),
            vec(any::<u8>(), 64),
            Just(LEAF.der.to_vec()),
            Just(LEAF.spki.to_vec()),
        ];
        (0_u8..5, 0_u8..3, 0_u8..4, data).prop_map(|(usage, selector, matching, data)| TlsaRecord {
            usage,
            selector,
            matching,
            data,
        })
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(mut records in vec(any_record(), 0..8)) {
            let one = TlsaSet::read(&records);
            records.reverse();
            records.extend(records.clone());
            let other = TlsaSet::read(&records);
            match (one, other) {
                (Records::Usable(a), Records::Usable(b)) => prop_assert_eq!(a, b),
                (Records::None, Records::None) | (Records::Unusable(_), Records::Unusable(_)) => {}
                (a, b) => prop_assert!(false, "{a:?} {b:?}"),
            }
        }

        #[test]
        fn a_match_comes_from_a_record_that_says_so(records in vec(any_record(), 0..8)) {
            if let Records::Usable(set) = TlsaSet::read(&records) {
                for association in set.records() {
                    prop_assert!(records.iter().any(|r| r.data == association.data()
                        && r.usage == association.usage.number()));
                }
                if let Some(by) = set.end_entity(&LEAF) {
                    let again = tlsa(3, by.selector.number(), by.matching.number(), &LEAF);
                    prop_assert_eq!(by.data(), again.data);
                }
            }
        }

        #[test]
        fn what_is_usable_is_a_question_of_each_record(records in vec(any_record(), 0..8)) {
            let good = records.iter().filter(|r| Association::parse(r).is_ok()).count();
            match TlsaSet::read(&records) {
                Records::Usable(set) => prop_assert!(good > 0 && set.records().len() <= good),
                Records::Unusable(list) => prop_assert!(good == 0 && list.len() == records.len()),
                Records::None => prop_assert!(records.is_empty()),
            }
        }
    }
}
