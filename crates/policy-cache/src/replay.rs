//! Reads the journal: of all rows about a domain the highest numbers count.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use journal::{Damage, Journal, Position, ReadError};
use mail_types::Domain;

use crate::contact::Contact;
use crate::discovery::LocalRules;
use crate::row::{self, Decoded, PolicyMeta};
use crate::store::{Loaded, LoadedDomain};

/// What has been read so far.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    domains: HashMap<Domain, Found>,
    seq: u64,
    /// Records seen, of whatever kind.
    pub(crate) records: u64,
    damage: Vec<String>,
}

/// The highest row of each sort about one domain.
#[derive(Debug, Default)]
struct Found {
    policy: Option<(u64, PolicyMeta, Position)>,
    renewed: Option<(u64, PolicyMeta)>,
    forgotten: u64,
    contact: (u64, Option<Contact>),
    local: (u64, Option<LocalRules>),
}

impl Replay {
    /// Bytes that should have been rows. Those behind the last sync were never relied on.
    pub(crate) fn damage(&mut self, damage: &[Damage]) {
        for d in damage.iter().filter(|d| !d.possibly_unacknowledged) {
            self.damage.push(d.to_string());
        }
    }

    /// Reads all rows, and the texts of the policies that count.
    pub(crate) fn journal(&mut self, journal: &Journal) -> Result<Loaded, ReadError> {
        let report = journal.scan(Position::START, |record| {
            self.records += 1;
            match row::decode(record.kind, record.meta) {
                Ok(Some((domain, seq, decoded))) => self.row(domain, seq, decoded, record.position),
                Ok(None) => {}
                Err(e) => self
                    .damage
                    .push(format!("the row at {}: {e}", record.position)),
            }
            ControlFlow::Continue(())
        })?;
        self.damage(&report.damage);
        let mut loaded = Loaded {
            seq: self.seq,
            ..Loaded::default()
        };
        for (domain, found) in std::mem::take(&mut self.domains) {
            let mut one = LoadedDomain {
                contact: found.contact.1,
                local: found.local.1.clone(),
                policy: None,
            };
            match found.policy(&domain, journal) {
                Ok(policy) => one.policy = policy,
                Err(e) => self.damage.push(format!("the policy of {domain}: {e}")),
            }
            loaded.domains.insert(domain, one);
        }
        Ok(loaded)
    }

    /// The first thing that is wrong, if anything is.
    pub(crate) fn first_damage(&self) -> Option<&String> {
        self.damage.first()
    }

    fn row(&mut self, domain: Domain, seq: u64, decoded: Decoded, position: Position) {
        self.seq = self.seq.max(seq);
        let found = self.domains.entry(domain).or_default();
        match decoded {
            Decoded::Policy(meta) => {
                if found.policy.as_ref().is_none_or(|(s, ..)| *s <= seq) {
                    found.policy = Some((seq, meta, position));
                }
            }
            Decoded::Renewed(meta) => {
                if found.renewed.as_ref().is_none_or(|(s, _)| *s <= seq) {
                    found.renewed = Some((seq, meta));
                }
            }
            Decoded::Forgotten => found.forgotten = found.forgotten.max(seq),
            Decoded::Contact(contact) => {
                if seq >= found.contact.0 {
                    found.contact = (seq, contact);
                }
            }
            Decoded::Local(rules) => {
                if seq >= found.local.0 {
                    let some = (rules != LocalRules::default()).then_some(rules);
                    found.local = (seq, some);
                }
            }
        }
    }
}

type Restored = Option<(u64, Arc<crate::discovery::StoredPolicy>)>;

impl Found {
    fn policy(self, domain: &Domain, journal: &Journal) -> Result<Restored, String> {
        let Some((seq, mut meta, position)) = self.policy else {
            return match self.renewed {
                Some((seq, _)) if seq > self.forgotten => Err("its text is gone".into()),
                Some(_) | None => Ok(None),
            };
        };
        let newest = self.renewed.as_ref().map_or(seq, |(s, _)| seq.max(*s));
        if newest < self.forgotten {
            return Ok(None);
        }
        if let Some((renewed_seq, renewed)) = self.renewed
            && renewed_seq > seq
        {
            if renewed.digest != meta.digest {
                return Err("the text that was renewed last is gone".into());
            }
            meta = renewed;
        }
        let text = journal.read_body(position).map_err(|e| e.to_string())?;
        let policy = row::restore(domain, &meta, &text).map_err(|e| e.to_string())?;
        Ok(Some((newest, Arc::new(policy))))
    }
}
