//! Writes an index anew when its file is large and what is left in it small: after a long queue has drained.
//!
//! Nothing is at stake: everything is in the journal, and until the new one is complete a marker says that it
//! is to be rebuilt from there.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use journal::await_unlocked;

use super::{Engine, FILE, INDEX, Index, IndexError, LOCK_PATIENCE, failed, guarded};

impl Index {
    /// Gives back what the file takes too much, if it holds little; `messages` is how many there are. Whoever reads
    /// meanwhile waits; one thread writes, and calls this. It never waits for readers: they may hold what it would
    /// hold up. `Ok(true)`: done.
    ///
    /// # Errors
    /// The index cannot be used any more; the next start rebuilds it.
    pub(in crate::embedded) fn shrink(&self, messages: usize) -> Result<bool, IndexError> {
        if messages >= self.few.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let path = self.directory.join(INDEX);
        let size = fs::metadata(path.join(FILE)).map_err(failed)?.blocks() * 512;
        if size < self.large {
            return Ok(false);
        }
        let Some(mut place) = self.engine.try_write() else {
            return Ok(false);
        };
        let batch = match place.as_ref() {
            Some(engine) => contents(&engine.db)?,
            None => return Ok(false),
        };
        let Some(batch) = batch.filter(|_| File::create(&self.suspect).is_ok()) else {
            // Large as it is, it works. To read all of it costs: it is looked at again when the queue has halved.
            self.few
                .store(messages.div_ceil(2).max(1), Ordering::Relaxed);
            return Ok(false);
        };
        *place = None;
        // Not before the last of its threads has let go: it might write into what is to be new.
        await_unlocked(&path.join(FILE), LOCK_PATIENCE).map_err(failed)?;
        fs::remove_dir_all(&path).map_err(failed)?;
        let anew = self.open_again(&path)?;
        guarded(|| anew.db.apply_batch(batch.clone()))?;
        anew.flush()?;
        *place = Some(anew);
        drop(place);
        self.few.store(FEW, Ordering::Relaxed);
        self.trust()?;
        Ok(true)
    }

    /// What this lacks for a moment (a descriptor, a thread) must not end the relay.
    fn open_again(&self, path: &Path) -> Result<Engine, IndexError> {
        let mut left = TRIES;
        loop {
            match Engine::open(path, self.cache) {
                Err(error) if left > 0 => {
                    tracing::warn!(%error, "the queue's new index does not open; trying again");
                    std::thread::sleep(BETWEEN_TRIES);
                    left -= 1;
                }
                opened => return opened,
            }
        }
    }
}

/// All there is; `None` if that is not little.
fn contents(db: &sled::Db) -> Result<Option<sled::Batch>, IndexError> {
    let mut batch = sled::Batch::default();
    let mut octets = 0;
    let mut rows = guarded(|| Ok(db.iter()))?;
    while let Some((key, value)) = guarded(|| rows.next().transpose())? {
        octets += key.len() + value.len();
        if octets > LITTLE {
            return Ok(None);
        }
        batch.insert(key, value);
    }
    Ok(Some(batch))
}

/// Octets of a file that may be too large: half a segment of the journal.
pub(super) const LARGE: u64 = 32 << 20;
/// Octets of keys and values that take well under [`LARGE`].
const LITTLE: usize = 4 << 20;
/// Messages whose rows may well be [`LITTLE`].
pub(super) const FEW: usize = 10_000;
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::super::{RowChange, tests::change};
    use super::*;
    use journal::Position;
    use mail_types::QueueId;

    #[test]
    fn what_has_become_small_gives_its_room_back_and_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Index::open(dir.path(), 1 << 20).unwrap();
        // sled cuts free room at the very end of its file by itself, sooner or later.
        index.large = LARGE / 8;
        index.trust().unwrap();
        let id = QueueId::from_raw;
        let at = |offset| Position { segment: 3, offset };
        let size = || fs::metadata(dir.path().join("index/db")).unwrap().blocks() * 512;
        let write = |rows: &[RowChange], at| index.apply(rows, Some(at)).unwrap();
        for n in 0..12_u32 {
            let rows: Vec<RowChange> = (u64::from(n) * 1_000..u64::from(n + 1) * 1_000)
                .map(|n| change(n, Some(vec![7; 3_000])))
                .collect();
            write(&rows, at(n));
        }
        let before = size();
        assert!(before > LARGE, "{before}");
        // There is much, and then all of it is wanted.
        assert_eq!(index.shrink(FEW), Ok(false));
        assert_eq!(index.few.load(Ordering::Relaxed), FEW);
        assert_eq!(index.shrink(FEW - 1), Ok(false));
        assert_eq!(index.get(id(11_999)).unwrap().unwrap().len(), 3_000);
        let rows: Vec<RowChange> = (0..11_990).map(|n| change(n, None)).collect();
        write(&rows, at(77));
        let long = vec![9; 10_000];
        write(&[change(11_999, Some(long.clone()))], at(78));
        // It was looked at not long ago.
        assert_eq!(index.shrink(FEW / 2), Ok(false));
        // Nobody who reads is waited for.
        let reading = index.engine().unwrap();
        assert_eq!(index.shrink(10), Ok(false));
        drop(reading);
        assert_eq!(index.shrink(10), Ok(true));
        assert!(size() < LARGE / 8, "{} octets", size());
        assert_eq!(index.shrink(10), Ok(false));
        assert_eq!(index.few.load(Ordering::Relaxed), FEW);
        let is_whole = |index: &Index| {
            assert_eq!(index.applied(), Ok(Some(at(78))));
            assert_eq!(index.get(id(11_999)), Ok(Some(long.clone())));
            let mut seen = 0;
            let count = |_, _: &[u8]| {
                seen += 1;
                Ok(())
            };
            assert_eq!(index.for_each(id(0), 99, count), Ok(None));
            assert_eq!(seen, 10);
        };
        is_whole(&index);
        write(&[], at(78));
        drop(index);
        let opened = Index::open(dir.path(), 1 << 20).unwrap();
        is_whole(&opened);
    }

    #[test]
    fn without_a_marker_that_it_is_to_be_rebuilt_it_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Index::open(dir.path(), 1 << 20).unwrap();
        index.trust().unwrap();
        index.apply(&[change(1, Some(vec![7; 10]))], None).unwrap();
        index.large = 0;
        fs::create_dir(&index.suspect).unwrap();
        assert_eq!(index.shrink(1), Ok(false));
        let row = index.get(QueueId::from_raw(1)).unwrap();
        assert_eq!(row, Some(vec![7; 10]));
        fs::remove_dir(&index.suspect).unwrap();
        assert_eq!(index.shrink(0), Ok(true));
    }
}
