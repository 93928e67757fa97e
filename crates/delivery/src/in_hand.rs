//! Which messages are in hand, where it outlives the process (row H7-08).
//!
//! A message that ends the process (not a panic: an abort, a full stack, a signal) would end every
//! process after it too. So an unclean end makes the next process careful for a while: it writes down
//! in a file what it has in hand, eight octets a message and no sync, since only the process is gone
//! then and not the kernel. What stood there at the next unclean end is a *suspect*, and suspects are
//! delivered one at a time: whoever was in hand by chance is soon delivered, and the culprit is in hand
//! again. After [`DEATHS`] such ends it is parked. A process that has run for [`CAREFUL`] is well, and
//! writes nothing.
//!
//! ```text
//! DATA/delivery/in-hand    queue ids, big-endian, 0 for a free place; there while a process runs
//! DATA/delivery/suspects   a line each: queue id, unclean ends with it in hand
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mail_types::QueueId;
use parking_lot::Mutex;

/// The marks of one process.
pub struct InHand {
    directory: PathBuf,
    file: Option<File>,
    /// Marks are made.
    careful: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: Vec<u64>,
    places: u64,
    suspects: BTreeMap<QueueId, u32>,
    /// A suspect is in hand.
    busy: bool,
}

/// A message in hand, until this is dropped.
pub(crate) struct Mark<'a> {
    marks: &'a InHand,
    place: Option<u64>,
    suspect: bool,
}

/// Another suspect is in hand.
pub(crate) struct NotNow;

impl InHand {
    /// Reads what an earlier process left in `directory`, and begins anew. Also gives the messages that
    /// are to be parked: after that, tell [`InHand::parked`].
    ///
    /// # Errors
    /// The directory cannot be made, read or written.
    pub fn open(directory: &Path) -> io::Result<(Self, Vec<QueueId>)> {
        fs::create_dir_all(directory)?;
        let marks = directory.join(MARKS);
        let before = match fs::read(&marks) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut suspects = BTreeMap::new();
        if let Some(bytes) = &before {
            suspects = read_suspects(&directory.join(SUSPECTS))?;
            for id in bytes.as_chunks::<8>().0 {
                let id = QueueId::from_raw(u64::from_be_bytes(*id));
                if id.raw() != 0 {
                    *suspects.entry(id).or_default() += 1;
                }
            }
        }
        let opened = Self {
            directory: directory.to_owned(),
            file: None,
            careful: AtomicBool::new(before.is_some()),
            state: Mutex::new(State {
                suspects,
                ..State::default()
            }),
        };
        // Before the marks are wiped out: else a crash in between forgets them.
        opened.write_suspects()?;
        let file = File::create(&marks)?;
        let state = opened.state.lock();
        let out = state.suspects.iter().filter(|(_, n)| **n >= DEATHS);
        let out = out.map(|(id, _)| *id).collect();
        drop(state);
        Ok((
            Self {
                file: Some(file),
                ..opened
            },
            out,
        ))
    }

    /// Marks that nobody reads: for tests, and where there is no directory.
    #[must_use]
    pub fn none() -> Self {
        Self {
            directory: PathBuf::new(),
            file: None,
            careful: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// These are parked: no longer suspects.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn parked(&self, ids: &[QueueId]) -> io::Result<()> {
        self.state.lock().suspects.retain(|id, _| !ids.contains(id));
        self.write_suspects()
    }

    /// The process ends as it should, or has run so long that nothing it does ends it.
    pub fn all_is_well(&self) {
        self.careful.store(false, Ordering::Relaxed);
        self.state.lock().suspects.clear();
        let _ = fs::remove_file(self.directory.join(SUSPECTS));
        if let Some(file) = &self.file {
            // A mark that is still in hand writes its place free later: nothing is read into that.
            let _ = file.set_len(0);
        }
    }

    /// An orderly end: the next process has nothing to be careful about.
    pub fn close(&self) {
        self.all_is_well();
        if self.file.is_some() {
            let _ = fs::remove_file(self.directory.join(MARKS));
        }
    }

    /// Whether marks are still made although the process has run for so long.
    pub(crate) fn is_well_after(&self, running: Duration) -> bool {
        running >= CAREFUL && self.careful.load(Ordering::Relaxed)
    }

    /// A message is taken in hand.
    pub(crate) fn take(&self, id: QueueId) -> Result<Mark<'_>, NotNow> {
        let mut mark = Mark {
            marks: self,
            place: None,
            suspect: false,
        };
        if !self.careful.load(Ordering::Relaxed) {
            return Ok(mark);
        }
        let mut state = self.state.lock();
        if state.suspects.contains_key(&id) {
            if state.busy {
                return Err(NotNow);
            }
            state.busy = true;
            mark.suspect = true;
        }
        let place = state.free.pop().unwrap_or_else(|| {
            state.places += 1;
            state.places - 1
        });
        mark.place = Some(place);
        drop(state);
        self.write(place, id.raw());
        Ok(mark)
    }

    fn write(&self, place: u64, id: u64) {
        if let Some(file) = &self.file
            && let Err(error) = file.write_all_at(&id.to_be_bytes(), place * 8)
        {
            tracing::warn!(%error, "what is in hand cannot be written down");
        }
    }

    fn write_suspects(&self) -> io::Result<()> {
        let path = self.directory.join(SUSPECTS);
        let text: String = {
            let state = self.state.lock();
            let lines = state.suspects.iter().map(|(id, n)| format!("{id} {n}\n"));
            lines.collect()
        };
        if text.is_empty() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let new = self.directory.join("suspects.new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        self.marks.write(place, 0);
        let mut state = self.marks.state.lock();
        state.free.push(place);
        state.busy &= !self.suspect;
    }
}

/// Lines that cannot be read are left out: nothing is lost by that but a suspicion.
fn read_suspects(path: &Path) -> io::Result<BTreeMap<QueueId, u32>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let parsed = text.lines().filter_map(|line| {
        let (id, n) = line.split_once(' ')?;
        Some((id.parse().ok()?, n.parse().ok()?))
    });
    Ok(parsed.collect())
}

const MARKS: &str = "in-hand";
const SUSPECTS: &str = "suspects";
/// Unclean ends with a message in hand before it is parked.
const DEATHS: u32 = 3;
/// How long a process is careful after an unclean end.
const CAREFUL: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> QueueId {
        QueueId::from_raw(n)
    }

    /// What a process leaves that ends with these in hand.
    fn died_with(directory: &Path, ids: &[u64]) -> Vec<QueueId> {
        let (marks, out) = InHand::open(directory).unwrap();
        for n in ids {
            if let Ok(mark) = marks.take(id(*n)) {
                std::mem::forget(mark);
            }
        }
        out
    }

    #[test]
    fn h7_08_the_message_that_ends_the_process_again_and_again_is_parked() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(
            died_with(dir, &[7]).is_empty(),
            "nothing is written down yet"
        );
        for _ in 0..3 {
            assert!(died_with(dir, &[7, 8]).is_empty());
        }
        let (marks, out) = InHand::open(dir).unwrap();
        assert_eq!(
            out,
            [id(7)],
            "the other one was never in hand again: one at a time"
        );
        marks.parked(&out).unwrap();
        assert!(died_with(dir, &[9]).is_empty());
    }

    #[test]
    fn h7_08_who_was_in_hand_by_chance_is_soon_delivered_and_no_suspect_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        died_with(dir, &[]);
        died_with(dir, &[1, 2, 3]);
        let (marks, _) = InHand::open(dir).unwrap();
        let first = marks.take(id(1)).ok();
        assert!(
            first.is_some() && marks.take(id(2)).is_err(),
            "one at a time"
        );
        assert!(marks.take(id(4)).is_ok(), "others as ever");
        drop(first);
        assert!(marks.take(id(2)).is_ok());
        marks.close();
        let (marks, out) = InHand::open(dir).unwrap();
        assert!(out.is_empty() && marks.state.lock().suspects.is_empty());
        assert!(
            !marks.careful.load(Ordering::Relaxed),
            "the end was orderly"
        );
    }

    #[test]
    fn h7_08_a_process_that_has_run_long_enough_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        died_with(dir.path(), &[]);
        let (marks, _) = InHand::open(dir.path()).unwrap();
        assert!(!marks.is_well_after(Duration::from_secs(599)));
        assert!(marks.is_well_after(Duration::from_secs(600)));
        let early = marks.take(id(1)).ok();
        marks.all_is_well();
        std::mem::forget(marks.take(id(2)).ok());
        drop(early);
        drop(marks);
        let (marks, _) = InHand::open(dir.path()).unwrap();
        assert!(marks.state.lock().suspects.is_empty());
    }
}
