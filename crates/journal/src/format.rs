//! The bytes on disk, version 1.
//!
//! A journal is a directory of segment files `00000001.seg`, `00000002.seg`, … and a subdirectory `quarantine/`. Numbers only grow.
//! All numbers in the files are little-endian; all checksums are CRC-32 (IEEE).
//!
//! # Segment header, 40 bytes, the same in every version
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | magic `SPJSEG\r\n` |
//! | 8 | 4 | format version |
//! | 12 | 4 | segment number, as in the file name |
//! | 16 | 8 | application tag |
//! | 24 | 8 | position of the last checkpoint durable when the segment was begun (segment << 32 \| offset), 0 for none |
//! | 32 | 4 | reserved, 0 |
//! | 36 | 4 | checksum of the 36 bytes before |
//!
//! A segment is made so: create, write the header, fsync the file, fsync the directory; only then are records appended. It is begun
//! only after the one before it was synced to its end. So whatever was lost or torn by a power cut is at the end of the last segment,
//! and a last segment that is not longer than its header holds nothing.
//!
//! # Record: header of 52 bytes, meta, body, without padding
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 4 | magic `SPr1` |
//! | 4 | 4 | segment number |
//! | 8 | 4 | offset of this header in the segment |
//! | 12 | 1 | kind; 0xF0 and up are the journal's |
//! | 13 | 1 | flags, 0 |
//! | 14 | 2 | index in its group, from 0 |
//! | 16 | 2 | records in its group, at least 1 |
//! | 18 | 2 | reserved, 0 |
//! | 20 | 4 | durable end: everything of this segment before this offset was synced when the record was written |
//! | 24 | 8 | key |
//! | 32 | 4 | length of the meta |
//! | 36 | 4 | length of the body |
//! | 40 | 4 | checksum of the meta |
//! | 44 | 4 | checksum of the body |
//! | 48 | 4 | checksum of the 48 bytes before |
//!
//! Segment and offset are in the header so that a stale or misplaced block is never taken for a record, and so that a scan that
//! has lost its way finds the next record by magic, checksum and place. (The checksum is no secret: a body could hold bytes that
//! look like a record at exactly their own place. They are looked at only if the header before them is damaged.)
//!
//! The largest durable end in a segment divides it: damage before it is damage; behind it lies what was written since, and what
//! is not whole there was perhaps never acknowledged (see `tail.rs`).
//!
//! # Kinds of the journal
//!
//! - `0xF0` checkpoint: the key is the position where replay begins, the meta is the owner's payload.
//! - `0xF1` void: covers bytes that recovery has taken out of use; meta length 0, the body is whatever was there, unchecked.

use crate::position::Position;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u32,
    pub(crate) application: [u8; 8],
    pub(crate) checkpoint: Option<Position>,
}

/// What the first bytes of a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentHeaderRead {
    Valid(SegmentHeader),
    Newer(u32),
    Damaged,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        bytes[0..8].copy_from_slice(SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.application);
        bytes[24..32].copy_from_slice(&self.checkpoint.map_or(0, Position::pack).to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..36]);
        bytes[36..40].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> SegmentHeaderRead {
        let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER_LEN>() else {
            return SegmentHeaderRead::Damaged;
        };
        if &bytes[0..8] != SEGMENT_MAGIC || u32_at(bytes, 36) != crc32fast::hash(&bytes[..36]) {
            return SegmentHeaderRead::Damaged;
        }
        let version = u32_at(bytes, 8);
        if version > FORMAT_VERSION {
            return SegmentHeaderRead::Newer(version);
        }
        let mut application = [0; 8];
        application.copy_from_slice(&bytes[16..24]);
        let checkpoint = u64_at(bytes, 24);
        SegmentHeaderRead::Valid(Self {
            number: u32_at(bytes, 12),
            application,
            checkpoint: (checkpoint != 0).then(|| Position::unpack(checkpoint)),
        })
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) position: Position,
    pub(crate) kind: u8,
    pub(crate) group_index: u16,
    pub(crate) group_len: u16,
    pub(crate) durable_end: u32,
    pub(crate) key: u64,
    pub(crate) meta_len: u32,
    pub(crate) body_len: u32,
    pub(crate) meta_crc: u32,
    pub(crate) body_crc: u32,
}

impl RecordHeader {
    pub(crate) fn encode(&self) -> [u8; RECORD_HEADER_LEN] {
        let mut bytes = [0; RECORD_HEADER_LEN];
        bytes[0..4].copy_from_slice(RECORD_MAGIC);
        bytes[4..8].copy_from_slice(&self.position.segment.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.position.offset.to_le_bytes());
        bytes[12] = self.kind;
        bytes[14..16].copy_from_slice(&self.group_index.to_le_bytes());
        bytes[16..18].copy_from_slice(&self.group_len.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.durable_end.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.key.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.meta_len.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.meta_crc.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.body_crc.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..48]);
        bytes[48..52].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` unless the bytes begin with a valid header that belongs exactly here.
    pub(crate) fn decode(bytes: &[u8], segment: u32, offset: u64) -> Option<Self> {
        let bytes = bytes.first_chunk::<RECORD_HEADER_LEN>()?;
        if &bytes[0..4] != RECORD_MAGIC
            || u32_at(bytes, 4) != segment
            || u64::from(u32_at(bytes, 8)) != offset
        {
            return None;
        }
        if u32_at(bytes, 48) != crc32fast::hash(&bytes[..48]) {
            return None;
        }
        let header = Self {
            position: Position {
                segment,
                offset: u32_at(bytes, 8),
            },
            kind: bytes[12],
            group_index: u16_at(bytes, 14),
            group_len: u16_at(bytes, 16),
            durable_end: u32_at(bytes, 20),
            key: u64_at(bytes, 24),
            meta_len: u32_at(bytes, 32),
            body_len: u32_at(bytes, 36),
            meta_crc: u32_at(bytes, 40),
            body_crc: u32_at(bytes, 44),
        };
        (header.group_index < header.group_len).then_some(header)
    }

    pub(crate) fn offset(&self) -> u64 {
        u64::from(self.position.offset)
    }

    pub(crate) fn body_start(&self) -> u64 {
        self.offset() + RECORD_HEADER_LEN as u64 + u64::from(self.meta_len)
    }

    /// Just behind the record.
    pub(crate) fn end(&self) -> u64 {
        self.body_start() + u64::from(self.body_len)
    }

    /// A header that covers `len` bytes (at least a header's length) and takes them out of use.
    pub(crate) fn void(position: Position, len: u32, durable_end: u32) -> Self {
        Self {
            position,
            kind: KIND_VOID,
            group_index: 0,
            group_len: 1,
            durable_end,
            key: 0,
            meta_len: 0,
            body_len: len.saturating_sub(RECORD_HEADER_LEN as u32),
            meta_crc: 0,
            body_crc: 0,
        }
    }
}

fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

pub(crate) const FORMAT_VERSION: u32 = 1;
pub(crate) const SEGMENT_MAGIC: &[u8; 8] = b"SPJSEG\r\n";
pub(crate) const SEGMENT_HEADER_LEN: usize = 40;
pub(crate) const RECORD_MAGIC: &[u8; 4] = b"SPr1";
pub(crate) const RECORD_HEADER_LEN: usize = 52;
pub(crate) const KIND_CHECKPOINT: u8 = 0xF0;
pub(crate) const KIND_VOID: u8 = 0xF1;
/// Longest group, and longest segment that options can ask for: so every offset fits in 32 bits.
pub(crate) const MAX_GROUP_LEN: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::{FORMAT_VERSION, RecordHeader, SegmentHeader, SegmentHeaderRead};
    use crate::position::Position;

    fn record() -> RecordHeader {
        RecordHeader {
            position: Position {
                segment: 7,
                offset: 4096,
            },
            kind: 3,
            group_index: 1,
            group_len: 2,
            durable_end: 40,
            key: 0x0102_0304_0506_0708,
            meta_len: 10,
            body_len: 20,
            meta_crc: 1,
            body_crc: 2,
        }
    }

    #[test]
    fn headers_come_back() {
        let segment = SegmentHeader {
            number: 7,
            application: *b"queue\0\0\0",
            checkpoint: Some(Position {
                segment: 6,
                offset: 99,
            }),
        };
        assert_eq!(
            SegmentHeader::decode(&segment.encode()),
            SegmentHeaderRead::Valid(segment)
        );
        assert_eq!(
            RecordHeader::decode(&record().encode(), 7, 4096),
            Some(record())
        );
        let void = RecordHeader::void(
            Position {
                segment: 7,
                offset: 100,
            },
            500,
            40,
        );
        assert_eq!((void.offset(), void.end()), (100, 600));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let segment = SegmentHeader {
            number: 7,
            application: *b"queue\0\0\0",
            checkpoint: None,
        };
        for bit in 0..40 * 8 {
            let mut bytes = segment.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                SegmentHeader::decode(&bytes),
                SegmentHeaderRead::Damaged,
                "segment header bit {bit}"
            );
        }
        for bit in 0..52 * 8 {
            let mut bytes = record().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                RecordHeader::decode(&bytes, 7, 4096),
                None,
                "record header bit {bit}"
            );
        }
    }

    #[test]
    fn a_record_elsewhere_is_no_record_here() {
        assert_eq!(RecordHeader::decode(&record().encode(), 8, 4096), None);
        assert_eq!(RecordHeader::decode(&record().encode(), 7, 4097), None);
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = SegmentHeader {
            number: 1,
            application: [0; 8],
            checkpoint: None,
        }
        .encode();
        bytes[8..12].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), SegmentHeaderRead::Damaged);
        let checksum = crc32fast::hash(&bytes[..36]);
        bytes[36..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(
            SegmentHeader::decode(&bytes),
            SegmentHeaderRead::Newer(FORMAT_VERSION + 1)
        );
    }
}
