//! What waits at one destination.

use std::collections::BTreeSet;

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
    by_sender: Option<BTreeSet<(u16, bool, Key)>>,
    /// Whose turn is next.
    turn: u16,
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
    /// along in any case.
    pub(super) fn due(&self, now: Timestamp, open: bool, max: usize) -> Vec<Key> {
        let mut keys: Vec<Key> = self.returned().take(max).collect();
        let left = max - keys.len();
        let of_kind = |notice| {
            let due = self.due_of_kind(notice, now, open);
            due.filter(|key| !is_returned(key))
        };
        let mut mail = of_kind(false);
        keys.extend(mail.by_ref().take(left - left / 10));
        keys.extend(of_kind(true).take(max - keys.len()));
        keys.extend(mail.take(max - keys.len()));
        keys
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

    /// What is due. What was put off and what was not have times that say nothing of each other: of the two that come
    /// next the older message goes (row H9-10), also while an order makes the one kind into the other.
    fn due_of_kind(&self, notice: bool, now: Timestamp, open: bool) -> impl Iterator<Item = Key> {
        let of = |put_off: bool| {
            let groups = self
                .groups()
                .filter(move |(part, _)| part.put_off == put_off && part.notice == notice);
            merged(groups.map(|(_, group)| group))
        };
        let mut put_off = of(true)
            .take_while(move |key| open || key.0 <= now)
            .peekable();
        let mut others = of(false).take_while(move |key| key.0 <= now).peekable();
        std::iter::from_fn(move || match (put_off.peek(), others.peek()) {
            (Some(first), other) if other.is_none_or(|other| first.1 <= other.1) => put_off.next(),
            _ => others.next(),
        })
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

    pub(super) const fn is_crowded(&self) -> bool {
        self.by_sender.is_some()
    }

    /// Notes an entry that is about to be added.
    fn crowd(&mut self, key: Key, put_off: bool, sender: u16) {
        if self.by_sender.is_none() && self.len >= CROWDED {
            let all = self.groups().flat_map(|(part, group)| {
                let entries = group.entries();
                entries.map(move |(key, e)| (e.sender, part.put_off, key))
            });
            self.by_sender = Some(all.collect());
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
        if self.len <= CROWDED / 2 {
            self.by_sender = None;
        }
    }

    /// A sender's first entry that is due and not [returned](Self::returned).
    fn due_of(&self, sender: u16, now: Timestamp, open: bool) -> Option<Key> {
        let by_sender = self.by_sender.as_ref()?;
        let start = (FIRST, QueueId::from_raw(0));
        let first = |put_off: bool, by: Timestamp| {
            let end = (by, QueueId::from_raw(u64::MAX));
            let mut keys = by_sender.range((sender, put_off, start)..=(sender, put_off, end));
            keys.next().map(|(_, _, key)| *key)
        };
        let put_off = first(true, if open { NEVER } else { now }).into_iter();
        put_off.chain(first(false, now)).min_by_key(|key| key.1)
    }

    /// What is returned, then one due entry of each sender, beginning with whose turn it is; what is still
    /// wanted is filled up with what is longest due.
    pub(super) fn due_by_turns(&mut self, now: Timestamp, open: bool, max: usize) -> Vec<Key> {
        let mut keys = Vec::with_capacity(max);
        keys.extend(self.returned().take(max));
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
            self.turn = sender.checked_add(1).or(first).unwrap_or_default();
        }
        // Twice as many: some of them have come already.
        for key in self.due(now, open, max.saturating_mul(2)) {
            if keys.len() < max && !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}

/// Whether an entry is due since before all time: [`Edit::Bounce`](crate::Edit::Bounce).
fn is_returned(key: &Key) -> bool {
    key.0 < FIRST
}

/// The earliest time that anything else is due.
const FIRST: Timestamp = Timestamp::from_millis(1);
