//! Opening a journal: check, recover, begin a new segment.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Failure, OpenError};
use crate::format::{
    KIND_CHECKPOINT, MAX_GROUP_LEN, RecordHeader, SEGMENT_HEADER_LEN, SegmentHeader,
};
use crate::options::Options;
use crate::position::Position;
use crate::quarantine;
use crate::report::{Checkpoint, Damage, DamageKind, Recovery, SegmentInfo};
use crate::scan;
use crate::segment::{CreateError, SegmentDir};
use crate::state::Book;
use crate::storage::{Storage, StorageFile, read_full_at};
use crate::tail;
use crate::walk::is_unreadable;

/// An opened journal that nobody writes to yet.
pub(crate) struct Opened {
    pub(crate) options: Options,
    pub(crate) segments: SegmentDir,
    pub(crate) book: Book,
    pub(crate) active: Arc<dyn StorageFile>,
    pub(crate) recovery: Recovery,
}

pub(crate) fn open(storage: Arc<dyn Storage>, mut options: Options) -> Result<Opened, OpenError> {
    options.segment_size = options.segment_size.min(MAX_GROUP_LEN);
    let segments = SegmentDir {
        storage,
        dir: options.directory.clone(),
        application: options.application,
        copying: Arc::default(),
    };
    let mut found = segments.prepare()?;
    // Every header is looked at before anything is written: a newer journal, or another's, is left as it is.
    let mut headers = BTreeMap::new();
    for segment in &found {
        headers.insert(segment.number, segments.read_header(segment.number)?);
    }
    let highest = found.last().map_or(0, |segment| segment.number);
    // Segments begun and never appended to, at the end: no record can be lost with them.
    let mut empty = Vec::new();
    while let Some(last) = found.pop_if(|last| last.bytes <= SEGMENT_HEADER_LEN as u64) {
        empty.push(last.number);
    }

    let mut recovery = Recovery::default();
    for segment in &found {
        let header = headers.get(&segment.number).copied().flatten();
        recovery
            .damage
            .extend(check_header(&segments, segment, header)?);
    }
    if let Some(last) = found.last_mut() {
        let failed = io_error("recover the end of", &segments.path(last.number));
        let recovered = tail::recover(&segments, last.number).map_err(failed)?;
        last.bytes = recovered.len;
        recovery.torn_tail = recovered.torn;
        recovery.damage.extend(recovered.damage);
        let before = headers.get(&last.number).copied().flatten();
        recovery.checkpoint = find_checkpoint(&segments, &found, recovered.checkpoint, before)?;
    }
    recovery.segments = found;

    let number = highest.saturating_add(1);
    let checkpoint = recovery
        .checkpoint
        .as_ref()
        .map(|checkpoint| checkpoint.position);
    let active = segments.create(number, checkpoint).map_err(|error| {
        let (CreateError::Full(failure) | CreateError::Failed(failure)) = error;
        disk_error("begin the segment", failure)
    })?;
    // Only now, so that a number once used is never used again.
    for number in empty {
        segments
            .remove(number)
            .map_err(|failure| disk_error("remove the empty segment", failure))?;
    }
    let header_len = SEGMENT_HEADER_LEN as u64;
    let mut sizes: BTreeMap<u32, u64> = recovery
        .segments
        .iter()
        .map(|segment| (segment.number, segment.bytes))
        .collect();
    sizes.insert(number, header_len);
    let durable_end = Position {
        segment: number,
        offset: header_len as u32,
    };
    let book = Book {
        segments: sizes,
        active: number,
        durable_end,
        checkpoint,
    };
    Ok(Opened {
        options,
        segments,
        book,
        active,
        recovery,
    })
}

/// Whether there are segments, of this application and of no newer version. Writes nothing; headers that are damaged say nothing.
pub(crate) fn is_ours(storage: &Arc<dyn Storage>, dir: &Path, application: [u8; 8]) -> bool {
    let segments = SegmentDir {
        storage: Arc::clone(storage),
        dir: dir.to_owned(),
        application,
        copying: Arc::default(),
    };
    let found = segments.list().unwrap_or_default();
    let headers = found
        .iter()
        .map(|segment| segments.read_header(segment.number));
    let headers: Result<Vec<_>, OpenError> = headers.collect();
    headers.is_ok_and(|headers| headers.iter().any(Option::is_some))
}

fn check_header(
    segments: &SegmentDir,
    segment: &SegmentInfo,
    header: Option<SegmentHeader>,
) -> Result<Option<Damage>, OpenError> {
    let kind = match header {
        Some(header) if header.number == segment.number => return Ok(None),
        Some(_) => DamageKind::MisplacedSegment,
        None => DamageKind::SegmentHeader,
    };
    let range = 0..segment.bytes.min(SEGMENT_HEADER_LEN as u64);
    let file = segments
        .open(segment.number)
        .map_err(io_error("read", &segments.path(segment.number)))?;
    let copy = quarantine::copy(segments, &*file, segment.number, &range);
    Ok(Some(Damage {
        segment: segment.number,
        range,
        kind,
        key: None,
        possibly_unacknowledged: false,
        copy,
    }))
}

/// The last checkpoint stands in the last segment, or where that segment's header says; if neither can be read, in the last
/// segment where one is found.
fn find_checkpoint(
    segments: &SegmentDir,
    found: &[SegmentInfo],
    in_tail: Option<Position>,
    before: Option<SegmentHeader>,
) -> Result<Option<Checkpoint>, OpenError> {
    let Some((last, earlier)) = found.split_last() else {
        return Ok(None);
    };
    let before = before.filter(|header| header.number == last.number);
    if let Some(position) = in_tail.or_else(|| before.and_then(|header| header.checkpoint)) {
        match read_checkpoint(segments, position) {
            Ok(Some(checkpoint)) => return Ok(Some(checkpoint)),
            Ok(None) => {}
            // The segment may be gone or its file damaged: a longer search, and in the end a longer replay, is always right.
            Err(error) => {
                tracing::warn!(%position, %error, "the last checkpoint cannot be read; searching for an earlier one")
            }
        }
    } else if before.is_some() {
        return Ok(None);
    }
    for segment in std::iter::once(last).chain(earlier.iter().rev()) {
        let path = segments.path(segment.number);
        let header = segments
            .open(segment.number)
            .and_then(|file| {
                scan::last_of_kind(&*file, segment.number, segment.bytes, KIND_CHECKPOINT)
            })
            .map_err(io_error("search for a checkpoint in", &path))?;
        let Some(header) = header else { continue };
        match read_checkpoint(segments, header.position) {
            Ok(Some(checkpoint)) => return Ok(Some(checkpoint)),
            Ok(None) => {}
            // Readable a moment ago: an earlier one is as right.
            Err(error) if is_unreadable(&error) => {}
            Err(error) => return Err(io_error("read", &path)(error)),
        }
    }
    Ok(None)
}

fn read_checkpoint(segments: &SegmentDir, position: Position) -> io::Result<Option<Checkpoint>> {
    let file = segments.open(position.segment)?;
    let header =
        scan::read_header(&*file, position)?.filter(|header| header.kind == KIND_CHECKPOINT);
    let Some(header) = header else {
        return Ok(None);
    };
    let payload = read_meta(&*file, &header)?;
    let replay_from = Position::unpack(header.key);
    Ok(payload.map(|payload| Checkpoint {
        position,
        replay_from,
        payload,
    }))
}

fn read_meta(file: &dyn StorageFile, header: &RecordHeader) -> io::Result<Option<Bytes>> {
    if file.len()? < header.end() {
        return Ok(None);
    }
    let mut meta = vec![0; header.meta_len as usize];
    let start = header.body_start() - u64::from(header.meta_len);
    let read = read_full_at(file, &mut meta, start)?;
    Ok((read == meta.len() && crc32fast::hash(&meta) == header.meta_crc).then(|| meta.into()))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Io {
        action,
        path,
        source,
    }
}

fn disk_error(action: &'static str, failure: Failure) -> OpenError {
    let source = io::Error::new(failure.kind(), failure.clone());
    OpenError::Io {
        action,
        path: failure.path,
        source,
    }
}
