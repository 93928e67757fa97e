//! The queue as a machine in memory: pure state transitions, no disk, no clock.
//!
//! Both stores drive it under one mutex. It decides and applies; what it answers ([`Step`]) is what
//! a store has to record. Messages it works on are *hot*: decoded, in memory. A store that keeps
//! the others elsewhere brings them in ([`Core::bring`]) before it asks for them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use leases::{Lease, Leases};
use mail_types::{Envelope, QueueId, Timestamp};
use tokio::sync::Notify;

use crate::disk::{Large, Place};
use crate::schedule::{Key, Schedule, arrival_of};
use crate::state::{Change, Deferral, RecipientEntry, Stored};
use crate::{
    Destination, Done, Finish, HeldBody, Keyed, LeaseToken, Leased, LeasedRecipient, Now, Outcome,
    Placement, QueueError, Stats,
};
use fairness::sender_number;

pub(crate) struct Core {
    pub(crate) hot: HashMap<QueueId, Hot>,
    pub(crate) schedule: Schedule,
    pub(crate) leases: Leases<Destination>,
    pub(crate) placement: Arc<dyn Placement>,
    pub(crate) wake: Arc<Notify>,
    /// Messages that are in the queue and visible.
    live: BTreeSet<QueueId>,
    /// The highest id given out, and the node's tag in all of them.
    last: QueueId,
    tag: u8,
    /// What the scheduler was last told about when to look again.
    told: Option<Timestamp>,
}

/// A message in memory.
pub(crate) struct Hot {
    pub(crate) message: Arc<Stored>,
    /// Where its records stand; `None` until they are durable.
    pub(crate) place: Option<Place>,
    /// Its content's own file, until `place` says so.
    pub(crate) large: Option<Large>,
    /// Its content, around the first attempt.
    pub(crate) body: Option<HeldBody>,
    /// The index does not have this state yet.
    pub(crate) dirty: bool,
    /// The index has, or may have, a row.
    pub(crate) indexed: bool,
    /// Somebody waits for it to be durable and will publish it; otherwise it publishes itself.
    pub(crate) awaited: bool,
    /// Records on their way to the disk.
    pub(crate) in_flight: u32,
}

/// A transition that was made and has to be recorded.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) id: QueueId,
    pub(crate) change: Change,
    /// The message has left the queue; its place, if it was durable.
    pub(crate) gone: Option<Gone>,
}

#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) place: Option<Place>,
    pub(crate) indexed: bool,
}

impl Core {
    pub(crate) fn new(placement: Arc<dyn Placement>, leases: Leases<Destination>, tag: u8) -> Self {
        Self {
            hot: HashMap::new(),
            schedule: Schedule::default(),
            leases,
            placement,
            wake: Arc::new(Notify::new()),
            live: BTreeSet::new(),
            last: QueueId::from_raw(0),
            tag,
            told: None,
        }
    }

    pub(crate) fn allocate(&mut self, now: Timestamp) -> QueueId {
        let micros = now.as_millis().saturating_mul(1000);
        self.last = QueueId::next(micros, self.tag, self.last);
        self.last
    }

    /// Ids up to this one were given out before.
    pub(crate) fn seen(&mut self, id: QueueId) {
        self.last = self.last.max(id);
    }

    pub(crate) const fn last_id(&self) -> QueueId {
        self.last
    }

    pub(crate) fn is_live(&self, id: QueueId) -> bool {
        self.live.contains(&id)
    }

    /// A new message, not visible before [`Core::publish`].
    pub(crate) fn add(&mut self, id: QueueId, message: Stored, awaited: bool) -> &mut Hot {
        let hot = Hot {
            message: Arc::new(message),
            place: None,
            large: None,
            body: None,
            dirty: true,
            indexed: false,
            awaited,
            in_flight: 0,
        };
        let slot = self.hot.entry(id);
        slot.insert_entry(hot).into_mut()
    }

    /// A message that the index has.
    pub(crate) fn bring(&mut self, id: QueueId, message: Stored, place: Place) -> &mut Hot {
        self.hot.entry(id).or_insert_with(|| Hot {
            message: Arc::new(message),
            place: Some(place),
            large: None,
            body: None,
            dirty: false,
            indexed: true,
            awaited: false,
            in_flight: 0,
        })
    }

    /// Makes a message visible: due, or leased to the caller.
    pub(crate) fn publish(&mut self, id: QueueId, claim: bool, now: Option<Now>) -> Vec<Leased> {
        let Some(hot) = self.hot.get(&id) else {
            return Vec::new();
        };
        let message = Arc::clone(&hot.message);
        if !self.live.insert(id) {
            return Vec::new();
        }
        let destinations = message.destinations();
        match now.filter(|_| claim) {
            Some(now) => destinations
                .into_iter()
                .filter_map(|d| self.grant(id, d, now))
                .collect(),
            None => {
                destinations.iter().for_each(|d| self.list(id, &message, d));
                Vec::new()
            }
        }
    }

    /// Schedules a message found at start, which need not be hot.
    pub(crate) fn schedule_found(&mut self, id: QueueId, message: &Stored) {
        if self.live.insert(id) {
            for destination in message.destinations() {
                self.list(id, message, &destination);
            }
        }
    }

    /// Due entries of a destination, after leases that ran out have come back.
    pub(crate) fn due(&mut self, destination: &Destination, now: Now, max: usize) -> Vec<Key> {
        self.end_expired(now);
        self.schedule.due(destination, now.wall, max)
    }

    /// Leases an entry; the message must be hot.
    pub(crate) fn take(&mut self, destination: &Destination, key: Key, now: Now) -> Option<Leased> {
        if !self.hot.contains_key(&key.1) || !self.schedule.remove(destination, key) {
            return None;
        }
        self.grant(key.1, destination.clone(), now)
    }

    pub(crate) fn end_expired(&mut self, now: Now) {
        for lease in self.leases.end_expired(now.monotonic) {
            self.list_after(&lease);
        }
    }

    pub(crate) fn release(&mut self, token: &LeaseToken) -> Result<(), QueueError> {
        let lease = self.leases.end(token)?;
        self.list_after(&lease);
        Ok(())
    }

    pub(crate) fn next_due(&mut self, now: Now) -> Option<Timestamp> {
        self.end_expired(now);
        let due = self.schedule.next_due(now.wall);
        let look = self
            .leases
            .next_look(now.monotonic)
            .map(|time| now.wall + time);
        self.told = due.into_iter().chain(look).min();
        self.told
    }

    /// Makes entries of a destination due, none of which is held or in memory.
    pub(crate) fn make_due(&mut self, destination: &Destination, keys: &[Key], at: Timestamp) {
        self.schedule.make_due(destination, keys, at);
        self.wake_for(at);
    }

    /// Leaves a destination alone until then, or no longer.
    pub(crate) fn suspend(
        &mut self,
        destination: &Destination,
        until: Option<Timestamp>,
        now: Now,
    ) {
        if let Some(time) = self.schedule.suspend(destination, until, now.wall) {
            self.wake_for(time);
        }
    }

    /// Ends a lease with its outcome. Nothing is changed if this fails. A lease that has run out is as good as
    /// any until somebody else has the mail; its message must be hot.
    pub(crate) fn finish(&mut self, finish: &Finish, now: Now) -> Result<Step, QueueError> {
        let lease = self.leases.of_outcome(&finish.lease)?;
        let id = lease.id;
        let hot = self.hot.get(&id).ok_or(QueueError::StaleLease(id))?;
        let mut change = Change {
            revision: hot.message.revision + 1,
            at: now.wall,
            effort: finish.effort,
            ..Change::default()
        };
        for index in &finish.warned {
            change.warned.extend(u32::try_from(*index));
        }
        for (index, note) in &finish.told {
            if let (Ok(recipient), Ok(note)) = (u32::try_from(*index), u32::try_from(*note)) {
                change.told.push((recipient, note));
            }
        }
        let mut seen = BTreeSet::new();
        for (index, outcome) in &finish.outcomes {
            let recipient = u32::try_from(*index)
                .ok()
                .filter(|r| lease.recipients.contains(r))
                .ok_or(QueueError::Misuse(
                    "an outcome for a recipient that was not leased",
                ))?;
            if finish.outcomes.len() > 1 && !seen.insert(recipient) {
                return Err(QueueError::Misuse("two outcomes for one recipient"));
            }
            let (next, note) = match *outcome {
                Outcome::Done(done) => {
                    change.done.push((recipient, done));
                    continue;
                }
                Outcome::Deferred { next_attempt, note } => (next_attempt, note),
                Outcome::Parked { note } => {
                    change.held = Some(true);
                    (now.wall, note)
                }
            };
            if note >= finish.notes.len() {
                return Err(QueueError::Misuse("a deferral without its note"));
            }
            change.deferred.push(Deferral {
                recipient,
                next,
                note: u32::try_from(note).unwrap_or(u32::MAX),
            });
        }
        let destination = lease.destination.clone();
        change.notes = finish
            .notes
            .iter()
            .map(|note| (destination.clone(), note.printable()))
            .collect();
        let waiting: Vec<u32> = change.deferred.iter().map(|d| d.recipient).collect();
        change.regrouped = self.regrouped(&hot.message, waiting);
        let lease = self.leases.conclude(&finish.lease)?;
        let mut targets: Vec<Destination> = change.regrouped.iter().map(|g| g.1.clone()).collect();
        if change.held.is_some() || lease.is_overdue {
            // What it has elsewhere is held with it; what has run out is due again.
            targets.extend(hot.message.destinations());
        }
        // A regrouped recipient may join a destination where the message already waits.
        if !targets.is_empty() {
            let message = Arc::clone(&hot.message);
            targets.iter().for_each(|d| self.unlist(id, &message, d));
        }
        let step = self.apply(id, change);
        if step.gone.is_none() {
            self.list_after(&lease);
            if let Some(hot) = self.hot.get(&id) {
                let message = Arc::clone(&hot.message);
                let others = targets.iter().filter(|d| **d != lease.destination);
                let others: BTreeSet<&Destination> = others.collect();
                others.into_iter().for_each(|d| self.list(id, &message, d));
            }
        }
        Ok(step)
    }

    /// Applies a change to a visible hot message whose entries are not listed.
    fn apply(&mut self, id: QueueId, change: Change) -> Step {
        let mut step = Step {
            id,
            change,
            gone: None,
        };
        let Some(hot) = self.hot.get_mut(&id) else {
            return step;
        };
        Arc::make_mut(&mut hot.message).apply(&step.change);
        hot.dirty = true;
        hot.body = None;
        if hot.message.is_finished() {
            self.leases.end_message(id);
            self.live.remove(&id);
            step.gone = self.hot.remove(&id).map(|hot| Gone {
                place: hot.place,
                indexed: hot.indexed,
            });
        }
        step
    }

    /// Changes a visible hot message outside of a lease.
    pub(crate) fn change(&mut self, id: QueueId, change: Change) -> Option<Step> {
        let message = Arc::clone(&self.hot.get(&id)?.message);
        let before = message.destinations();
        before.iter().for_each(|d| self.unlist(id, &message, d));
        drop(message); // Or it would be copied to be changed.
        let step = self.apply(id, change);
        if let Some(hot) = self.hot.get(&id) {
            let message = Arc::clone(&hot.message);
            for destination in message.destinations() {
                self.list(id, &message, &destination);
            }
        }
        Some(step)
    }

    /// The recipients among these whose destination is another one now.
    pub(crate) fn regrouped(
        &self,
        message: &Stored,
        recipients: impl IntoIterator<Item = u32>,
    ) -> Vec<(u32, Destination)> {
        let envelope: &Envelope = &message.envelope;
        let pending = recipients.into_iter().filter_map(|index| {
            let entry = message.recipients.get(index as usize)?;
            let recipient = envelope.recipients.get(index as usize)?;
            let now = self.placement.destination(envelope, recipient);
            (entry.done.is_none() && entry.destination != now).then_some((index, now))
        });
        pending.collect()
    }

    /// Messages that are visible.
    pub(crate) fn live_count(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn stats(&mut self, now: Now) -> Stats {
        let (waiting, held) = self.schedule.counts();
        let due = self.schedule.count_due(now.wall);
        let destinations = self.schedule.by_destination(SHOWN_DESTINATIONS);
        Stats {
            messages: self.live.len() as u64,
            active: self.leases.count() as u64,
            due,
            deferred: waiting.saturating_sub(held + due),
            held,
            oldest: self.live.first().map(|id| (*id, arrival_of(*id))),
            disk_bytes: 0,
            memory_bytes: 0,
            messages_in_memory: self.hot.len() as u64,
            destinations,
            reasons: self.schedule.by_reason(),
        }
    }

    fn grant(&mut self, id: QueueId, destination: Destination, now: Now) -> Option<Leased> {
        let hot = self.hot.get(&id)?;
        let message = &hot.message;
        let expires = self.placement.expires(&message.envelope);
        let expired = expires <= now.wall;
        let all = expired || message.bounce;
        let recipients: Vec<(u32, &RecipientEntry)> = (0u32..)
            .zip(&message.recipients)
            .filter(|(_, r)| r.done.is_none() && r.destination == destination)
            .filter(|(_, r)| all || r.put_off || r.next <= now.wall)
            .collect();
        let put_off = recipients.iter().all(|(_, r)| r.put_off);
        let due = message.due_at(&destination)?.time;
        let leased = Leased {
            token: self.leases.grant(
                id,
                destination.clone(),
                recipients.iter().map(|r| r.0).collect(),
                now.monotonic,
            ),
            id,
            destination,
            envelope: Arc::clone(&message.envelope),
            recipients: recipients
                .iter()
                .map(|(index, r)| LeasedRecipient {
                    index: *index as usize,
                    attempts: r.attempts,
                    reason: r.reason.as_ref().and_then(Keyed::known),
                    warned: r.warned,
                })
                .collect(),
            due,
            put_off,
            expires,
            expired,
            bounce: message.bounce,
            attempts: message.history.entries.clone(),
            body: hot.body.clone(),
        };
        Some(leased)
    }

    fn list_after(&mut self, lease: &Lease<Destination>) {
        if let Some(hot) = self.hot.get(&lease.id) {
            let message = Arc::clone(&hot.message);
            self.list(lease.id, &message, &lease.destination);
        }
    }

    /// Lists a message's part at a destination, unless it is leased.
    fn list(&mut self, id: QueueId, message: &Stored, destination: &Destination) {
        let Some(when) = message.due_at(destination) else {
            return;
        };
        if self.leases.holds(id, destination) {
            return;
        }
        let sender = sender_number(message.envelope.reverse_path.mailbox());
        let time = self.schedule.insert(destination, id, &when, sender);
        self.wake_for(time);
    }

    /// Something is due at this time.
    fn wake_for(&mut self, time: Timestamp) {
        if self.told.is_none_or(|told| time < told) {
            self.told = Some(time);
            self.wake.notify_one();
        }
    }

    fn unlist(&mut self, id: QueueId, message: &Stored, destination: &Destination) {
        if let Some(when) = message.due_at(destination) {
            self.schedule.remove(destination, (when.time, id));
        }
    }
}

/// The change that finishes every pending recipient.
pub(crate) fn all_done(message: &Stored, done: Done) -> Vec<(u32, Done)> {
    (0u32..)
        .zip(&message.recipients)
        .filter(|(_, r)| r.done.is_none())
        .map(|(index, _)| (index, done))
        .collect()
}

/// Destinations that [`Stats`] names.
const SHOWN_DESTINATIONS: usize = 100;
