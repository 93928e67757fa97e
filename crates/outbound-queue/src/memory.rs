//! A store without a disk: for the tests of the crates above. It keeps every promise of the port
//! but durability.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use attempt::Side;
use bytes::Bytes;
use leases::Leases;
use mail_types::{Envelope, QueueId, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::body::Budget;
use crate::core::Core;
use crate::pieces::Pieces;
use crate::state::Stored;
use crate::{
    Body, Committed, Cursor, Destination, DueDestination, Durable, Edit, EditError, Edited, Filter,
    Finish, Finished, Health, HeldBody, Incoming, LeaseToken, Leased, MessageView, Now, Page,
    Placement, QueueError, QueueStore, Stats, Summary, SuspendedSides, Target,
};

/// The queue in memory.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    budget: Arc<Budget>,
}

/// A message that is being received into a [`MemoryStore`].
pub struct MemoryIncoming {
    store: MemoryStore,
    id: QueueId,
    pieces: Pieces,
}

struct Inner {
    core: Core,
    bodies: HashMap<QueueId, HeldBody>,
}

impl MemoryStore {
    /// An empty queue whose leases last `lease_time`.
    #[must_use]
    pub fn new(placement: Arc<dyn Placement>, lease_time: Duration) -> Self {
        let leases = Leases::new(0, lease_time);
        Self {
            inner: Arc::new(Mutex::new(Inner {
                core: Core::new(placement, leases, 0),
                bodies: HashMap::new(),
            })),
            budget: Budget::new(u64::MAX),
        }
    }

    fn hold(&self, chunks: Vec<Bytes>) -> Result<HeldBody, QueueError> {
        HeldBody::new(chunks, &self.budget)
            .ok_or(QueueError::Misuse("more content than memory can count"))
    }
}

impl Inner {
    fn add(&mut self, id: QueueId, envelope: Arc<Envelope>, body: HeldBody, now: Timestamp) {
        let placement = Arc::clone(&self.core.placement);
        let stored = Stored::new(envelope, &*placement, now);
        self.core.add(id, stored, true).body = Some(body.clone());
        self.bodies.insert(id, body);
    }

    fn after(&mut self, step: &crate::core::Step) {
        if step.gone.is_some() {
            self.bodies.remove(&step.id);
        }
    }

    fn matching(&self, filter: &Filter, now: Now) -> Vec<QueueId> {
        let live = self
            .core
            .hot
            .iter()
            .filter(|(id, _)| self.core.is_live(**id));
        let mut ids: Vec<QueueId> = live
            .filter(|(id, hot)| self.core.matches(filter, **id, &hot.message, now))
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids
    }
}

impl Incoming for MemoryIncoming {
    fn id(&self) -> QueueId {
        self.id
    }

    fn size(&self) -> u64 {
        self.pieces.size()
    }

    fn reserve(&mut self, octets: usize) {
        self.pieces.reserve(octets);
    }

    fn fill(&mut self, octets: Bytes) {
        self.pieces.fill(octets);
    }

    async fn write(&mut self, data: &[u8]) -> Result<(), QueueError> {
        self.pieces.write(data);
        Ok(())
    }

    async fn commit(
        mut self,
        envelope: impl Into<Arc<Envelope>> + Send,
        claim: bool,
        now: Now,
    ) -> Result<Committed, QueueError> {
        let body = self.store.hold(self.pieces.finish()?)?;
        let mut inner = self.store.inner.lock();
        inner.add(self.id, envelope.into(), body, now.wall);
        let leases = inner.core.publish(self.id, claim, Some(now));
        Ok(Committed {
            id: self.id,
            leases,
        })
    }
}

impl QueueStore for MemoryStore {
    type Incoming = MemoryIncoming;

    fn begin(&self, _size_hint: Option<u64>, now: Now) -> Result<MemoryIncoming, QueueError> {
        Ok(MemoryIncoming {
            store: self.clone(),
            id: self.allocate_id(now),
            pieces: Pieces::default(),
        })
    }

    fn allocate_id(&self, now: Now) -> QueueId {
        self.inner.lock().core.allocate(now.wall)
    }

    async fn lease(
        &self,
        destination: &Destination,
        max: usize,
        now: Now,
    ) -> Result<Vec<Leased>, QueueError> {
        let core = &mut self.inner.lock().core;
        let keys = core.due(destination, now, max);
        let taken = keys.into_iter().map(|key| core.take(destination, key, now));
        Ok(taken.flatten().collect())
    }

    fn due_destinations(
        &self,
        now: Now,
        after: Option<&Destination>,
        max: usize,
    ) -> Vec<DueDestination> {
        let core = &mut self.inner.lock().core;
        core.end_expired(now);
        core.schedule.due_destinations(now.wall, after, max)
    }

    fn suspend(&self, destination: &Destination, until: Option<Timestamp>, now: Now) {
        self.inner.lock().core.suspend(destination, until, now);
    }

    fn next_due(&self, now: Now) -> Option<Timestamp> {
        self.inner.lock().core.next_due(now)
    }

    fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.inner.lock().core.wake)
    }

    fn renew(&self, lease: &LeaseToken, now: Now) -> Result<(), QueueError> {
        let leases = &mut self.inner.lock().core.leases;
        Ok(leases.renew(lease, now.monotonic)?)
    }

    fn release(&self, lease: &LeaseToken) -> Result<(), QueueError> {
        self.inner.lock().core.release(lease)
    }

    fn finish(&self, finish: Finish, now: Now) -> Result<Finished, QueueError> {
        let mut held = Vec::with_capacity(finish.messages.len());
        for message in &finish.messages {
            held.push(self.hold(message.body.clone())?);
        }
        let mut inner = self.inner.lock();
        let step = inner.core.finish(&finish, now)?;
        inner.after(&step);
        for (message, body) in finish.messages.into_iter().zip(held) {
            inner.add(message.id, message.envelope.into(), body, now.wall);
            inner.core.publish(message.id, false, None);
        }
        Ok(Finished {
            removed: step.gone.is_some(),
            durable: Durable::already(),
        })
    }

    async fn open_body(&self, id: QueueId) -> Result<Body, QueueError> {
        let inner = self.inner.lock();
        let body = inner.bodies.get(&id).ok_or(QueueError::NotFound(id))?;
        Ok(Body::held(id, body.clone()))
    }

    async fn list(
        &self,
        filter: &Filter,
        cursor: Option<&Cursor>,
        limit: usize,
        now: Now,
    ) -> Result<Page, QueueError> {
        let inner = self.inner.lock();
        let core = &inner.core;
        let mut page = Page::default();
        let mut from = Cursor::key(cursor);
        loop {
            let keys = core.listing(filter, from, PAGE);
            for key in &keys {
                if page.messages.len() == limit {
                    page.next = Some(Cursor::at(*key));
                    return Ok(page);
                }
                let Some(hot) = core.hot.get(&key.1) else {
                    continue;
                };
                if hot.message.first_due(filter) == key.0
                    && core.matches(filter, key.1, &hot.message, now)
                {
                    page.messages.push(core.view(key.1, &hot.message, now));
                }
            }
            match keys.last() {
                Some(last) if keys.len() >= PAGE => from = Cursor::after(*last),
                _ => return Ok(page),
            }
        }
    }

    async fn show(&self, id: QueueId, now: Now) -> Result<MessageView, QueueError> {
        let inner = self.inner.lock();
        let hot = inner.core.hot.get(&id).ok_or(QueueError::NotFound(id))?;
        Ok(inner.core.view(id, &hot.message, now))
    }

    async fn edit(
        &self,
        target: &Target,
        edit: Edit,
        dry_run: bool,
        now: Now,
    ) -> Result<Edited, EditError> {
        let mut inner = self.inner.lock();
        let ids = match target {
            Target::Ids(ids) => ids.clone(),
            Target::Filter(filter) => inner.matching(filter, now),
        };
        let mut edited = Edited::default();
        for id in ids {
            let Some(hot) = inner.core.hot.get(&id) else {
                edited.unknown.push(id);
                continue;
            };
            edited.matched += 1;
            let message = Arc::clone(&hot.message);
            if dry_run {
                let change = inner.core.edit_change(&hot.message, edit, now);
                edited.changed += u64::from(change.is_some());
                continue;
            }
            let under_way = inner.core.leases.is_under_way(id);
            if let Some(step) = inner.core.edit(id, edit, now) {
                edited.note(edit, id, &message, under_way);
                inner.after(&step);
            }
        }
        Ok(edited)
    }

    fn stats(&self, now: Now) -> Stats {
        let mut stats = self.inner.lock().core.stats(now);
        stats.memory_bytes = self.budget.used();
        stats
    }

    fn summary(&self, now: Now, from: usize, limit: usize, suspended: &SuspendedSides) -> Summary {
        let schedule = &mut self.inner.lock().core.schedule;
        schedule.summary(now.wall, from, limit, suspended)
    }

    fn by_side(&self, suspended: &SuspendedSides) -> Vec<(Side, u64)> {
        self.inner.lock().core.schedule.by_side(suspended)
    }

    fn health(&self) -> Health {
        Health::default()
    }
}

/// Entries looked at together.
const PAGE: usize = 256;
