//! How an append is asked for and answered.

use std::fmt;

use crate::error::AppendError;
use crate::position::Position;
use crate::record::Group;

/// Called exactly once, on the writer's thread, after the sync that covers the group, or with the reason why there will be none.
/// It must be short and must not wait for the journal: complete a channel, nothing more.
pub type Completion = Box<dyn FnOnce(Result<Appended, AppendError>) + Send>;

/// Whether an append asks for a sync or waits for somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Synced with the next commit, which begins as soon as the running one has ended.
    Now,
    /// Written with the next commit, synced with the next [`Now`](Self::Now) or within
    /// [`Options::riding_sync_within`](crate::Options::riding_sync_within), whichever comes first.
    Rides,
}

/// Where a group stands, now that it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub(crate) places: Places,
    pub(crate) end: Position,
}

impl Appended {
    /// Position of the first record.
    pub fn first(&self) -> Position {
        match &self.places {
            Places::One(position) => *position,
            Places::Many(positions) => positions.first().copied().unwrap_or(self.end),
        }
    }

    /// Positions of all records of the group, in its order.
    pub fn positions(&self) -> &[Position] {
        match &self.places {
            Places::One(position) => std::slice::from_ref(position),
            Places::Many(positions) => positions,
        }
    }

    /// Just behind the group: a scan from here starts with whatever was appended next.
    pub fn end(&self) -> Position {
        self.end
    }
}

/// Most groups are of one record, which then costs no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    One(Position),
    Many(Vec<Position>),
}

/// The queue before the writer is full; here is everything back. Try again when [`Journal::on_room`](crate::Journal::on_room) calls.
pub struct Backlogged {
    /// What was to be appended.
    pub group: Group,
    /// Its completion, not called.
    pub completion: Option<Completion>,
}

impl fmt::Debug for Backlogged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlogged")
            .field("records", &self.group.len())
            .field("bytes", &self.group.stored_len())
            .finish()
    }
}
