use std::io::{self, IoSlice};
use std::ops::Range;

use super::{Step, Walk};
use crate::format::{RECORD_HEADER_LEN, RecordHeader, SEGMENT_HEADER_LEN};
use crate::position::Position;
use crate::report::DamageKind;
use crate::storage::StorageFile;

/// Bytes of which some cannot be read.
struct Medium {
    bytes: Vec<u8>,
    unreadable: Range<u64>,
}

impl StorageFile for Medium {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset + buf.len() as u64;
        if offset < self.unreadable.end && end > self.unreadable.start {
            return Err(rustix::io::Errno::IO.into());
        }
        let rest = self.bytes.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buf.len());
        buf[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }
    fn write_vectored_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync_all(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A segment with records of many sizes, and where each stands.
fn segment() -> (Vec<u8>, Vec<Range<u64>>) {
    let mut bytes = vec![0; SEGMENT_HEADER_LEN];
    let mut places = Vec::new();
    for (meta_len, body_len) in [
        (0, 0),
        (10, 3000),
        (300, 0),
        (20, 40_000),
        (0, 1),
        (5000, 5000),
        (7, 0),
        (20_000, 9),
        (1, 1),
    ] {
        let meta = vec![b'm'; meta_len];
        let start = bytes.len();
        let header = RecordHeader {
            position: Position {
                segment: SEGMENT,
                offset: start as u32,
            },
            kind: 1,
            group_index: 0,
            group_len: 1,
            durable_end: 40,
            key: places.len() as u64,
            meta_len: meta_len as u32,
            body_len: body_len as u32,
            meta_crc: crc32fast::hash(&meta),
            body_crc: 0,
        };
        bytes.extend(header.encode());
        bytes.extend(meta);
        // Bodies hold what looks like the start of a record, and a whole header that belongs elsewhere.
        bytes.extend(header.encode().iter().cycle().take(body_len));
        places.push(start as u64..bytes.len() as u64);
    }
    (bytes, places)
}

fn walk(medium: &Medium) -> (Vec<u64>, Vec<(Range<u64>, DamageKind)>) {
    let mut walk = Walk::new(
        medium,
        SEGMENT,
        SEGMENT_HEADER_LEN as u64,
        medium.bytes.len() as u64,
    );
    let (mut keys, mut damage) = (Vec::new(), Vec::new());
    let mut reached = SEGMENT_HEADER_LEN as u64;
    while let Some(step) = walk.next().unwrap() {
        let range = match step {
            Step::Record(header) => {
                assert_eq!(walk.meta(&header).len(), header.meta_len as usize);
                keys.push(header.key);
                header.offset()..header.end()
            }
            Step::Damage { range, kind, .. } => {
                damage.push((range.clone(), kind));
                range
            }
        };
        assert_eq!(range.start, reached, "nothing is passed over silently");
        reached = range.end;
    }
    assert_eq!(reached, medium.bytes.len() as u64);
    (keys, damage)
}

#[test]
fn a_whole_segment_is_walked_without_damage() {
    let (bytes, places) = segment();
    let (keys, damage) = walk(&Medium {
        bytes,
        unreadable: 0..0,
    });
    assert_eq!(keys, (0..places.len() as u64).collect::<Vec<u64>>());
    assert_eq!(damage, []);
}

#[test]
fn h6_05_a_flipped_byte_costs_its_record_and_no_other() {
    let (whole, places) = segment();
    for (hurt, place) in places.iter().enumerate() {
        for at in [0, 5, 20, 33, 51] {
            let mut bytes = whole.clone();
            bytes[place.start as usize + at] ^= 0x40;
            let (keys, damage) = walk(&Medium {
                bytes,
                unreadable: 0..0,
            });
            let wanted: Vec<u64> = (0..places.len() as u64)
                .filter(|&key| key != hurt as u64)
                .collect();
            assert_eq!(keys, wanted, "byte {at} of record {hurt}");
            assert_eq!(
                damage,
                [(place.clone(), DamageKind::RecordHeader)],
                "byte {at} of record {hurt}"
            );
        }
    }
}

#[test]
fn a_damaged_meta_is_told_with_its_record() {
    let (mut bytes, places) = segment();
    bytes[places[5].start as usize + RECORD_HEADER_LEN + 4999] ^= 1;
    let (keys, damage) = walk(&Medium {
        bytes,
        unreadable: 0..0,
    });
    assert_eq!(keys, [0, 1, 2, 3, 4, 6, 7, 8]);
    assert_eq!(damage, [(places[5].clone(), DamageKind::Meta)]);
}

#[test]
fn a_segment_cut_short_anywhere_shows_the_records_before_the_cut() {
    let (whole, places) = segment();
    for cut in (SEGMENT_HEADER_LEN..whole.len()).step_by(97) {
        let (keys, damage) = walk(&Medium {
            bytes: whole[..cut].to_vec(),
            unreadable: 0..0,
        });
        let complete = places
            .iter()
            .filter(|place| place.end <= cut as u64)
            .count();
        assert_eq!(
            keys,
            (0..complete as u64).collect::<Vec<u64>>(),
            "cut at {cut}"
        );
        let end = places[..complete]
            .last()
            .map_or(SEGMENT_HEADER_LEN as u64, |place| place.end);
        assert_eq!(damage.is_empty(), end == cut as u64, "cut at {cut}");
    }
}

#[test]
fn blocks_that_cannot_be_read_are_passed_over_and_told() {
    let (bytes, places) = segment();
    // Inside the meta of record 5, and the header of record 6 in the same block.
    let start = places[5].start / 4096 * 4096 + 4096;
    let (keys, damage) = walk(&Medium {
        bytes,
        unreadable: start..start + 1,
    });
    assert!(
        keys.starts_with(&[0, 1, 2]) && keys.ends_with(&[7, 8]),
        "{keys:?}"
    );
    assert!(
        damage
            .iter()
            .any(|(_, kind)| *kind == DamageKind::Unreadable),
        "{damage:?}"
    );
}

const SEGMENT: u32 = 3;
