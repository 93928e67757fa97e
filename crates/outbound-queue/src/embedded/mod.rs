//! The embedded store: journal segments are the truth, sled is an index that lags behind.
//!
//! # On disk (`DATA/queue/`)
//!
//! `FORMAT`, `journal/` (messages and state records), `bodies/` (content of 256 KiB and more, a file
//! each, named by queue id), `index/` (sled, one row per message), `reserve` (a few MiB that are given up
//! so that the index can open on a full disk), `index.suspect` (there while the index is being opened, and
//! after it failed: the next start rebuilds it), `index.damaged` (what was moved aside),
//! `index.lost-N` (what knew of messages that the journal has lost; nothing removes it).
//! The caller holds the lock of `DATA`.
//!
//! # Records
//!
//! There are no sidecar files. What is finished, moved or decided is appended to the journal's active
//! segment like a message, so that one `fdatasync` covers messages and outcomes alike. Before a segment
//! is removed, what in it still matters is appended anew and synced:
//!
//! - a live message, with all of its state (same id; two copies of an id count as one);
//! - the whole state of a live message whose record stands in another segment, if a state record of it
//!   stands here;
//! - the same for a live message that is due by a record about many that stands here;
//! - the word that a message is gone, if its record stands in another segment that still exists.
//!
//! Then the segment is unlinked and the directory synced, and only after that it counts as gone. Until
//! then every "gone" that names it is kept: a power cut that brings the segment back finds them, so
//! finished mail never comes back with it.
//!
//! Order in the journal is the order of the changes of each message, because records are handed to the
//! journal under the mutex under which the change was made. Changes carry a revision and are applied at
//! most once, so replay may begin anywhere before the first change that the index lacks.
//!
//! # The index
//!
//! One thread writes it: at most once a second it takes what changed, waits until the journal has all
//! of it durably, applies the rows, flushes, calls `fdatasync` on a descriptor of its own, and only then
//! appends a checkpoint. Start replays from the last checkpoint, always, and
//! reads a large index behind the start. A message that is finished before the
//! next batch never gets a row. At the first sign of damage the index is moved aside and rebuilt from the
//! segments, while new mail is accepted and delivered; older mail is scheduled when all has been read, since
//! only then is it known what is gone.
//!
//! `retry` of what waits at destinations, or of everything, is a change of the schedule and one record
//! about thousands of messages, whose rows follow when they are next read (`retried`).
//!
//! Due times of all mail are in memory, a few bytes each ([`crate::schedule`]); leases are memory only.
//!
//! # Failure
//!
//! A failed write or sync poisons the journal: everything answers [`QueueError::Failed`](crate::QueueError)
//! until restart. A full disk refuses new mail; an outcome that could not be recorded is kept and
//! recorded first when there is room, and until then nothing is leased, so that nothing is sent twice.

mod committer;
mod compaction;
mod index;
mod ingest;
mod lost;
mod open;
mod operator;
mod options;
mod prefetch;
mod records;
mod replay;
mod retried;
mod retry;
mod settle;
mod shared;
mod store;
mod unrecorded;

pub use ingest::EmbeddedIncoming;
pub use options::{EmbeddedOptions, FreeSpaceProbe};
pub use store::EmbeddedStore;

#[cfg(test)]
mod tests;
