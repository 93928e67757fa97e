//! The port to the disk, and the state that rows add up to.

use std::collections::HashMap;
use std::sync::Arc;

use mail_types::{BoxFuture, Domain};

use crate::contact::Contact;
use crate::discovery::{LocalRules, StoredPolicy};
use crate::row::Row;

/// Where rows go. [`crate::disk::Disk`] in production, a vector in tests.
pub(crate) trait Store: Send + Sync {
    /// Makes a row durable; the future ends after the sync that covers it.
    fn append<'a>(&'a self, row: &'a Row, seq: u64) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Whether most of what is on disk has been overtaken.
    fn wants_compaction(&self) -> bool;

    /// Ends what has been appended so far: returns a mark for [`Store::rewrite`]. Blocks.
    fn rotate(&self) -> Result<u32, StoreError>;

    /// Writes these rows anew and gives back the space of all rows before the mark. Blocks. What is
    /// appended after the mark stays. `up_to`: the highest number given out when the rows were read.
    fn rewrite(&self, mark: u32, rows: Vec<(u64, Row)>, up_to: u64) -> Result<(), StoreError>;

    /// Why the store's second copy is not written any more; nothing is lost by it yet.
    fn index_failed(&self) -> Option<String> {
        None
    }

    /// Why it takes nothing more until a restart. A full disk is no such failure.
    fn failure(&self) -> Option<String> {
        None
    }

    /// Ends the store in order; what is appended later fails. Blocks.
    fn close(&self) {}
}

/// The disk did not take it; what is in memory stays in force.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StoreError(pub(crate) String);

/// What was found at start.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) domains: HashMap<Domain, LoadedDomain>,
    /// The highest sequence number.
    pub(crate) seq: u64,
}

/// One domain, each part with the number of the row that it came from; 0: there is none.
#[derive(Debug, Default)]
pub(crate) struct LoadedDomain {
    pub(crate) policy: Option<(u64, Arc<StoredPolicy>)>,
    /// An operator removed the policy that was there before.
    pub(crate) forgotten: u64,
    pub(crate) contact: (u64, Option<Contact>),
    pub(crate) local: (u64, Option<LocalRules>),
}

impl LoadedDomain {
    pub(crate) const fn is_empty(&self) -> bool {
        self.policy.is_none() && self.contact.1.is_none() && self.local.1.is_none()
    }
}

impl Loaded {
    /// The rows that say the same.
    pub(crate) fn rows(&self) -> Vec<(u64, Row)> {
        let mut rows = Vec::new();
        for (domain, one) in &self.domains {
            if let Some((seq, policy)) = &one.policy {
                rows.push((*seq, Row::Policy(Arc::clone(policy))));
            }
            if let (seq, Some(local)) = &one.local {
                rows.push((*seq, Row::Local(domain.clone(), local.clone())));
            }
            if let (seq, Some(contact)) = one.contact {
                rows.push((seq, Row::Contact(domain.clone(), Some(contact))));
            }
        }
        rows
    }

    /// How many policies there are.
    pub(crate) fn policies(&self) -> usize {
        let with = |one: &&LoadedDomain| one.policy.is_some();
        self.domains.values().filter(with).count()
    }
}
