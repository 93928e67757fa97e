//! The port: what every store of outgoing mail promises.
//!
//! No transactions, iterators or clocks of an engine show through, so that a second store (a
//! database shared by several relays) is a crate of its own and not a rewrite.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use attempt::Side;
use bytes::Bytes;
use mail_types::{Envelope, Host, QueueId, Recipient, Timestamp};
use tokio::sync::Notify;

use crate::{
    Body, Cursor, DueDestination, Edit, EditError, Edited, Filter, Finish, Finished, Health,
    LeaseToken, Leased, MessageView, Page, QueueError, Stats, Summary, SuspendedSides, Target,
};

/// The durable queue of outgoing mail.
pub trait QueueStore: Send + Sync + 'static {
    /// A message that is being received.
    type Incoming: Incoming;

    /// Begins a message: allocates its queue id. `size_hint` is the client's `SIZE=`, if any.
    ///
    /// # Errors
    /// [`QueueError::DiskFull`] below the floor of free space (or if `size_hint` would lead there),
    /// that or [`QueueError::Unwritable`] while outcomes cannot be recorded, [`QueueError::Failed`].
    fn begin(&self, size_hint: Option<u64>, now: Now) -> Result<Self::Incoming, QueueError>;

    /// A fresh queue id, for a message that [`QueueStore::finish`] is to enqueue.
    fn allocate_id(&self, now: Now) -> QueueId;

    /// Takes up to `max` due messages of a destination, the longest due first. They are nobody
    /// else's until [`finish`](Self::finish), [`release`](Self::release) or the lease's end
    /// (see [`QueueStore::renew`]). Expired messages and those an operator marked for a bounce come
    /// the same way, with a flag. With a wall time gone by: what has been due since then at least.
    /// Of a [suspended](Self::suspend) destination's mail no content is read for this.
    ///
    /// # Errors
    /// [`QueueError::DiskFull`] or [`QueueError::Unwritable`] while outcomes of deliveries cannot be recorded
    /// (nothing is given out then: it would be delivered twice), [`QueueError::Failed`].
    fn lease(
        &self,
        destination: &Destination,
        max: usize,
        now: Now,
    ) -> impl Future<Output = Result<Vec<Leased>, QueueError>> + Send;

    /// Up to `max` destinations with due mail, in the order of their names, beginning after
    /// `after`. For a round robin pass the last name seen; an empty answer means: begin anew.
    fn due_destinations(
        &self,
        now: Now,
        after: Option<&Destination>,
        max: usize,
    ) -> Vec<DueDestination>;

    /// Leaves a destination alone until then: its mail that was put off
    /// ([`Effort::PutOff`](crate::Effort::PutOff)) is not due before, unless its own time comes. With
    /// `None` it is due at once. Costs nothing per message, and is forgotten with the process.
    fn suspend(&self, destination: &Destination, until: Option<Timestamp>, now: Now);

    /// When the scheduler should look again if nobody wakes it: the earliest time at which mail
    /// becomes due or a lease may run out. A time not later than `now` means: at once. `None`: nothing waits.
    fn next_due(&self, now: Now) -> Option<Timestamp>;

    /// Is notified (`notify_one`) when mail became due, or will earlier than
    /// [`next_due`](Self::next_due) said. One scheduler may wait on it.
    fn wake(&self) -> Arc<Notify>;

    /// Extends a lease: from `now` it lasts the store's lease time again, or at least nine tenths of that.
    /// Time counts while the store is asked: whoever was stopped, or slept, has lost none. A lease whose
    /// time is over still counts until its mail is asked for, since nobody else can have it.
    ///
    /// # Errors
    /// [`QueueError::StaleLease`].
    fn renew(&self, lease: &LeaseToken, now: Now) -> Result<(), QueueError>;

    /// Gives a lease back without counting an attempt: the mail is due as before.
    ///
    /// # Errors
    /// [`QueueError::StaleLease`].
    fn release(&self, lease: &LeaseToken) -> Result<(), QueueError>;

    /// Ends a lease with what came of the attempt. Takes effect at once; the record of it reaches
    /// the disk with the next group commit, which [`Finished::durable`] can be awaited for.
    /// New messages (DSNs) stand in the same atomic append and share its fate.
    /// Recipients without an outcome are due as before.
    ///
    /// # Errors
    /// [`QueueError::StaleLease`] (nothing is recorded, new messages are not enqueued),
    /// [`QueueError::Misuse`], [`QueueError::Failed`].
    fn finish(&self, finish: Finish, now: Now) -> Result<Finished, QueueError>;

    /// The content of a message.
    ///
    /// # Errors
    /// [`QueueError::NotFound`], [`QueueError::Body`]; [`QueueError::Rebuilding`] for a message that is not known
    /// yet, [`QueueError::Failed`].
    fn open_body(&self, id: QueueId) -> impl Future<Output = Result<Body, QueueError>> + Send;

    /// Messages that match, by next attempt, `limit` at most; the page says where to go on. A page may
    /// be short, or empty, and not the last one: its `next` says so.
    ///
    /// # Errors
    /// [`QueueError::Rebuilding`], [`QueueError::Failed`].
    fn list(
        &self,
        filter: &Filter,
        cursor: Option<&Cursor>,
        limit: usize,
        now: Now,
    ) -> impl Future<Output = Result<Page, QueueError>> + Send;

    /// One message with all that is known of it.
    ///
    /// # Errors
    /// [`QueueError::NotFound`]; [`QueueError::Rebuilding`] for a message that is not known yet,
    /// [`QueueError::Failed`].
    fn show(
        &self,
        id: QueueId,
        now: Now,
    ) -> impl Future<Output = Result<MessageView, QueueError>> + Send;

    /// Does `edit` to every message of `target`; durable before it answers. With `dry_run` nothing
    /// is changed and the answer says what would be.
    ///
    /// # Errors
    /// [`QueueError::Rebuilding`] for a filter, or an id that is not known yet; [`QueueError::DiskFull`] or
    /// [`QueueError::Unwritable`] for a retry of many while outcomes cannot be recorded;
    /// [`QueueError::Failed`]; with what was done before.
    fn edit(
        &self,
        target: &Target,
        edit: Edit,
        dry_run: bool,
        now: Now,
    ) -> impl Future<Output = Result<Edited, EditError>> + Send;

    /// Counts for metrics and the status page.
    fn stats(&self, now: Now) -> Stats;

    /// Waiting mail by destination, reason and whose move it is, the largest count first: `limit` rows
    /// from `from` on.
    fn summary(&self, now: Now, from: usize, limit: usize, suspended: &SuspendedSides) -> Summary;

    /// How much waits for whom to act: what [`QueueStore::summary`] adds up to, without a look at each
    /// destination.
    fn by_side(&self, suspended: &SuspendedSides) -> Vec<(Side, u64)>;

    /// Whether the store can do its work.
    fn health(&self) -> Health;
}

/// A message that is being received. Dropping it leaves nothing behind.
pub trait Incoming: Send {
    /// The message's queue id, for its Received field.
    fn id(&self) -> QueueId;

    /// Octets written so far, those that were reserved included.
    fn size(&self) -> u64;

    /// Leaves so many octets free at the very top, for a field that is known only after the rest
    /// (a signature). Once, before anything is written.
    fn reserve(&mut self, octets: usize);

    /// What stands there: exactly as many octets as were reserved, else
    /// [`commit`](Self::commit) refuses. Nothing of a message is durable before its commit, so
    /// that no crash can leave it with the gap.
    fn fill(&mut self, octets: Bytes);

    /// Appends to the content. Waits only while a large message goes to its file.
    ///
    /// # Errors
    /// [`QueueError::DiskFull`], [`QueueError::Io`].
    fn write(&mut self, data: &[u8]) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Makes the message durable and part of the queue. With `claim` the caller gets the leases on
    /// all its destinations at once, the content still in memory; without, it is due now.
    /// If the future is dropped half-way the message may still be queued, as after a lost reply.
    ///
    /// # Errors
    /// [`QueueError::DiskFull`], [`QueueError::Unwritable`], [`QueueError::Io`], [`QueueError::Misuse`] (what was
    /// reserved was not filled, or not exactly), [`QueueError::Failed`]; then the message is not queued.
    fn commit(
        self,
        envelope: impl Into<Arc<Envelope>> + Send,
        claim: bool,
        now: Now,
    ) -> impl Future<Output = Result<Committed, QueueError>> + Send;
}

/// A message that is safe.
#[derive(Debug)]
pub struct Committed {
    /// Its id.
    pub id: QueueId,
    /// The leases on its destinations, if it was claimed; one per destination.
    pub leases: Vec<Leased>,
}

/// What the configuration says about where and how long. Asked again whenever a message is
/// scheduled, so that changed routes take effect.
pub trait Placement: Send + Sync + 'static {
    /// Which destination a recipient belongs to: its domain, or a route's name that ends with it.
    fn destination(&self, envelope: &Envelope, recipient: &Recipient) -> Destination;

    /// When the queue gives up on a message.
    fn expires(&self, envelope: &Envelope) -> Timestamp;
}

/// What mail is grouped by: a recipient domain, an address literal, or a route's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(Arc<str>);

/// The time, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock: due times, expiry.
    pub wall: Timestamp,
    /// Monotonic clock since any fixed point (of this process): leases.
    pub monotonic: Duration,
}

impl Destination {
    /// From its name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The destination of a domain or address literal that no route covers.
    #[must_use]
    pub fn of_host(host: &Host) -> Self {
        match host {
            Host::Domain(d) => Self::new(d.as_str()),
            Host::Address(_) => Self::new(&host.to_string()),
        }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Destination {
    fn borrow(&self) -> &str {
        &self.0
    }
}
