//! Reads the journal: of all rows about a domain the highest numbers count.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use journal::{Damage, Journal, Position, ReadError};
use mail_types::Domain;

use crate::contact::Contact;
use crate::discovery::LocalRules;
use crate::mend::{Extent, Wound};
use crate::row::{self, Decoded, PolicyMeta};
use crate::store::{Loaded, LoadedDomain};

/// What has been read so far.
#[derive(Debug)]
pub(crate) struct Replay {
    domains: HashMap<Domain, Found>,
    seq: u64,
    /// Records seen, of whatever kind.
    pub(crate) records: u64,
    /// The birth mark, or its copy of the last compaction, was seen.
    pub(crate) born: bool,
    /// Just behind the last intact record.
    pub(crate) end: Position,
    /// What should have been rows and is not.
    pub(crate) wounds: Vec<Wound>,
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
    pub(crate) fn new() -> Self {
        Self {
            domains: HashMap::new(),
            seq: 0,
            records: 0,
            born: false,
            end: Position::START,
            wounds: Vec::new(),
        }
    }

    /// Bytes that should have been rows. Those behind the last sync that anybody knows of (the journal,
    /// or the index with `applied`) were never relied on.
    pub(crate) fn damage(&mut self, damage: &[Damage], applied: Option<Position>) {
        for d in damage {
            let at = |offset: u64| Position {
                segment: d.segment,
                offset: u32::try_from(offset).unwrap_or(u32::MAX),
            };
            let synced = applied.is_some_and(|applied| at(d.range.start) < applied);
            if synced || !d.possibly_unacknowledged {
                let extent = Extent::Before(at(d.range.end));
                let what = d.to_string();
                self.wounds.push(Wound { extent, what });
            }
        }
    }

    /// Reads all rows, and the texts of the policies that count.
    pub(crate) fn journal(
        &mut self,
        journal: &Journal,
        applied: Option<Position>,
    ) -> Result<Loaded, ReadError> {
        let report = journal.scan(Position::START, |record| {
            self.records += 1;
            self.end = self.end.max(record.end);
            self.born |= record.kind == row::BIRTH;
            match row::decode(record.kind, record.meta) {
                Ok(Some((domain, seq, decoded))) => self.row(domain, seq, decoded, record.position),
                Ok(None) => {}
                Err(e) => self.wounds.push(Wound {
                    extent: Extent::Before(record.end),
                    what: format!("the row at {}: {e}", record.position),
                }),
            }
            ControlFlow::Continue(())
        })?;
        self.damage(&report.damage, applied);
        let mut loaded = Loaded {
            seq: self.seq,
            ..Loaded::default()
        };
        for (domain, found) in std::mem::take(&mut self.domains) {
            let mut one = LoadedDomain {
                contact: found.contact,
                local: found.local.clone(),
                forgotten: found.forgotten,
                policy: None,
            };
            let seq = found.newest();
            match found.policy(&domain, journal) {
                Ok(policy) => one.policy = policy,
                Err(e) => self.wounds.push(Wound {
                    extent: Extent::Text(domain.clone(), seq),
                    what: format!("the policy of {domain}: {e}"),
                }),
            }
            loaded.domains.insert(domain, one);
        }
        Ok(loaded)
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
    /// The number of the last row about the policy.
    fn newest(&self) -> u64 {
        let policy = self.policy.as_ref().map_or(0, |(seq, ..)| *seq);
        policy.max(self.renewed.as_ref().map_or(0, |(seq, _)| *seq))
    }

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
