//! The journal from outside, on the real disk.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use journal::{
    AppendError, Group, Journal, OpenError, Options, Position, ReadError, RealDisk, Record,
    Recovery, RemoveError, Urgency,
};

const TAG: [u8; 8] = *b"test\0\0\0\0";

fn open(dir: &std::path::Path) -> (Journal, Recovery) {
    Journal::open(Arc::new(RealDisk), Options::new(dir, TAG)).unwrap()
}

fn keys(journal: &Journal, from: Position) -> Vec<u64> {
    let mut keys = Vec::new();
    let report = journal
        .scan(from, |record| {
            keys.push(record.key);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(report.damage, []);
    assert_eq!(report.records, keys.len() as u64);
    keys
}

#[test]
fn e4_14_what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, recovery) = open(dir.path());
    assert!(recovery.segments.is_empty() && recovery.checkpoint.is_none());
    let body = [
        Bytes::from_static(b"Subject: one\r\n"),
        Bytes::new(),
        Bytes::from(vec![b'x'; 40_000]),
    ];
    let record = Record::new(1, 77, "meta").with_body(body);
    let length = record.stored_len();
    let appended = journal.append_and_wait(record).unwrap();
    assert_eq!(appended.positions(), [appended.first()]);
    assert_eq!(
        u64::from(appended.end().offset - appended.first().offset),
        length
    );
    drop(journal);

    let (journal, recovery) = open(dir.path());
    assert_eq!(recovery.segments.len(), 1);
    assert_eq!((recovery.torn_tail, recovery.damage), (None, Vec::new()));
    let stored = journal.read_record(appended.first()).unwrap();
    assert_eq!(
        (stored.kind, stored.key, &stored.meta[..]),
        (1, 77, &b"meta"[..])
    );
    assert_eq!(stored.body.len(), 40_014);
    let mut streamed = Vec::new();
    let mut reader = journal.open_body(appended.first()).unwrap();
    assert_eq!(reader.body_len(), 40_014);
    reader.read_to_end(&mut streamed).unwrap();
    assert_eq!(streamed, stored.body);
    // A new segment is begun, the old tail is never appended to.
    let next = journal.append_and_wait(Record::new(1, 78, "")).unwrap();
    assert!(next.first().segment > appended.first().segment);
    assert_eq!(keys(&journal, Position::START), [77, 78]);
    assert_eq!(keys(&journal, appended.end()), [78]);
}

#[test]
fn restarts_without_appends_do_not_pile_up_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..5 {
        let (journal, _) = open(dir.path());
        assert_eq!(journal.segments().len(), 1);
        assert!(journal.active() > last, "numbers are never used again");
        last = journal.active();
    }
}

#[test]
fn groups_stay_together_and_segments_turn_over() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        segment_size: 1000,
        ..Options::new(dir.path(), TAG)
    };
    let (journal, _) = Journal::open(Arc::new(RealDisk), options).unwrap();
    for key in 0..20 {
        let group = Group::new(Record::new(1, 3 * key, vec![1; 60]))
            .and(Record::new(2, 3 * key + 1, "").with_body([Bytes::from(vec![2; 100])]))
            .and(Record::new(3, 3 * key + 2, "three"));
        let appended = journal.append_and_wait(group).unwrap();
        assert_eq!(appended.positions().len(), 3);
        assert!(
            appended
                .positions()
                .iter()
                .all(|position| position.segment == appended.first().segment)
        );
        assert_eq!(
            &journal.read_body(appended.positions()[1]).unwrap()[..],
            [2; 100]
        );
    }
    assert!(journal.segments().len() > 5, "{:?}", journal.segments());
    assert_eq!(
        keys(&journal, Position::START),
        (0..60).collect::<Vec<u64>>()
    );
    // One that is larger than a segment gets a segment of its own.
    let big = journal
        .append_and_wait(Record::new(1, 60, "").with_body([Bytes::from(vec![7; 5000])]))
        .unwrap();
    assert_eq!(journal.read_body(big.first()).unwrap().len(), 5000);
    assert_eq!(keys(&journal, big.first()), [60]);
}

#[test]
fn a_visitor_that_breaks_can_go_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for key in 0..5 {
        journal.append_and_wait(Record::new(1, key, "")).unwrap();
    }
    let mut seen = Vec::new();
    let mut from = Position::START;
    for _ in 0..5 {
        let report = journal
            .scan(from, |record| {
                seen.push(record.key);
                ControlFlow::Break(())
            })
            .unwrap();
        from = report.end.unwrap();
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    assert_eq!(
        journal
            .scan(from, |_| panic!("nothing is left"))
            .unwrap()
            .records,
        0
    );
}

#[test]
fn the_last_checkpoint_is_found_in_the_last_segment_before_it_and_by_search() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let first = journal.append_and_wait(Record::new(1, 1, "")).unwrap();
    journal.checkpoint_and_wait(Position::START, "old").unwrap();
    let made = journal.checkpoint_and_wait(first.end(), "payload").unwrap();
    journal.append_and_wait(Record::new(1, 2, "")).unwrap();
    drop(journal);
    let check = |recovery: Recovery| {
        let checkpoint = recovery.checkpoint.unwrap();
        assert_eq!(
            (checkpoint.position, checkpoint.replay_from),
            (made.first(), first.end())
        );
        assert_eq!(&checkpoint.payload[..], b"payload");
    };
    let (journal, recovery) = open(dir.path());
    check(recovery);
    assert_eq!(
        keys(&journal, first.end()),
        [2],
        "checkpoints are not shown"
    );
    journal.append_and_wait(Record::new(1, 3, "")).unwrap();
    assert!(matches!(
        journal.remove_segment(made.first().segment),
        Err(RemoveError::HoldsCheckpoint(1))
    ));
    drop(journal);
    check(open(dir.path()).1);
    // The header that tells where it stands is damaged.
    let path = dir.path().join("00000002.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (journal, recovery) = open(dir.path());
    assert_eq!(recovery.damage.len(), 1);
    check(recovery);
    assert_eq!(
        keys(&journal, Position::START),
        [1, 2, 3],
        "records are found without their segment's header"
    );
}

#[test]
fn a_removed_segment_is_gone_but_open_bodies_stay_readable() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let old = journal
        .append_and_wait(Record::new(1, 1, "").with_body([Bytes::from_static(b"body")]))
        .unwrap()
        .first();
    assert!(matches!(
        journal.remove_segment(1),
        Err(RemoveError::Active(1))
    ));
    assert_eq!(journal.rotate().unwrap(), 2);
    assert_eq!(
        journal.rotate().unwrap(),
        2,
        "an empty segment is not ended"
    );
    let mut body = journal.open_body(old).unwrap();
    journal.remove_segment(1).unwrap();
    assert!(matches!(
        journal.remove_segment(1),
        Err(RemoveError::Unknown(1))
    ));
    let mut text = String::new();
    body.read_to_string(&mut text).unwrap();
    assert_eq!(text, "body");
    assert!(matches!(
        journal.read_body(old),
        Err(ReadError::SegmentGone(1))
    ));
    let future = Position {
        segment: 9,
        offset: 40,
    };
    assert!(matches!(
        journal.read_body(future),
        Err(ReadError::PastEnd(_))
    ));
    assert_eq!(journal.stats().segments_removed, 1);
}

#[test]
fn riding_records_are_durable_soon_or_with_the_next_sync() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        riding_sync_within: Duration::from_millis(50),
        ..Options::new(dir.path(), TAG)
    };
    let (journal, _) = Journal::open(Arc::new(RealDisk), options).unwrap();
    let (sender, receiver) = mpsc::channel();
    let begun = Instant::now();
    journal.append(
        Record::new(1, 1, ""),
        Urgency::Rides,
        Some(Box::new(move |result| sender.send(result).unwrap())),
    );
    receiver.recv().unwrap().unwrap();
    assert!(
        begun.elapsed() >= Duration::from_millis(50),
        "no sync of its own"
    );
    assert_eq!(journal.stats().sync_seconds.count, 1);

    let options = Options {
        riding_sync_within: Duration::from_secs(3600),
        ..Options::new(dir.path().join("b"), TAG)
    };
    let (journal, _) = Journal::open(Arc::new(RealDisk), options).unwrap();
    for urgent in [true, false] {
        let (sender, receiver) = mpsc::channel();
        journal.append(
            Record::new(1, 1, ""),
            Urgency::Rides,
            Some(Box::new(move |result| sender.send(result).unwrap())),
        );
        if urgent {
            journal.append_and_wait(Record::new(1, 2, "")).unwrap();
        } else {
            journal.sync().unwrap();
        }
        receiver.try_recv().unwrap().unwrap();
    }
    let stats = journal.stats();
    assert_eq!(
        (stats.sync_seconds.count, stats.groups, stats.records),
        (2, 3, 3)
    );
}

#[test]
fn only_the_last_segment_of_a_running_journal_ends_with_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let len = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
    let options = Options {
        zero_ahead: 1 << 20,
        ..Options::new(dir.path(), TAG)
    };
    let (journal, _) = Journal::open(Arc::new(RealDisk), options).unwrap();
    let appended = journal.append_and_wait(Record::new(1, 1, "one")).unwrap();
    let end = u64::from(appended.end().offset);
    assert_eq!(len("00000001.seg"), end + (1 << 20));
    // Over the zeros nothing grows.
    let appended = journal.append_and_wait(Record::new(1, 2, "two")).unwrap();
    assert_eq!(len("00000001.seg"), end + (1 << 20));
    journal.rotate().unwrap();
    assert_eq!(len("00000001.seg"), u64::from(appended.end().offset));
    let appended = journal.append_and_wait(Record::new(1, 3, "three")).unwrap();

    // Killed now, it leaves zeros; they are no torn tail, and the next start cuts them off.
    let image = tempfile::tempdir().unwrap();
    for name in ["00000001.seg", "00000002.seg"] {
        std::fs::copy(dir.path().join(name), image.path().join(name)).unwrap();
    }
    let (killed, recovery) = open(image.path());
    assert_eq!((recovery.torn_tail, recovery.damage), (None, Vec::new()));
    assert_eq!(keys(&killed, Position::START), [1, 2, 3]);
    let cut = std::fs::metadata(image.path().join("00000002.seg")).unwrap();
    assert_eq!(cut.len(), u64::from(appended.end().offset));

    drop(journal);
    assert_eq!(len("00000002.seg"), u64::from(appended.end().offset));
}

#[test]
fn a_segment_of_nothing_but_room_is_as_good_as_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.append_and_wait(Record::new(1, 1, "one")).unwrap();
    journal.rotate().unwrap();
    drop(journal);
    // The power went while the first write to segment 2 was on its way: its length is known, its content is not.
    let path = dir.path().join("00000002.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.resize(1 << 20, 0);
    std::fs::write(&path, bytes).unwrap();
    let (journal, recovery) = open(dir.path());
    assert_eq!((recovery.torn_tail, recovery.damage), (None, Vec::new()));
    assert_eq!(keys(&journal, Position::START), [1]);
    assert_eq!(journal.active(), 3);
}

#[test]
fn riding_records_are_written_soon_without_company() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        riding_sync_within: Duration::from_secs(3600),
        ..Options::new(dir.path(), TAG)
    };
    let (journal, _) = Journal::open(Arc::new(RealDisk), options).unwrap();
    let waits = |journal: &Journal| journal.stats().waiting_bytes > 0;
    for key in 0..3 {
        journal.append(Record::new(1, key, ""), Urgency::Rides, None);
        while waits(&journal) {
            std::thread::yield_now();
        }
        // So long that the writer sleeps without a limit: the next has to wake it.
        std::thread::sleep(Duration::from_millis(20));
    }
    let stats = journal.stats();
    assert_eq!((stats.records, stats.sync_seconds.count), (3, 0));
}

#[test]
fn a_riding_record_that_comes_right_after_another_is_written_when_the_pause_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        riding_sync_within: Duration::from_secs(3600),
        riding_write_within: Duration::from_millis(100),
        ..Options::new(dir.path(), TAG)
    };
    let (journal, _) = Journal::open(Arc::new(RealDisk), options).unwrap();
    let written = |key| {
        journal.append(Record::new(1, key, ""), Urgency::Rides, None);
        let end = Instant::now() + Duration::from_secs(30);
        while journal.stats().waiting_bytes > 0 {
            assert!(Instant::now() < end, "record {key} still waits");
            std::thread::yield_now();
        }
    };
    let began = Instant::now();
    // Nobody wakes the writer for the later ones: it has to look by itself.
    (0..3).for_each(written);
    assert!(began.elapsed() >= Duration::from_millis(200));
    let stats = journal.stats();
    assert_eq!((stats.records, stats.sync_seconds.count), (3, 0));
}

#[test]
fn what_cannot_be_appended_is_refused_and_the_completion_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let result = journal.append_and_wait(Record::new(Record::FIRST_RESERVED_KIND, 1, ""));
    assert!(matches!(result, Err(AppendError::ReservedKind(0xF0))));
    let mut group = Group::new(Record::new(1, 1, ""));
    for _ in 0..65_535 {
        group = group.and(Record::new(1, 1, ""));
    }
    assert!(matches!(
        journal.append_and_wait(group),
        Err(AppendError::TooLarge {
            records: 65_536,
            ..
        })
    ));
    journal.close().unwrap();
    assert!(matches!(
        journal.append_and_wait(Record::new(1, 1, "")),
        Err(AppendError::Closed)
    ));
    assert!(matches!(journal.sync(), Err(AppendError::Closed)));
    assert!(matches!(journal.rotate(), Err(AppendError::Closed)));
}

#[test]
fn many_appenders_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let journal = &journal;
            scope.spawn(move || {
                for n in 0..50 {
                    journal
                        .append_and_wait(Record::new(1, thread * 1000 + n, "m"))
                        .unwrap();
                }
            });
        }
    });
    let stats = journal.stats();
    assert_eq!(
        (stats.groups, stats.waiting_bytes, stats.waiting_groups),
        (400, 0, 0)
    );
    assert_eq!(stats.groups_per_sync.sum, 400.0);
    assert!(stats.groups_per_sync.count <= 400);
    let mut keys = keys(&journal, Position::START);
    keys.sort_unstable();
    let mut wanted: Vec<u64> = (0..8)
        .flat_map(|thread| (0..50).map(move |n| thread * 1000 + n))
        .collect();
    wanted.sort_unstable();
    assert_eq!(keys, wanted);
}

#[test]
fn another_application_and_a_newer_format_are_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.append_and_wait(Record::new(1, 1, "")).unwrap();
    drop(journal);
    let error = Journal::open(
        Arc::new(RealDisk),
        Options::new(dir.path(), *b"other\0\0\0"),
    )
    .err()
    .unwrap();
    assert!(
        matches!(error, OpenError::OtherApplication { .. }),
        "{error}"
    );
    let path = dir.path().join("00000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 9;
    let checksum = crc32fast::hash(&bytes[..36]);
    bytes[36..40].copy_from_slice(&checksum.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let error = Journal::open(Arc::new(RealDisk), Options::new(dir.path(), TAG))
        .err()
        .unwrap();
    assert!(matches!(
        error,
        OpenError::NewerVersion {
            found: 9,
            supported: 1,
            ..
        }
    ));
    assert!(
        error.to_string().contains("format 9") && error.to_string().contains("up to 1"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
