//! What appenders are told when the disk fails.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use journal::{
    AppendError, FailedOperation, Failure, Journal, LargeFiles, Options, Position, Record,
    RemoveError, SimulatedDisk, Storage, StorageFile, Urgency,
};

fn open(disk: &SimulatedDisk) -> Journal {
    open_with_room(disk, 0)
}

fn open_with_room(disk: &SimulatedDisk, zero_ahead: u64) -> Journal {
    let options = Options {
        zero_ahead,
        ..Options::new("/data", *b"failure\0")
    };
    Journal::open(Arc::new(disk.clone()), options).unwrap().0
}

fn poisoned(error: AppendError) -> Failure {
    match error {
        AppendError::Poisoned(failure) => failure,
        other => panic!("not poisoned: {other}"),
    }
}

#[test]
fn h6_03_a_failed_sync_poisons_until_restart_with_its_cause() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    journal.append_and_wait(Record::new(1, 1, "")).unwrap();
    // With this seed the write is one operation, so the next is its sync.
    disk.fail_at(disk.operations() + 2, 5);
    let failure = poisoned(journal.append_and_wait(Record::new(1, 2, "")).unwrap_err());
    assert_eq!(failure.operation, FailedOperation::Sync);
    assert_eq!(failure.errno(), Some(5));
    assert!(failure.to_string().contains("00000001.seg"), "{failure}");
    let operations = disk.operations();
    for result in [
        journal.append_and_wait(Record::new(1, 3, "")).map(drop),
        journal.checkpoint_and_wait(Position::START, "").map(drop),
        journal.sync(),
        journal.rotate().map(drop),
    ] {
        assert_eq!(poisoned(result.unwrap_err()).errno(), Some(5));
    }
    assert!(
        journal
            .try_append(Record::new(1, 3, ""), Urgency::Rides, None)
            .is_ok(),
        "refused through its completion"
    );
    assert_eq!(journal.health().unwrap_err().errno(), Some(5));
    let (sender, receiver) = mpsc::channel();
    journal.on_room(move || sender.send(()).unwrap());
    receiver.try_recv().unwrap();
    drop(journal);
    assert_eq!(
        disk.operations(),
        operations,
        "nothing is written after the failure"
    );
}

#[test]
fn h6_09_a_read_only_disk_poisons_with_its_errno() {
    let disk = SimulatedDisk::new(2);
    let journal = open(&disk);
    disk.fail_at(disk.operations() + 1, 30);
    let failure = poisoned(journal.append_and_wait(Record::new(1, 1, "")).unwrap_err());
    assert_eq!(
        (failure.operation, failure.kind()),
        (FailedOperation::Write, io::ErrorKind::ReadOnlyFilesystem)
    );
}

#[test]
fn h6_10_no_room_for_a_new_segment_refuses_and_leaves_nothing() {
    let disk = SimulatedDisk::new(3);
    let journal = open(&disk);
    journal.append_and_wait(Record::new(1, 1, "")).unwrap();
    disk.fail_at(disk.operations() + 1, 28);
    assert!(
        matches!(journal.rotate(), Err(AppendError::Full(failure)) if failure.errno() == Some(28))
    );
    assert!(disk.content("/data/00000002.seg".as_ref()).is_none());
    journal.append_and_wait(Record::new(1, 2, "")).unwrap();
    assert_eq!(journal.rotate().unwrap(), 2);
    assert_eq!(journal.stats().refused_full, 1);
}

#[test]
fn h9_01_no_descriptor_for_a_new_segment_refuses_for_now_and_says_so() {
    let disk = SimulatedDisk::new(3);
    let journal = open(&disk);
    journal.append_and_wait(Record::new(1, 1, "")).unwrap();
    disk.fail_at(disk.operations() + 1, 24);
    let error = journal.rotate().unwrap_err().to_string();
    assert!(error.starts_with("no more files can be opened"), "{error}");
    journal.health().unwrap();
    journal.append_and_wait(Record::new(1, 2, "")).unwrap();
    assert_eq!(journal.rotate().unwrap(), 2);
}

#[test]
fn a_disk_that_has_no_room_for_zeros_has_room_for_records() {
    let disk = SimulatedDisk::new(31);
    let journal = open_with_room(&disk, 1 << 20);
    disk.set_capacity(Some(10_000));
    for key in 0..20 {
        journal.append_and_wait(Record::new(1, key, "")).unwrap();
    }
    assert_eq!(journal.stats().refused_full, 0);
    disk.set_capacity(None);
    journal.append_and_wait(Record::new(1, 20, "")).unwrap();
    let len = disk.content("/data/00000001.seg".as_ref()).unwrap().len();
    assert!(len > 1 << 20, "room is made again: {len}");
}

#[test]
fn zeros_that_cannot_be_written_or_cut_off_poison() {
    for (what, operation) in [("written", 2), ("cut off", 1)] {
        let disk = SimulatedDisk::new(32);
        let journal = open_with_room(&disk, 16);
        journal.append_and_wait(Record::new(1, 1, "")).unwrap();
        disk.fail_at(disk.operations() + operation, 5);
        let failure = if what == "written" {
            poisoned(journal.append_and_wait(Record::new(1, 2, "")).unwrap_err())
        } else {
            poisoned(journal.rotate().unwrap_err())
        };
        assert_eq!(failure.errno(), Some(5), "{what}");
        let expected = match what {
            "written" => FailedOperation::Write,
            _ => FailedOperation::Truncate,
        };
        assert_eq!(failure.operation, expected, "{what}");
    }
}

#[test]
fn a_failed_removal_poisons_and_may_not_be_taken_for_done() {
    let disk = SimulatedDisk::new(4);
    let journal = open(&disk);
    journal.append_and_wait(Record::new(1, 1, "")).unwrap();
    journal.rotate().unwrap();
    disk.fail_at(disk.operations() + 2, 5);
    assert!(
        matches!(journal.remove_segment(1), Err(RemoveError::Failed(failure)) if failure.errno() == Some(5))
    );
    assert!(journal.health().is_err());
}

#[test]
fn the_owner_can_stop_the_journal_for_a_failure_of_its_own() {
    let disk = SimulatedDisk::new(5);
    let journal = open(&disk);
    let files = LargeFiles::open(Arc::new(disk.clone()), "/data/bodies").unwrap();
    let mut writer = files.create("A").unwrap();
    disk.fail_at(disk.operations() + 1, 5);
    let error = writer
        .write(&[b"body"])
        .and_then(|()| writer.commit().map(drop))
        .unwrap_err();
    journal.fail(Failure::new(
        FailedOperation::Owner,
        "/data/bodies/A",
        error,
    ));
    let failure = poisoned(journal.append_and_wait(Record::new(1, 1, "")).unwrap_err());
    assert_eq!(
        (failure.operation, failure.errno()),
        (FailedOperation::Owner, Some(5))
    );
}

#[test]
fn a_body_file_is_whole_or_absent_after_a_power_cut() {
    for operation in 1..14 {
        let disk = SimulatedDisk::new(operation);
        disk.power_off_at(operation);
        let committed = (|| {
            let files = LargeFiles::open(Arc::new(disk.clone()), "/data/bodies")?;
            let mut writer = files.create("A")?;
            writer.write(&[&[b'a'; 3000], &[b'b'; 3000]])?;
            writer.commit()
        })();
        let disk = disk.power_cut();
        let files = LargeFiles::open(Arc::new(disk.clone()), "/data/bodies").unwrap();
        let listed = files.list().unwrap();
        assert!(
            listed.len() == 1 || committed.is_err(),
            "committed and lost, power off at {operation}"
        );
        if let Some(entry) = listed.first() {
            assert_eq!(entry.len, 6000, "power off at {operation}");
            assert_eq!(
                disk.list("/data/bodies".as_ref()).unwrap().len(),
                1,
                "part files are removed"
            );
        }
    }
}

#[test]
fn h6_04_a_slow_disk_holds_back_appenders() {
    let gate = Arc::new(Gate::default());
    let disk = SlowDisk {
        disk: SimulatedDisk::new(6),
        gate: Arc::clone(&gate),
    };
    let options = Options {
        max_waiting_bytes: 1000,
        ..Options::new("/data", *b"slow\0\0\0\0")
    };
    let (journal, _) = Journal::open(Arc::new(disk), options).unwrap();
    gate.closed.store(true, Ordering::SeqCst);
    let (sender, receiver) = mpsc::channel();
    let (room, has_room) = mpsc::channel();
    let mut accepted = 0;
    let refused = loop {
        let sender = sender.clone();
        let record = Record::new(1, accepted, "").with_body([Bytes::from(vec![0; 400])]);
        let completion = Box::new(move |result: Result<_, _>| sender.send(result.is_ok()).unwrap());
        match journal.try_append(record, Urgency::Now, Some(completion)) {
            Ok(()) => accepted += 1,
            Err(refused) => break refused,
        }
        assert!(accepted < 100, "no back-pressure");
    };
    assert!(journal.stats().waiting_bytes >= 1000);
    journal.on_room(move || room.send(()).unwrap());
    gate.open();
    has_room.recv().unwrap();
    journal
        .try_append(refused.group, Urgency::Now, refused.completion)
        .unwrap();
    assert!((0..=accepted).all(|_| receiver.recv().unwrap()));
}

/// Lets writes through only while it is open.
#[derive(Default)]
struct Gate {
    closed: AtomicBool,
    lock: std::sync::Mutex<()>,
    opened: std::sync::Condvar,
}

impl Gate {
    fn open(&self) {
        let _guard = self.lock.lock().unwrap();
        self.closed.store(false, Ordering::SeqCst);
        self.opened.notify_all();
    }

    fn pass(&self) {
        let guard = self.lock.lock().unwrap();
        drop(
            self.opened
                .wait_while(guard, |()| self.closed.load(Ordering::SeqCst))
                .unwrap(),
        );
    }
}

struct SlowDisk {
    disk: SimulatedDisk,
    gate: Arc<Gate>,
}

struct SlowFile {
    file: Arc<dyn StorageFile>,
    gate: Arc<Gate>,
}

impl SlowDisk {
    fn slow(&self, file: io::Result<Arc<dyn StorageFile>>) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(SlowFile {
            file: file?,
            gate: Arc::clone(&self.gate),
        }))
    }
}

impl Storage for SlowDisk {
    fn create_dir_all(&self, path: &std::path::Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn create_new(&self, path: &std::path::Path) -> io::Result<Arc<dyn StorageFile>> {
        self.slow(self.disk.create_new(path))
    }
    fn open(&self, path: &std::path::Path) -> io::Result<Arc<dyn StorageFile>> {
        self.slow(self.disk.open(path))
    }
    fn open_writable(&self, path: &std::path::Path) -> io::Result<Arc<dyn StorageFile>> {
        self.slow(self.disk.open_writable(path))
    }
    fn rename(&self, from: &std::path::Path, to: &std::path::Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn unlink(&self, path: &std::path::Path) -> io::Result<()> {
        self.disk.unlink(path)
    }
    fn list(&self, dir: &std::path::Path) -> io::Result<Vec<journal::DirEntry>> {
        self.disk.list(dir)
    }
    fn sync_dir(&self, dir: &std::path::Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
}

impl StorageFile for SlowFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_vectored_at(&self, pieces: &[io::IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.gate.pass();
        self.file.write_vectored_at(pieces, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}
