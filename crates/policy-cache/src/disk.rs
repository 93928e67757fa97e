//! The store on disk: `DIR/journal`, the truth, and `DIR/index`, its second copy.
//!
//! Invariant: a row is in force only after the `fdatasync` of the journal that covers it. At start
//! all rows of the journal are read and the highest numbers count; what the journal has lost comes from the
//! index (`mend.rs` has the table). If neither can tell what was there, nobody can say which
//! policies are gone, and the store is [`OpenStore::Lost`]. The first record of the journal is a birth
//! mark, written anew with each compaction: a store that has been there (its FORMAT file says so)
//! and has none has been deleted, and is not mistaken for a new one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use journal::{FormatFile, FormatState, Journal, Options, Position, Record, Storage, Urgency};
use mail_types::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::cache::CacheError;
use crate::index::{Contents, Edits, Index, IndexError};
use crate::mend::{Extent, Mended, Wound, mend, wanted};
use crate::mirror::{Mirror, Note};
use crate::replay::Replay;
use crate::row::{BIRTH, MARK, Row};
use crate::store::{Loaded, Store, StoreError};

/// The open store.
pub(crate) struct Disk {
    journal: Arc<Journal>,
    /// None if no index can be kept, and after closing.
    mirror: Mutex<Option<Mirror>>,
    /// Why there is none although there should be.
    no_mirror: Option<String>,
    /// Something was appended since the start: an orderly end puts a mark behind it.
    unmarked: AtomicBool,
    /// Bytes of the journal right after the last compaction.
    floor: AtomicU64,
}

pub(crate) enum OpenStore {
    Ready(Arc<Disk>, Loaded, Repair),
    /// What is wrong, and the remedy.
    Lost(String),
}

/// What had to be put right at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repair {
    /// Why the index was made anew; not told of a new store.
    pub(crate) index_rebuilt: Option<String>,
    /// What was wrong with the journal, and was healed from the index.
    pub(crate) journal_healed: Option<String>,
    /// What is gone for good: an operator said so.
    pub(crate) lost: Option<String>,
}

impl Disk {
    /// Opens or makes the store in `dir`. `known`: this machine has had a store, so that a missing one is a
    /// lost one. Blocks.
    pub(crate) fn open(
        dir: &Path,
        storage: Arc<dyn Storage>,
        known: bool,
        dangerous_lose: bool,
    ) -> Result<OpenStore, CacheError> {
        let journal_dir = dir.join("journal");
        storage
            .create_dir_all(&journal_dir)
            .map_err(|e| at(&journal_dir, &e))?;
        // sled makes its directory, but not those above it on a disk that is not this machine's.
        std::fs::create_dir_all(dir).map_err(|e| at(dir, &e))?;
        let format = FormatFile::new(dir, "sealpost-policies", FORMAT);
        let state = format
            .check_beside(&storage, &journal_dir, APPLICATION)
            .map_err(|e| store_error(&e))?;
        let options = Options {
            segment_size: SEGMENT,
            max_waiting_bytes: 16 << 20,
            open_segments: 4,
            ..Options::new(&journal_dir, APPLICATION)
        };
        let (journal, recovery) =
            Journal::open(Arc::clone(&storage), options).map_err(|e| store_error(&e))?;
        let second = Second::open(dir);
        let applied = second.contents().and_then(|c| c.state).map(|s| s.applied);
        let mut replay = Replay::new();
        replay.damage(&recovery.damage, applied);
        let mut loaded = replay
            .journal(&journal, applied)
            .map_err(|e| store_error(&e))?;
        // A first start that was cut short may have left an index without anything in it.
        let is_new = state == FormatState::Absent
            && replay.records == 0
            && second.contents().is_none_or(|c| c.items.is_empty());
        if !replay.born && (known || !is_new) {
            replay.wounds.push(Wound {
                extent: Extent::Gone,
                what: "records that every store begins with are gone".into(),
            });
        }
        let mended = mend(
            &mut loaded,
            std::mem::take(&mut replay.wounds),
            replay.end,
            second.contents(),
        );
        if let Some(wound) = &mended.open {
            let left = loaded.policies();
            if !dangerous_lose {
                return Ok(OpenStore::Lost(lost(dir, &wound.what, left)));
            }
            tracing::error!(damage = %wound.what, left, "policies are lost");
        }
        let disk = Self::with(journal, dir, second, &loaded, &mended, replay.end);
        if !replay.born || mended.open.is_some() || mended.healed.is_some() {
            // Whole again before anything relies on it.
            let mark = disk.0.rotate().map_err(|e| store_error(&e))?;
            disk.0
                .rewrite(mark, loaded.rows(), loaded.seq)
                .map_err(|e| store_error(&e))?;
        }
        if state != FormatState::Current {
            format.write(&*storage).map_err(|e| store_error(&e))?;
        }
        let repair = Repair {
            index_rebuilt: disk.1.filter(|_| !is_new),
            journal_healed: mended.healed,
            lost: mended.open.map(|wound| wound.what),
        };
        Ok(OpenStore::Ready(Arc::new(disk.0), loaded, repair))
    }

    /// With its index, and why that had to be made anew.
    fn with(
        journal: Journal,
        dir: &Path,
        second: Second,
        loaded: &Loaded,
        mended: &Mended,
        end: Position,
    ) -> (Self, Option<String>) {
        let journal = Arc::new(journal);
        let (mirror, rebuilt) = second.start(dir, loaded, mended, end, &journal);
        let (mirror, no_mirror) = match mirror {
            Ok(mirror) => (Some(mirror), None),
            Err(IndexError(why)) => {
                tracing::error!(error = %why, "no index of policies can be made; the journal goes on without it");
                (None, Some(why))
            }
        };
        let disk = Self {
            floor: AtomicU64::new(journal.stats().segment_bytes),
            journal,
            mirror: Mutex::new(mirror),
            no_mirror,
            unmarked: AtomicBool::new(false),
        };
        (disk, rebuilt)
    }

    fn record(row: &Row, seq: u64) -> Record {
        let encoded = row.encode(seq);
        let record = Record::new(encoded.kind, encoded.key, encoded.meta);
        match encoded.body {
            Some(text) => record.with_body([text]),
            None => record,
        }
    }

    /// Tells the index of what is durable, if there is one.
    fn note(&self) -> impl FnOnce(Note) + Send + 'static {
        let sender = self.mirror.lock().as_ref().and_then(Mirror::sender);
        move |note| {
            if let Some(sender) = sender {
                // After closing nobody listens.
                let _ = sender.send(note);
            }
        }
    }
}

/// The index as it was found.
struct Second {
    exists: bool,
    found: Result<(Index, Contents), IndexError>,
}

impl Second {
    fn open(dir: &Path) -> Self {
        Self {
            exists: Index::exists(dir),
            found: Index::open(dir),
        }
    }

    fn contents(&self) -> Option<&Contents> {
        self.found.as_ref().ok().map(|(_, contents)| contents)
    }

    /// Brings the index up to the journal, or makes it anew behind; says why.
    fn start(
        self,
        dir: &Path,
        loaded: &Loaded,
        mended: &Mended,
        end: Position,
        journal: &Arc<Journal>,
    ) -> (Result<Mirror, IndexError>, Option<String>) {
        let start = |index, first, applied| {
            let journal = Arc::clone(journal);
            let written = move || journal.append(mark(), Urgency::Rides, None);
            let mirror = Mirror::start(index, first, applied, written);
            mirror.map_err(|e| IndexError(e.to_string()))
        };
        let cause = match self.found {
            Ok((mut index, contents)) => match contents.trouble {
                None => {
                    let end = end.max(index.applied());
                    // From here on it says that it is in use: see `Extent::Gone`.
                    match index.apply(&mended.edits, end, false) {
                        Ok(()) => return (start(index, Edits::new(), end), None),
                        Err(IndexError(why)) => why,
                    }
                }
                Some(_) if !self.exists => {
                    return (
                        start(index, wanted(loaded), end),
                        Some("there was none".into()),
                    );
                }
                Some(why) => why,
            },
            Err(IndexError(why)) => why,
        };
        // The index is closed by now.
        let made = Index::move_aside(dir)
            .and_then(|()| Index::open(dir))
            .and_then(|(index, _)| start(index, wanted(loaded), end));
        (made, Some(cause))
    }
}

fn mark() -> Record {
    Record::new(MARK, 0, bytes::Bytes::new())
}

impl Store for Disk {
    fn append<'a>(&'a self, row: &'a Row, seq: u64) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let (sender, receiver) = oneshot::channel();
            let (note, copy) = (self.note(), row.clone());
            let done: journal::Completion = Box::new(move |result| {
                if let Ok(appended) = &result {
                    note(Note::Row(seq, copy, appended.end()));
                }
                let _ = sender.send(result.map(|_| ()));
            });
            let record = Self::record(row, seq);
            self.unmarked.store(true, Ordering::Relaxed);
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

    fn rewrite(&self, mark: u32, rows: Vec<(u64, Row)>, up_to: u64) -> Result<(), StoreError> {
        let failed = |e: &dyn std::fmt::Display| StoreError(e.to_string());
        let (note, copy) = (self.note(), rows.clone());
        let mut noted: Option<journal::Completion> = Some(Box::new(move |result| {
            if let Ok(appended) = result {
                let (rows, end) = (copy, appended.end());
                note(Note::Rewritten { rows, up_to, end });
            }
        }));
        let birth = Record::new(BIRTH, 0, bytes::Bytes::new());
        let told = noted.take_if(|_| rows.is_empty());
        self.journal.append(birth, Urgency::Rides, told);
        for (n, (seq, row)) in rows.iter().enumerate() {
            // With the last one all are there.
            let told = noted.take_if(|_| n + 1 == rows.len());
            self.journal
                .append(Self::record(row, *seq), Urgency::Rides, told);
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

    fn index_failed(&self) -> Option<String> {
        let mirror = self.mirror.lock();
        let failed = mirror.as_ref().and_then(Mirror::failed);
        failed.map(str::to_owned).or_else(|| self.no_mirror.clone())
    }

    fn failure(&self) -> Option<String> {
        let failed = self.journal.health().err();
        failed.map(|failure| failure.to_string())
    }

    fn close(&self) {
        if self.unmarked.swap(false, Ordering::Relaxed) {
            self.journal.append(mark(), Urgency::Now, None);
        }
        if let Err(error) = self.journal.close() {
            tracing::error!(%error, "the policy journal could not be closed; nothing that was relied on is lost");
        }
        // After the last completion, so that nothing is behind it.
        drop(self.mirror.lock().take());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}

fn lost(dir: &Path, damage: &str, left: usize) -> String {
    format!(
        "policies cannot be read from {}: {damage}; nor does the index beside it have them. {left} can still be read. Mail is accepted and held, \
         since nobody can say which other domains demand TLS. Restore {} from a backup, or start with --dangerous-lose-policies to go on with what is left",
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
