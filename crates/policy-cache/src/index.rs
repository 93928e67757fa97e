//! The second copy of all policies: a small sled of its own beside the journal, `DIR/index`.
//!
//! The journal is the truth. The index lags behind it, may be deleted at any time, and heals what is
//! damaged in the journal. Rows are under 4 KiB, texts are split over several, so that sled's
//! path for large values (`blobs/`), which is never synced, is not taken. `flush()` does not sync
//! either: a descriptor of our own of the database file does. sled panics on some damage: every
//! call goes through `catch_unwind`, and opening stands behind a marker file.
//!
//! Invariant: one row (`!state`) says up to where the journal is contained, how many rows
//! there are and the sum of their digests, and is written in the same batch as they are. What does
//! not add up is not taken for complete, whatever sled says of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use journal::{FlushError, Flusher, Position, await_unlocked};
use mail_types::Domain;

use crate::row::{Row, digest};

mod item;

pub(crate) use item::{Class, Item};
use item::{Pieces, prefix, split_key};

/// An open index; one thread at a time writes it.
pub(crate) struct Index {
    db: sled::Db,
    flusher: Flusher<IndexError>,
    suspect: PathBuf,
    state: State,
    /// Nothing is missing before `state.applied`: the row that says so may be written.
    complete: bool,
}

/// The index cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the index cannot be used: {0}")]
pub(crate) struct IndexError(pub(crate) String);

/// What the index says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Just behind the last record of the journal that is contained.
    pub(crate) applied: Position,
    /// The store was closed in order: nothing was appended to the journal after that.
    pub(crate) closed: bool,
    rows: u64,
    sum: u64,
}

/// All that could be read.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) items: Vec<Item>,
    pub(crate) state: Option<State>,
    /// Why it may not be complete.
    pub(crate) trouble: Option<String>,
}

/// What is to be written about one thing of one domain.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// The row with its number; an older one than is there changes nothing.
    Put(u64, Row),
    /// Nothing is to be known if what is there is this old.
    RemoveUpTo(u64),
}

/// The last edit of each thing counts.
pub(crate) type Edits = BTreeMap<(Class, Domain), Edit>;

impl Index {
    /// Opens or makes the index in `dir` and reads all of it. Blocks.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Contents), IndexError> {
        let suspect = dir.join(SUSPECT);
        if suspect.exists() {
            return Err(IndexError(
                "it failed in use, or the program ended while opening it".into(),
            ));
        }
        File::create(&suspect).map_err(failed)?;
        let path = dir.join(INDEX);
        let config = sled::Config::new()
            .path(&path)
            .cache_capacity(CACHE)
            .use_compression(false)
            .flush_every_ms(None);
        // A thread of sled's pool may still hold the lock of the one that was open before.
        await_unlocked(&path.join("db"), LOCK_PATIENCE).map_err(failed)?;
        let db = guarded(|| config.open())?;
        let file = File::open(path.join("db")).map_err(failed)?;
        let flushed = db.clone();
        let flush = move || {
            guarded(|| flushed.flush().map(|_| ()))?;
            file.sync_data().map_err(failed)
        };
        let flusher = Flusher::start("policy-index-flush", LONGEST_FLUSH, flush);
        let mut index = Self {
            flusher: flusher.map_err(failed)?,
            db,
            suspect,
            state: State::EMPTY,
            complete: false,
        };
        let contents = index.read();
        if let (Some(state), None) = (contents.state, &contents.trouble) {
            index.state = state;
            index.complete = true;
        }
        // Read to its end without a panic.
        fs::remove_file(&index.suspect).map_err(failed)?;
        Ok((index, contents))
    }

    /// Whether there is one, good or bad.
    pub(crate) fn exists(dir: &Path) -> bool {
        dir.join(INDEX).exists()
    }

    /// Makes room for a new index: what was there is kept beside for inspection.
    pub(crate) fn move_aside(dir: &Path) -> Result<(), IndexError> {
        let (path, aside) = (dir.join(INDEX), dir.join("index.damaged"));
        let missing = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        missing(fs::remove_dir_all(&aside)).map_err(failed)?;
        missing(fs::rename(path, aside)).map_err(failed)?;
        missing(fs::remove_file(dir.join(SUSPECT))).map_err(failed)
    }

    /// The index failed in use: the next start is to rebuild it.
    pub(crate) fn distrust(&self) {
        if let Err(error) = File::create(&self.suspect) {
            tracing::error!(path = %self.suspect.display(), %error, "cannot mark the index of policies for a rebuild; remove it by hand before the next start");
        }
    }

    /// Up to where the journal is contained now.
    pub(crate) fn applied(&self) -> Position {
        self.state.applied
    }

    /// Writes edits and makes them durable. The index then contains all of the journal before
    /// `applied`.
    pub(crate) fn apply(
        &mut self,
        edits: &Edits,
        applied: Position,
        closed: bool,
    ) -> Result<(), IndexError> {
        let (mut batch, mut bytes) = (sled::Batch::default(), 0);
        for ((class, domain), edit) in edits {
            bytes += self.add(&mut batch, *class, domain, edit)?;
            if bytes > BATCH {
                self.commit(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        self.state.applied = applied;
        self.state.closed = closed;
        self.complete = true;
        self.commit(batch)?;
        self.flusher.flush().map_err(unflushed)
    }

    /// The things known now with a number of at most `seq`, but for those that are kept.
    pub(crate) fn older_than(
        &self,
        seq: u64,
        kept: &Edits,
    ) -> Result<Vec<(Class, Domain)>, IndexError> {
        let mut old = Vec::new();
        let mut rows = guarded(|| Ok(self.db.range::<&[u8], _>(ROWS..ROWS_END)))?;
        while let Some((key, value)) = guarded(|| rows.next().transpose())? {
            let (class, domain, part) = split_key(&key).ok_or_else(strange)?;
            if part == 0 && item::seq(&value).is_some_and(|s| s <= seq) {
                let thing = (class, domain);
                if !kept.contains_key(&thing) {
                    old.push(thing);
                }
            }
        }
        Ok(old)
    }

    /// Adds what one edit changes; returns its bytes.
    fn add(
        &mut self,
        batch: &mut sled::Batch,
        class: Class,
        domain: &Domain,
        edit: &Edit,
    ) -> Result<usize, IndexError> {
        let before = guarded(|| {
            let rows = self.db.scan_prefix(prefix(class, domain));
            rows.collect::<sled::Result<Vec<_>>>()
        })?;
        let known = before.first().and_then(|(_, head)| item::seq(head));
        let pieces = match edit {
            Edit::Put(seq, _) if known.is_some_and(|known| known >= *seq) => return Ok(0),
            Edit::RemoveUpTo(seq) if known.is_some_and(|known| known > *seq) => return Ok(0),
            // What has ended is not kept: a contact that comes back does no harm.
            Edit::Put(_, Row::Contact(_, None)) | Edit::RemoveUpTo(_) => Pieces::none(),
            Edit::Put(seq, row) => Pieces::of(class, domain, &row.encode(*seq), *seq)?,
        };
        let mut bytes = 0;
        let new = pieces.rows();
        for (key, value) in before.iter().skip(new.len()) {
            self.forget(key, value);
            batch.remove(key);
        }
        for (n, (key, value)) in new.iter().enumerate() {
            if let Some((old_key, old)) = before.get(n) {
                if old_key == key && old == value {
                    continue;
                }
                self.forget(old_key, old);
            }
            self.state.rows += 1;
            self.state.sum = self.state.sum.wrapping_add(row_digest(key, value));
            bytes += key.len() + value.len();
            batch.insert(key.as_slice(), value.as_slice());
        }
        Ok(bytes)
    }

    fn forget(&mut self, key: &[u8], value: &[u8]) {
        self.state.rows -= 1;
        self.state.sum = self.state.sum.wrapping_sub(row_digest(key, value));
    }

    fn commit(&self, mut batch: sled::Batch) -> Result<(), IndexError> {
        if self.complete {
            batch.insert(STATE, self.state.encode());
        }
        guarded(|| self.db.apply_batch(batch.clone()))
    }

    fn read(&self) -> Contents {
        let mut contents = Contents {
            items: Vec::new(),
            state: None,
            trouble: None,
        };
        if let Err(IndexError(why)) = self.read_into(&mut contents) {
            contents.trouble = Some(why);
        }
        contents
    }

    fn read_into(&self, contents: &mut Contents) -> Result<(), IndexError> {
        contents.state = guarded(|| self.db.get(STATE))?.and_then(|v| State::decode(&v));
        let (mut count, mut sum, mut bad) = (0, 0u64, 0);
        let mut parts: Vec<(sled::IVec, sled::IVec)> = Vec::new();
        let mut rows = guarded(|| Ok(self.db.range::<&[u8], _>(ROWS..ROWS_END)))?;
        let mut finish = |parts: &mut Vec<(sled::IVec, sled::IVec)>| {
            if !parts.is_empty() {
                match Item::read(parts) {
                    Some(item) => contents.items.push(item),
                    None => bad += 1,
                }
                parts.clear();
            }
        };
        while let Some((key, value)) = guarded(|| rows.next().transpose())? {
            count += 1;
            sum = sum.wrapping_add(row_digest(&key, &value));
            if parts
                .first()
                .is_some_and(|(first, _)| !item::same_thing(first, &key))
            {
                finish(&mut parts);
            }
            parts.push((key, value));
        }
        finish(&mut parts);
        match contents.state {
            None => Err(IndexError("it is not complete".into())),
            Some(_) if bad > 0 => Err(IndexError(format!("{bad} of its entries are damaged"))),
            Some(state) if (state.rows, state.sum) != (count, sum) => {
                Err(IndexError("some of its rows are missing or changed".into()))
            }
            Some(_) => Ok(()),
        }
    }
}

impl State {
    const EMPTY: Self = Self {
        applied: Position::START,
        closed: false,
        rows: 0,
        sum: 0,
    };

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(33);
        for number in [self.applied.pack(), self.rows, self.sum] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.push(u8::from(self.closed));
        bytes.extend_from_slice(&digest(&bytes).to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (said, check) = bytes.split_last_chunk::<8>()?;
        if digest(said).to_be_bytes() != *check {
            return None;
        }
        let (applied, rest) = said.split_first_chunk()?;
        let (rows, rest) = rest.split_first_chunk()?;
        let (sum, rest) = rest.split_first_chunk()?;
        let [closed] = rest else { return None };
        Some(Self {
            applied: Position::unpack(u64::from_be_bytes(*applied)),
            rows: u64::from_be_bytes(*rows),
            sum: u64::from_be_bytes(*sum),
            closed: *closed == 1,
        })
    }
}

fn row_digest(key: &[u8], value: &[u8]) -> u64 {
    digest(key) ^ digest(value).rotate_left(1)
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

fn strange() -> IndexError {
    IndexError("a strange key".into())
}

pub(crate) const INDEX: &str = "index";
const SUSPECT: &str = "index.suspect";
const STATE: &[u8] = b"!state";
const ROWS: &[u8] = b"r";
const ROWS_END: &[u8] = b"s";
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_FLUSH: Duration = Duration::from_secs(30);
/// All policies are in memory: the index is read at start and written in small batches.
const CACHE: u64 = 4 << 20;
/// Octets of rows in one batch of sled.
const BATCH: usize = 1 << 20;

#[cfg(test)]
mod tests;
