//! What came of an attempt.

use bytes::Bytes;
use mail_types::{Envelope, QueueId, Timestamp};
use tokio::sync::oneshot;

use crate::{AttemptNote, LeaseToken, QueueError};

/// The end of a lease.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The lease.
    pub lease: LeaseToken,
    /// By index in [`Envelope::recipients`]; only recipients of the lease, each once at most.
    /// Recipients without an outcome are due as before.
    pub outcomes: Vec<(usize, Outcome)>,
    /// What to remember of the attempt, equal causes once. Deferrals refer to their note by index.
    pub notes: Vec<AttemptNote>,
    /// Recipients that are done (by the same index), each with the index of the note that tells how.
    pub told: Vec<(usize, usize)>,
    /// Recipients (by the same index) of whose delay the sender is told by one of `messages`: not to be
    /// done again.
    pub warned: Vec<usize>,
    /// What it comes after.
    pub effort: Effort,
    /// Messages to enqueue in the same atomic append: DSNs.
    pub messages: Vec<NewMessage>,
}

/// What a lease was taken for. Attempt numbers and the history count nothing but attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// An attempt, or what ends the mail without one.
    #[default]
    Attempt,
    /// The mail was put off, since its destination is [left alone](crate::QueueStore::suspend): it is due as soon as that
    /// ends, without any change to it, and at its next attempt's time in any case.
    PutOff,
    /// It came up between two attempts only because its sender was to be told of the delay.
    Look,
}

/// What came of one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more is to be done.
    Done(Done),
    /// Another attempt is to be made.
    Deferred {
        /// When.
        next_attempt: Timestamp,
        /// Why: index into [`Finish::notes`].
        note: usize,
    },
    /// No attempts of the message, also for its other recipients, until an operator releases it or
    /// has it tried again: it fails us, not its peers (row H7-08).
    Parked {
        /// Why: index into [`Finish::notes`].
        note: usize,
    },
}

/// How a recipient was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Done {
    /// The next hop took it.
    Delivered,
    /// It failed for good.
    Bounced,
    /// The queue gave up.
    Expired,
    /// An operator removed it without a DSN.
    Cancelled,
    /// The next hop took it, but does not speak DSN (RFC 3461 section 5.2.2).
    Relayed,
}

/// A message of our own.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// From [`QueueStore::allocate_id`](crate::QueueStore::allocate_id).
    pub id: QueueId,
    /// Its envelope.
    pub envelope: Envelope,
    /// Its content in chunks.
    pub body: Vec<Bytes>,
}

/// A finished lease.
#[derive(Debug)]
pub struct Finished {
    /// Nothing is left to be done for the message: it has left the queue.
    pub removed: bool,
    /// Resolves when the outcome is on disk. May be dropped.
    pub durable: Durable,
}

/// Resolves when something is on disk.
#[derive(Debug)]
#[must_use = "wait for it, or drop it on purpose if the next group commit is soon enough"]
pub struct Durable(Option<oneshot::Receiver<Result<(), QueueError>>>);

impl Durable {
    pub(crate) const fn already() -> Self {
        Self(None)
    }

    pub(crate) const fn when(receiver: oneshot::Receiver<Result<(), QueueError>>) -> Self {
        Self(Some(receiver))
    }

    /// Waits for the sync.
    ///
    /// # Errors
    /// [`QueueError::Failed`].
    pub async fn wait(self) -> Result<(), QueueError> {
        match self.0 {
            None => Ok(()),
            Some(receiver) => receiver
                .await
                .unwrap_or_else(|_| Err(QueueError::Failed("the journal stopped".into()))),
        }
    }
}
