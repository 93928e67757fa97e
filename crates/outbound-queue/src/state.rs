//! A message's state and the changes to it: pure, and the same for live work and for replay.
//!
//! Invariant: every change raises the revision by one, and a change whose revision is not above the
//! message's is not applied again. That makes replay idempotent.

use std::sync::Arc;

use attempt::Reason;
use mail_types::{Envelope, QueueId, Timestamp};

use crate::history::History;
use crate::moves::{Blame, LastOf};
use crate::{AttemptEntry, AttemptNote, Destination, Done, Effort, Filter, Keyed, Placement};

/// Everything about a message but its content.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) envelope: Arc<Envelope>,
    /// Number of the last change.
    pub(crate) revision: u32,
    pub(crate) held: bool,
    pub(crate) bounce: bool,
    /// One per recipient of the envelope, in its order.
    pub(crate) recipients: Vec<RecipientEntry>,
    pub(crate) history: History,
    /// The record by which it was last made due together with others; zero if none was.
    pub(crate) retried: QueueId,
}

/// What became of one recipient so far.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RecipientEntry {
    pub(crate) destination: Destination,
    pub(crate) done: Option<Done>,
    pub(crate) next: Timestamp,
    pub(crate) attempts: u32,
    pub(crate) reason: Option<Keyed<Reason>>,
    /// Its destination was left alone: due when that ends, and at `next` in any case.
    pub(crate) put_off: bool,
    /// The sender was told of the delay.
    pub(crate) warned: bool,
}

/// When a message's part at a destination is to be looked at next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct When {
    /// At this time; the end of time if held.
    pub(crate) time: Timestamp,
    /// Or before, as soon as the destination is not suspended.
    pub(crate) put_off: bool,
    pub(crate) reason: Option<Keyed<Reason>>,
    /// What its last attempt says on whose move it is.
    pub(crate) blame: Option<Blame>,
    /// Some of the recipients there have another reason.
    pub(crate) mixed: bool,
    /// Nothing of the message is pending elsewhere.
    pub(crate) alone: bool,
}

/// One change, as the journal records it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Change {
    pub(crate) revision: u32,
    pub(crate) at: Timestamp,
    pub(crate) done: Vec<(u32, Done)>,
    pub(crate) deferred: Vec<Deferral>,
    pub(crate) notes: Vec<(Destination, AttemptNote)>,
    /// Recipients that are done, each with the index of its note.
    pub(crate) told: Vec<(u32, u32)>,
    pub(crate) held: Option<bool>,
    pub(crate) bounce: Option<bool>,
    /// The sender was told of the delay of every recipient: how the first version recorded it.
    pub(crate) warned_of_all: bool,
    /// The sender was told of the delay of these recipients.
    pub(crate) warned: Vec<u32>,
    /// See [`Finish::effort`](crate::Finish::effort).
    pub(crate) effort: Effort,
    /// All pending recipients become due at this time.
    pub(crate) due: Option<Timestamp>,
    /// New destinations of recipients.
    pub(crate) regrouped: Vec<(u32, Destination)>,
}

/// One recipient's next attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Deferral {
    pub(crate) recipient: u32,
    pub(crate) next: Timestamp,
    /// Index into the change's notes.
    pub(crate) note: u32,
}

impl Stored {
    /// A new message: everything due at `now`.
    pub(crate) fn new(envelope: Arc<Envelope>, placement: &dyn Placement, now: Timestamp) -> Self {
        let mut recipients: Vec<RecipientEntry> = Vec::with_capacity(envelope.recipients.len());
        for recipient in &envelope.recipients {
            let destination = placement.destination(&envelope, recipient);
            // Neighbours mostly share their destination: then they share its text too.
            let destination = match recipients.last() {
                Some(last) if last.destination == destination => last.destination.clone(),
                _ => destination,
            };
            recipients.push(RecipientEntry {
                destination,
                done: None,
                next: now,
                attempts: 0,
                reason: None,
                put_off: false,
                warned: false,
            });
        }
        Self {
            envelope,
            revision: 0,
            held: false,
            bounce: false,
            recipients,
            history: History::default(),
            retried: QueueId::from_raw(0),
        }
    }

    /// Makes it due by a record about many, unless that was applied before; says whether it was new.
    pub(crate) fn retry(&mut self, stamp: QueueId, at: Timestamp) -> bool {
        if stamp <= self.retried {
            return false;
        }
        self.retried = stamp;
        for r in self.recipients.iter_mut().filter(|r| r.done.is_none()) {
            (r.next, r.put_off) = (at, false);
        }
        true
    }

    /// Whether it is still due by that record.
    pub(crate) fn is_retried(&self, stamp: QueueId, at: Timestamp) -> bool {
        let mut pending = self.recipients.iter().filter(|r| r.done.is_none());
        self.retried == stamp && pending.any(|r| r.next == at)
    }

    /// Applies a change unless it was applied before; says whether it was new.
    pub(crate) fn apply(&mut self, change: &Change) -> bool {
        if change.revision <= self.revision {
            return false;
        }
        self.revision = change.revision;
        self.held = change.held.unwrap_or(self.held);
        if change.held == Some(false) {
            // Released: if it is held again, that is an operator's hold.
            let all = self.recipients.iter_mut();
            all.filter(|r| r.reason == parked())
                .for_each(|r| r.reason = None);
        }
        self.bounce = change.bounce.unwrap_or(self.bounce);
        for (index, r) in (0u32..).zip(&mut self.recipients) {
            r.warned |= change.warned_of_all || change.warned.contains(&index);
        }
        for (index, destination) in &change.regrouped {
            if let Some(r) = self.recipients.get_mut(*index as usize) {
                r.destination = destination.clone();
            }
        }
        // What an operator returns stays due before everything else, whatever an attempt finds that was under way.
        let returned = self.bounce.then(Timestamp::default);
        if let Some(due) = change.due {
            for r in self.recipients.iter_mut().filter(|r| r.done.is_none()) {
                (r.next, r.put_off) = (returned.unwrap_or(due), false);
            }
        }
        for deferral in &change.deferred {
            if let Some(r) = self.recipients.get_mut(deferral.recipient as usize) {
                r.next = returned.unwrap_or(deferral.next);
                r.put_off = change.effort == Effort::PutOff && !self.bounce;
                r.attempts = r
                    .attempts
                    .saturating_add(u32::from(change.effort == Effort::Attempt));
                // What was never tried and is put off waits for nothing of its own.
                let note = change.notes.get(deferral.note as usize);
                r.reason = note.and_then(|(_, note)| note.reason.clone());
            }
        }
        for (index, done) in &change.done {
            if let Some(r) = self.recipients.get_mut(*index as usize) {
                r.done.get_or_insert(*done);
            }
        }
        if change.effort == Effort::Attempt {
            let entries = (0u32..).zip(&change.notes);
            let entries = entries.map(|(n, (destination, note))| AttemptEntry {
                note: note.clone(),
                destination: destination.clone(),
                recipients: self.named(change.of_note(n)),
                first: change.at,
                last: change.at,
                count: 1,
            });
            let entries = entries.collect();
            self.history.remember(entries, &self.recipients);
        }
        true
    }

    /// Whether nothing is left to be done.
    pub(crate) fn is_finished(&self) -> bool {
        self.recipients.iter().all(|r| r.done.is_some())
    }

    /// Whether it is held because it failed us (row H7-08), and not by an operator.
    pub(crate) fn is_parked(&self) -> bool {
        let mut pending = self.recipients.iter().filter(|r| r.done.is_none());
        self.held && pending.any(|r| r.reason == parked())
    }

    /// When a destination's part is next to be looked at: as its earliest pending recipient; `None`
    /// if nothing is pending there.
    pub(crate) fn due_at(&self, destination: &Destination) -> Option<When> {
        let pending = (0u32..)
            .zip(&self.recipients)
            .filter(|(_, r)| r.done.is_none() && r.destination == *destination);
        let first = pending.clone().min_by_key(|(_, r)| r.next)?;
        let put_off = pending.clone().find(|(_, r)| r.put_off && !self.held);
        let (number, told) = put_off.unwrap_or(first);
        let reason = &told.reason;
        Some(When {
            time: if self.held { NEVER } else { first.1.next },
            put_off: put_off.is_some(),
            reason: reason.clone(),
            blame: self.blame(number, told),
            mixed: pending.clone().any(|(_, r)| r.reason != *reason),
            alone: pending.count() == self.recipients.iter().filter(|r| r.done.is_none()).count(),
        })
    }

    /// What a recipient's last attempt says on whose move it is, as [`MessageView::side`] does.
    ///
    /// [`MessageView::side`]: crate::MessageView::side
    pub(crate) fn blame(&self, number: u32, recipient: &RecipientEntry) -> Option<Blame> {
        let reason = recipient.reason.as_ref()?;
        let of = LastOf {
            number,
            alone: self.recipients.len() == 1,
            destination: &recipient.destination,
            pending: recipient.done.is_none(),
            reason: Some(reason),
            or_return: true,
        };
        Blame::of(reason, of.find(&self.history.entries))
    }

    /// When the message's part at what a filter is about is next to be looked at: the order of listings.
    /// Asks of each part what the schedule asks of its entry, so that every message comes once.
    pub(crate) fn first_due(&self, filter: &Filter) -> Timestamp {
        if filter.reason.is_some() {
            let parts = self.destinations().into_iter();
            let parts = parts.filter(|d| filter.is_about(d));
            let parts = parts.filter_map(|d| self.due_at(&d));
            let parts = parts.filter(|part| part.mixed || part.reason == filter.reason);
            return parts.map(|part| part.time).min().unwrap_or(NEVER);
        }
        let pending = self.recipients.iter().filter(|r| r.done.is_none());
        let pending = pending.filter(|r| filter.is_about(&r.destination));
        match pending.map(|r| r.next).min() {
            Some(time) if !self.held => time,
            _ => NEVER,
        }
    }

    /// The destinations with pending recipients, each once.
    pub(crate) fn destinations(&self) -> Vec<Destination> {
        let mut all: Vec<Destination> = Vec::new();
        for r in self.recipients.iter().filter(|r| r.done.is_none()) {
            if all.last() != Some(&r.destination) {
                all.push(r.destination.clone());
            }
        }
        all.sort();
        all.dedup();
        all
    }

    /// `None` for a message's only recipient, and where it is not known for whom: all of several may part later.
    fn named(&self, recipients: Vec<u32>) -> Option<Box<[u32]>> {
        let some = !recipients.is_empty() && self.recipients.len() > 1;
        some.then(|| recipients.into())
    }
}

impl Change {
    /// The recipients that one of its notes tells of, in order.
    fn of_note(&self, note: u32) -> Vec<u32> {
        let deferred = self.deferred.iter().filter(|d| d.note == note);
        let told = self.told.iter().filter(|(_, n)| *n == note);
        let told = told.map(|(recipient, _)| *recipient);
        let mut all: Vec<u32> = deferred.map(|d| d.recipient).chain(told).collect();
        all.sort_unstable();
        all
    }
}

/// The reason of a message that fails us.
pub(crate) fn parked() -> Option<Keyed<Reason>> {
    Some(Reason::Parked.into())
}

/// The due time of what is held.
pub(crate) const NEVER: Timestamp = Timestamp::from_millis(u64::MAX);
/// The due time of what an operator returns: before everything else, so that where its destination is paused this is
/// all that goes.
pub(crate) const FIRST: Timestamp = Timestamp::from_millis(0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{ByDomain, envelope};

    fn note(reason: Reason) -> AttemptNote {
        AttemptNote {
            reason: Some(reason.into()),
            ..AttemptNote::default()
        }
    }

    fn stored(recipients: &[&str]) -> Stored {
        let envelope = Arc::new(envelope("s@a.test", recipients));
        Stored::new(envelope, &ByDomain, Timestamp::from_secs(10))
    }

    fn deferral(revision: u32, reason: Reason, next: u64) -> Change {
        Change {
            revision,
            at: Timestamp::from_secs(next - 1),
            deferred: vec![Deferral {
                recipient: 0,
                next: Timestamp::from_secs(next),
                note: 0,
            }],
            notes: vec![(Destination::new("d.test"), note(reason))],
            ..Change::default()
        }
    }

    #[test]
    fn replaying_changes_in_any_number_changes_nothing() {
        let changes: Vec<Change> = (1..20)
            .map(|n| deferral(n, Reason::Connect, 100 * u64::from(n)))
            .collect();
        let mut once = stored(&["r@d.test"]);
        changes.iter().for_each(|c| assert!(once.apply(c)));
        let mut often = stored(&["r@d.test"]);
        for end in 1..=changes.len() {
            for change in &changes[..end] {
                often.apply(change);
            }
        }
        assert_eq!(once, often);
        assert_eq!(once.recipients[0].attempts, 19);
    }

    #[test]
    fn e5_04_what_is_put_off_has_not_been_attempted() {
        let mut m = stored(&["r@d.test"]);
        m.apply(&deferral(1, Reason::Connect, 100));
        for n in 2..30 {
            m.apply(&Change {
                effort: Effort::PutOff,
                ..deferral(n, Reason::DestinationSuspended, 100 * u64::from(n))
            });
        }
        let r = &m.recipients[0];
        assert_eq!((r.attempts, r.next), (1, Timestamp::from_secs(2900)));
        assert_eq!(r.reason, Some(Reason::DestinationSuspended.into()));
        let seen = m.history.entries.iter().map(|a| a.note.reason.clone());
        assert!(seen.eq([Some(Reason::Connect.into())]));
        // Nor what only came up to have its sender told of the delay, which waits for nothing else.
        m.apply(&Change {
            effort: Effort::Look,
            warned: vec![0],
            ..deferral(30, Reason::Connect, 9000)
        });
        let r = &m.recipients[0];
        assert_eq!((r.attempts, r.next), (1, Timestamp::from_secs(9000)));
        assert!(r.warned && !r.put_off);
        assert_eq!(
            (m.history.entries.len(), m.history.entries[0].count),
            (1, 1)
        );
    }

    #[test]
    fn what_is_put_off_without_a_reason_waits_for_none() {
        let mut m = stored(&["r@d.test"]);
        for (revision, reason) in [(1, None), (2, Some(Reason::Connect)), (3, None)] {
            let mut change = deferral(revision, Reason::Local, 100);
            change.effort = Effort::PutOff;
            change.notes[0].1.reason = reason.map(Keyed::from);
            m.apply(&change);
            assert_eq!(m.recipients[0].reason, reason.map(Keyed::from));
        }
    }

    #[test]
    fn what_is_returned_stays_due_at_once_whatever_an_attempt_under_way_finds() {
        let bounce = Change {
            revision: 1,
            bounce: Some(true),
            due: Some(Timestamp::default()),
            ..Change::default()
        };
        for effort in [Effort::Attempt, Effort::PutOff] {
            let mut m = stored(&["r@d.test"]);
            m.apply(&bounce);
            m.apply(&Change {
                effort,
                ..deferral(2, Reason::Connect, 100)
            });
            let r = &m.recipients[0];
            assert_eq!((r.next, r.put_off), (Timestamp::default(), false));
        }
    }

    #[test]
    fn history_keeps_the_first_and_the_last_five_and_counts_repeats() {
        let mut m = stored(&["r@d.test"]);
        let [a, b, c, d, e, f, g, ..] = Reason::ALL;
        for (n, reason) in (0u32..).zip([a, b, c, d, d, d, e, f, g]) {
            m.apply(&deferral(n + 1, reason, 100 + u64::from(n)));
        }
        let entries = m.history.entries.iter();
        let seen: Vec<(Option<Reason>, u32)> = entries
            .map(|e| (e.note.reason.as_ref().and_then(Keyed::known), e.count))
            .collect();
        let expected = [(a, 1), (c, 1), (d, 3), (e, 1), (f, 1), (g, 1)];
        assert_eq!(seen, expected.map(|(reason, count)| (Some(reason), count)));
    }

    #[test]
    fn the_history_knows_whose_attempt_it_was() {
        let mut m = stored(&["a@d.test", "b@d.test", "c@d.test"]);
        let d = Destination::new("d.test");
        let others = [Reason::Remote5xx, Reason::Remote4xx].map(note).into_iter();
        let notes = std::iter::once(AttemptNote::default()).chain(others);
        let notes = notes.map(|note| (d.clone(), note)).collect();
        m.apply(&Change {
            revision: 1,
            done: vec![(0, Done::Delivered), (1, Done::Bounced)],
            deferred: vec![Deferral {
                recipient: 2,
                next: Timestamp::from_secs(100),
                note: 2,
            }],
            notes,
            told: vec![(0, 0), (1, 1)],
            ..Change::default()
        });
        let whose: Vec<_> = m
            .history
            .entries
            .iter()
            .map(|a| a.recipients.as_deref())
            .collect();
        assert_eq!(whose, [Some(&[0][..]), Some(&[1]), Some(&[2])]);
        // Once more for the last one: the same cause for the same recipient.
        let mut again = deferral(2, Reason::Remote4xx, 200);
        again.deferred[0].recipient = 2;
        m.apply(&again);
        assert_eq!(m.history.entries.len(), 3);
        assert_eq!(m.history.entries[2].count, 2);
        // All of several are named, too: what they wait for later need not be what this attempt found.
        let mut both = stored(&["a@d.test", "b@d.test"]);
        let last = |m: &Stored, n: usize| m.blame(n as u32, &m.recipients[n]).map(|b| b.reason);
        let of = |revision, reasons: &[Reason], put_off: bool| Change {
            effort: if put_off {
                Effort::PutOff
            } else {
                Effort::Attempt
            },
            deferred: (0..2)
                .map(|recipient| Deferral {
                    recipient,
                    note: recipient.min(reasons.len() as u32 - 1),
                    next: Timestamp::from_secs(100),
                })
                .collect(),
            notes: reasons.iter().map(|r| (d.clone(), note(*r))).collect(),
            ..deferral(revision, Reason::Local, 100)
        };
        both.apply(&of(1, &[Reason::Remote4xx, Reason::CertExpired], false));
        both.apply(&of(2, &[Reason::Connect], false));
        both.apply(&of(3, &[Reason::DestinationSuspended], true));
        assert_eq!(last(&both, 0), last(&both, 1));
        assert_eq!(last(&both, 0), Some(Reason::Connect));
        // A message's only recipient needs no name.
        let mut alone = stored(&["a@d.test"]);
        alone.apply(&deferral(1, Reason::Connect, 100));
        assert_eq!(alone.history.entries[0].recipients, None);
    }

    #[test]
    fn done_is_final_and_due_follows_the_pending() {
        let mut m = stored(&["r@d.test", "s@d.test", "t@e.test"]);
        let d = Destination::new("d.test");
        m.apply(&deferral(1, Reason::Connect, 50));
        assert_eq!(m.due_at(&d).map(|x| x.time), Some(Timestamp::from_secs(10)));
        m.apply(&Change {
            revision: 2,
            done: vec![(1, Done::Delivered)],
            ..Change::default()
        });
        m.apply(&Change {
            revision: 3,
            done: vec![(1, Done::Bounced)],
            ..Change::default()
        });
        assert_eq!(m.recipients[1].done, Some(Done::Delivered));
        assert_eq!(m.due_at(&d).map(|x| x.time), Some(Timestamp::from_secs(50)));
        assert_eq!(m.destinations(), [d.clone(), Destination::new("e.test")]);
        m.apply(&Change {
            revision: 4,
            held: Some(true),
            ..Change::default()
        });
        assert_eq!(m.due_at(&d).map(|x| x.time), Some(NEVER));
    }
}
