//! What an owner decides about its journal.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of one journal. Start from [`Options::new`] and change fields.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory that holds the segments; made if missing. No other journal may use it (see [`DirLock`](crate::DirLock)).
    pub directory: PathBuf,
    /// Eight bytes of the owner's choice, in every segment header: a journal of another application is refused.
    pub application: [u8; 8],
    /// Bytes after which a new segment is begun, 64 MiB unless changed. A single group may be larger. Taken as 1 GiB at most.
    pub segment_size: u64,
    /// Bytes that may wait for the writer, being written included, before appends wait or are refused: 64 MiB unless changed.
    pub max_waiting_bytes: u64,
    /// Bytes of zeros that are kept behind the end of the active segment: none unless changed. They spare each sync the changes of the
    /// file's length and blocks (see the writer's description); a journal that is seldom written to does better without.
    pub zero_ahead: u64,
    /// Shortest time from a write to one of riding records alone, and so the longest that they wait for company: 1 ms unless changed.
    pub riding_write_within: Duration,
    /// Longest time from the write of a riding record to its sync: 200 ms unless changed.
    pub riding_sync_within: Duration,
    /// Segment files kept open for reading: 32 unless changed.
    pub open_segments: usize,
}

impl Options {
    /// The defaults for a journal in `directory`.
    pub fn new(directory: impl Into<PathBuf>, application: [u8; 8]) -> Self {
        Self {
            directory: directory.into(),
            application,
            segment_size: 64 << 20,
            max_waiting_bytes: 64 << 20,
            zero_ahead: 0,
            riding_write_within: Duration::from_millis(1),
            riding_sync_within: Duration::from_millis(200),
            open_segments: 32,
        }
    }
}
