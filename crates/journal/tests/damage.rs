//! Random damage to segments: whatever happens to the bytes, nothing panics, no false record is shown, every record whose bytes are
//! unharmed is shown, and every harmed byte lies in something that was told. Each failure prints its seed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use journal::{Journal, Options, Position, ReadError, Record, SimulatedDisk};

#[test]
fn h6_05_random_damage_costs_what_it_hits_and_is_told() {
    for seed in 0..400 {
        let disk = SimulatedDisk::new(seed);
        let mut random = Random(seed);
        let records = write(&disk, &mut random);
        let harmed = harm(&disk, &mut random);
        let context = format!("seed {seed}, harmed {harmed:?}");

        let (journal, recovery) = Journal::open(Arc::new(disk), options()).unwrap();
        let mut shown = BTreeSet::new();
        let report = journal
            .scan(Position::START, |record| {
                assert!(
                    shown.insert(record.key),
                    "{context}: {} shown twice",
                    record.key
                );
                ControlFlow::Continue(())
            })
            .unwrap();
        for (key, (position, end)) in records.iter().enumerate() {
            let key = key as u64;
            let hit = |&(segment, ref range): &(u32, Range<u64>)| {
                segment == position.segment
                    && range.start < u64::from(end.offset)
                    && range.end > u64::from(position.offset)
            };
            let hit = harmed.iter().any(hit);
            assert!(
                hit || shown.contains(&key),
                "{context}: {key} at {position} is unharmed and lost"
            );
            if shown.contains(&key) {
                match journal.read_record(*position) {
                    Ok(record) => {
                        assert_eq!((record.key, record.body), (key, body(key)), "{context}")
                    }
                    Err(ReadError::Damaged(..)) => assert!(hit, "{context}: {key} is unharmed"),
                    Err(error) => panic!("{context}: {error}"),
                }
            } else {
                let offset = u64::from(position.offset);
                let torn = recovery.torn_tail.iter().any(|torn| torn.end <= *position);
                let mut damage = report.damage.iter().chain(&recovery.damage);
                let told = damage.any(|damage| {
                    damage.segment == position.segment && damage.range.contains(&offset)
                });
                assert!(
                    torn || told,
                    "{context}: the loss of {key} at {position} is not told"
                );
            }
        }
    }
}

#[test]
fn h6_05_a_segment_whose_header_cannot_be_read_is_served_all_the_same() {
    for (segment, unreadable) in [(1, 0..40), (3, 0..40), (9, 0..4000), (5, 10..11)] {
        let disk = SimulatedDisk::new(1);
        let records = write(&disk, &mut Random(1));
        let last = records.last().unwrap().0.segment;
        let segment = last.min(segment);
        let path = Path::new(DIR).join(format!("{segment:08}.seg"));
        disk.set_unreadable(&path, unreadable.clone());
        let (journal, recovery) = Journal::open(Arc::new(disk.clone()), options()).unwrap();
        let told = |damage: &journal::Damage| {
            damage.segment == segment && damage.kind == journal::DamageKind::SegmentHeader
        };
        let told = recovery.damage.iter().find(|damage| told(damage)).unwrap();
        assert!(told.copy.is_some(), "{told:?}");
        let mut shown = BTreeSet::new();
        let scanned = journal.scan(Position::START, |record| {
            shown.insert(record.key);
            ControlFlow::Continue(())
        });
        scanned.unwrap();
        for (key, (position, _)) in (0..).zip(&records) {
            let hit = position.segment == segment && u64::from(position.offset) < unreadable.end;
            assert!(
                hit || shown.contains(&key),
                "{segment} {unreadable:?}: {key} at {position}"
            );
        }
    }
}

#[test]
fn whoever_finds_the_same_damage_at_the_same_time_has_its_copy() {
    let dir = tempfile::tempdir().unwrap();
    let journal_options = || Options::new(dir.path(), *b"damage\0\0");
    let (journal, _) = Journal::open(Arc::new(journal::RealDisk), journal_options()).unwrap();
    for key in 0..3 {
        journal
            .append_and_wait(Record::new(1, key, vec![7; 5000]))
            .unwrap();
    }
    drop(journal);
    let path = dir.path().join("00000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[3000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (journal, _) = Journal::open(Arc::new(journal::RealDisk), journal_options()).unwrap();
    let together = std::sync::Barrier::new(8);
    let scan = || {
        together.wait();
        let report = journal.scan(Position::START, |_| ControlFlow::Continue(()));
        report.unwrap().damage
    };
    let found: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(scan)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for damage in found {
        assert_eq!(damage.len(), 1, "{damage:?}");
        let copy = damage[0].copy.as_ref().expect("a copy");
        let len = std::fs::metadata(copy).unwrap().len();
        assert_eq!(len, damage[0].range.end - damage[0].range.start);
    }
}

#[test]
fn a_file_of_random_bytes_is_no_journal_and_no_panic() {
    for seed in 0..50 {
        let disk = SimulatedDisk::new(seed);
        let mut random = Random(seed);
        write(&disk, &mut random);
        let length = random.below(4000) as usize;
        let bytes = (0..length).map(|_| random.below(256) as u8).collect();
        disk.set_content(&Path::new(DIR).join("00000002.seg"), bytes);
        let (journal, _) = Journal::open(Arc::new(disk), options()).unwrap();
        let mut segments = BTreeSet::new();
        let report = journal
            .scan(Position::START, |record| {
                segments.insert(record.position.segment);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(
            !segments.contains(&2) && segments.contains(&1),
            "seed {seed}: {segments:?}"
        );
        assert!(
            length <= 40 || report.damage.iter().any(|damage| damage.segment == 2),
            "seed {seed}"
        );
    }
}

/// Where each record stands and ends, by key.
fn write(disk: &SimulatedDisk, random: &mut Random) -> Vec<(Position, Position)> {
    let (journal, _) = Journal::open(Arc::new(disk.clone()), options()).unwrap();
    (0..40)
        .map(|key| {
            let record =
                Record::new(1, key, vec![b'm'; random.below(60) as usize]).with_body([body(key)]);
            let appended = journal.append_and_wait(record).unwrap();
            (appended.first(), appended.end())
        })
        .collect()
}

fn body(key: u64) -> Bytes {
    vec![key as u8; (key * 37 % 700) as usize].into()
}

/// Flips, zeroes and overwrites; returns what was hit.
fn harm(disk: &SimulatedDisk, random: &mut Random) -> Vec<(u32, Range<u64>)> {
    let mut harmed = Vec::new();
    for _ in 0..=random.below(4) {
        let segment = 1 + random.below(5) as u32;
        let path = Path::new(DIR).join(format!("{segment:08}.seg"));
        let Some(mut bytes) = disk.content(&path) else {
            continue;
        };
        let start = random.below(bytes.len() as u64) as usize;
        let end = (start + [1, 1, 30, 600][random.below(4) as usize]).min(bytes.len());
        let how = random.below(3);
        for byte in &mut bytes[start..end] {
            *byte = match how {
                0 => *byte ^ 1 << random.below(8),
                1 => 0,
                _ => random.below(256) as u8,
            };
        }
        disk.set_content(&path, bytes);
        harmed.push((segment, start as u64..end as u64));
    }
    harmed
}

fn options() -> Options {
    Options {
        segment_size: 4000,
        ..Options::new(DIR, *b"damage\0\0")
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

const DIR: &str = "/data";
