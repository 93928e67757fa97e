//! What waits at one destination for one reason, with its counts kept as entries come and go.

use std::collections::{BTreeMap, BTreeSet};

use mail_types::{QueueId, Timestamp};

use super::{CROWDED, Key};
use crate::state::NEVER;

/// Entries of one destination with one reason, all put off or none.
#[derive(Default)]
pub(super) struct Group {
    entries: BTreeMap<Key, Entry>,
    /// The lowest id; `None` if that has gone since it was last asked for.
    oldest: Option<QueueId>,
    /// All ids, while there are so many that looking for the lowest would take long.
    ids: Option<BTreeSet<QueueId>>,
    /// How many entries are due up to this time.
    due: u64,
    due_at: Timestamp,
    /// How many entries are [`Entry::mixed`].
    mixed: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// [`sender_number`](fairness::sender_number): who share one share their turns, too.
    pub(super) sender: u16,
    /// Some of the message's recipients there wait for another reason.
    pub(super) mixed: bool,
    /// The message has none elsewhere.
    pub(super) alone: bool,
}

impl Group {
    /// Adds an entry; says whether its key is new.
    pub(super) fn insert(&mut self, key: Key, entry: Entry) -> bool {
        if let Some(before) = self.entries.insert(key, entry) {
            self.mixed = self.mixed + u64::from(entry.mixed) - u64::from(before.mixed);
            return false;
        }
        self.mixed += u64::from(entry.mixed);
        self.due += u64::from(key.0 <= self.due_at);
        if self.entries.len() == 1 {
            self.oldest = Some(key.1);
        } else {
            self.oldest = self.oldest.map(|oldest| oldest.min(key.1));
        }
        match &mut self.ids {
            Some(ids) => drop(ids.insert(key.1)),
            None if self.entries.len() >= CROWDED => {
                self.ids = Some(self.entries.keys().map(|key| key.1).collect());
            }
            None => {}
        }
        true
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.mixed -= u64::from(entry.mixed);
        self.due -= u64::from(key.0 <= self.due_at);
        if self.oldest == Some(key.1) {
            self.oldest = None;
        }
        if let Some(ids) = &mut self.ids {
            ids.remove(&key.1);
        }
        if self.entries.len() <= CROWDED / 2 {
            self.ids = None;
        }
        Some(entry)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn has(&self, key: Key) -> bool {
        self.entries.contains_key(&key)
    }

    /// The key of the first entry.
    pub(super) fn first(&self) -> Option<Key> {
        self.entries.first_key_value().map(|(key, _)| *key)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (Key, Entry)> {
        self.entries.iter().map(|(key, entry)| (*key, *entry))
    }

    /// The entries from a key on.
    pub(super) fn from(&self, key: Key) -> impl Iterator<Item = (Key, Entry)> {
        self.entries.range(key..).map(|(key, entry)| (*key, *entry))
    }

    /// Whether some entry is [`Entry::mixed`].
    pub(super) const fn is_mixed(&self) -> bool {
        self.mixed > 0
    }

    /// The lowest id. Looks at fewer than [`CROWDED`] entries, and only if the lowest one went.
    pub(super) fn oldest(&mut self) -> Option<QueueId> {
        if self.oldest.is_none() {
            self.oldest = match &self.ids {
                Some(ids) => ids.first().copied(),
                None => self.entries.keys().map(|key| key.1).min(),
            };
        }
        self.oldest
    }

    /// How many entries have a time that is not after `now`. Each entry is looked at once as time
    /// goes on; only if the clock went back, all that is due are counted anew.
    pub(super) fn count_due(&mut self, now: Timestamp) -> u64 {
        let last = |time| (time, QueueId::from_raw(u64::MAX));
        // What is held is never due, whatever the clock says.
        let now = now.min(Timestamp::from_millis(NEVER.as_millis() - 1));
        if now < self.due_at {
            self.due = self.entries.range(..=last(now)).count() as u64;
        } else if now > self.due_at {
            let since = std::ops::Bound::Excluded(last(self.due_at));
            let range = (since, std::ops::Bound::Included(last(now)));
            self.due += self.entries.range(range).count() as u64;
        }
        self.due_at = now;
        self.due
    }
}

/// The keys of several groups in their order, with their senders.
pub(super) fn merged<'a>(
    groups: impl Iterator<Item = &'a Group>,
) -> impl Iterator<Item = (Key, u16)> {
    let mut heads: Vec<_> = groups
        .map(|group| {
            let entries = group.entries.iter();
            entries.map(|(key, entry)| (*key, entry.sender)).peekable()
        })
        .collect();
    std::iter::from_fn(move || {
        let heads = heads.iter_mut();
        let first = heads.filter_map(|head| head.peek().copied().map(|key| (key, head)));
        first.min_by_key(|(key, _)| *key)?.1.next()
    })
}
