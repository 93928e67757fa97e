//! The driver of background refresh, and what else has to be done from time to time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mail_types::{Domain, Timestamp};
use mta_sts::{Mode, PolicyId};
use policy_fetch::{FetchFailure, Gate};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::book::Entry;
use crate::cache::{Inner, PolicyCache};
use crate::discovery::StoredPolicy;
use crate::event::EventKind;
use crate::lookup::Trigger;
use crate::row::Row;

impl PolicyCache {
    /// Refreshes in the background, tells of expired policies, compacts the journal. Runs until the
    /// future is dropped; what it has begun then goes on.
    pub async fn run(&self) {
        // A policy host that is slow to answer keeps nobody from being told what has ended.
        tokio::join!(self.keep_fresh(), self.keep_house());
    }

    async fn keep_fresh(&self) {
        // A host that is slow to answer holds up no others: what is due next begins beside it.
        let mut running = JoinSet::new();
        loop {
            self.begin_due(self.inner.now(), &mut running);
            let pause = match running.len() < BATCH {
                true => self.until_next().min(HOUSEKEEPING_EVERY),
                false => HOUSEKEEPING_EVERY,
            };
            tokio::select! {
                // A new policy may be due earlier than all others.
                () = self.inner.wake.notified() => {}
                Some(_) = running.join_next() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn keep_house(&self) {
        loop {
            self.housekeeping().await;
            // However many policies end, one walk over all of them each second is enough.
            tokio::time::sleep(HOUSEKEEPING_LEAST).await;
            let ends = &self.inner.ends;
            let end = async {
                while ends.until(self.inner.now()) > Duration::ZERO {
                    let pause = ends.until(self.inner.now()).min(HOUSEKEEPING_EVERY);
                    let _ = tokio::time::timeout(pause, ends.sooner.notified()).await;
                }
            };
            tokio::select! {
                () = end => {}
                () = ends.moved.notified() => {}
                () = tokio::time::sleep(HOUSEKEEPING_EVERY) => {}
            }
        }
    }

    /// Refreshes all policies that are due now; returns how many. What becomes due meanwhile comes with
    /// the next call: where the interval is short there is always something.
    pub async fn refresh_due(&self) -> usize {
        let (now, mut running, mut count) = (self.inner.now(), JoinSet::new(), 0);
        loop {
            count += self.begin_due(now, &mut running);
            if running.join_next().await.is_none() {
                return count;
            }
        }
    }

    /// Begins the refreshes that are due, as long as there are not too many; returns how many.
    fn begin_due(&self, now: Timestamp, running: &mut JoinSet<()>) -> usize {
        let room = BATCH.saturating_sub(running.len());
        let due = self.inner.book.write().schedule.take_due(now, room);
        let count = due.len();
        for domain in due {
            let cache = self.clone();
            running.spawn(async move { cache.refresh_one(&domain).await });
        }
        count
    }

    /// Time to the next due refresh.
    pub(crate) fn until_next(&self) -> Duration {
        let next = self.inner.book.read().schedule.next();
        next.map_or(HOUSEKEEPING_EVERY, |at| at.since(self.inner.now()))
            .max(Duration::from_millis(100))
    }

    async fn refresh_one(&self, domain: &Domain) {
        let taken_at = self.inner.book.read().schedule.get(domain).map(|r| r.next);
        let expired = {
            let now = self.inner.now();
            let policy = self.inner.stored(domain);
            policy.is_none_or(|p| p.is_expired(now))
        };
        if expired {
            self.inner.book.write().schedule.remove(domain);
            return;
        }
        let look = self.fly(domain, Trigger::Refresh).await;
        tracing::trace!(%domain, confirmed = look.confirmed, "refreshed");
        // The look may have joined one that somebody else began and that was held back or failed.
        let mut book = self.inner.book.write();
        if book.schedule.get(domain).map(|r| r.next) == taken_at {
            let now = self.inner.now();
            book.schedule.later(domain, now);
        }
    }

    /// Why the store on disk takes nothing more until a restart, if so: what is fetched from then on, nobody would
    /// know of after one (row H6-03). Costs a lock: ask often.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.inner.store.failure()
    }

    /// How many policies in force are not on disk, since it had no room for them.
    #[must_use]
    pub fn unsaved(&self) -> usize {
        let now = self.inner.now();
        let book = self.inner.book.read();
        let counts = |e: &&Entry| {
            let policy = e.policy.as_ref();
            e.unsaved && policy.is_some_and(|p| !p.is_expired(now))
        };
        book.entries.values().filter(counts).count()
    }

    /// Tells of policies that have run out, drops what nobody needs, saves what the disk refused,
    /// compacts.
    pub async fn housekeeping(&self) {
        let inner = &self.inner;
        let (now, mono) = inner.clocks();
        inner.follow_the_clock(now);
        let mut expired = Vec::new();
        let mut unsaved = Vec::new();
        let mut soonest = Timestamp::from_millis(u64::MAX);
        {
            let mut book = inner.book.write();
            for entry in book.entries.values_mut() {
                let Some(policy) = &entry.policy else {
                    continue;
                };
                if policy.is_expired(now) {
                    if !entry.expiry_told {
                        entry.expiry_told = true;
                        expired.push((Arc::clone(policy), entry.expired_before));
                    }
                    continue;
                }
                soonest = soonest.min(policy.expires_at);
                if entry.unsaved {
                    unsaved.push((entry.seq, Arc::clone(policy)));
                }
            }
            for (policy, _) in &expired {
                book.schedule.remove(&policy.domain);
            }
            book.purge(now, mono, inner.config.fetch_timeout + BESIDE_FETCH);
            inner.ends.set(soonest);
        }
        for (policy, before) in expired {
            // What is meant to end by itself (mode none, some minutes' life) is no loss; what ran out before this
            // start was counted then, or nobody was there to refresh it.
            if !before && policy.mode() != Mode::None && policy.life().is_lasting() {
                inner.counters.expired.fetch_add(1, Ordering::Relaxed);
            }
            inner.tell_of(&policy, EventKind::Expired);
        }
        for (seq, policy) in unsaved {
            let row = Row::Policy(Arc::clone(&policy));
            let _commit = inner.commits.read().await;
            if inner.store.append(&row, seq).await.is_ok()
                && let Some(entry) = inner.book.write().entries.get_mut(&policy.domain)
                && entry.seq == seq
            {
                entry.unsaved = false;
            }
        }
        if let Some(error) = inner.store.index_failed()
            && !inner.index_failure_told.swap(true, Ordering::Relaxed)
        {
            inner.tell_all(now, EventKind::IndexFailed { error });
        }
        if inner.store.wants_compaction() {
            self.compact().await;
        }
    }

    /// Rewrites what counts and gives back the rest. While the mark is set and the book is read no
    /// row is between disk and book, so none is lost.
    pub(crate) async fn compact(&self) {
        let inner = Arc::clone(&self.inner);
        let barrier = inner.commits.write().await;
        let store = Arc::clone(&inner.store);
        let mark = match tokio::task::spawn_blocking(move || store.rotate()).await {
            Ok(Ok(mark)) => mark,
            Ok(Err(e)) => {
                tracing::error!(error = %e, "the policy journal was not compacted");
                return;
            }
            Err(e) => {
                tracing::error!(error = %e, "the compaction ended unexpectedly");
                return;
            }
        };
        let (rows, up_to) = inner.rows();
        drop(barrier);
        let store = Arc::clone(&inner.store);
        match tokio::task::spawn_blocking(move || store.rewrite(mark, rows, up_to)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::error!(error = %e, "the policy journal was not compacted"),
            Err(e) => tracing::error!(error = %e, "the compaction ended unexpectedly"),
        }
    }
}

/// When the first of the policies ends, no later than it does: it may have been fetched again since.
#[derive(Debug)]
pub(crate) struct Ends {
    /// In milliseconds since 1970.
    soonest: AtomicU64,
    /// A policy came that ends before all others.
    sooner: Notify,
    /// Another time is believed now, by which all ends have to be looked at again.
    moved: Notify,
}

impl Ends {
    /// A policy has come. To be called under the book's lock, as [`Ends::set`].
    pub(crate) fn add(&self, end: Timestamp) {
        let end = end.as_millis();
        if self.soonest.fetch_min(end, Ordering::Relaxed) > end {
            self.sooner.notify_one();
        }
    }

    /// The clock is doubted no longer. Whoever is just walking over all policies does so again.
    pub(crate) fn moved(&self) {
        self.moved.notify_one();
    }

    fn set(&self, end: Timestamp) {
        self.soonest.store(end.as_millis(), Ordering::Relaxed);
    }

    fn until(&self, now: Timestamp) -> Duration {
        Timestamp::from_millis(self.soonest.load(Ordering::Relaxed)).since(now)
    }
}

impl Default for Ends {
    fn default() -> Self {
        Self {
            soonest: AtomicU64::new(u64::MAX),
            sooner: Notify::new(),
            moved: Notify::new(),
        }
    }
}

impl Inner {
    /// Notes a failed fetch; returns how long this id has to wait. Not beyond the end of a policy that is in force: what
    /// failed while it was would hold up the fetch that mail needs then, and mail would go unprotected without the
    /// host being asked.
    pub(crate) fn back_off(
        &self,
        domain: &Domain,
        id: Option<&PolicyId>,
        failure: &FetchFailure,
        trigger: Trigger,
    ) -> Duration {
        let (now, mono) = self.clocks();
        let mut book = self.book.write();
        let entry = book.entries.entry(domain.clone()).or_default();
        let policy = entry.policy.as_ref();
        if trigger == Trigger::Refresh && policy.is_none() {
            return Gate::wait_after(failure); // Forgotten meanwhile: nobody waits for it.
        }
        let left = policy.map(|p| p.expires_at.since(now));
        let at_most = left.filter(|left| !left.is_zero());
        entry.gate.failed(id, failure, at_most, mono)
    }

    /// The clock was set back and is believed: a policy that was fetched in what is now the future is
    /// not to live longer for that (row H8-02).
    fn follow_the_clock(&self, now: Timestamp) {
        let behind = {
            let mut followed = self.followed.lock();
            let set_back = self.clock_set_back();
            let behind = set_back.saturating_sub(*followed);
            *followed = set_back;
            behind
        };
        if behind.is_zero() {
            return;
        }
        let mut moved = Vec::new();
        let mut book = self.book.write();
        for (domain, entry) in &mut book.entries {
            let Some(policy) = entry.policy.as_ref().filter(|p| p.fetched_at > now) else {
                continue;
            };
            let policy = Arc::new(StoredPolicy {
                fetched_at: policy.fetched_at - behind,
                expires_at: policy.expires_at - behind,
                ..StoredPolicy::clone(policy)
            });
            moved.push((domain.clone(), policy.life()));
            entry.policy = Some(policy);
            entry.memo = None;
            entry.seq = self.next_seq();
            entry.unsaved = true;
        }
        for (domain, life) in moved {
            book.schedule.remove(&domain);
            let interval = self.config.refresh_interval;
            book.schedule
                .loaded(&domain, life, interval, now, self.jitter());
        }
        drop(book);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Everything worth keeping, with the numbers of the rows that it came from, and the highest
    /// number so far.
    fn rows(&self) -> (Vec<(u64, Row)>, u64) {
        let book = self.book.read();
        // Rules and contacts are rewritten under the number of now: the caller sees to it that no
        // row with a lower number is still on its way.
        let seq = self.next_seq();
        let mut rows = Vec::with_capacity(book.entries.len());
        for (domain, entry) in &book.entries {
            if let Some(policy) = &entry.policy {
                rows.push((entry.seq, Row::Policy(Arc::clone(policy))));
            }
            if let Some(local) = &entry.local {
                rows.push((seq, Row::Local(domain.clone(), (**local).clone())));
            }
            if let Some(contact) = entry.contact {
                rows.push((seq, Row::Contact(domain.clone(), Some(contact))));
            }
        }
        (rows, seq)
    }
}

const BATCH: usize = 256;
const HOUSEKEEPING_EVERY: Duration = Duration::from_mins(1);
const HOUSEKEEPING_LEAST: Duration = Duration::from_secs(1);
/// What a look may take beside the fetch: DNS, and its turn at the disk.
const BESIDE_FETCH: Duration = Duration::from_mins(1);
