//! What waits at one destination.

use std::collections::BTreeSet;

use fairness::{Tenths, in_turn, older_first, round_by_round};
use mail_types::{QueueId, Timestamp};

use super::group::{Entry, Group, merged};
use super::{CROWDED, Key, Listed};
use crate::state::NEVER;

#[derive(Default)]
pub(crate) struct Waiting {
    /// By reason's number, what was put off apart: a handful.
    groups: Vec<(Part, Group)>,
    len: usize,
    /// All by sender, what was put off marked and last; only while the destination is [`CROWDED`].
    by_sender: Option<BySender>,
    /// Who sent the mail that came first since nothing waited, and whether others have sent some since.
    sender: Option<u16>,
    has_several: bool,
    /// Whose turn is next.
    turn: u16,
    /// Of what is given out, for notifications.
    tenths: Tenths,
    /// Where [`Schedule`](super::Schedule) lists this destination.
    pub(super) listed: Option<Listed>,
}

/// Which group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) put_off: bool,
    /// With the null reverse-path.
    pub(super) notice: bool,
    /// Number of the reason, and of what says whose move it is.
    pub(super) reason: u16,
}

impl Waiting {
    /// Adds an entry; says whether its key is new.
    pub(super) fn insert(&mut self, key: Key, part: Part, entry: Entry) -> bool {
        self.crowd(key, part.put_off, entry.sender);
        if !part.notice {
            self.has_several |= *self.sender.get_or_insert(entry.sender) != entry.sender;
        }
        let found = self.groups.iter().position(|(of, _)| *of == part);
        let at = found.unwrap_or_else(|| {
            // Most destinations have one: a million of them must not have room for four.
            self.groups.reserve_exact(1);
            self.groups.push((part, Group::default()));
            self.groups.len() - 1
        });
        let group = self.groups.get_mut(at);
        let is_new = group.is_some_and(|(_, group)| group.insert(key, entry));
        self.len += usize::from(is_new);
        is_new
    }

    /// Removes an entry; answers where it was.
    pub(super) fn remove(&mut self, key: Key) -> Option<(Part, Entry)> {
        let mut groups = self.groups.iter_mut().enumerate();
        let (at, part, entry) =
            groups.find_map(|(at, (part, group))| Some((at, *part, group.remove(key)?)))?;
        if self.groups.get(at).is_some_and(|(_, g)| g.is_empty()) {
            self.groups.swap_remove(at);
        }
        self.len -= 1;
        self.thin_out(key, part.put_off, entry.sender);
        Some((part, entry))
    }

    pub(super) fn has(&self, key: Key) -> bool {
        self.groups().any(|(_, group)| group.has(key))
    }

    /// All entries: whether a retry changes nothing about the message but its time, and whether it is
    /// due at that time already.
    pub(crate) fn for_retry(&self, now: Timestamp) -> impl Iterator<Item = (Key, bool, bool)> {
        self.groups().flat_map(move |(part, group)| {
            group.entries().map(move |(key, entry)| {
                let is_plain = entry.alone && !entry.mixed && key.0 != NEVER;
                (key, is_plain, !part.put_off && key.0 <= now)
            })
        })
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (Part, &Group)> {
        self.groups.iter().map(|(part, group)| (*part, group))
    }

    pub(super) fn groups_mut(&mut self) -> impl Iterator<Item = (Part, &mut Group)> {
        self.groups.iter_mut().map(|(part, group)| (*part, group))
    }

    /// When the first entry is due, in a destination that is or was suspended `until` then.
    pub(super) fn first(&self, until: Option<Timestamp>) -> Option<Timestamp> {
        let firsts = self.groups().filter_map(|(part, group)| {
            let time = group.first()?.0;
            Some(match part.put_off {
                true => time.min(until.unwrap_or_default()),
                false => time,
            })
        });
        firsts.min()
    }

    /// So much of what is due: what is returned, then mail before notifications, of which a tenth comes
    /// along in any case. Where more mail waits than is wanted, its senders take turns.
    pub(super) fn due(&mut self, now: Timestamp, open: bool, max: usize) -> Vec<Key> {
        let mut keys: Vec<Key> = self.returned().take(max).collect();
        let returned = keys.len();
        let share = self.tenths.of(max - returned);
        let notices: Vec<Key> = self
            .not_returned(true, now, open)
            .map(|(key, _)| key)
            .take(max - returned)
            .collect();
        let end = max - notices.len().min(share);
        if self.has_several && self.len > max {
            self.mail_by_turns(now, open, end, &mut keys);
        }
        if keys.len() < end {
            // Without turns all of it; with them, what of senders that were not looked at.
            let given = keys.split_off(returned);
            let rest = self.not_returned(false, now, open).map(|(key, _)| key);
            let rest = rest.filter(|key| !given.contains(key));
            let rest = rest.take(end - returned - given.len());
            keys.extend(given.iter().copied().chain(rest));
        }
        keys.extend(notices.into_iter().take(max - keys.len()));
        keys
    }

    /// Adds mail that is due until there are `end` keys: one of each sender, beginning with whose turn it is, and
    /// another one of each, and so on.
    fn mail_by_turns(&mut self, now: Timestamp, open: bool, end: usize, keys: &mut Vec<Key>) {
        let wanted = end.saturating_sub(keys.len());
        let last = if let Some(by_sender) = &self.by_sender {
            let senders = in_turn(by_sender, (false, FIRST_KEY), self.turn);
            let senders = senders.take(wanted.saturating_mul(2));
            let queues = senders.filter_map(|sender| {
                let mut due = due_of(by_sender, sender, now, open).peekable();
                due.peek().is_some().then_some((sender, due))
            });
            round_by_round(queues.take(wanted).collect(), end, keys)
        } else {
            let mut due: Vec<(Key, u16)> = self.not_returned(false, now, open).collect();
            // Stable: each sender's own stays in its order.
            due.sort_by_key(|(_, sender)| sender.wrapping_sub(self.turn));
            let queues = due.chunk_by(|a, b| a.1 == b.1).filter_map(|queue| {
                let (_, sender) = queue.first()?;
                Some((*sender, queue.iter().map(|(key, _)| *key)))
            });
            round_by_round(queues.take(wanted).collect(), end, keys)
        };
        if let Some(last) = last {
            self.turn = last.wrapping_add(1);
        }
    }

    /// What an operator returns: before everything else, whatever it was put off for. Where the destination is
    /// paused it is looked for among the first that are due, and nowhere else.
    fn returned(&self) -> impl Iterator<Item = Key> {
        let keys = self
            .groups()
            .flat_map(|(_, group)| group.entries().take_while(|(key, _)| is_returned(key)));
        keys.map(|(key, _)| key)
    }

    pub(super) fn has_mail_due(&self, now: Timestamp, open: bool) -> bool {
        self.due_of_kind(false, now, open).next().is_some()
    }

    /// What is due of one kind with its senders, but for what is [returned](Self::returned).
    fn not_returned(
        &self,
        notice: bool,
        now: Timestamp,
        open: bool,
    ) -> impl Iterator<Item = (Key, u16)> {
        let due = self.due_of_kind(notice, now, open);
        due.filter(|(key, _)| !is_returned(key))
    }

    fn due_of_kind(
        &self,
        notice: bool,
        now: Timestamp,
        open: bool,
    ) -> impl Iterator<Item = (Key, u16)> {
        let of = |put_off: bool| {
            let groups = self
                .groups()
                .filter(move |(part, _)| part.put_off == put_off && part.notice == notice);
            merged(groups.map(|(_, group)| group))
        };
        let put_off = of(true).take_while(move |(key, _)| open || key.0 <= now);
        let others = of(false).take_while(move |(key, _)| key.0 <= now);
        older_first(put_off, others, |(key, _)| key.1)
    }

    pub(super) fn count_due(&mut self, now: Timestamp, open: bool) -> u64 {
        let counts = self
            .groups_mut()
            .map(|(part, group)| match part.put_off && open {
                true => group.len() as u64,
                false => group.count_due(now),
            });
        counts.sum()
    }

    /// Notes an entry that is about to be added.
    fn crowd(&mut self, key: Key, put_off: bool, sender: u16) {
        if self.by_sender.is_none() && self.len >= CROWDED {
            let all = self.groups().flat_map(|(part, group)| {
                let entries = group.entries();
                entries.map(move |(key, e)| (e.sender, (part.put_off, key)))
            });
            self.by_sender = Some(all.collect());
        }
        if let Some(by_sender) = &mut self.by_sender {
            by_sender.insert((sender, (put_off, key)));
        }
    }

    /// Notes an entry that was removed.
    fn thin_out(&mut self, key: Key, put_off: bool, sender: u16) {
        if let Some(by_sender) = &mut self.by_sender {
            by_sender.remove(&(sender, (put_off, key)));
        }
        if self.len <= CROWDED / 2 {
            self.by_sender = None;
        }
    }
}

/// A sender's entries that are due and not [returned](Waiting::returned).
fn due_of(
    by_sender: &BySender,
    sender: u16,
    now: Timestamp,
    open: bool,
) -> impl Iterator<Item = Key> {
    let of = |put_off: bool, by: Timestamp| {
        let start = (FIRST, QueueId::from_raw(0));
        let end = (by, QueueId::from_raw(u64::MAX));
        let range = (sender, (put_off, start))..=(sender, (put_off, end));
        by_sender.range(range).map(|(_, (_, key))| *key)
    };
    let put_off = of(true, if open { NEVER } else { now });
    older_first(put_off, of(false, now), |key| key.1)
}

/// Whether an entry is due since before all time: [`Edit::Bounce`](crate::Edit::Bounce).
fn is_returned(key: &Key) -> bool {
    key.0 < FIRST
}

/// All by sender, what was put off marked and last.
type BySender = BTreeSet<(u16, (bool, Key))>;

/// Before all others.
const FIRST_KEY: Key = (Timestamp::from_millis(0), QueueId::from_raw(0));

/// The earliest time that anything else is due.
const FIRST: Timestamp = Timestamp::from_millis(1);
