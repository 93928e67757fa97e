//! What is due when: pure, in memory, small.
//!
//! An entry is one message at one destination: its due time, its id, the reason it waits and a number
//! for its sender, about 30 bytes with the tree around it; held ones are due at the end of time. Everything else about a
//! message that is not due lives in the index. Keeping these few bytes for all mail makes the
//! earliest due time exact, and spares the index a second row per message.
//!
//! A destination may be suspended. Mail that was put off for that stands beside the other: it is due
//! when the suspension ends, and at its own time in any case. So a suspension that begins, lasts or
//! ends touches no message, whether ten wait or a million.
//!
//! Where more waits for one destination than is asked for, its due mail is given out by turns of the senders
//! (row E5-05): one who sends a hundred thousand does not hold up another's few.
//!
//! Notifications (whatever has the null reverse-path) come after mail: as long as mail is due at a
//! destination they get a tenth of what is given out.
//!
//! Entries stand by destination and reason, so that what operators count and list (by state, by
//! reason, by destination, the oldest, the next) is known from the heads of these groups
//! (`counts`), not by reading what waits.

mod counts;
mod group;
mod reasons;
mod suspensions;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use fairness::NOBODY;
use mail_types::{QueueId, Timestamp};

use crate::state::{NEVER, When};
use crate::{Destination, DueDestination, Filter};
use group::Entry;
use reasons::Reasons;
use suspensions::Suspensions;
use waiting::{Part, Waiting};

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
        let reason = self
            .reasons
            .number(when.reason.as_ref(), when.blame, when.time == NEVER);
        if !self.destinations.contains_key(destination) {
            self.destinations
                .insert(destination.clone(), Waiting::default());
        }
        let until = self.suspensions.until(destination);
        let Some(waiting) = self.destinations.get_mut(destination) else {
            return when.time;
        };
        let before = waiting.first(until);
        let part = Part {
            put_off: when.put_off,
            notice: sender == NOBODY,
            reason,
        };
        let entry = Entry {
            sender,
            mixed: when.mixed,
            alone: when.alone,
        };
        if waiting.insert(key, part, entry) {
            self.waiting += 1;
            self.held += u64::from(key.0 == NEVER);
            self.reasons.count(reason);
        }
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
        let Some((part, _)) = waiting.remove(key) else {
            return false;
        };
        self.reasons.forget(part.reason);
        self.waiting -= 1;
        self.held -= u64::from(key.0 == NEVER);
        if waiting.first(until) != before {
            self.list_anew(destination);
        }
        true
    }

    /// Whether there is such an entry.
    pub(crate) fn has(&self, destination: &Destination, key: Key) -> bool {
        let waiting = self.destinations.get(destination);
        waiting.is_some_and(|waiting| waiting.has(key))
    }

    /// Destinations at which all that waits matches a filter, and those where some may.
    pub(crate) fn about(&self, filter: &Filter) -> impl Iterator<Item = (&Destination, &Waiting)> {
        let all = self.destinations.iter();
        all.filter(|(name, _)| filter.is_about(name))
    }

    /// Makes entries of a destination due, none of which is held.
    pub(crate) fn make_due(&mut self, destination: &Destination, keys: &[Key], at: Timestamp) {
        let Some(waiting) = self.destinations.get_mut(destination) else {
            return;
        };
        for key in keys {
            if let Some((part, entry)) = waiting.remove(*key) {
                let part = Part {
                    put_off: false,
                    ..part
                };
                waiting.insert((at, key.1), part, entry);
            }
        }
        self.list_anew(destination);
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

    /// `max` entries of a destination that are due: the first ones, or if more wait, the first ones
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
        waiting.due(now, open, max)
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
                    notices_only: self.has_notices_only(destination, now),
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

    fn has_notices_only(&self, destination: &Destination, now: Timestamp) -> bool {
        let open = self.suspended(destination, now).is_none();
        let waiting = self.destinations.get(destination);
        waiting.is_some_and(|waiting| !waiting.has_mail_due(now, open))
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

/// About when a message arrived: ids are made of the time.
pub(crate) const fn arrival_of(id: QueueId) -> Timestamp {
    Timestamp::from_millis((id.raw() >> 8) / 1000)
}

/// So many entries are kept in other orders, too, as by sender; fewer are read through for that.
const CROWDED: usize = 1000;

#[cfg(test)]
mod tests;
