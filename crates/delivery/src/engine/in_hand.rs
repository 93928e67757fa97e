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
//! A process cannot tell whether it was ended from outside (`kill -9`, a power cut) or by what it did
//! (the kernel's answer to too much memory is `kill -9`, too). So that whoever kills a busy relay a few
//! times does not have innocent mail parked:
//! - an end counts against a message only if it was taken in hand shortly before: what has been in hand
//!   for [`HARMLESS`] waits for a slow peer;
//! - a suspect whose attempt ends, however, while the process lives on is one no longer;
//! - who has had more ends waits a little longer before it is tried, so that a further end meets
//!   another suspect first.
//!
//! ```text
//! DATA/delivery/in-hand    sixteen octets each, numbers big-endian, there while a process runs: first
//!                          a word and when the process was last seen alive, then for each message its
//!                          queue id, 0 for a free place, and when it was taken; monotonic milliseconds
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
    /// When the first message was taken; monotonic.
    began: Option<Duration>,
}

/// A message in hand, until this is dropped.
pub(crate) struct Mark<'a> {
    marks: &'a InHand,
    place: Option<u64>,
    suspect: Option<QueueId>,
}

/// Another suspect is in hand, or has its turn before this one.
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
            for id in read_marks(bytes) {
                *suspects.entry(id).or_default() += 1;
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
        opened.write_suspects(true)?;
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
        self.write_suspects(true)
    }

    /// The process ends as it should, or has run so long that nothing it does ends it.
    pub fn all_is_well(&self) {
        self.careful.store(false, Ordering::Relaxed);
        self.state.lock().suspects.clear();
        if let Some(file) = &self.file {
            let _ = fs::remove_file(self.directory.join(SUSPECTS));
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

    /// The process is alive `now` (monotonic): called every few seconds.
    pub(crate) fn beat(&self, now: Duration) {
        if self.careful.load(Ordering::Relaxed) {
            self.write(0, WORD, now);
        }
    }

    /// A message is taken in hand `now` (monotonic).
    pub(crate) fn take(&self, id: QueueId, now: Duration) -> Result<Mark<'_>, NotNow> {
        let mut mark = Mark {
            marks: self,
            place: None,
            suspect: None,
        };
        if !self.careful.load(Ordering::Relaxed) {
            return Ok(mark);
        }
        let mut state = self.state.lock();
        let began = *state.began.get_or_insert(now);
        if let Some(ends) = state.suspects.get(&id) {
            let turn = began + STAGGER * ends.saturating_sub(1);
            if state.busy || now < turn {
                return Err(NotNow);
            }
            state.busy = true;
            mark.suspect = Some(id);
        }
        // The first place is the process's own.
        let place = state.free.pop().unwrap_or_else(|| {
            state.places += 1;
            state.places
        });
        mark.place = Some(place);
        drop(state);
        self.write(place, id.raw(), now);
        Ok(mark)
    }

    fn write(&self, place: u64, what: u64, at: Duration) {
        let millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let mark = u128::from(what) << 64 | u128::from(millis);
        if let Some(file) = &self.file
            && let Err(error) = file.write_all_at(&mark.to_be_bytes(), place * 16)
        {
            tracing::warn!(%error, "what is in hand cannot be written down");
        }
    }

    /// Synced only where more than the process may be gone before it is read.
    fn write_suspects(&self, synced: bool) -> io::Result<()> {
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
        if synced {
            file.sync_all()?;
        }
        fs::rename(&new, &path)
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        self.marks.write(place, 0, Duration::ZERO);
        let mut state = self.marks.state.lock();
        state.free.push(place);
        let Some(id) = self.suspect else { return };
        state.busy = false;
        // Its attempt has ended, and we are alive.
        let known = state.suspects.remove(&id).is_some();
        drop(state);
        if known && let Err(error) = self.marks.write_suspects(false) {
            tracing::warn!(%error, "that a message is under suspicion no longer cannot be written down");
        }
    }
}

/// The messages that the end of a process is held against.
fn read_marks(bytes: &[u8]) -> Vec<QueueId> {
    let mut marks = bytes.as_chunks::<16>().0.iter().map(|mark| {
        let mark = u128::from_be_bytes(*mark);
        // Both halves of 64 bits.
        ((mark >> 64) as u64, mark as u64)
    });
    let Some((WORD, alive)) = marks.next() else {
        return Vec::new();
    };
    let harmless = u64::try_from(HARMLESS.as_millis()).unwrap_or(u64::MAX);
    let near = marks.filter(|(id, taken)| *id != 0 && taken.saturating_add(harmless) >= alive);
    near.map(|(id, _)| QueueId::from_raw(id)).collect()
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
/// The word at the beginning of the marks: `in hand` and the version of their form.
const WORD: u64 = u64::from_be_bytes(*b"in hand2");
/// Whoever has been in hand for so long did not end the process.
const HARMLESS: Duration = Duration::from_secs(30);
/// For each end after the first a suspect waits so long after the start.
const STAGGER: Duration = Duration::from_secs(5);
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
        // It has run for a while, so that everybody has his turn.
        drop(marks.take(id(999), Duration::ZERO).ok());
        for n in ids {
            if let Ok(mark) = marks.take(id(*n), NOW) {
                std::mem::forget(mark);
            }
        }
        marks.beat(NOW + Duration::from_secs(5));
        out
    }

    /// Times at which all may be tried.
    const NOW: Duration = Duration::from_secs(1000);

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
        let first = marks.take(id(1), NOW).ok();
        assert!(
            first.is_some() && marks.take(id(2), NOW).is_err(),
            "one at a time"
        );
        assert!(marks.take(id(4), NOW).is_ok(), "others as ever");
        drop(first);
        assert!(marks.take(id(2), NOW).is_ok());
        assert_eq!(
            marks.state.lock().suspects.keys().collect::<Vec<_>>(),
            [&id(3)],
            "whose attempt ended while the process lived is no suspect"
        );
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
        let early = marks.take(id(1), NOW).ok();
        marks.all_is_well();
        std::mem::forget(marks.take(id(2), NOW).ok());
        marks.beat(NOW);
        drop(early);
        drop(marks);
        let (marks, _) = InHand::open(dir.path()).unwrap();
        assert!(marks.state.lock().suspects.is_empty());
    }

    #[test]
    fn marks_that_nobody_reads_touch_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join(SUSPECTS);
        fs::write(&theirs, "of somebody else").unwrap();
        let marks = InHand {
            directory: dir.path().to_owned(),
            ..InHand::none()
        };
        marks.close();
        assert!(theirs.exists());
    }

    #[test]
    fn h7_08_killing_a_busy_relay_parks_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        died_with(dir, &[]);
        // Three hundred wait for slow peers whenever it is killed, as the queue gives them out: always
        // the same one first.
        for _ in 0..10 {
            let (marks, out) = InHand::open(dir).unwrap();
            assert_eq!(out, []);
            for n in 1..=300 {
                std::mem::forget(marks.take(id(n), NOW).ok());
            }
            marks.beat(NOW + Duration::from_secs(5));
        }
        let most = InHand::open(dir).unwrap().0;
        let most = most.state.lock().suspects.values().copied().max();
        assert!(most <= Some(2), "{most:?}");
    }

    #[test]
    fn h7_08_what_has_been_in_hand_for_long_did_not_end_the_process() {
        let dir = tempfile::tempdir().unwrap();
        died_with(dir.path(), &[]);
        let (marks, _) = InHand::open(dir.path()).unwrap();
        std::mem::forget(marks.take(id(1), NOW).ok());
        std::mem::forget(marks.take(id(2), NOW + Duration::from_secs(40)).ok());
        marks.beat(NOW + Duration::from_secs(45));
        drop(marks);
        let (marks, _) = InHand::open(dir.path()).unwrap();
        assert_eq!(marks.state.lock().suspects, BTreeMap::from([(id(2), 1)]));
    }

    #[test]
    fn h7_08_who_has_had_more_ends_is_tried_later() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        died_with(dir, &[]);
        died_with(dir, &[1, 2]);
        died_with(dir, &[1]);
        let (marks, _) = InHand::open(dir).unwrap();
        assert!(marks.take(id(1), NOW).is_err());
        assert!(marks.take(id(2), NOW).is_ok());
        assert!(marks.take(id(1), NOW + STAGGER).is_ok());
    }
}
