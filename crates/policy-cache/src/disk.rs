//! The store on disk: `DIR/journal`.
//!
//! Invariant: a row is in force only after the `fdatasync` of the journal that covers it. At start
//! all rows of the journal are read and the highest numbers count. If the journal has lost
//! something, nobody can say which policies are gone, and the store is [`OpenStore::Lost`]. The
//! first record is a birth mark: a store that has been there (its FORMAT file says so) and has no
//! record at all has been deleted, and is not mistaken for a new one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use journal::{FormatFile, FormatState, Journal, Options, RealDisk, Record, Urgency};
use mail_types::BoxFuture;
use tokio::sync::oneshot;

use crate::cache::CacheError;
use crate::replay::Replay;
use crate::row::{BIRTH, Row};
use crate::store::{Loaded, Store, StoreError};

/// The open store.
pub(crate) struct Disk {
    journal: Arc<Journal>,
    /// Bytes of the journal right after the last compaction.
    floor: AtomicU64,
}

pub(crate) enum OpenStore {
    Ready(Disk, Loaded),
    /// What is wrong, and the remedy.
    Lost(String),
}

impl Disk {
    /// Opens or makes the store in `dir`. Blocks.
    pub(crate) fn open(dir: &Path, dangerous_lose: bool) -> Result<OpenStore, CacheError> {
        let journal_dir = dir.join("journal");
        std::fs::create_dir_all(&journal_dir).map_err(|e| at(&journal_dir, &e))?;
        let mut options = Options::new(&journal_dir, APPLICATION);
        options.segment_size = SEGMENT;
        options.max_waiting_bytes = 16 << 20;
        options.open_segments = 4;
        let format = FormatFile::new(dir, "sealpost-policies", FORMAT);
        let state = format.check(&RealDisk).map_err(|e| store_error(&e))?;
        let (journal, recovery) =
            Journal::open(Arc::new(RealDisk), options).map_err(|e| store_error(&e))?;
        let mut replay = Replay::default();
        replay.damage(&recovery.damage);
        let loaded = replay.journal(&journal).map_err(|e| store_error(&e))?;
        let wrong = match (state, replay.first_damage()) {
            (_, Some(damage)) => Some(damage.clone()),
            (FormatState::Current | FormatState::Older(_), None) if replay.records == 0 => {
                Some("its records are gone".into())
            }
            (FormatState::Absent | FormatState::Current | FormatState::Older(_), None) => None,
        };
        if let Some(damage) = &wrong {
            if !dangerous_lose {
                return Ok(OpenStore::Lost(lost(dir, damage)));
            }
            tracing::error!(%damage, "policies are lost");
        }
        let disk = Self {
            floor: AtomicU64::new(journal.stats().segment_bytes),
            journal: Arc::new(journal),
        };
        if wrong.is_some() || replay.records == 0 {
            // Whole again before anything relies on it.
            let mark = disk.rotate().map_err(|e| store_error(&e))?;
            disk.rewrite(mark, loaded.rows())
                .map_err(|e| store_error(&e))?;
        }
        if state != FormatState::Current {
            format.write(&RealDisk).map_err(|e| store_error(&e))?;
        }
        Ok(OpenStore::Ready(disk, loaded))
    }

    fn record(row: &Row, seq: u64) -> Record {
        let encoded = row.encode(seq);
        let record = Record::new(encoded.kind, encoded.key, encoded.meta);
        match encoded.body {
            Some(text) => record.with_body([text]),
            None => record,
        }
    }
}

impl Store for Disk {
    fn append<'a>(&'a self, row: &'a Row, seq: u64) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let (sender, receiver) = oneshot::channel();
            let done: journal::Completion = Box::new(move |result| {
                let _ = sender.send(result.map(|_| ()));
            });
            let record = Self::record(row, seq);
            if let Err(full) = self.journal.try_append(record, Urgency::Now, Some(done)) {
                // The queue before the writer is full: wait for it where waiting is allowed.
                let journal = Arc::clone(&self.journal);
                let wait = move || journal.append(full.group, Urgency::Now, full.completion);
                let waited = tokio::task::spawn_blocking(wait).await;
                waited.map_err(|e| StoreError(e.to_string()))?;
            }
            receiver
                .await
                .map_err(|_| StoreError("the journal gave no answer".into()))?
                .map_err(|e| StoreError(e.to_string()))
        })
    }

    fn wants_compaction(&self) -> bool {
        let bytes = self.journal.stats().segment_bytes;
        bytes > self.floor.load(Ordering::Relaxed) * 2 + SLACK
    }

    fn rotate(&self) -> Result<u32, StoreError> {
        self.journal.rotate().map_err(|e| StoreError(e.to_string()))
    }

    fn rewrite(&self, mark: u32, rows: Vec<(u64, Row)>) -> Result<(), StoreError> {
        let failed = |e: &dyn std::fmt::Display| StoreError(e.to_string());
        let birth = Record::new(BIRTH, 0, bytes::Bytes::new());
        self.journal.append(birth, Urgency::Rides, None);
        for (seq, row) in &rows {
            self.journal
                .append(Self::record(row, *seq), Urgency::Rides, None);
        }
        self.journal.sync().map_err(|e| failed(&e))?;
        for segment in self.journal.segments() {
            if segment.number < mark {
                self.journal
                    .remove_segment(segment.number)
                    .map_err(|e| failed(&e))?;
            }
        }
        let bytes = self.journal.stats().segment_bytes;
        self.floor.store(bytes, Ordering::Relaxed);
        Ok(())
    }
}

fn lost(dir: &Path, damage: &str) -> String {
    format!(
        "policies cannot be read from {}: {damage}. Mail is accepted and held, since nobody can say which domains demand TLS. Restore {} from a \
         backup, or start with --dangerous-lose-policies to go on with what is left",
        dir.join("journal").display(),
        dir.display(),
    )
}

fn at(path: &Path, e: &std::io::Error) -> CacheError {
    CacheError::Store(format!("{}: {e}", path.display()))
}

fn store_error(e: &dyn std::fmt::Display) -> CacheError {
    CacheError::Store(e.to_string())
}

/// Bumped when older releases could not read what this one writes.
const FORMAT: u32 = 1;
const APPLICATION: [u8; 8] = *b"SPpolicy";
/// Small, so that compaction gives back space soon.
const SEGMENT: u64 = 8 << 20;
const SLACK: u64 = 4 << 20;

#[cfg(test)]
mod tests;
