//! Counts and health.

use attempt::{Reason, Side};
use mail_types::{QueueId, Timestamp};

use crate::{Blame, Destination, Keyed};

/// Counts for metrics and the status page. A message with several destinations counts once in
/// `messages` and once per destination elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages in the queue.
    pub messages: u64,
    /// Leased.
    pub active: u64,
    /// Due, not yet taken up.
    pub due: u64,
    /// Waiting for their next attempt.
    pub deferred: u64,
    /// Held by an operator.
    pub held: u64,
    /// The oldest message, and about when it arrived (from its id).
    pub oldest: Option<(QueueId, Timestamp)>,
    /// Octets of segments and large bodies on disk.
    pub disk_bytes: u64,
    /// Octets of content in memory.
    pub memory_bytes: u64,
    /// Messages in memory: being delivered, or not yet in the index.
    pub messages_in_memory: u64,
    /// By destination, the largest first, at most 100.
    pub destinations: Vec<DestinationCount>,
    /// Waiting mail by reason of its last deferral.
    pub reasons: Vec<(Keyed<Reason>, u64)>,
}

/// How much mail waits for a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationCount {
    /// Its name.
    pub destination: Destination,
    /// Waiting, held or leased.
    pub messages: u64,
}

/// Waiting mail by destination, reason and whose move it is, or a part of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The rows that were asked for, the largest count first.
    pub rows: Vec<SummaryRow>,
    /// How many rows there are in all.
    pub total: usize,
    /// By reason and side, over all rows, the largest count first.
    pub reasons: Vec<ReasonCount>,
}

/// Waiting mail of one reason and side. A message with several destinations counts for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonCount {
    /// Why it waits; `None` before the first attempt.
    pub reason: Option<Keyed<Reason>>,
    /// Whose move it is; `None` before the first attempt.
    pub side: Option<Side>,
    /// No attempt is made until it is released.
    pub held: bool,
    /// What says so, and of how many messages, the largest count first; `None` also where that is what a
    /// suspension began with.
    pub cases: Vec<(Option<Blame>, u64)>,
    /// How many.
    pub messages: u64,
    /// For how many destinations.
    pub destinations: u64,
}

/// Waiting mail of one destination, reason and side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryRow {
    /// Where to.
    pub destination: Destination,
    /// Why it waits; `None` before the first attempt.
    pub reason: Option<Keyed<Reason>>,
    /// Whose move it is; `None` before the first attempt.
    pub side: Option<Side>,
    /// No attempt is made until it is released.
    pub held: bool,
    /// What says so of the most of it; `None` before the first attempt.
    pub blame: Option<Blame>,
    /// How many.
    pub count: u64,
    /// About when the oldest arrived (from its id).
    pub oldest: Timestamp,
    /// The earliest next attempt; `None` if all are held.
    pub next_attempt: Option<Timestamp>,
}

/// Whether the store can do its work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The journal failed: nothing is accepted or leased until restart.
    pub failed: Option<String>,
    /// The disk is full, or nearly, or outcomes cannot be recorded for now: nothing is accepted.
    pub full: Option<journal::Shortage>,
    /// The index is being rebuilt or read; older mail is not scheduled yet.
    pub recovering: bool,
    /// The index was found damaged at start, moved aside and rebuilt: why.
    pub index_rebuilt: Option<String>,
    /// The index cannot be written; the queue lives in memory and journal until restart.
    pub index_failed: Option<String>,
    /// Records that were damaged when the segments were read.
    pub damaged_records: u64,
}
