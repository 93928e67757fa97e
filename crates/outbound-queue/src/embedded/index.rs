//! The index in sled 0.34: small rows only, one writer, our own `fdatasync`.
//!
//! Rows are under 4 KiB, longer ones are split, so that sled's path for large values (`blobs/`),
//! which is never synced, is not taken. Its `flush()` does not sync either: a descriptor of our own of the
//! database file does. sled panics on some damage: every call goes through `catch_unwind`. A
//! `flush()` that hangs counts as damage ([`Flusher`]). It never gives room back, on disk or in the table of
//! its pages: what has become small is written anew (`anew.rs`).

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use journal::{FlushError, Flusher, Position, await_unlocked};
use mail_types::QueueId;
use parking_lot::{MappedRwLockReadGuard, Mutex, RwLock, RwLockReadGuard};

mod anew;

/// An open index.
pub(super) struct Index {
    /// `None` only while it is written anew, or if that failed.
    engine: RwLock<Option<Engine>>,
    directory: PathBuf,
    /// Octets.
    cache: u64,
    suspect: PathBuf,
    /// Octets of the file from which on it is looked whether it can be smaller.
    large: u64,
    /// Messages below which it is.
    few: AtomicUsize,
}

/// An open sled.
struct Engine {
    db: sled::Db,
    flusher: Mutex<Flusher<IndexError>>,
}

/// The index cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the index cannot be used: {0}")]
pub(super) struct IndexError(pub(super) String);

/// What is to be written for one message.
pub(super) struct RowChange {
    pub(super) id: QueueId,
    /// `None`: remove.
    pub(super) row: Option<Vec<u8>>,
    /// There may be an earlier row.
    pub(super) existed: bool,
}

impl Index {
    /// Opens or makes the index of a queue directory. The caller calls [`Index::trust`] when it has
    /// read it all; until then the next start takes it for damaged.
    pub(super) fn open(directory: &Path, cache: u64) -> Result<Self, IndexError> {
        let suspect = directory.join(SUSPECT);
        if suspect.exists() {
            return Err(IndexError(
                "it failed in use, or the program ended while opening it".into(),
            ));
        }
        File::create(&suspect).map_err(failed)?;
        let engine = Engine::open(&directory.join(INDEX), cache)?;
        Ok(Self {
            engine: RwLock::new(Some(engine)),
            directory: directory.to_owned(),
            cache,
            suspect,
            large: anew::LARGE,
            few: AtomicUsize::new(anew::FEW),
        })
    }

    /// Makes room for a new index: what was there is kept beside for inspection.
    pub(super) fn move_aside(directory: &Path) -> io::Result<()> {
        let (path, aside) = (directory.join(INDEX), directory.join("index.damaged"));
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for result in [
            fs::rename(path, aside),
            fs::remove_file(directory.join(SUSPECT)),
        ] {
            match result {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the index of a queue directory is to be rebuilt.
    pub(super) fn is_suspect(directory: &Path) -> bool {
        directory.join(SUSPECT).exists()
    }

    /// It was not the index's fault.
    pub(super) fn clear_suspicion(directory: &Path) -> Result<(), IndexError> {
        fs::remove_file(directory.join(SUSPECT)).map_err(failed)
    }

    /// The index was read to its end without a complaint.
    pub(super) fn trust(&self) -> Result<(), IndexError> {
        match fs::remove_file(&self.suspect) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// The index failed in use: the next start is to rebuild it.
    pub(super) fn distrust(&self) {
        if let Err(error) = File::create(&self.suspect) {
            tracing::error!(path = %self.suspect.display(), %error, "cannot mark the index for a rebuild; remove it by hand before the next start");
        }
    }

    /// Up to where the journal is contained, as the last batch said; `None` if it never was complete.
    pub(super) fn applied(&self) -> Result<Option<Position>, IndexError> {
        let engine = self.engine()?;
        let value = guarded(|| engine.db.get(APPLIED))?;
        let bytes = value.and_then(|v| <[u8; 8]>::try_from(&*v).ok());
        Ok(bytes.map(|b| Position::unpack(u64::from_be_bytes(b))))
    }

    /// A message's row.
    pub(super) fn get(&self, id: QueueId) -> Result<Option<Vec<u8>>, IndexError> {
        let engine = self.engine()?;
        let Some(first) = guarded(|| engine.db.get(key(id, 0)))? else {
            return Ok(None);
        };
        let (parts, bytes) = split_first(&first)?;
        let mut row = bytes.to_vec();
        for part in 1..parts {
            let bytes = guarded(|| engine.db.get(key(id, part)))?;
            row.extend_from_slice(&bytes.ok_or_else(|| IndexError("half a row".into()))?);
        }
        Ok(Some(row))
    }

    /// Writes a batch and makes it durable. With `applied` the index then contains all of
    /// the journal before that position.
    pub(super) fn apply(
        &self,
        changes: &[RowChange],
        applied: Option<Position>,
    ) -> Result<(), IndexError> {
        let engine = self.engine()?;
        for some in changes.chunks(BATCH) {
            let mut batch = sled::Batch::default();
            for change in some {
                add(&engine.db, &mut batch, change)?;
            }
            guarded(|| engine.db.apply_batch(batch.clone()))?;
            reclaim(some.len());
        }
        if let Some(position) = applied {
            let value = position.pack().to_be_bytes();
            guarded(|| engine.db.insert(APPLIED, &value))?;
        }
        engine.flush()
    }

    /// Shows up to `limit` rows in the order of ids, beginning with `from`; answers where to go on.
    pub(super) fn for_each(
        &self,
        from: QueueId,
        limit: usize,
        mut visit: impl FnMut(QueueId, &[u8]) -> Result<(), IndexError>,
    ) -> Result<Option<QueueId>, IndexError> {
        let start = key(from, 0);
        let engine = self.engine()?;
        let mut rows = guarded(|| Ok(engine.db.range::<&[u8], _>(&start[..]..ROWS_END)))?;
        let mut row: Vec<u8> = Vec::new();
        let (mut id, mut parts, mut seen) = (QueueId::from_raw(0), 0u16, 0u16);
        let mut shown = 0;
        while let Some((key, value)) = guarded(|| rows.next().transpose())? {
            let (at, part) = split_key(&key)?;
            if part == 0 && seen == parts {
                let (count, bytes) = split_first(&value)?;
                (id, parts, seen) = (at, count, 1);
                row.clear();
                row.extend_from_slice(bytes);
            } else if at == id && part == seen && seen < parts {
                seen += 1;
                row.extend_from_slice(&value);
            } else {
                return Err(IndexError("half a row".into()));
            }
            if seen == parts {
                if shown == limit {
                    return Ok(Some(id));
                }
                shown += 1;
                visit(id, &row)?;
            }
        }
        if seen == parts {
            Ok(None)
        } else {
            Err(IndexError("half a row".into()))
        }
    }

    fn engine(&self) -> Result<MappedRwLockReadGuard<'_, Engine>, IndexError> {
        RwLockReadGuard::try_map(self.engine.read(), Option::as_ref)
            .map_err(|_| IndexError("it could not be written anew".into()))
    }
}

impl Engine {
    fn open(path: &Path, cache: u64) -> Result<Self, IndexError> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache)
            .use_compression(false)
            .flush_every_ms(None);
        // A thread of sled's pool may still hold the lock of the one that was open before.
        await_unlocked(&path.join(FILE), LOCK_PATIENCE).map_err(failed)?;
        let db = guarded(|| config.open())?;
        let file = File::open(path.join(FILE)).map_err(failed)?;
        let flushed = db.clone();
        let flush = move || {
            guarded(|| flushed.flush().map(|_| ()))?;
            file.sync_data().map_err(failed)
        };
        let flusher = Flusher::start("queue-index-flush", LONGEST_FLUSH, flush);
        let flusher = Mutex::new(flusher.map_err(failed)?);
        Ok(Self { db, flusher })
    }

    /// Makes durable what was written.
    fn flush(&self) -> Result<(), IndexError> {
        self.flusher.lock().flush().map_err(unflushed)
    }
}

fn add(db: &sled::Db, batch: &mut sled::Batch, change: &RowChange) -> Result<(), IndexError> {
    let pieces: Vec<&[u8]> = match &change.row {
        Some(row) => row.chunks(PART).collect(),
        None => Vec::new(),
    };
    let parts = u16::try_from(pieces.len()).map_err(|_| IndexError("row too long".into()))?;
    for (part, piece) in (0u16..).zip(pieces) {
        let mut value = Vec::with_capacity(piece.len() + 2);
        if part == 0 {
            value.extend_from_slice(&parts.to_be_bytes());
        }
        value.extend_from_slice(piece);
        batch.insert(&key(change.id, part), value);
    }
    if change.existed
        && let Some(first) = guarded(|| db.get(key(change.id, 0)))?
    {
        let (before, _) = split_first(&first)?;
        (parts..before).for_each(|part| batch.remove(&key(change.id, part)));
    }
    Ok(())
}

/// One row part's key: sorts by id, then part.
fn key(id: QueueId, part: u16) -> [u8; 11] {
    let mut key = [0; 11];
    key[..1].copy_from_slice(ROWS);
    key[1..9].copy_from_slice(&id.raw().to_be_bytes());
    key[9..].copy_from_slice(&part.to_be_bytes());
    key
}

fn split_key(key: &[u8]) -> Result<(QueueId, u16), IndexError> {
    match *key {
        [_, a, b, c, d, e, f, g, h, p, q] => Ok((
            QueueId::from_raw(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            u16::from_be_bytes([p, q]),
        )),
        _ => Err(IndexError("a strange key".into())),
    }
}

/// The first part says how many there are.
fn split_first(value: &[u8]) -> Result<(u16, &[u8]), IndexError> {
    match value {
        [a, b, bytes @ ..] if (*a, *b) != (0, 0) => Ok((u16::from_be_bytes([*a, *b]), bytes)),
        _ => Err(IndexError("a row without length".into())),
    }
}

/// Frees what a batch of so many rows left behind. sled copies a page for each change and leaves the old
/// one to crossbeam's epochs, which are looked at only every 128th time that a thread pins one. A batch
/// pins once, whatever its length: the garbage of a million rows would be two thirds of the memory.
fn reclaim(rows: usize) {
    // Two rounds to leave the epoch in which it was made, and then 512 objects each.
    for _ in 0..2 + rows * LEFT_BY_ROW / 512 {
        crossbeam_epoch::pin().flush();
    }
}

fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(IndexError("sled panicked".into())),
    }
}

fn unflushed(error: FlushError<IndexError>) -> IndexError {
    match error {
        FlushError::Failed(error) => error,
        FlushError::Hangs | FlushError::Panicked => failed(error),
    }
}

fn failed(error: impl std::fmt::Display) -> IndexError {
    IndexError(error.to_string())
}

pub(super) const INDEX: &str = "index";
/// sled's one large file.
const FILE: &str = "db";
const SUSPECT: &str = "index.suspect";
const APPLIED: &[u8] = b"!applied";
const ROWS: &[u8] = b"m";
const ROWS_END: &[u8] = b"n";
/// Octets of a row part: with key and sled's own under 4 KiB.
const PART: usize = 3 * 1024;
/// Messages in one batch of sled, which frees nothing that it leaves behind before its end.
const BATCH: usize = 500;
/// Objects that the change of a row leaves behind, at most about.
const LEFT_BY_ROW: usize = 8;
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_FLUSH: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn change(id: u64, row: Option<Vec<u8>>) -> RowChange {
        RowChange {
            id: QueueId::from_raw(id),
            row,
            existed: true,
        }
    }

    #[test]
    fn long_rows_are_split_come_back_and_shrink() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path(), 1 << 20).unwrap();
        let long: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let at = Position {
            segment: 2,
            offset: 5,
        };
        let rows = [change(1, Some(long.clone())), change(2, Some(vec![7; 10]))];
        index.apply(&rows, Some(at)).unwrap();
        assert_eq!(index.get(QueueId::from_raw(1)), Ok(Some(long)));
        assert_eq!(index.applied(), Ok(Some(at)));
        index
            .apply(&[change(1, Some(vec![1; 4_000]))], None)
            .unwrap();
        let mut seen = Vec::new();
        let collect = |id: QueueId, row: &[u8]| {
            seen.push((id.raw(), row.len()));
            Ok(())
        };
        let first = QueueId::from_raw(0);
        assert_eq!(index.for_each(first, 9, collect), Ok(None));
        assert_eq!(seen, [(1, 4_000), (2, 10)]);
        let second = QueueId::from_raw(2);
        assert_eq!(index.for_each(first, 1, |_, _| Ok(())), Ok(Some(second)));
        let is_second = |id, _: &[u8]| {
            assert_eq!(id, second);
            Ok(())
        };
        assert_eq!(index.for_each(second, 1, is_second), Ok(None));
        index.apply(&[change(1, None)], None).unwrap();
        assert_eq!(index.get(QueueId::from_raw(1)), Ok(None));
        let blobs = fs::read_dir(dir.path().join("index/blobs")).unwrap();
        assert_eq!(blobs.count(), 0, "sled never syncs what is in there");
    }

    /// Others use the same epochs (caches of the resolver, sled's own threads), and are seldom all out of
    /// them when sled looks.
    #[test]
    fn h9_02_many_rows_take_no_more_memory_than_the_cache() {
        // In a process of its own: other tests need memory, too.
        if std::env::var_os(ALONE).is_none() {
            let name = "embedded::index::tests::h9_02_many_rows_take_no_more_memory_than_the_cache";
            let alone = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name, "--nocapture"])
                .env(ALONE, "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&alone.stdout);
            assert!(
                alone.status.success() && said.contains("1 passed"),
                "{alone:?}"
            );
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path(), 1 << 20).unwrap();
        let end = std::sync::atomic::AtomicBool::new(false);
        let resident = || {
            let text = fs::read_to_string("/proc/self/statm").unwrap();
            let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
            pages * 4096
        };
        let write = |numbers: std::ops::Range<u64>| {
            let row = |id| RowChange {
                existed: false,
                ..change(id, Some(vec![7; 100]))
            };
            let rows: Vec<RowChange> = numbers.map(row).collect();
            let mut batches = rows.chunks(5_000);
            batches.try_for_each(|rows| index.apply(rows, None))
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !end.load(std::sync::atomic::Ordering::Relaxed) {
                    let pinned = crossbeam_epoch::pin();
                    std::thread::sleep(Duration::from_millis(1));
                    drop(pinned);
                }
            });
            write(0..5_000).unwrap();
            let before = resident();
            let written = write(5_000..100_000);
            let more = resident().saturating_sub(before) >> 20;
            end.store(true, std::sync::atomic::Ordering::Relaxed);
            written.unwrap();
            assert!(more < 64, "{more} MiB for 95,000 rows");
        });
    }

    const ALONE: &str = "SEALPOST_TEST_ALONE";

    #[test]
    fn an_index_that_was_not_trusted_is_refused_until_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        drop(Index::open(dir.path(), 1 << 20).unwrap());
        assert!(Index::open(dir.path(), 1 << 20).is_err());
        Index::move_aside(dir.path()).unwrap();
        let index = Index::open(dir.path(), 1 << 20).unwrap();
        index.trust().unwrap();
        drop(index);
        assert!(!Index::is_suspect(dir.path()));
        Index::open(dir.path(), 1 << 20).unwrap();
    }
}
