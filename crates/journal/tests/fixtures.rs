//! The first format as it was first written, checked in: it must be written so for ever, and read so for ever.
//!
//! `fixtures/v1` is a whole journal, `fixtures/v1-damaged` the same with one fault of each kind. `JOURNAL_WRITE_FIXTURES=1 cargo test
//! -p journal --test fixtures` makes them anew, which only a new format version gives a reason for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use journal::{Damage, DamageKind, Group, Journal, Options, Position, ReadError, RealDisk, Record};

#[test]
fn version_1_is_written_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    if std::env::var_os("JOURNAL_WRITE_FIXTURES").is_some() {
        copy(dir.path(), &fixture("v1"));
        copy(dir.path(), &fixture("v1-damaged"));
        damage(&fixture("v1-damaged"));
    }
    for name in SEGMENTS {
        let (new, old) = (
            fs::read(dir.path().join(name)).unwrap(),
            fs::read(fixture("v1").join(name)).unwrap(),
        );
        assert!(
            new == old,
            "{name} is written differently than before: this needs a new format version"
        );
    }
}

#[test]
fn version_1_is_read() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture("v1"), dir.path());
    let (journal, recovery) =
        Journal::open(Arc::new(RealDisk), Options::new(dir.path(), TAG)).unwrap();
    assert_eq!(
        (&recovery.torn_tail, &recovery.damage),
        (&None, &Vec::new())
    );
    let checkpoint = recovery.checkpoint.unwrap();
    assert_eq!(
        checkpoint.replay_from,
        Position {
            segment: 1,
            offset: 40
        }
    );
    assert_eq!(&checkpoint.payload[..], b"index 7");
    let mut shown = Vec::new();
    let report = journal
        .scan(Position::START, |record| {
            let meta = String::from_utf8(record.meta.to_vec()).unwrap();
            shown.push((
                record.kind,
                record.key,
                meta,
                record.body_len,
                record.group_index,
                record.group_len,
            ));
            assert!(record.group_intact);
            if record.kind == 1 {
                let body = journal.read_body(record.position).unwrap();
                assert_eq!(
                    body,
                    format!("Subject: {}\r\n\r\nBody.\r\n", record.key).repeat(20)
                );
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(report.damage, []);
    let wanted = [
        (1, 1, "message 1", 420, 0, 1),
        (1, 2, "message 2", 420, 0, 1),
        (1, 3, "message 3", 420, 0, 1),
        (2, 1, "done", 0, 0, 2),
        (1, 4, "dsn", 420, 1, 2),
        (1, 5, "message 5", 420, 0, 1),
        (2, 2, "", 0, 0, 1),
        (1, 6, "message 6", 420, 0, 1),
    ];
    let wanted = wanted
        .map(|(kind, key, meta, body, index, len)| (kind, key, meta.to_owned(), body, index, len));
    assert_eq!(shown, wanted);
}

#[test]
fn h6_05_damage_is_told_exactly_and_the_rest_is_served() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture("v1-damaged"), dir.path());
    let (journal, recovery) =
        Journal::open(Arc::new(RealDisk), Options::new(dir.path(), TAG)).unwrap();
    // The last record was cut short: a torn tail, forgiven.
    let torn = recovery.torn_tail.unwrap();
    assert_eq!(
        (torn.end, torn.bytes),
        (
            Position {
                segment: 2,
                offset: LAST as u32
            },
            381
        )
    );
    assert_eq!(fs::read(torn.copy.unwrap()).unwrap().len(), 381);
    assert_eq!(recovery.damage, []);

    let mut shown = Vec::new();
    let report = journal
        .scan(Position::START, |record| {
            shown.push((record.kind, record.key, record.group_intact));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(
        shown,
        [(1, 1, true), (1, 4, false), (1, 5, true), (2, 2, true)]
    );
    let copy_of = |range: &str| {
        Some(
            dir.path()
                .join("quarantine")
                .join(format!("00000001-{range}.bin")),
        )
    };
    let told = |range: std::ops::Range<u64>, kind, key| Damage {
        segment: 1,
        copy: copy_of(&format!("{}-{}", range.start, range.end)),
        range,
        kind,
        key,
        possibly_unacknowledged: false,
    };
    let wanted = [
        // Message 2 has a flipped bit in its meta, message 3 in its header, "done" too: one stretch without a header.
        told(521..1002, DamageKind::Meta, Some(2)),
        told(1002..1539, DamageKind::RecordHeader, None),
    ];
    assert_eq!(report.damage, wanted);
    let damaged = fs::read(fixture("v1-damaged").join("00000001.seg")).unwrap();
    for damage in &report.damage {
        let range = damage.range.start as usize..damage.range.end as usize;
        assert_eq!(
            fs::read(damage.copy.as_ref().unwrap()).unwrap(),
            damaged[range]
        );
    }
    // Message 1 has a flipped bit in its body, which only reading shows.
    let error = journal
        .read_body(Position {
            segment: 1,
            offset: 40,
        })
        .unwrap_err();
    let ReadError::Damaged(_, damage) = error else {
        panic!("{error}")
    };
    assert_eq!(damage, told(40..521, DamageKind::Body, Some(1)));
    let streamed = std::io::copy(
        &mut journal
            .open_body(Position {
                segment: 1,
                offset: 40,
            })
            .unwrap(),
        &mut Vec::new(),
    );
    assert_eq!(
        streamed.unwrap_err().kind(),
        std::io::ErrorKind::InvalidData
    );
    assert_eq!(journal.stats().damaged_bodies, 1);
}

#[test]
fn damage_is_told_after_every_restart_and_copied_once() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture("v1-damaged"), dir.path());
    let mut told = Vec::new();
    for start in 0..3 {
        let (journal, recovery) =
            Journal::open(Arc::new(RealDisk), Options::new(dir.path(), TAG)).unwrap();
        assert_eq!(recovery.torn_tail.is_some(), start == 0, "cut off once");
        let report = journal
            .scan(Position::START, |_| ControlFlow::Continue(()))
            .unwrap();
        told.push(report.damage);
        // Two stretches and the torn tail.
        assert_eq!(
            fs::read_dir(dir.path().join("quarantine")).unwrap().count(),
            3
        );
    }
    assert!(
        told[0].len() == 2 && told[0] == told[1] && told[1] == told[2],
        "{told:?}"
    );
}

fn write(dir: &Path) {
    let (journal, _) = Journal::open(Arc::new(RealDisk), Options::new(dir, TAG)).unwrap();
    let append = |group: Group| journal.append_and_wait(group).unwrap();
    for key in 1..=3 {
        append(message(key, &format!("message {key}")).into());
    }
    append(Group::new(Record::new(2, 1, "done")).and(message(4, "dsn")));
    journal
        .checkpoint_and_wait(
            Position {
                segment: 1,
                offset: 40,
            },
            "index 7",
        )
        .unwrap();
    append(message(5, "message 5").into());
    journal.rotate().unwrap();
    append(Record::new(2, 2, "").into());
    append(message(6, "message 6").into());
}

fn message(key: u64, meta: &str) -> Record {
    let body = format!("Subject: {key}\r\n\r\nBody.\r\n").repeat(20);
    Record::new(1, key, meta.to_owned()).with_body([Bytes::from(body)])
}

fn damage(dir: &Path) {
    let path = dir.join(SEGMENTS[0]);
    let mut bytes = fs::read(&path).unwrap();
    for at in [40 + 52 + 100, 521 + 52 + 3, 1002 + 20, 1483 + 50] {
        bytes[at] ^= 0x10;
    }
    fs::write(path, bytes).unwrap();
    let path = dir.join(SEGMENTS[1]);
    let bytes = fs::read(&path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 100]).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in SEGMENTS {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

const TAG: [u8; 8] = *b"fixture\0";
const SEGMENTS: [&str; 2] = ["00000001.seg", "00000002.seg"];
/// Where the last record of the second segment stands.
const LAST: u64 = 92;
