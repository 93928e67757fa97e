//! The proof that a lease is held.

use mail_types::QueueId;

/// Proves that a lease is held. Fenced by boot and sequence: a token of an earlier boot is refused. That of a
/// lease that ran out renews and releases nothing, and the outcome that comes with it counts only while nobody
/// else has taken its recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseToken {
    pub(crate) boot: u64,
    pub(crate) sequence: u64,
    pub(crate) id: QueueId,
}

impl LeaseToken {
    /// The message.
    #[must_use]
    pub fn id(&self) -> QueueId {
        self.id
    }
}

/// The lease on this message is held no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease of {0} has ended")]
pub struct Stale(pub QueueId);
