//! What can go wrong, and what follows from it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::position::Position;
use crate::report::Damage;
use crate::segment::{is_full, is_out_of_descriptors};

/// The disk operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedOperation {
    /// Writing records.
    Write,
    /// `fdatasync` of a segment.
    Sync,
    /// Making a new segment.
    CreateSegment,
    /// Cutting off what a full disk had left half written.
    Truncate,
    /// Removing a segment, or the directory sync after it.
    RemoveSegment,
    /// Reported by the owner ([`Journal::fail`](crate::Journal::fail)), or the writer's thread ended unexpectedly.
    Owner,
}

/// Why the disk cannot be trusted or used: one cause, shared by everyone who waits.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{} in {} failed: {source}", describe(.operation), .path.display())]
pub struct Failure {
    /// What was being done.
    pub operation: FailedOperation,
    /// The file or directory concerned.
    pub path: PathBuf,
    /// The system's error, with its `ErrorKind` and errno.
    pub source: Arc<io::Error>,
}

impl Failure {
    /// A failure with its cause.
    pub fn new(operation: FailedOperation, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self {
            operation,
            path: path.into(),
            source: Arc::new(source),
        }
    }

    /// The kind of the system's error.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// The system's error number, if it came from the system.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// What was wanting, for [`AppendError::Full`].
    pub fn lack(&self) -> Lack {
        if is_out_of_descriptors(&self.source) {
            Lack::Descriptors
        } else if is_full(&self.source) {
            Lack::Space
        } else {
            Lack::Writer
        }
    }
}

fn describe(operation: &FailedOperation) -> &'static str {
    match operation {
        FailedOperation::Write => "writing records",
        FailedOperation::Sync => "fdatasync",
        FailedOperation::CreateSegment => "making a new segment",
        FailedOperation::Truncate => "cutting off a half-written tail",
        FailedOperation::RemoveSegment => "removing a segment",
        FailedOperation::Owner => "an operation of the journal's owner",
    }
}

/// What was wanting when something could not be written for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Room on the disk: space, inodes or quota.
    Space,
    /// File descriptors, of the process or of the system.
    Descriptors,
    /// Room before the journal's writer.
    Writer,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Space => "the disk is full",
            Self::Descriptors => "no more files can be opened (raise LimitNOFILE)",
            Self::Writer => "more waits to be written than the disk takes",
        })
    }
}

/// Why a group is not durable. Nothing of it will be found after a restart, except after [`Poisoned`](Self::Poisoned),
/// when it may be found whole.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk is full (space, inodes or quota), or no file can be opened for now. Nothing of the group is on disk and the journal
    /// goes on: try again when there is room.
    #[error("{lack}: {0}", lack = .0.lack())]
    Full(Failure),
    /// A write or sync failed, now or earlier. Nothing more is appended until restart.
    #[error("the journal stopped after a disk failure, restart when the disk is well: {0}")]
    Poisoned(Failure),
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// The kind belongs to the journal itself.
    #[error("record kind {0:#04x} is reserved for the journal")]
    ReservedKind(u8),
    /// The group is longer than a segment can hold (1 GiB, 65,535 records).
    #[error("a group of {bytes} bytes in {records} records is too large for a segment")]
    TooLarge {
        /// Bytes with headers.
        bytes: u64,
        /// Records of the group.
        records: usize,
    },
}

/// Why a journal cannot be opened. Nothing was changed on disk if it is one of the first two.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by a newer release.
    #[error("{} has journal format {found}, this program knows up to {supported}: use the newer program that wrote it", .path.display())]
    NewerVersion {
        /// Version in the file.
        found: u32,
        /// Newest version that this program reads.
        supported: u32,
        /// The segment.
        path: PathBuf,
    },
    /// The journal of something else.
    #[error("{} belongs to {:?}, not to {:?}: is the data directory right?", .path.display(), String::from_utf8_lossy(.found), String::from_utf8_lossy(.expected))]
    OtherApplication {
        /// Tag in the file.
        found: [u8; 8],
        /// Tag of the opener.
        expected: [u8; 8],
        /// The segment.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Why a record or body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The segment was removed.
    #[error("segment {0:08} is gone")]
    SegmentGone(u32),
    /// There is no intact record there; its bytes were copied to `quarantine/` if they could be read.
    #[error("no intact record at {0}: {1}")]
    Damaged(Position, Damage),
    /// The position is behind the end of the journal.
    #[error("no record at {0}: the journal ends before it")]
    PastEnd(Position),
    /// The disk refused.
    #[error("cannot read segment {segment:08}: {source}")]
    Io {
        /// The segment.
        segment: u32,
        /// The system's error.
        source: io::Error,
    },
}

/// Why a segment was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// It is being appended to; [`rotate`](crate::Journal::rotate) first.
    #[error("segment {0:08} is being appended to")]
    Active(u32),
    /// The last checkpoint stands in it; make a new one first.
    #[error("segment {0:08} holds the last checkpoint")]
    HoldsCheckpoint(u32),
    /// No such segment.
    #[error("there is no segment {0:08}")]
    Unknown(u32),
    /// Unlink or directory sync failed: the segment may or may not come back after a power cut. The journal is poisoned.
    #[error(transparent)]
    Failed(Failure),
}
