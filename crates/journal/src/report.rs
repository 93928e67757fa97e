//! What opening and scanning tell.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;

use crate::position::Position;

/// What [`Journal::open`](crate::Journal::open) found and did.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Segments found that hold records.
    pub segments: Vec<SegmentInfo>,
    /// The last valid checkpoint: scan from its `replay_from`.
    pub checkpoint: Option<Checkpoint>,
    /// The unfinished end of the last segment, cut off: never acknowledged to anyone.
    pub torn_tail: Option<TornTail>,
    /// Damage in the last segment's unsynced region with intact records behind it, and damaged segment headers. Damage elsewhere
    /// is found and told by [`Journal::scan`](crate::Journal::scan).
    pub damage: Vec<Damage>,
}

/// A segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub number: u32,
    /// Its length in bytes, the header of 40 bytes included.
    pub bytes: u64,
}

/// A point up to which the owner has everything elsewhere (in its index).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where the checkpoint record stands.
    pub position: Position,
    /// Where replay begins, as the owner said.
    pub replay_from: Position,
    /// The owner's bytes.
    pub payload: Bytes,
}

/// The end of the last segment that was being written when the process or the power stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Where the segment ends now.
    pub end: Position,
    /// Bytes cut off.
    pub bytes: u64,
    /// The copy of what was cut off; `None` if it was all zeros or the copy could not be made.
    pub copy: Option<PathBuf>,
}

/// Bytes that should have been records and are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub segment: u32,
    /// The bytes concerned, as offsets in the segment.
    pub range: Range<u64>,
    /// What is wrong.
    pub kind: DamageKind,
    /// Key of the record, where its header is intact.
    pub key: Option<u64>,
    /// It lies in what was written after the last known sync: perhaps it was never acknowledged.
    pub possibly_unacknowledged: bool,
    /// The copy of the bytes in `quarantine/`; `None` if it could not be made.
    pub copy: Option<PathBuf>,
}

/// What is wrong with damaged bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// The segment's own header; its records are still found by theirs.
    SegmentHeader,
    /// The file carries another segment's header: a misplaced copy. Nothing in it is taken for a record.
    MisplacedSegment,
    /// No valid record header here.
    RecordHeader,
    /// The meta does not match its checksum.
    Meta,
    /// The body does not match its checksum.
    Body,
    /// The record is longer than its segment.
    Truncated,
    /// The disk could not read these bytes.
    Unreadable,
    /// Members of a group whose other members are damaged, in the unsynced region.
    IncompleteGroup,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            DamageKind::SegmentHeader => "damaged segment header",
            DamageKind::MisplacedSegment => "header of another segment",
            DamageKind::RecordHeader => "no valid record header",
            DamageKind::Meta => "damaged meta",
            DamageKind::Body => "damaged body",
            DamageKind::Truncated => "record cut short",
            DamageKind::Unreadable => "unreadable bytes",
            DamageKind::IncompleteGroup => "incomplete group",
        };
        write!(
            f,
            "{what} in segment {:08}, bytes {} to {}",
            self.segment, self.range.start, self.range.end
        )?;
        if let Some(copy) = &self.copy {
            write!(f, ", copied to {}", copy.display())?;
        }
        Ok(())
    }
}

/// One record as a scan shows it: the body is not read.
#[derive(Clone, Copy, Debug)]
pub struct ScannedRecord<'a> {
    /// Where it stands; for [`Journal::read_body`](crate::Journal::read_body).
    pub position: Position,
    /// Just behind it.
    pub end: Position,
    /// The owner's kind.
    pub kind: u8,
    /// The owner's key.
    pub key: u64,
    /// The owner's meta, checksum verified.
    pub meta: &'a [u8],
    /// Length of the body in bytes.
    pub body_len: u32,
    /// Place in its group, from 0.
    pub group_index: u16,
    /// Records in its group.
    pub group_len: u16,
    /// False if another member of the group is damaged: the owner decides what that means.
    pub group_intact: bool,
}

/// What a scan went over.
#[derive(Clone, Debug, Default)]
pub struct ScanReport {
    /// Records shown to the visitor.
    pub records: u64,
    /// Bytes gone over, bodies included.
    pub bytes: u64,
    /// What was damaged, each with its copy in `quarantine/`.
    pub damage: Vec<Damage>,
    /// Where the scan ended; a later scan from here shows what was appended since. `None` if nothing was there.
    pub end: Option<Position>,
}
