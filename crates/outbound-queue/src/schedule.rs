//! What is due when: pure, in memory, small.
//!
//! An entry is one message at one destination: its due time, its id and the reason it waits, about
//! 30 bytes with the tree around it; held ones are due at the end of time. Everything else about a
//! message that is not due lives in the index. Keeping these few bytes for all mail makes the
//! earliest due time exact, and spares the index a second row per message.
//!
//! A destination may be suspended. Mail that was put off for that stands beside the other: it is due
//! when the suspension ends, and at its own time in any case. So a suspension that begins, lasts or
//! ends touches no message, whether ten wait or a million.
//!
//! Where many messages wait for one destination, its due mail is given out by turns of the senders
//! (row E5-05): one who sends a hundred thousand does not hold up another's single message.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mail_types::{Mailbox, QueueId, ReversePath, Timestamp};

use crate::state::{NEVER, When};
use crate::{Destination, DestinationCount, DueDestination, Filter, SummaryRow};

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
    suspensions: Suspensions,
}

/// The key of an entry within its destination.
pub(crate) type Key = (Timestamp, QueueId);

#[derive(Default)]
struct Waiting {
    entries: BTreeMap<Key, Entry>,
    /// What was put off.
    put_off: BTreeMap<Key, Entry>,
    /// The same by sender, what was put off marked and last; only while the destination is [`CROWDED`].
    by_sender: Option<BTreeSet<(u16, bool, Key)>>,
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
    /// Adds an entry; answers when it is due.
    pub(crate) fn insert(
        &mut self,
        destination: &Destination,
        id: QueueId,
        when: &When,
        sender: u16,
    ) -> Timestamp {
        let key = (when.time, id);
        let reason = self.reasons.number(when.reason.as_ref());
        if !self.destinations.contains_key(destination) {
            self.destinations
                .insert(destination.clone(), Waiting::default());
        }
        let until = self.suspensions.until(destination);
        let Some(waiting) = self.destinations.get_mut(destination) else {
            return when.time;
        };
        waiting.crowd(key, when.put_off, sender);
        let before = waiting.first(until);
        let entries = match when.put_off {
            true => &mut waiting.put_off,
            false => &mut waiting.entries,
        };
        match entries.insert(key, Entry { reason, sender }) {
            None => {
                self.waiting += 1;
                self.held += u64::from(key.0 == NEVER);
            }
            Some(earlier) => self.reasons.forget(earlier.reason),
        }
        self.reasons.count(reason);
        if waiting.first(until) != before {
            self.list_anew(destination);
        }
        if when.put_off {
            until.unwrap_or_default().min(when.time)
        } else {
            when.time
        }
    }

    /// Removes an entry; says whether it was there.
    pub(crate) fn remove(&mut self, destination: &Destination, key: Key) -> bool {
        let Some(waiting) = self.destinations.get_mut(destination) else {
            return false;
        };
        let until = self.suspensions.until(destination);
        let before = waiting.first(until);
        let timely = waiting.entries.remove(&key).map(|entry| (entry, false));
        let removed = timely.or_else(|| Some((waiting.put_off.remove(&key)?, true)));
        let Some((entry, put_off)) = removed else {
            return false;
        };
        waiting.thin_out(key, put_off, entry.sender);
        self.reasons.forget(entry.reason);
        self.waiting -= 1;
        self.held -= u64::from(key.0 == NEVER);
        if waiting.first(until) != before {
            self.list_anew(destination);
        }
        true
    }

    /// Suspends a destination until then, or ends that. Answers when its first entry is due now, if it
    /// has one.
    pub(crate) fn suspend(
        &mut self,
        destination: &Destination,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.suspensions.set(destination, until, now);
        self.list_anew(destination);
        self.first(destination)
    }

    /// Until when a destination is suspended, if it is.
    pub(crate) fn suspended(&self, destination: &Destination, now: Timestamp) -> Option<Timestamp> {
        self.suspensions
            .until(destination)
            .filter(|until| *until > now)
    }

    /// `max` entries of a destination that are due: the first ones, or if many wait, the first ones
    /// of each sender in turn.
    pub(crate) fn due(
        &mut self,
        destination: &Destination,
        now: Timestamp,
        max: usize,
    ) -> Vec<Key> {
        let open = self.suspended(destination, now).is_none();
        let Some(waiting) = self.destinations.get_mut(destination) else {
            return Vec::new();
        };
        if waiting.by_sender.is_some() {
            return waiting.due_by_turns(now, open, max);
        }
        waiting.due(now, open).take(max).collect()
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
                let due = self.first(destination)?;
                (due <= now).then(|| DueDestination {
                    destination: destination.clone(),
                    due,
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

    /// Entries from `from` on in the order of their keys, `limit` at most, of the destinations that a
    /// filter is about. Entries of one message at several destinations come once each.
    pub(crate) fn keys_from(&self, from: Key, limit: usize, filter: &Filter) -> Vec<Key> {
        let mut heads: BTreeSet<(Key, &Destination, bool)> = BTreeSet::new();
        for (name, waiting) in self.destinations.iter().filter(|(d, _)| filter.is_about(d)) {
            for put_off in [false, true] {
                if let Some((key, _)) = waiting.of(put_off).range(from..).next() {
                    heads.insert((*key, name, put_off));
                }
            }
        }
        let mut keys = Vec::new();
        while keys.len() < limit
            && let Some((key, name, put_off)) = heads.pop_first()
        {
            if keys.last() != Some(&key) {
                keys.push(key);
            }
            let after = (std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded);
            let waiting = self.destinations.get(name);
            if let Some((key, _)) = waiting.and_then(|w| w.of(put_off).range(after).next()) {
                heads.insert((*key, name, put_off));
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
        let ready = self.ready.iter();
        ready
            .filter_map(|d| Some((self.suspended(d, now).is_none(), self.destinations.get(d)?)))
            .map(|(open, waiting)| waiting.count_due(now, open))
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
                messages: (waiting.entries.len() + waiting.put_off.len()) as u64,
            })
            .collect()
    }

    /// Destination by reason, the largest count first.
    pub(crate) fn summary(&self, now: Timestamp) -> Vec<SummaryRow> {
        let mut rows = Vec::new();
        for (destination, waiting) in &self.destinations {
            let until = self.suspended(destination, now).unwrap_or(now);
            let mut by_reason: BTreeMap<u16, SummaryRow> = BTreeMap::new();
            let put_off = waiting.put_off.iter();
            let put_off = put_off.map(|((time, id), entry)| ((*time).min(until), *id, entry));
            let entries = waiting.entries.iter();
            let entries = entries.map(|((time, id), entry)| (*time, *id, entry));
            for (time, id, Entry { reason, .. }) in entries.chain(put_off) {
                let row = by_reason.entry(*reason).or_insert_with(|| SummaryRow {
                    destination: destination.clone(),
                    reason: self.reasons.text(*reason),
                    count: 0,
                    oldest: NEVER,
                    next_attempt: None,
                });
                row.count += 1;
                row.oldest = row.oldest.min(arrival_of(id));
                if time != NEVER {
                    row.next_attempt = row.next_attempt.into_iter().chain([time]).min();
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
        waiting.first(self.suspensions.until(destination))
    }

    /// Lists a destination under its first entry, after that changed.
    fn list_anew(&mut self, destination: &Destination) {
        let until = self.suspensions.until(destination);
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
        match waiting.first(until) {
            None => drop(self.destinations.remove(destination)),
            Some(NEVER) => {}
            Some(time) => {
                waiting.listed = Some(Listed::Later(time));
                self.later.insert((time, destination.clone()));
            }
        }
    }
}

impl Waiting {
    /// What was put off, or the rest.
    const fn of(&self, put_off: bool) -> &BTreeMap<Key, Entry> {
        match put_off {
            true => &self.put_off,
            false => &self.entries,
        }
    }

    /// When the first entry is due, in a destination that is or was suspended `until` then.
    fn first(&self, until: Option<Timestamp>) -> Option<Timestamp> {
        let timely = self.entries.first_key_value().map(|(key, _)| key.0);
        let put_off = self.put_off.first_key_value();
        let put_off = put_off.map(|(key, _)| key.0.min(until.unwrap_or_default()));
        timely.into_iter().chain(put_off).min()
    }

    /// What is due, what was put off first: it waits longest.
    fn due(&self, now: Timestamp, open: bool) -> impl Iterator<Item = Key> {
        let put_off = self.put_off.keys();
        let put_off = put_off.take_while(move |key| open || key.0 <= now);
        let timely = self.entries.keys().take_while(move |key| key.0 <= now);
        put_off.chain(timely).copied()
    }

    fn count_due(&self, now: Timestamp, open: bool) -> u64 {
        let end = (now, QueueId::from_raw(u64::MAX));
        let put_off = match open {
            true => self.put_off.len(),
            false => self.put_off.range(..=end).count(),
        };
        (put_off + self.entries.range(..=end).count()) as u64
    }

    /// Notes an entry that is about to be added.
    fn crowd(&mut self, key: Key, put_off: bool, sender: u16) {
        if self.by_sender.is_none() && self.entries.len() + self.put_off.len() >= CROWDED {
            let timely = self.entries.iter().map(|(key, e)| (e.sender, false, *key));
            let put_off = self.put_off.iter().map(|(key, e)| (e.sender, true, *key));
            self.by_sender = Some(timely.chain(put_off).collect());
        }
        if let Some(by_sender) = &mut self.by_sender {
            by_sender.insert((sender, put_off, key));
        }
    }

    /// Notes an entry that was removed.
    fn thin_out(&mut self, key: Key, put_off: bool, sender: u16) {
        if let Some(by_sender) = &mut self.by_sender {
            by_sender.remove(&(sender, put_off, key));
        }
        if self.entries.len() + self.put_off.len() <= CROWDED / 2 {
            self.by_sender = None;
        }
    }

    /// A sender's first entry that is due.
    fn due_of(&self, sender: u16, now: Timestamp, open: bool) -> Option<Key> {
        let by_sender = self.by_sender.as_ref()?;
        let start = (Timestamp::default(), QueueId::from_raw(0));
        let first = |put_off: bool, by: Timestamp| {
            let end = (by, QueueId::from_raw(u64::MAX));
            let mut keys = by_sender.range((sender, put_off, start)..=(sender, put_off, end));
            keys.next().map(|(_, _, key)| *key)
        };
        first(true, if open { NEVER } else { now }).or_else(|| first(false, now))
    }

    /// One due entry of each sender, beginning with whose turn it is; what is still wanted is filled
    /// up with what is longest due.
    fn due_by_turns(&mut self, now: Timestamp, open: bool, max: usize) -> Vec<Key> {
        let mut keys = Vec::with_capacity(max);
        let by_sender = self.by_sender.iter().flatten();
        let first = by_sender.clone().next().map(|(sender, ..)| *sender);
        // Senders looked at: some may have nothing that is due.
        for _ in 0..max.saturating_mul(2) {
            let from = (
                self.turn,
                false,
                (Timestamp::default(), QueueId::from_raw(0)),
            );
            let next = self.by_sender.as_ref().and_then(|b| b.range(from..).next());
            let Some(sender) = next.map(|(sender, ..)| *sender) else {
                // Behind the last sender: the first one has the turn, once per round.
                match first {
                    Some(first) if self.turn != first => self.turn = first,
                    _ => break,
                }
                continue;
            };
            let key = self.due_of(sender, now, open);
            if keys.len() >= max || key.is_some_and(|key| keys.contains(&key)) {
                break;
            }
            keys.extend(key);
            match sender.checked_add(1) {
                Some(next) => self.turn = next,
                None => self.turn = first.unwrap_or_default(),
            }
        }
        for key in self.due(now, open) {
            if keys.len() >= max {
                break;
            }
            if !keys.contains(&key) {
                keys.push(key);
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

/// Suspended destinations, some of which may not be any more.
#[derive(Default)]
struct Suspensions {
    until: HashMap<Destination, Timestamp>,
    /// With so many those that are over are forgotten.
    crowded: usize,
}

impl Suspensions {
    fn set(&mut self, destination: &Destination, until: Option<Timestamp>, now: Timestamp) {
        match until {
            Some(until) => drop(self.until.insert(destination.clone(), until)),
            None => drop(self.until.remove(destination)),
        }
        if self.until.len() > self.crowded {
            self.until.retain(|_, until| *until > now);
            self.crowded = self.until.len().saturating_mul(2).max(CROWDED);
        }
    }

    fn until(&self, destination: &Destination) -> Option<Timestamp> {
        self.until.get(destination).copied()
    }
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
mod tests;
