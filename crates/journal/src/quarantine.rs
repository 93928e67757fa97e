//! Copies of damaged bytes, for a person to look at.
//!
//! `quarantine/SSSSSSSS-START-END.bin` holds the bytes START to END of segment SSSSSSSS. A copy is made once, durably, before the
//! bytes are cut off, overwritten or removed with their segment. Nothing reads these files and nothing but a person removes them.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use crate::replace::replace_file;
use crate::segment::SegmentDir;
use crate::storage::{StorageFile, read_full_at};

/// Copies bytes of a segment; `None`, with a warning in the log, if that failed.
pub(crate) fn copy(
    segments: &SegmentDir,
    file: &dyn StorageFile,
    segment: u32,
    range: &Range<u64>,
) -> Option<PathBuf> {
    try_copy(segments, file, segment, range)
        .inspect_err(|error| {
            tracing::warn!(segment, ?range, %error, "damaged bytes could not be copied to quarantine");
        })
        .ok()
}

/// Copies bytes of a segment, durably. A copy that is there already is left as it is.
pub(crate) fn try_copy(
    segments: &SegmentDir,
    file: &dyn StorageFile,
    segment: u32,
    range: &Range<u64>,
) -> io::Result<PathBuf> {
    let dir = segments.dir.join("quarantine");
    let path = dir.join(format!("{segment:08}-{}-{}.bin", range.start, range.end));
    let _alone = segments.copying.lock();
    if segments.storage.open(&path).is_ok() {
        return Ok(path);
    }
    let bytes = read_range(file, range)?;
    segments.storage.create_dir_all(&dir)?;
    segments.storage.sync_dir(&segments.dir)?;
    replace_file(&*segments.storage, &path, &bytes)?;
    Ok(path)
}

/// What can be read of a range; blocks that cannot be are zeros.
fn read_range(file: &dyn StorageFile, range: &Range<u64>) -> io::Result<Vec<u8>> {
    let len = usize::try_from(range.end.saturating_sub(range.start))
        .map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut bytes = vec![0; len];
    if read_full_at(file, &mut bytes, range.start).is_ok() {
        return Ok(bytes);
    }
    for (block, at) in bytes.chunks_mut(BLOCK).zip((range.start..).step_by(BLOCK)) {
        match read_full_at(file, block, at) {
            Err(error) if !crate::walk::is_unreadable(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(bytes)
}

const BLOCK: usize = 4096;
