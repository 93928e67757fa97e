//! What the schedule knows of itself without looking at its entries one by one: counts, and which
//! entries a listing has to look at.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use attempt::{Reason, Side};
use fairness::sender_number;
use mail_types::{QueueId, Timestamp};

use super::group::{Entry, Group};
use super::reasons::{AsTold, Kind, KindText, Reasons};
use super::waiting::Part;
use super::{Key, Schedule, arrival_of};
use crate::state::{FIRST, NEVER};
use crate::{
    Addresses, Destination, DestinationCount, Filter, Keyed, MessageState, ReasonCount, Summary,
    SummaryRow, SuspendedSides,
};

impl Schedule {
    /// Entries in all, and how many of them are held.
    pub(crate) const fn counts(&self) -> (u64, u64) {
        (self.waiting, self.held)
    }

    /// How many entries are due.
    pub(crate) fn count_due(&mut self, now: Timestamp) -> u64 {
        self.advance(now);
        let Self {
            destinations,
            ready,
            suspensions,
            ..
        } = self;
        let counts = ready.iter().filter_map(|destination| {
            let open = suspensions
                .until(destination)
                .is_none_or(|until| until <= now);
            Some(destinations.get_mut(destination)?.count_due(now, open))
        });
        counts.sum()
    }

    /// Waiting entries by reason, those with one.
    pub(crate) fn by_reason(&self) -> Vec<(Keyed<Reason>, u64)> {
        self.reasons.counts()
    }

    /// The `most` destinations with the most waiting entries, the largest first.
    pub(crate) fn by_destination(&self, most: usize) -> Vec<DestinationCount> {
        let all = self.destinations.iter();
        let mut all: Vec<_> = all.map(|(name, waiting)| (waiting.len(), name)).collect();
        let first = |a: &(usize, &Destination), b: &(usize, &Destination)| {
            b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1))
        };
        if all.len() > most {
            all.select_nth_unstable_by(most, first);
            all.truncate(most);
        }
        all.sort_unstable_by(first);
        let counts = all
            .into_iter()
            .map(|(count, destination)| DestinationCount {
                destination: destination.clone(),
                messages: count as u64,
            });
        counts.collect()
    }

    /// Waiting entries by whose move it is, those with a reason.
    pub(crate) fn by_side(&self, suspended: &SuspendedSides) -> Vec<(Side, u64)> {
        let mut counts: HashMap<Side, u64> = HashMap::new();
        for (side, count) in self.reasons.sides() {
            *counts.entry(side).or_default() += count;
        }
        for (destination, side) in suspended {
            let waiting = self.destinations.get(destination);
            for (part, group) in waiting.iter().flat_map(|waiting| waiting.groups()) {
                let [usual, told] = self.reasons.sides_of(part.reason, *side);
                let count = group.len() as u64;
                if let Some(told) = told {
                    *counts.entry(told).or_default() += count;
                }
                if let Some(usual) = usual {
                    *counts.entry(usual).or_default() -= count;
                }
            }
        }
        Side::ALL
            .map(|side| (side, counts.get(&side).copied().unwrap_or_default()))
            .into()
    }

    /// Destination by reason and side, the largest count first: `limit` rows from `from` on. A row costs a
    /// count; what else it says is found out for those that are wanted.
    pub(crate) fn summary(
        &mut self,
        now: Timestamp,
        from: usize,
        limit: usize,
        suspended: &SuspendedSides,
    ) -> Summary {
        let told = self.reasons.as_told(suspended);
        let mut all: Vec<(u64, &Destination, Kind)> = Vec::with_capacity(self.destinations.len());
        let mut sums: BTreeMap<Kind, Sum> = BTreeMap::new();
        for (destination, waiting) in &self.destinations {
            let first = all.len();
            for (part, group) in waiting.groups() {
                let count = group.len() as u64;
                let (kind, is_put_off) = told.kind(destination, part.reason);
                let sum = sums.entry(kind).or_default();
                let cause = if is_put_off { 0 } else { part.reason };
                *sum.causes.entry(cause).or_default() += count;
                let mut own = all.iter_mut().skip(first);
                match own.find(|row| row.2 == kind) {
                    Some(row) => row.0 += count,
                    None => {
                        sum.destinations += 1;
                        all.push((count, destination, kind));
                    }
                }
            }
        }
        let total = all.len();
        let order = |a: &(u64, &Destination, Kind), b: &(u64, &Destination, Kind)| {
            b.0.cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2)))
        };
        let to = from.saturating_add(limit);
        if to < total {
            all.select_nth_unstable_by(to, order);
            all.truncate(to);
        }
        all.sort_unstable_by(order);
        let wanted = all.into_iter().skip(from);
        let wanted: Vec<_> = wanted.map(|(n, to, kind)| (n, to.clone(), kind)).collect();
        let rows = wanted.into_iter();
        let rows = rows.map(|(count, to, kind)| self.row(now, count, to, kind, &told));
        let rows = rows.collect();
        Summary {
            rows,
            total,
            reasons: self.sums(sums),
        }
    }

    fn sums(&self, sums: BTreeMap<Kind, Sum>) -> Vec<ReasonCount> {
        let reasons = sums.into_iter().map(|(kind, sum)| {
            let KindText { reason, side, held } = self.reasons.kind_text(kind);
            let causes = sum.causes.iter();
            let mut cases: Vec<_> = causes
                .map(|(cause, count)| (self.reasons.blame(*cause), *count))
                .collect();
            cases.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            ReasonCount {
                reason,
                side,
                held,
                cases,
                messages: sum.causes.values().sum(),
                destinations: sum.destinations,
            }
        });
        let mut reasons: Vec<_> = reasons.collect();
        reasons.sort_by(|a, b| (b.messages, &a.reason).cmp(&(a.messages, &b.reason)));
        reasons
    }

    /// What waits at a destination for a reason, for the same to act.
    fn row(
        &mut self,
        now: Timestamp,
        count: u64,
        to: Destination,
        kind: Kind,
        told: &AsTold<'_>,
    ) -> SummaryRow {
        let until = self.suspensions.until(&to);
        let until = until.map_or(now, |until| until.max(now));
        let KindText { reason, side, held } = self.reasons.kind_text(kind);
        let mut row = SummaryRow {
            reason,
            side,
            held,
            blame: None,
            count,
            oldest: NEVER,
            next_attempt: None,
            destination: to,
        };
        let waiting = self.destinations.get_mut(&row.destination);
        let groups = waiting.into_iter().flat_map(|waiting| waiting.groups_mut());
        let mut most = 0;
        let is_its = |part: Part| told.kind(&row.destination, part.reason).0 == kind;
        for (part, group) in groups.filter(|(part, _)| is_its(*part)) {
            if group.len() > most {
                most = group.len();
                row.blame = self.reasons.blame(part.reason);
            }
            let oldest = group.oldest().map_or(NEVER, arrival_of);
            row.oldest = row.oldest.min(oldest);
            let next = group.first().map(|(time, _)| time);
            let next = next.filter(|time| *time != NEVER);
            let next = next.map(|time| match time {
                FIRST => now,
                time if part.put_off => time.min(until),
                time => time,
            });
            row.next_attempt = row.next_attempt.into_iter().chain(next).min();
        }
        row
    }

    /// Entries from `from` on in the order of their keys, `limit` at most, that may belong to messages
    /// that match: what is known here of destination, reason, sender and hold is asked for. Entries of
    /// one message at several destinations come once each.
    pub(crate) fn keys_from(&self, from: Key, limit: usize, filter: &Filter) -> Vec<Key> {
        let wanted = Wanted {
            reason: filter.reason.as_ref(),
            reasons: &self.reasons,
            sender: filter.sender.as_ref().and_then(|sender| match sender {
                Addresses::Null => Some(sender_number(None)),
                Addresses::One(mailbox) => Some(sender_number(Some(mailbox))),
                // Its addresses have numbers of their own.
                Addresses::AllOf(_) => None,
            }),
        };
        let from = match filter.state {
            Some(MessageState::Held) => from.max((NEVER, QueueId::from_raw(0))),
            _ => from,
        };
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        // Behind this no key is wanted any more.
        let mut end: Option<Key> = None;
        let about = self
            .destinations
            .iter()
            .filter(|(name, _)| filter.is_about(name));
        for (part, group) in about.flat_map(|(_, waiting)| waiting.groups()) {
            if !wanted.has_some(part, group) {
                continue;
            }
            for (key, entry) in group.from(from) {
                if end.is_some_and(|end| key >= end) {
                    break;
                }
                if wanted.may_be(part, entry) {
                    keys.insert(key);
                    if keys.len() > limit {
                        keys.pop_last();
                    }
                    end = keys.last().copied().filter(|_| keys.len() == limit);
                }
            }
        }
        keys.into_iter().collect()
    }
}

/// What entries know of a filter.
struct Wanted<'a> {
    reason: Option<&'a Keyed<Reason>>,
    reasons: &'a Reasons,
    sender: Option<u16>,
}

/// What waits for one reason, for the same to act.
#[derive(Default)]
struct Sum {
    /// Messages by the number of their cause.
    causes: BTreeMap<u16, u64>,
    destinations: u64,
}

impl Wanted<'_> {
    fn is_reason(&self, part: Part) -> bool {
        self.reason
            .is_none_or(|wanted| self.reasons.is_of(part.reason, wanted))
    }

    fn has_some(&self, part: Part, group: &Group) -> bool {
        self.is_reason(part) || group.is_mixed()
    }

    fn may_be(&self, part: Part, entry: Entry) -> bool {
        (self.is_reason(part) || entry.mixed)
            && self.sender.is_none_or(|sender| sender == entry.sender)
    }
}
