//! Append-only, checksummed record log with group commit: the one place where durability is made.
//!
//! A [`Journal`] is a directory of segment files. Owners (the outbound queue, the policy cache) append [`Record`]s, alone or in a
//! [`Group`] that stands or falls together; one thread writes what waits with one gathered write and one `fdatasync`, then calls
//! the completions. The journal knows nothing of messages or policies: kinds, keys, meta and bodies are the owner's.
//!
//! The life of an owner:
//!
//! 1. [`DirLock::acquire`], [`FormatFile::check`], [`Journal::open`]: the [`Recovery`] says what was found and the last [`Checkpoint`];
//! 2. [`Journal::scan`] from the checkpoint's `replay_from` (or [`Position::START`]);
//! 3. [`Journal::append`]; from time to time [`Journal::checkpoint`];
//! 4. to give space back: [`Journal::scan_segment`], append anew what is still needed, [`Journal::sync`], [`Journal::remove_segment`].
//!    Only when that has returned may anything be forgotten that spoke of the removed segment.
//!
//! State records (done, hold, …) are appended like everything else: there are no sidecar files, so one write and one sync cover
//! new messages and outcomes alike.
//!
//! The bytes on disk are described in `format.rs`, what happens on failure in `writer.rs`, what is forgiven at start in `tail.rs`.

mod append;
mod batch;
mod error;
mod flusher;
mod format;
mod format_file;
mod free_space;
mod handles;
mod journal;
mod large_file;
mod lock;
mod opening;
mod options;
mod position;
mod quarantine;
mod read;
mod real_disk;
mod record;
mod replace;
mod report;
mod scan;
mod segment;
#[cfg(feature = "simulated-disk")]
mod simulated_disk;
mod state;
mod stats;
mod storage;
mod tail;
mod walk;
mod writer;

pub use append::{Appended, Backlogged, Completion, Urgency};
pub use error::{AppendError, FailedOperation, Failure, Lack, OpenError, ReadError, RemoveError};
pub use flusher::{FlushError, Flusher};
pub use format_file::{FormatError, FormatFile, FormatState};
pub use free_space::{FreeSpace, Shortage, free_space};
pub use journal::Journal;
pub use large_file::{LargeFileReader, LargeFileSum, LargeFileWriter, LargeFiles};
pub use lock::{DirLock, LockError, await_unlocked};
pub use options::Options;
pub use position::Position;
pub use read::{BodyReader, StoredRecord};
pub use real_disk::RealDisk;
pub use record::{Group, Record};
pub use replace::replace_file;
pub use report::{
    Checkpoint, Damage, DamageKind, Recovery, ScanReport, ScannedRecord, SegmentInfo, TornTail,
};
#[cfg(feature = "simulated-disk")]
pub use simulated_disk::SimulatedDisk;
pub use stats::{Histogram, Stats};
pub use storage::{DirEntry, Storage, StorageFile};
