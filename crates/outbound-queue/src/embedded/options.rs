//! What the owner of an embedded store decides.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use journal::{FreeSpace, RealDisk, Storage};

use crate::Placement;

/// Settings of an [`EmbeddedStore`](crate::EmbeddedStore). Start from [`EmbeddedOptions::new`].
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// `DATA/queue`; made if missing. The caller holds the lock of `DATA`.
    pub directory: PathBuf,
    /// Which recipients belong together, and how long mail lives.
    pub placement: Arc<dyn Placement>,
    /// A random number that tells this process from others: leases of another boot are refused.
    pub boot: u64,
    /// The node's tag in its queue ids.
    pub tag: u8,
    /// How long a lease lasts unless renewed: 10 minutes unless changed.
    pub lease_time: Duration,
    /// Free bytes below which no mail is accepted: 256 MiB unless changed.
    pub free_space_floor: u64,
    /// Asks how much is free.
    pub free_space: FreeSpaceProbe,
    /// The disk of journal and bodies.
    pub storage: Arc<dyn Storage>,
    /// Content in memory: 64 MiB unless changed.
    pub body_memory: u64,
    /// Messages in memory, without those that the index has and nobody works on: with more, commits
    /// wait for the index. 50,000 unless changed.
    pub messages_in_memory: usize,
    /// Octets that wait for the journal's writer; with more, commits wait. 64 MiB unless changed.
    pub journal_memory: u64,
    /// Content of this size and more goes to a file of its own: 256 KiB unless changed.
    pub large_body: usize,
    /// The index's cache: 32 MiB unless changed.
    pub index_cache: u64,
    /// Messages that are scheduled before a start goes on, the others behind it: 20,000 unless changed.
    pub read_at_once: usize,
    /// Longest time from a change to its row in the index: one second unless changed.
    pub index_interval: Duration,
    /// Size of journal segments: 64 MiB unless changed.
    pub segment_size: u64,
    /// Zeros kept behind the end of the journal, so that a commit changes no length and no blocks: 1 MiB unless changed.
    pub zero_ahead: u64,
    /// Segments with a smaller part than this still needed are rewritten: 0.5 unless changed.
    pub compact_below: f64,
}

/// Asks how much room the file system that holds a path has left.
pub type FreeSpaceProbe = Arc<dyn Fn(&Path) -> io::Result<FreeSpace> + Send + Sync>;

impl EmbeddedOptions {
    /// The defaults for a queue in `directory`.
    pub fn new(directory: impl Into<PathBuf>, placement: Arc<dyn Placement>, boot: u64) -> Self {
        Self {
            directory: directory.into(),
            placement,
            boot,
            tag: 0,
            lease_time: Duration::from_mins(10),
            free_space_floor: 256 << 20,
            free_space: Arc::new(journal::free_space),
            storage: Arc::new(RealDisk),
            body_memory: 64 << 20,
            messages_in_memory: 50_000,
            journal_memory: 64 << 20,
            large_body: 256 << 10,
            index_cache: 32 << 20,
            read_at_once: 20_000,
            index_interval: Duration::from_secs(1),
            segment_size: 64 << 20,
            zero_ahead: 1 << 20,
            compact_below: 0.5,
        }
    }
}
