//! A lane: what one destination has in memory. Work in hand, sessions that run, health, plan.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use attempt::{Reason, Side, Tried};
use fairness::Pace;
use mail_types::{QueueId, Timestamp};
use outbound_queue::{LeaseToken, Leased};
use parking_lot::Mutex;

use crate::decide::destination::{Admission, Cause, Health, Recovery, Suspension};
use crate::decide::plan::Plan;
use crate::decide::verdict::Decider;
use crate::engine::lingering::{Lingering, Place};
use crate::worker::findings::Findings;
use routes::Destination;

/// One destination's state. Locks are held for a few instructions, never across an await.
pub(crate) struct Lane {
    pub(crate) destination: Destination,
    /// The queue's name of it.
    pub(crate) key: outbound_queue::Destination,
    state: Mutex<State>,
    plan: tokio::sync::Mutex<Option<Arc<Plan>>>,
    putting_off: AtomicBool,
    /// The last round of returns that was done, while the destination is paused.
    returns: AtomicU64,
    /// When mail that is due here was last put off, while the destination is paused; monotonic milliseconds.
    looked: AtomicU64,
}

/// See [`Lane::put_off`].
pub(crate) struct PutOff<'a>(&'a AtomicBool);

impl Drop for PutOff<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

struct State {
    health: Health,
    backlog: VecDeque<Leased>,
    /// Fresh mail had to go back to the queue: until the queue has no more, its mail is taken up
    /// between fresh mail (row E5-05).
    overflowed: bool,
    /// Pieces of work since the queue was asked last.
    since_asked: usize,
    pace: Pace,
    active: u32,
    lingering: Lingering<Leased>,
    idle_since: Duration,
    /// DNS has said that mail cannot go there, while the mail is protected: when first, when last.
    undeliverable: Option<(Timestamp, Timestamp)>,
    /// What the last attempt that failed found: the hosts tried, and the one that decided.
    seen: Option<Box<(Vec<Tried>, Option<Decider>)>>,
    /// Messages that an operator wants tried, although the destination is left alone; at most [`ORDERED`].
    ordered: Vec<QueueId>,
    /// Some host has taken part in an attempt.
    known: bool,
    /// There was no place at its hosts: nobody without a session begins before then; monotonic.
    crowded: Duration,
    /// How often in a row that was so.
    crowds: u32,
}

/// What a worker is to do next.
#[must_use]
pub(crate) enum Next {
    /// This message.
    Work(Box<Leased>),
    /// Nothing is in hand, or the queue's mail has its turn: ask the queue, or leave.
    Empty,
    /// Others have as many sessions as there may be, and this one, which has none, has left; these go back, since
    /// those that are there may be held up.
    Left(Vec<Leased>),
    /// The destination is to be left alone: these go back with the cause.
    Suspended(Suspension, Vec<Leased>),
}

impl Lane {
    pub(crate) fn new(
        destination: Destination,
        key: outbound_queue::Destination,
        limit: u32,
        now: Duration,
    ) -> Self {
        let state = State {
            health: Health::new(limit),
            backlog: VecDeque::new(),
            overflowed: false,
            since_asked: 0,
            pace: Pace::default(),
            active: 0,
            lingering: Lingering::new(),
            idle_since: now,
            undeliverable: None,
            seen: None,
            ordered: Vec::new(),
            known: false,
            crowded: Duration::ZERO,
            crowds: 0,
        };
        Self {
            destination,
            key,
            state: Mutex::new(state),
            plan: tokio::sync::Mutex::new(None),
            putting_off: AtomicBool::new(false),
            returns: AtomicU64::new(0),
            looked: AtomicU64::new(0),
        }
    }

    /// Hands work to a worker that has just run out of it.
    ///
    /// # Errors
    /// The lease, if nobody waits for work or the destination is to be left alone.
    pub(crate) fn hand(&self, leased: Leased, now: Duration) -> Result<(), Box<Leased>> {
        let mut state = self.state.lock();
        if state.health.suspension(now).is_some() {
            return Err(Box::new(leased));
        }
        let handed = state.lingering.hand(leased);
        state.since_asked += usize::from(handed.is_ok());
        handed.map_err(Box::new)
    }

    /// Whether a worker whose work was handed to it may wait for the next piece before it asks the queue:
    /// not for ever, or what the queue has would never have its turn (row E5-05).
    pub(crate) fn is_fed(&self) -> bool {
        let state = self.state.lock();
        !state.overflowed && state.since_asked < BETWEEN_ASKING
    }

    /// A place for a worker without work. `None` if there is work in hand after all.
    pub(crate) fn linger(&self) -> Option<Place<Leased>> {
        let mut state = self.state.lock();
        state.backlog.is_empty().then(|| state.lingering.join())
    }

    /// Puts work in hand that the queue gave out.
    pub(crate) fn push(&self, work: Vec<Leased>) {
        self.state.lock().backlog.extend(work);
    }

    /// Puts fresh mail in hand; gives it back if there is enough.
    ///
    /// # Errors
    /// The lease, to be released.
    pub(crate) fn push_fresh(&self, leased: Leased) -> Result<(), Box<Leased>> {
        let mut state = self.state.lock();
        if state.backlog.len() >= state.pace.ahead(state.active) {
            state.overflowed = true;
            return Err(Box::new(leased));
        }
        state.backlog.push_back(leased);
        Ok(())
    }

    /// Asks to start a worker; on [`Admission::Go`] it is counted. `scarce`: most connections are taken, and
    /// hosts that nobody has heard of yet get one each (row E5-04).
    pub(crate) fn admit(&self, now: Duration, scarce: bool) -> Admission {
        let mut state = self.state.lock();
        let active = state.active;
        state.health.lift(now);
        let is_unknown = !state.known && active > 0;
        if now < state.crowded || scarce && is_unknown {
            return Admission::Wait;
        }
        let admission = state.health.admit(active, now);
        if admission == Admission::Go {
            state.active += 1;
        }
        admission
    }

    /// A worker that was admitted could not start.
    pub(crate) fn retreat(&self, now: Duration) {
        let mut state = self.state.lock();
        state.active = state.active.saturating_sub(1);
        state.idle_since = now;
        state.health.inconclusive();
    }

    /// An attempt ended without saying anything about the destination.
    pub(crate) fn inconclusive(&self) {
        self.state.lock().health.inconclusive();
    }

    /// Nobody had a place for another session at the hosts: whoever has none leaves for a moment.
    pub(crate) fn crowded(&self, now: Duration) {
        let mut state = self.state.lock();
        if now >= state.crowded {
            state.crowded = now + CROWDED * (1 << state.crowds.min(2));
            state.crowds += 1;
        }
    }

    /// Whether nobody new may begin here for now, whatever there is to do: it waits in the queue, where whoever
    /// has a session takes it up.
    pub(crate) fn is_narrow(&self, now: Duration) -> bool {
        let state = self.state.lock();
        let full = |most| state.active >= most;
        now < state.crowded || state.health.ceiling(now).is_some_and(full)
    }

    /// Notes that a session was refused for now. True if that may only mean that there are enough: others are at
    /// work. There are no more than those for a while then; the last one's refusal counts.
    #[must_use]
    pub(crate) fn note_turned_away(&self, now: Duration) -> bool {
        let mut state = self.state.lock();
        let active = state.active;
        if active > 1 {
            state.health.crowded(active, now);
        }
        active > 1
    }

    /// The next piece of work for a running worker, which has a session or not.
    pub(crate) fn next(&self, now: Duration, has_session: bool) -> Next {
        let mut state = self.state.lock();
        if let Some(s) = state.health.suspension(now).cloned() {
            // With its room: ten thousand destinations may be left alone.
            return Next::Suspended(s, mem::take(&mut state.backlog).into());
        }
        let too_many = |most| state.active > most;
        let is_one_too_many = state.health.ceiling(now).is_some_and(too_many);
        if !has_session && (now < state.crowded || is_one_too_many) {
            state.active = state.active.saturating_sub(1);
            if state.active == 0 {
                state.idle_since = now;
                state.health.inconclusive();
            }
            return Next::Left(mem::take(&mut state.backlog).into());
        }
        if state.overflowed && state.since_asked >= BETWEEN_ASKING {
            // The others go on: if all asked at once, as much would be in hand as all of them get.
            state.since_asked = 0;
            return Next::Empty;
        }
        state.since_asked += 1;
        state
            .backlog
            .pop_front()
            .map_or(Next::Empty, |leased| Next::Work(Box::new(leased)))
    }

    /// The queue has been asked for mail, and gave so much of what it was asked for.
    pub(crate) fn asked(&self, got: usize, wanted: usize) {
        let mut state = self.state.lock();
        state.since_asked = 0;
        state.overflowed &= got >= wanted;
    }

    /// The leases of everything in hand.
    pub(crate) fn tokens(&self) -> Vec<LeaseToken> {
        self.state
            .lock()
            .backlog
            .iter()
            .map(|leased| leased.token)
            .collect()
    }

    /// Everything in hand.
    pub(crate) fn drain(&self) -> Vec<Leased> {
        mem::take(&mut self.state.lock().backlog).into()
    }

    /// A worker leaves, unless work came in meanwhile: both under one lock, so that nothing is
    /// ever left in hand without anybody to do it.
    pub(crate) fn leave(&self, now: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.backlog.is_empty() {
            return false;
        }
        state.active = state.active.saturating_sub(1);
        state.idle_since = now;
        if state.active == 0 {
            state.health.inconclusive();
        }
        true
    }

    pub(crate) fn succeeded(&self, now: Duration) -> Recovery {
        let mut state = self.state.lock();
        state.known = true;
        state.crowds = 0;
        state.ordered.clear();
        state.health.lift(now);
        state.health.succeeded()
    }

    /// Remembers what an attempt found at the hosts, for mail that is given up before the next one.
    pub(crate) fn saw(&self, found: &Findings) {
        let seen = (found.tried.clone(), found.decider.clone());
        self.state.lock().seen = Some(Box::new(seen));
    }

    /// As last remembered.
    pub(crate) fn last_seen(&self) -> Option<(Vec<Tried>, Option<Decider>)> {
        self.state.lock().seen.as_deref().cloned()
    }

    /// As [`Health::failed`](crate::Health::failed).
    pub(crate) fn failed(&self, cause: Cause, now: Duration) -> bool {
        let mut state = self.state.lock();
        state.health.failed(cause, now)
    }

    /// How many messages a worker asks the queue for: its part of what is done in a moment. What is not known to
    /// work is tried with one.
    pub(crate) fn batch(&self) -> usize {
        let state = self.state.lock();
        if state.health.is_doubtful() || state.crowds > 0 {
            return 1;
        }
        let workers = usize::try_from(state.active).unwrap_or(usize::MAX).max(1);
        (state.pace.ahead(state.active) / workers).clamp(1, BATCH)
    }

    /// A piece of work took so long.
    pub(crate) fn note_pace(&self, took: Duration) {
        self.state.lock().pace.note(took);
    }

    /// Notes that DNS says again that mail cannot go there. True once the answer has been the same over four
    /// hours, seen by look-ups half an hour apart at least (decision AMB-04).
    #[must_use]
    pub(crate) fn note_undeliverable(&self, now: Timestamp) -> bool {
        let mut state = self.state.lock();
        let (first, last) = *state.undeliverable.get_or_insert((now, now));
        if now.since(last) >= BETWEEN_LOOKS {
            state.undeliverable = Some((first, now));
        }
        now.since(first) >= BELIEVED_AFTER && now.since(last) >= BETWEEN_LOOKS
    }

    /// DNS gives hosts, or its word that there are none has been taken.
    pub(crate) fn settled(&self) {
        self.state.lock().undeliverable = None;
    }

    pub(crate) fn resume(&self) {
        self.state.lock().health.resume();
    }

    /// An operator wants these tried, and no others. False if the destination is not left alone, or they are
    /// too many to be tried beside its suspension.
    pub(crate) fn order(&self, ids: &[QueueId], now: Duration) -> bool {
        let mut state = self.state.lock();
        if state.health.suspension(now).is_none() {
            state.ordered.clear();
            return false;
        }
        let new: Vec<QueueId> = ids
            .iter()
            .filter(|id| !state.ordered.contains(id))
            .copied()
            .collect();
        if state.ordered.len() + new.len() > ORDERED {
            return false;
        }
        state.ordered.extend(new);
        true
    }

    /// Whether this one was ordered.
    pub(crate) fn is_ordered(&self, id: QueueId) -> bool {
        self.state.lock().ordered.contains(&id)
    }

    /// What was ordered of this one is done.
    pub(crate) fn done(&self, id: QueueId) {
        self.state.lock().ordered.retain(|ordered| *ordered != id);
    }

    pub(crate) fn suspension(&self, now: Duration) -> Option<Suspension> {
        self.state.lock().health.suspension(now).cloned()
    }

    pub(crate) fn left_alone_for(&self) -> Option<(Reason, Side)> {
        let state = self.state.lock();
        let cause = state.health.left_alone_for()?;
        Some((cause.reason, cause.side))
    }

    pub(crate) fn backlog(&self) -> usize {
        self.state.lock().backlog.len()
    }

    pub(crate) fn active(&self) -> u32 {
        self.state.lock().active
    }

    /// So many sessions at most from now on.
    pub(crate) fn set_limit(&self, limit: u32) {
        self.state.lock().health.set_limit(limit);
    }

    /// Whether nothing is lost by forgetting this lane.
    pub(crate) fn is_idle(&self, now: Duration, after: Duration) -> bool {
        let state = self.state.lock();
        state.active == 0
            && state.backlog.is_empty()
            && state.health.suspension(now).is_none()
            && state.undeliverable.is_none()
            && now.saturating_sub(state.idle_since) >= after
    }

    /// The plan in force, if it can be had without waiting.
    pub(crate) fn plan_at_hand(&self, holds: impl Fn(&Plan) -> bool) -> Option<Arc<Plan>> {
        let slot = self.plan.try_lock().ok()?;
        slot.as_ref().filter(|p| holds(p)).cloned()
    }

    /// The plan that was made last, whether it still holds or not.
    pub(crate) fn last_plan(&self) -> Option<Arc<Plan>> {
        self.plan.try_lock().ok()?.clone()
    }

    /// The plan in force, or a new one: whoever comes first makes it, the others wait for it.
    pub(crate) async fn plan<F>(
        &self,
        holds: impl Fn(&Plan) -> bool,
        make: impl FnOnce() -> F,
    ) -> Arc<Plan>
    where
        F: Future<Output = Plan>,
    {
        let mut slot = self.plan.lock().await;
        if let Some(plan) = slot.as_ref().filter(|p| holds(p)) {
            return Arc::clone(plan);
        }
        let plan = Arc::new(make().await);
        *slot = Some(Arc::clone(&plan));
        plan
    }

    /// Whether this round of returns, or a later one, was done here.
    pub(crate) fn has_seen_returns(&self, returns: u64) -> bool {
        self.returns.load(Ordering::Acquire) >= returns
    }

    /// Nothing that was to be returned up to this round is left here.
    pub(crate) fn saw_returns(&self, returns: u64) {
        self.returns.fetch_max(returns, Ordering::AcqRel);
    }

    /// Whether it is time to look for what is to be put off, which is done then.
    pub(crate) fn looks(&self, now: Duration, every: Duration) -> bool {
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).max(1);
        let looked = self.looked.load(Ordering::Relaxed);
        let is_time = looked == 0 || u128::from(millis.saturating_sub(looked)) >= every.as_millis();
        if is_time {
            self.looked.store(millis, Ordering::Relaxed);
        }
        is_time
    }

    /// Takes the one right to put off this destination's due mail, until it is dropped.
    pub(crate) fn put_off(&self) -> Option<PutOff<'_>> {
        let taken = self.putting_off.swap(true, Ordering::AcqRel);
        (!taken).then_some(PutOff(&self.putting_off))
    }
}

/// Messages leased at once by a worker that has nothing in hand.
const BATCH: usize = 20;
/// How long nobody asks a host for a place that had none.
const CROWDED: Duration = Duration::from_secs(2);
/// So much of the fresh mail in hand, or handed over, is done before the queue is asked again.
const BETWEEN_ASKING: usize = 20;
/// Messages that are tried one by one while their destination is left alone.
const ORDERED: usize = 20;
const BETWEEN_LOOKS: Duration = Duration::from_secs(30 * 60);
const BELIEVED_AFTER: Duration = Duration::from_secs(4 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use outbound_queue::conformance::{LEASE_TIME, envelope, placement};
    use outbound_queue::{Incoming, MemoryStore, Now, QueueStore};

    const NOW: Now = Now {
        wall: Timestamp::from_secs(1000),
        monotonic: Duration::from_secs(1000),
    };

    async fn fresh(store: &MemoryStore) -> Leased {
        let mut envelope = envelope("", &["b@d.test"]);
        envelope.arrival.at = NOW.wall;
        let incoming = store.begin(None, NOW).unwrap();
        let committed = incoming.commit(envelope, true, NOW).await.unwrap();
        committed.leases.into_iter().next().unwrap()
    }

    #[tokio::test]
    async fn e5_05_who_is_handed_fresh_mail_asks_the_queue_after_every_twentieth_piece() {
        let store = MemoryStore::new(placement(), LEASE_TIME);
        let key = outbound_queue::Destination::new("d.test");
        let destination = Destination::parse("d.test").unwrap();
        let lane = Lane::new(destination, key, 5, NOW.monotonic);
        let refused = lane.hand(fresh(&store).await, NOW.monotonic);
        assert!(refused.is_err() && lane.is_fed(), "nobody took it");
        for round in 0..3 {
            for piece in 0..BETWEEN_ASKING {
                assert!(lane.is_fed(), "{round}: {piece}");
                let place = lane.linger().unwrap();
                lane.hand(fresh(&store).await, NOW.monotonic).unwrap();
                assert!(place.wait(std::future::ready(())).await.is_some());
            }
            assert!(!lane.is_fed(), "{round}: the queue has its turn");
            lane.asked(0, 20);
        }
        // More came than anybody could take: the queue has some of it.
        while lane.push_fresh(fresh(&store).await).is_ok() {}
        assert!(!lane.is_fed());
    }

    #[tokio::test]
    async fn e5_05_what_is_in_hand_is_no_more_than_is_done_in_a_moment() {
        let store = MemoryStore::new(placement(), LEASE_TIME);
        let key = outbound_queue::Destination::new("d.test");
        let destination = Destination::parse("d.test").unwrap();
        let lane = Lane::new(destination, key, 20, NOW.monotonic);
        let now = NOW.monotonic;
        assert_eq!(lane.admit(now, false), Admission::Go);
        assert_eq!(lane.batch(), BATCH);
        while lane.active() < 20 {
            let _ = lane.succeeded(now);
            let _ = lane.admit(now, false);
        }
        let flood = async || {
            while lane.push_fresh(fresh(&store).await).is_ok() {}
            lane.backlog()
        };
        assert_eq!(flood().await, 60, "nothing is known yet");
        // Twenty sessions get 25 messages done in a second.
        lane.note_pace(Duration::from_millis(800));
        assert!(matches!(lane.next(now, true), Next::Work(_)));
        drop(lane.drain());
        assert_eq!((flood().await, lane.batch()), (25, 1));
        // Of all that go on one asks the queue.
        let asks = |_: &usize| matches!(lane.next(now, true), Next::Empty);
        assert_eq!((0..24).filter(asks).count(), 1);
        (0..40).for_each(|_| lane.note_pace(Duration::from_millis(10)));
        assert_eq!((flood().await, lane.batch()), (500, BATCH));
    }

    #[tokio::test]
    async fn e5_04_whoever_leaves_a_crowded_host_leaves_nothing_to_those_that_may_hang_there() {
        let store = MemoryStore::new(placement(), LEASE_TIME);
        let key = outbound_queue::Destination::new("d.test");
        let destination = Destination::parse("d.test").unwrap();
        let lane = Lane::new(destination, key, 5, NOW.monotonic);
        let now = NOW.monotonic;
        let second = Duration::from_secs(1);
        for _ in 0..3 {
            assert_eq!(lane.admit(now, false), Admission::Go);
        }
        // Most connections are taken, and nobody has heard of its hosts.
        assert_eq!(lane.admit(now, true), Admission::Wait);
        lane.push_fresh(fresh(&store).await).unwrap();
        // One session was refused; two may go on.
        assert!(lane.note_turned_away(now) && lane.is_narrow(now));
        let Next::Left(back) = lane.next(now, false) else {
            panic!("the third is one too many");
        };
        assert_eq!((back.len(), lane.active(), lane.backlog()), (1, 2, 0));
        lane.push_fresh(fresh(&store).await).unwrap();
        assert!(matches!(lane.next(now, false), Next::Work(_)));
        assert_eq!(lane.admit(now, false), Admission::Wait);
        // After a while one more may try.
        assert_eq!(lane.admit(now + 60 * second, false), Admission::Go);
        // No place at all: each time for longer, until somebody succeeds.
        let now = now + 60 * second;
        assert_eq!(lane.batch(), BATCH);
        lane.crowded(now);
        lane.crowded(now);
        assert_eq!(lane.batch(), 1);
        assert_eq!(lane.admit(now + second, false), Admission::Wait);
        assert!(matches!(lane.next(now + second, false), Next::Left(_)));
        assert!(matches!(lane.next(now + second, true), Next::Empty));
        lane.crowded(now + 2 * second);
        assert!(lane.is_narrow(now + 5 * second) && !lane.is_narrow(now + 6 * second));
        let _ = lane.succeeded(now + 6 * second);
        assert_eq!(lane.batch(), BATCH);
    }
}
