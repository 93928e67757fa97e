//! What is due when: pure, in memory, small.
//!
//! An entry is one message at one destination: its due time, its id and the reason it waits, about
//! 30 bytes with the tree around it; held ones are due at the end of time. Everything else about a
//! message that is not due lives in the index. Keeping these few bytes for all mail makes the
//! earliest due time exact, and spares the index a second row per message.
//!
//! Where many messages wait for one destination, its due mail is given out by turns of the senders
//! (row E5-05): one who sends a hundred thousand does not hold up another's single message.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mail_types::{Mailbox, QueueId, ReversePath, Timestamp};

use crate::state::NEVER;
use crate::{Destination, DestinationCount, DueDestination, SummaryRow};

/// All waiting mail, by destination.
#[derive(Default)]
pub(crate) struct Schedule {
    destinations: BTreeMap<Destination, Waiting>,
    /// Destinations whose first entry was due when last looked at.
    ready: BTreeSet<Destination>,
    /// The others, by the time of their first entry; those with held mail only are in neither.
    later: BTreeSet<(Timestamp, Destination)>,
    /// Number of waiting entries, and of these, held.
    waiting: u64,
    held: u64,
    reasons: Reasons,
}

/// The key of an entry within its destination.
pub(crate) type Key = (Timestamp, QueueId);

#[derive(Default)]
struct Waiting {
    entries: BTreeMap<Key, Entry>,
    /// The same by sender; only while the destination is [`CROWDED`].
    by_sender: Option<BTreeSet<(u16, Key)>>,
    /// Whose turn is next.
    turn: u16,
    /// Where [`Schedule`] lists this destination.
    listed: Option<Listed>,
}

#[derive(Clone, Copy)]
struct Entry {
    /// Number of the reason.
    reason: u16,
    /// [`sender_number`]: who share one share their turns, too.
    sender: u16,
}

#[derive(Clone, Copy, PartialEq)]
enum Listed {
    Ready,
    Later(Timestamp),
}

impl Schedule {
    /// Adds an entry.
    pub(crate) fn insert(
        &mut self,
        destination: &Destination,
        key: Key,
        sender: u16,
        reason: Option<&Arc<str>>,
    ) {
        let reason = self.reasons.number(reason);
        if !self.destinations.contains_key(destination) {
            self.destinations
                .insert(destination.clone(), Waiting::default());
        }
        let Some(waiting) = self.destinations.get_mut(destination) else {
            return;
        };
        waiting.crowd(key, sender);
        match waiting.entries.insert(key, Entry { reason, sender }) {
            None => {
                self.waiting += 1;
                self.held += u64::from(key.0 == NEVER);
            }
            Some(earlier) => self.reasons.forget(earlier.reason),
        }
        self.reasons.count(reason);
        if waiting.entries.first_key_value().map(|e| *e.0) == Some(key) {
            self.list_anew(destination);
        }
    }

    /// Removes an entry; says whether it was there.
    pub(crate) fn remove(&mut self, destination: &Destination, key: Key) -> bool {
        let Some(waiting) = self.destinations.get_mut(destination) else {
            return false;
        };
        let was_first = waiting.entries.first_key_value().map(|e| *e.0) == Some(key);
        let Some(entry) = waiting.entries.remove(&key) else {
            return false;
        };
        waiting.thin_out(key, entry.sender);
        self.reasons.forget(entry.reason);
        self.waiting -= 1;
        self.held -= u64::from(key.0 == NEVER);
        if was_first {
            self.list_anew(destination);
        }
        true
    }

    /// `max` entries of a destination that are due: the first ones, or if many wait, the first ones
    /// of each sender in turn.
    pub(crate) fn due(
        &mut self,
        destination: &Destination,
        now: Timestamp,
        max: usize,
    ) -> Vec<Key> {
        let Some(waiting) = self.destinations.get_mut(destination) else {
            return Vec::new();
        };
        if waiting.by_sender.is_some() {
            return waiting.due_by_turns(now, max);
        }
        let keys = waiting.entries.keys().take(max).copied();
        keys.take_while(|key| key.0 <= now).collect()
    }

    /// Destinations with due entries, by name after `after`.
    pub(crate) fn due_destinations(
        &mut self,
        now: Timestamp,
        after: Option<&Destination>,
        max: usize,
    ) -> Vec<DueDestination> {
        self.advance(now);
        let start = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let names = self
            .ready
            .range::<Destination, _>((start, std::ops::Bound::Unbounded));
        names
            .filter_map(|destination| {
                let waiting = self.destinations.get(destination)?;
                let (key, _) = waiting.entries.first_key_value()?;
                (key.0 <= now).then(|| DueDestination {
                    destination: destination.clone(),
                    due: key.0,
                })
            })
            .take(max)
            .collect()
    }

    /// The earliest due time; `now` if something is due.
    pub(crate) fn next_due(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.advance(now);
        let ready = self.ready.iter().filter_map(|d| self.first(d));
        let later = self.later.first().map(|(time, _)| *time);
        // If the wall clock went back, what is listed as ready need not be due.
        match ready.clone().find(|time| *time <= now) {
            Some(_) => Some(now),
            None => ready.min().into_iter().chain(later).min(),
        }
    }

    /// All entries from `from` on in the order of their keys, until `visit` says `false`.
    /// Entries of one message at several destinations come once each.
    pub(crate) fn keys_from(&self, from: Key, limit: usize) -> Vec<Key> {
        let mut heads: BTreeSet<(Key, &Destination)> = BTreeSet::new();
        for (name, waiting) in &self.destinations {
            if let Some((key, _)) = waiting.entries.range(from..).next() {
                heads.insert((*key, name));
            }
        }
        let mut keys = Vec::new();
        while keys.len() < limit
            && let Some((key, name)) = heads.pop_first()
        {
            if keys.last() != Some(&key) {
                keys.push(key);
            }
            let after = (std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded);
            let waiting = self.destinations.get(name);
            if let Some((key, _)) = waiting.and_then(|w| w.entries.range(after).next()) {
                heads.insert((*key, name));
            }
        }
        keys
    }

    /// Entries in all, and how many of them are held.
    pub(crate) const fn counts(&self) -> (u64, u64) {
        (self.waiting, self.held)
    }

    /// How many entries are due.
    pub(crate) fn count_due(&mut self, now: Timestamp) -> u64 {
        self.advance(now);
        let end = (now, QueueId::from_raw(u64::MAX));
        self.ready
            .iter()
            .filter_map(|d| self.destinations.get(d))
            .map(|w| w.entries.range(..=end).count() as u64)
            .sum()
    }

    /// Waiting entries by reason, those with one.
    pub(crate) fn by_reason(&self) -> Vec<(Arc<str>, u64)> {
        self.reasons.counts()
    }

    /// Waiting entries by destination.
    pub(crate) fn by_destination(&self) -> Vec<DestinationCount> {
        self.destinations
            .iter()
            .map(|(destination, waiting)| DestinationCount {
                destination: destination.clone(),
                messages: waiting.entries.len() as u64,
            })
            .collect()
    }

    /// Destination by reason, the largest count first.
    pub(crate) fn summary(&self) -> Vec<SummaryRow> {
        let mut rows = Vec::new();
        for (destination, waiting) in &self.destinations {
            let mut by_reason: BTreeMap<u16, SummaryRow> = BTreeMap::new();
            for ((time, id), Entry { reason, .. }) in &waiting.entries {
                let row = by_reason.entry(*reason).or_insert_with(|| SummaryRow {
                    destination: destination.clone(),
                    reason: self.reasons.text(*reason),
                    count: 0,
                    oldest: NEVER,
                    next_attempt: None,
                });
                row.count += 1;
                row.oldest = row.oldest.min(arrival_of(*id));
                // Entries come by time: the first is the earliest.
                if *time != NEVER && row.next_attempt.is_none() {
                    row.next_attempt = Some(*time);
                }
            }
            rows.extend(by_reason.into_values());
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        rows
    }

    fn advance(&mut self, now: Timestamp) {
        while self.later.first().is_some_and(|(time, _)| *time <= now)
            && let Some((_, destination)) = self.later.pop_first()
        {
            if let Some(waiting) = self.destinations.get_mut(&destination) {
                waiting.listed = Some(Listed::Ready);
            }
            self.ready.insert(destination);
        }
    }

    fn first(&self, destination: &Destination) -> Option<Timestamp> {
        let waiting = self.destinations.get(destination)?;
        waiting.entries.first_key_value().map(|(key, _)| key.0)
    }

    /// Lists a destination under its first entry, after that changed.
    fn list_anew(&mut self, destination: &Destination) {
        let Some(waiting) = self.destinations.get_mut(destination) else {
            return;
        };
        match waiting.listed.take() {
            Some(Listed::Ready) => drop(self.ready.remove(destination)),
            Some(Listed::Later(time)) => {
                self.later.remove(&(time, destination.clone()));
            }
            None => {}
        }
        match waiting.entries.first_key_value() {
            None => drop(self.destinations.remove(destination)),
            Some((key, _)) if key.0 == NEVER => {}
            Some((key, _)) => {
                waiting.listed = Some(Listed::Later(key.0));
                self.later.insert((key.0, destination.clone()));
            }
        }
    }
}

impl Waiting {
    /// Notes an entry that is about to be added.
    fn crowd(&mut self, key: Key, sender: u16) {
        if self.by_sender.is_none() && self.entries.len() >= CROWDED {
            let all = self.entries.iter().map(|(key, e)| (e.sender, *key));
            self.by_sender = Some(all.collect());
        }
        if let Some(by_sender) = &mut self.by_sender {
            by_sender.insert((sender, key));
        }
    }

    /// Notes an entry that was removed.
    fn thin_out(&mut self, key: Key, sender: u16) {
        if let Some(by_sender) = &mut self.by_sender {
            by_sender.remove(&(sender, key));
        }
        if self.entries.len() <= CROWDED / 2 {
            self.by_sender = None;
        }
    }

    /// One due entry of each sender, beginning with whose turn it is; what is still wanted is filled
    /// up with what is longest due.
    fn due_by_turns(&mut self, now: Timestamp, max: usize) -> Vec<Key> {
        let mut keys = Vec::with_capacity(max);
        let by_sender = self.by_sender.iter().flatten();
        let first = by_sender.clone().next().map(|(sender, _)| *sender);
        // Senders looked at: some may have nothing that is due.
        for _ in 0..max.saturating_mul(2) {
            let from = (self.turn, (Timestamp::default(), QueueId::from_raw(0)));
            let next = self.by_sender.as_ref().and_then(|b| b.range(from..).next());
            let Some((sender, key)) = next.copied() else {
                // Behind the last sender: the first one has the turn, once per round.
                match first {
                    Some(first) if self.turn != first => self.turn = first,
                    _ => break,
                }
                continue;
            };
            if keys.len() >= max || keys.contains(&key) {
                break;
            }
            if key.0 <= now {
                keys.push(key);
            }
            match sender.checked_add(1) {
                Some(next) => self.turn = next,
                None => self.turn = first.unwrap_or_default(),
            }
        }
        for key in self.entries.keys().take_while(|key| key.0 <= now) {
            if keys.len() >= max {
                break;
            }
            if !keys.contains(key) {
                keys.push(*key);
            }
        }
        keys
    }
}

/// A number for a reverse-path, equal for equal ones; two senders seldom share one.
pub(crate) fn sender_number(reverse_path: &ReversePath) -> u16 {
    let text = reverse_path.mailbox().map_or("", Mailbox::as_str);
    // FNV-1a, folded: no keyed hash is needed where a collision only shares a turn.
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
    });
    ((hash >> 16) ^ hash) as u16
}

/// About when a message arrived: ids are made of the time.
pub(crate) const fn arrival_of(id: QueueId) -> Timestamp {
    Timestamp::from_millis((id.raw() >> 8) / 1000)
}

/// So many entries make a destination's mail go by turns of the senders.
const CROWDED: usize = 1000;

/// Reason keys by number, with how many entries have each. Number 0: none.
#[derive(Default)]
struct Reasons {
    texts: Vec<(Arc<str>, u64)>,
    numbers: HashMap<Arc<str>, u16>,
}

impl Reasons {
    fn number(&mut self, reason: Option<&Arc<str>>) -> u16 {
        let Some(reason) = reason else { return 0 };
        if let Some(number) = self.numbers.get(reason) {
            return *number;
        }
        // Reason keys are a fixed table; whoever invents 65,535 of them loses the names.
        let Ok(number) = u16::try_from(self.texts.len() + 1) else {
            return 0;
        };
        self.texts.push((Arc::clone(reason), 0));
        self.numbers.insert(Arc::clone(reason), number);
        number
    }

    fn count(&mut self, number: u16) {
        if let Some(slot) = self.slot(number) {
            slot.1 += 1;
        }
    }

    fn forget(&mut self, number: u16) {
        if let Some(slot) = self.slot(number) {
            slot.1 -= 1;
        }
    }

    fn slot(&mut self, number: u16) -> Option<&mut (Arc<str>, u64)> {
        self.texts.get_mut(usize::from(number).checked_sub(1)?)
    }

    fn text(&self, number: u16) -> Option<Arc<str>> {
        let (text, _) = self.texts.get(usize::from(number).checked_sub(1)?)?;
        Some(Arc::clone(text))
    }

    fn counts(&self) -> Vec<(Arc<str>, u64)> {
        self.texts.iter().filter(|t| t.1 > 0).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(time: u64, id: u64) -> Key {
        (Timestamp::from_millis(time), QueueId::from_raw(id))
    }

    #[test]
    fn a_held_entry_is_counted_and_never_due() {
        let mut s = Schedule::default();
        let d = Destination::new("d.test");
        s.insert(&d, (NEVER, QueueId::from_raw(1)), 0, None);
        assert_eq!(
            (s.counts(), s.next_due(Timestamp::from_secs(9))),
            ((1, 1), None)
        );
        assert!(s.remove(&d, (NEVER, QueueId::from_raw(1))));
        assert_eq!(s.counts(), (0, 0));
        assert!(s.by_destination().is_empty());
    }

    #[test]
    fn e5_05_one_sender_with_a_hundred_thousand_does_not_hold_up_another() {
        let mut s = Schedule::default();
        let d = Destination::new("d.test");
        for n in 0..100_000 {
            s.insert(&d, key(n, n), 7, None);
        }
        // Two others come last, and one has mail that is not due yet.
        s.insert(&d, key(100_000, 100_000), 3, None);
        s.insert(&d, key(100_001, 100_001), u16::MAX, None);
        s.insert(&d, key(900_000, 100_002), 5, None);
        let now = Timestamp::from_millis(200_000);
        let keys = s.due(&d, now, 20);
        assert_eq!(keys.len(), 20);
        assert!(keys.contains(&key(100_000, 100_000)), "{keys:?}");
        assert!(keys.contains(&key(100_001, 100_001)), "{keys:?}");
        assert!(keys.iter().all(|k| k.0 <= now));
        let distinct: BTreeSet<&Key> = keys.iter().collect();
        assert_eq!(distinct.len(), 20);
        // All of it comes out, and nothing twice.
        let mut left = 100_002;
        loop {
            let keys = s.due(&d, now, 20);
            if keys.is_empty() {
                break;
            }
            left -= keys.len();
            keys.iter().for_each(|k| assert!(s.remove(&d, *k)));
        }
        assert_eq!((left, s.counts()), (0, (1, 0)));
    }

    #[test]
    fn e5_05_more_senders_than_fit_take_turns() {
        let mut s = Schedule::default();
        let d = Destination::new("d.test");
        for n in 0..2000 {
            s.insert(&d, key(n, n), (n % 200) as u16, None);
        }
        let now = Timestamp::from_millis(9000);
        let mut seen: BTreeSet<u64> = BTreeSet::new();
        for _ in 0..11 {
            for k in s.due(&d, now, 20) {
                assert!(s.remove(&d, k));
                seen.insert(k.1.raw() % 200);
            }
        }
        assert_eq!(seen.len(), 200, "everybody had a turn");
    }

    #[test]
    fn a_clock_that_goes_back_makes_nothing_due() {
        let mut s = Schedule::default();
        let d = Destination::new("d.test");
        s.insert(&d, key(100, 1), 0, None);
        assert_eq!(
            s.due_destinations(Timestamp::from_millis(100), None, 9)
                .len(),
            1
        );
        assert!(
            s.due_destinations(Timestamp::from_millis(50), None, 9)
                .is_empty()
        );
        assert_eq!(
            s.next_due(Timestamp::from_millis(50)),
            Some(Timestamp::from_millis(100))
        );
    }

    proptest! {
        /// Against the plainest model: a list of entries.
        #[test]
        fn agrees_with_a_list(
            steps in proptest::collection::vec((any::<bool>(), 0u8..4, 0u64..20, 0u64..8), 0..60),
            now in 0u64..20,
        ) {
            let mut s = Schedule::default();
            let mut list: BTreeSet<(String, Key)> = BTreeSet::new();
            for (add, d, time, id) in steps {
                let name = format!("d{d}.test");
                let destination = Destination::new(&name);
                if add {
                    s.insert(&destination, key(time, id), 0, Some(&Arc::from("connect")));
                    list.insert((name, key(time, id)));
                } else {
                    prop_assert_eq!(
                        s.remove(&destination, key(time, id)),
                        list.remove(&(name, key(time, id)))
                    );
                }
            }
            let now = Timestamp::from_millis(now);
            let due: BTreeSet<&String> =
                list.iter().filter(|e| e.1.0 <= now).map(|e| &e.0).collect();
            let names: Vec<String> = s.due_destinations(now, None, 99)
                .into_iter().map(|d| d.destination.to_string()).collect();
            prop_assert!(names.iter().eq(due.iter().copied()));
            let first = list.iter().map(|e| e.1.0).min().map(|t| t.max(now));
            prop_assert_eq!(s.next_due(now).map(|t| t.max(now)), first);
            prop_assert_eq!(s.counts().0, list.len() as u64);
            prop_assert_eq!(s.by_reason().iter().map(|r| r.1).sum::<u64>(), list.len() as u64);
            let all: BTreeSet<Key> = list.iter().map(|e| e.1).collect();
            prop_assert!(s.keys_from(key(0, 0), 999).iter().eq(all.iter()));
        }
    }
}
