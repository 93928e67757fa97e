//! The port's methods on the embedded store.

use std::sync::Arc;
use std::thread::JoinHandle;

use attempt::Side;
use journal::Urgency;
use mail_types::{QueueId, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::committer;
use super::ingest::EmbeddedIncoming;
use super::operator;
use super::prefetch::Wanted;
use super::records::message_record;
use super::shared::Shared;
use crate::disk::encode_message;
use crate::state::Stored;
use crate::{
    Body, Cursor, Destination, DueDestination, Durable, Edit, EditError, Edited, Filter, Finish,
    Finished, Health, LeaseToken, Leased, MessageView, Now, Page, QueueError, QueueStore, Stats,
    Summary, SuspendedSides, Target,
};

/// The queue on disk. Cheap to clone; the last clone that is dropped ends its threads, and whatever was
/// acknowledged is on disk at any time. [`EmbeddedStore::close`] makes the next start quick.
#[derive(Clone)]
pub struct EmbeddedStore {
    pub(super) shared: Arc<Shared>,
    threads: Arc<Threads>,
}

struct Threads {
    shared: Arc<Shared>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl EmbeddedStore {
    pub(super) fn new(shared: Arc<Shared>, running: Vec<JoinHandle<()>>) -> Self {
        let threads = Arc::new(Threads {
            shared: Arc::clone(&shared),
            running: Mutex::new(running),
        });
        Self { shared, threads }
    }

    /// Writes everything to the index and ends the store's threads. Blocks. Use the store no more.
    ///
    /// # Errors
    /// [`QueueError::Failed`] if the journal or the index fails, or outcomes could not be written, as on a full
    /// disk; no mail is lost then.
    pub fn close(&self) -> Result<(), QueueError> {
        self.threads.stop();
        committer::step(&self.shared)?;
        let synced = self.shared.journal.sync();
        synced.map_err(|error| QueueError::Failed(error.to_string()))?;
        let state = self.shared.lock();
        let lack = state.lack;
        match state.unrecorded_messages() {
            0 => Ok(()),
            1 => Err(QueueError::Failed(format!(
                "{lack}: the outcomes of one message could not be written, and its deliveries come twice"
            ))),
            n => Err(QueueError::Failed(format!(
                "{lack}: the outcomes of {n} messages could not be written, and these deliveries come twice"
            ))),
        }
    }

    /// Why nothing is accepted or leased until a restart, if so. Costs two locks: ask often.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let failed = self.shared.journal.health().err();
        let failed = failed.map(|failure| failure.to_string());
        failed.or_else(|| self.shared.lock().index_failed.clone())
    }

    /// The journal's counters.
    #[must_use]
    pub fn journal_stats(&self) -> journal::Stats {
        self.shared.journal.stats()
    }
}

impl Threads {
    fn stop(&self) {
        *self.shared.control.stop.lock() = true;
        self.shared.control.changed.notify_all();
        for thread in self.running.lock().drain(..) {
            // A thread that panicked has failed the journal already.
            let _ = thread.join();
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}

impl QueueStore for EmbeddedStore {
    type Incoming = EmbeddedIncoming;

    fn begin(&self, size_hint: Option<u64>, now: Now) -> Result<EmbeddedIncoming, QueueError> {
        self.shared.check_room(size_hint.unwrap_or(0))?;
        let mut state = self.shared.lock();
        self.shared.check(&state)?;
        state.check_recorded()?;
        let id = state.core.allocate(now.wall);
        Ok(EmbeddedIncoming::new(
            Arc::clone(&self.shared),
            id,
            size_hint,
        ))
    }

    fn allocate_id(&self, now: Now) -> QueueId {
        self.shared.lock().core.allocate(now.wall)
    }

    async fn lease(
        &self,
        destination: &Destination,
        max: usize,
        now: Now,
    ) -> Result<Vec<Leased>, QueueError> {
        let (keys, wanted, generation, bare) = {
            let mut state = self.shared.lock();
            self.check_leasing(&state)?;
            let keys = state.core.due(destination, now, max);
            let wanted = Wanted::of(&state, &keys);
            let suspended = state.core.schedule.suspended(destination, now.wall);
            (keys, wanted, state.generation, suspended.is_some())
        };
        let (mut rows, mut bodies) = (Vec::new(), Vec::new());
        if !wanted.is_empty() {
            let shared = Arc::clone(&self.shared);
            (rows, bodies) = operator::blocking(move || wanted.read(&shared, bare)).await?;
        }
        let mut state = self.shared.lock();
        let fresh = state.generation == generation;
        for (id, row) in rows.drain(..) {
            // Only if nothing left memory meanwhile, the row is known to be the latest.
            if let (true, Ok((message, place))) = (fresh && state.core.is_live(id), row) {
                state.bring(id, message, place);
            }
        }
        for (id, body) in bodies.drain(..) {
            if let Some(hot) = state.core.hot.get_mut(&id) {
                hot.body.get_or_insert(body);
            }
        }
        let mut leased = Vec::with_capacity(keys.len());
        for key in keys {
            if self.shared.ensure_hot(&mut state, key.1)? {
                leased.extend(state.core.take(destination, key, now));
            }
        }
        Ok(leased)
    }

    fn due_destinations(
        &self,
        now: Now,
        after: Option<&Destination>,
        max: usize,
    ) -> Vec<DueDestination> {
        let core = &mut self.shared.lock().core;
        core.end_expired(now);
        core.schedule.due_destinations(now.wall, after, max)
    }

    fn suspend(&self, destination: &Destination, until: Option<Timestamp>, now: Now) {
        self.shared.lock().core.suspend(destination, until, now);
    }

    fn next_due(&self, now: Now) -> Option<Timestamp> {
        self.shared.lock().core.next_due(now)
    }

    fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.wake)
    }

    fn renew(&self, lease: &LeaseToken, now: Now) -> Result<(), QueueError> {
        let leases = &mut self.shared.lock().core.leases;
        Ok(leases.renew(lease, now.monotonic)?)
    }

    fn release(&self, lease: &LeaseToken) -> Result<(), QueueError> {
        self.shared.lock().core.release(lease)
    }

    fn finish(&self, finish: Finish, now: Now) -> Result<Finished, QueueError> {
        let placement = &*self.shared.options.placement;
        let prepared: Vec<_> = finish
            .messages
            .iter()
            .map(|message| {
                let envelope = Arc::new(message.envelope.clone());
                let stored = Stored::new(envelope, placement, now.wall);
                let meta = encode_message(&stored, None, &[]);
                let (record, bytes) = message_record(message.id, meta, message.body.clone());
                (message.id, stored, record, bytes)
            })
            .collect();
        let mut state = self.shared.lock();
        // What is on its way still has its outcome where the index failed: the journal is the truth.
        let health = self.shared.journal.health();
        health.map_err(|failure| QueueError::Failed(failure.to_string()))?;
        let lease = state.core.leases.of_outcome(&finish.lease)?;
        if lease.is_overdue {
            self.shared.ensure_hot(&mut state, finish.lease.id())?;
        }
        let step = state.core.finish(&finish, now)?;
        let urgency = if prepared.is_empty() {
            Urgency::Rides
        } else {
            Urgency::Now
        };
        let mut messages = Vec::with_capacity(prepared.len());
        for (id, stored, record, bytes) in prepared {
            state.core.add(id, stored, false).in_flight = 1;
            messages.push((id, bytes, record));
        }
        let (waiter, durable) = oneshot::channel();
        self.shared
            .submit(&mut state, &step, messages, Some(waiter), urgency);
        Ok(Finished {
            removed: step.gone.is_some(),
            durable: Durable::when(durable),
        })
    }

    async fn open_body(&self, id: QueueId) -> Result<Body, QueueError> {
        operator::open_body(Arc::clone(&self.shared), id).await
    }

    async fn list(
        &self,
        filter: &Filter,
        cursor: Option<&Cursor>,
        limit: usize,
        now: Now,
    ) -> Result<Page, QueueError> {
        let (shared, filter) = (Arc::clone(&self.shared), filter.clone());
        let from = Cursor::key(cursor);
        operator::blocking(move || operator::list(&shared, &filter, from, limit, now)).await?
    }

    async fn show(&self, id: QueueId, now: Now) -> Result<MessageView, QueueError> {
        let shared = Arc::clone(&self.shared);
        operator::blocking(move || operator::show(&shared, id, now)).await?
    }

    async fn edit(
        &self,
        target: &Target,
        edit: Edit,
        dry_run: bool,
        now: Now,
    ) -> Result<Edited, EditError> {
        operator::edit(&self.shared, target, edit, dry_run, now).await
    }

    fn stats(&self, now: Now) -> Stats {
        let segments: u64 = self.shared.journal.segments().iter().map(|s| s.bytes).sum();
        let mut state = self.shared.lock();
        Stats {
            memory_bytes: self.shared.budget.used(),
            disk_bytes: segments + state.usage.large,
            ..state.core.stats(now)
        }
    }

    fn summary(&self, now: Now, from: usize, limit: usize, suspended: &SuspendedSides) -> Summary {
        let schedule = &mut self.shared.lock().core.schedule;
        schedule.summary(now.wall, from, limit, suspended)
    }

    fn by_side(&self, suspended: &SuspendedSides) -> Vec<(Side, u64)> {
        self.shared.lock().core.schedule.by_side(suspended)
    }

    fn health(&self) -> Health {
        let failure = self.shared.journal.health().err();
        let full = self.shared.shortage(0);
        let state = self.shared.lock();
        Health {
            failed: failure.map(|failure| failure.to_string()),
            full: full.or_else(|| state.behind()),
            recovering: state.recovering,
            index_rebuilt: state.index_rebuilt.clone(),
            index_failed: state.index_failed.clone(),
            damaged_records: state.damaged,
        }
    }
}

impl EmbeddedStore {
    fn check_leasing(&self, state: &super::shared::State) -> Result<(), QueueError> {
        self.shared.check(state)?;
        // What was delivered and could not be recorded would be delivered again (row H6-02).
        state.check_recorded()
    }
}
