//! What can go wrong, and whose turn it is then.

use journal::Shortage;
use leases::Stale;
use mail_types::QueueId;

use crate::Edited;

/// Why the queue did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// Too little room on the disk: answer `452 4.3.1` and let the client try later.
    #[error("the disk of the queue has no room: {0}")]
    DiskFull(String),
    /// Nothing can be recorded for now though the disk has room, for instance for want of a file descriptor:
    /// let the client try later.
    #[error("the queue can record nothing for now: {0}")]
    Unwritable(String),
    /// A write or sync of the journal failed. Sticky until restart: nothing can be accepted, leased
    /// or recorded, since what is on disk is no longer known.
    #[error("the queue's journal failed and stays shut until restart: {0}")]
    Failed(String),
    /// The lease is of an earlier boot, or has ended: it ran out (its outcome counts all the same until
    /// somebody else takes the mail), its outcome came already, or the message is gone.
    #[error("the lease on message {0} is no longer valid")]
    StaleLease(QueueId),
    /// There is no such message in the queue (any more).
    #[error("message {0} is not in the queue")]
    NotFound(QueueId),
    /// The content on disk is damaged or missing.
    #[error("the content of message {id} cannot be read: {cause}")]
    Body {
        /// The message.
        id: QueueId,
        /// What was found.
        cause: String,
        /// The content itself is at fault, and will be the next time; not the disk, or a want of
        /// descriptors.
        damaged: bool,
    },
    /// The index is being rebuilt: what was asked needs all of it. Leasing and accepting go on.
    #[error("the queue's index is being rebuilt; try again when `health` says it is complete")]
    Rebuilding,
    /// The data directory was written by a newer version.
    #[error(
        "the queue on disk has format {found}, this program knows up to {known}; use the newer program"
    )]
    NewerFormat {
        /// On disk.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// An operation of the file system failed outside the journal.
    #[error("cannot {doing}: {cause}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// The system's words.
        cause: String,
    },
    /// The caller broke the contract, for instance a recipient index out of range.
    #[error("wrong use of the queue: {0}")]
    Misuse(&'static str),
}

/// An edit of many messages that stopped on the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct EditError {
    /// What it had done until then, which stays done: what the disk has confirmed. Of what was on its
    /// way to a disk that failed nothing is known until a restart.
    pub done: Edited,
    /// Why it stopped.
    pub cause: QueueError,
}

impl From<Shortage> for QueueError {
    fn from(shortage: Shortage) -> Self {
        match shortage.is_of_disk() {
            true => Self::DiskFull(shortage.to_string()),
            false => Self::Unwritable(shortage.to_string()),
        }
    }
}

impl From<EditError> for QueueError {
    fn from(error: EditError) -> Self {
        error.cause
    }
}

impl From<Stale> for QueueError {
    fn from(Stale(id): Stale) -> Self {
        Self::StaleLease(id)
    }
}
