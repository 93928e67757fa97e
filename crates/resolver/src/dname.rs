//! CNAME records that a server makes from a DNAME record carry no signature of their own: they are
//! worth what the DNAME is worth (RFC 6672 section 5.3.1). hickory knows no DNAME records and calls
//! such an alias bogus.

use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::prune::covered;

/// Whether a record is the DNAME above `name`, or its signature.
pub(crate) fn is_of_subtree(record: &Record, name: &Name) -> bool {
    let kind = covered(record).unwrap_or_else(|| record.record_type());
    kind == RecordType::DNAME && is_above(&record.name, name)
}

/// Gives each alias that a secure DNAME makes the verdict on the DNAME.
pub(crate) fn vouch(answers: &mut [Record]) {
    let trees: Vec<(Name, Name)> = answers
        .iter()
        .filter(|r| r.proof == Proof::Secure)
        .filter_map(|r| Some((r.name.clone(), target(r)?)))
        .collect();
    for record in answers {
        let RData::CNAME(alias) = &record.data else {
            continue;
        };
        let made = |(owner, target): &(Name, Name)| {
            substitute(&record.name, owner, target).is_some_and(|name| name == alias.0)
        };
        if record.proof == Proof::Bogus && trees.iter().any(made) {
            record.proof = Proof::Secure;
        }
    }
}

fn target(record: &Record) -> Option<Name> {
    match &record.data {
        RData::Unknown { code, rdata } if *code == RecordType::DNAME => {
            Name::read(&mut BinDecoder::new(&rdata.anything)).ok()
        }
        _ => None,
    }
}

/// RFC 6672 section 2.2: the owner at the end of the name replaced by the target.
fn substitute(name: &Name, owner: &Name, target: &Name) -> Option<Name> {
    if !is_above(owner, name) {
        return None;
    }
    let kept = name.iter().count().checked_sub(owner.iter().count())?;
    let labels = name.iter().take(kept).chain(target.iter());
    let mut made = Name::from_labels(labels).ok()?;
    made.set_fqdn(true);
    Some(made)
}

/// A DNAME speaks of the names below it, not of its own.
fn is_above(owner: &Name, name: &Name) -> bool {
    owner.zone_of(name) && owner != name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        let mut name = Name::from_ascii(text).unwrap();
        name.set_fqdn(true);
        name
    }

    #[test]
    fn only_what_is_below_is_renamed() {
        let of = |text| substitute(&name(text), &name("d.test"), &name("x.other.test"));
        assert_eq!(of("a.b.d.test"), Some(name("a.b.x.other.test")));
        assert_eq!(of("d.test"), None);
        assert_eq!(of("a.ad.test"), None);
    }
}
