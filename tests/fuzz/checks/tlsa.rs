//! Any TLSA answer is read without a panic, and what is held against it decides nothing else: a
//! record matches only what it says, and a set of malformed records is never an empty one.

use dane::{Association, Certificate, Records, TlsaSet};
use mail_types::TlsaRecord;

/// Records of the form: usage, selector, matching type, length, data.
fn records(mut input: &[u8]) -> (Vec<TlsaRecord>, &[u8]) {
    let mut list = Vec::new();
    while let [usage, selector, matching, length, rest @ ..] = input {
        let (data, more) = rest.split_at(usize::from(*length).min(rest.len()));
        list.push(TlsaRecord {
            usage: *usage,
            selector: *selector,
            matching: *matching,
            data: data.to_vec(),
        });
        input = more;
    }
    (list, input)
}

pub(super) fn check(input: &[u8]) {
    let (published, rest) = records(input);
    let (der, spki) = rest.split_at(rest.len() / 2);
    let presented = Certificate { der, spki };
    let well_formed = published.iter().filter(|r| Association::parse(r).is_ok());
    match TlsaSet::read(&published) {
        Records::None => assert!(published.is_empty()),
        Records::Unusable(list) => {
            assert_eq!(list.len(), published.len());
            assert_eq!(well_formed.count(), 0);
        }
        Records::Usable(set) => {
            assert!(!set.records().is_empty() && well_formed.count() >= set.records().len());
            for found in [set.end_entity(&presented), set.trust_anchor(&presented)]
                .into_iter()
                .flatten()
            {
                assert!(published.iter().any(|r| r.data == found.data()));
            }
            for whole in set.anchor_certificates().chain(set.anchor_keys()) {
                assert_eq!(whole.first(), Some(&0x30));
            }
        }
    }
}
