//! Recovery of the end of the last segment.
//!
//! Only the last segment can hold bytes that were never synced (see `format.rs`). The largest durable end found in its record headers,
//! *D*, divides it. Before D nothing is touched: damage there is found, copied and told by the scan. From D on lies what the last
//! write or writes left, whole or in part, acknowledged or not, and a file system may have kept any of its blocks and lost others.
//! There bodies are verified too, and:
//!
//! - what follows the last whole group is cut off. If it is more than zeros (room that the writer made ahead) it is a torn tail: copied
//!   (best effort) and told;
//! - damage with a whole group behind it is copied to quarantine, then covered by a void record, so that no half of a group is ever
//!   shown, and told as *possibly unacknowledged*;
//! - what remains from D on is written again in place and synced: after a failed fsync the page cache can show bytes that the disk
//!   does not have, and nobody may rely on those.
//!
//! A crash during all this changes nothing: the next start finds the same segment last, and every step is idempotent. Whoever opened
//! the journal continues in a new segment.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use crate::format::{
    KIND_CHECKPOINT, KIND_VOID, RECORD_HEADER_LEN, RecordHeader, SEGMENT_HEADER_LEN,
};
use crate::position::Position;
use crate::quarantine;
use crate::report::{Damage, DamageKind, TornTail};
use crate::segment::SegmentDir;
use crate::storage::{StorageFile, read_full_at, write_all_at};
use crate::walk::{Step, Walk};

/// What recovery made of the last segment.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) len: u64,
    pub(crate) torn: Option<TornTail>,
    pub(crate) damage: Vec<Damage>,
    pub(crate) checkpoint: Option<Position>,
}

/// Recovers segment `number`, which is the last that holds records.
pub(crate) fn recover(segments: &SegmentDir, number: u32) -> io::Result<Tail> {
    let file = segments.storage.open_writable(&segments.path(number))?;
    let len = file.len()?;
    let found = survey(&*file, number, len)?;
    let spans = judge(&*file, found.unsynced)?;
    let whole_end = spans
        .iter()
        .rev()
        .find(|span| span.whole)
        .map_or(found.durable, |span| span.range.end);
    let end = whole_end.max(found.durable).min(len);

    let mut tail = Tail {
        len: end,
        torn: None,
        damage: Vec::new(),
        checkpoint: None,
    };
    for span in spans
        .iter()
        .filter(|span| !span.whole && span.range.start < end)
    {
        tail.damage
            .push(void(segments, &*file, number, found.durable, span)?);
    }
    if end < len {
        // Zeros are room that the writer made ahead, not records.
        let torn = end..end_of_content(&*file, end..len)?;
        if !torn.is_empty() {
            let copy = quarantine::copy(segments, &*file, number, &torn);
            tail.torn = Some(TornTail {
                end: Position {
                    segment: number,
                    offset: u32::try_from(end).unwrap_or(u32::MAX),
                },
                bytes: torn.end - torn.start,
                copy,
            });
        }
        file.set_len(end)?;
    }
    rewrite(&*file, found.durable..end)?;
    if found.durable < len {
        file.sync_all()?;
    }
    let stands = |position: &&Position| {
        let offset = u64::from(position.offset);
        offset < end
            && !tail
                .damage
                .iter()
                .any(|damage| damage.range.contains(&offset))
    };
    tail.checkpoint = found.checkpoints.iter().rev().find(stands).copied();
    Ok(tail)
}

/// Everything from the durable end on, and the checkpoints of the whole segment.
struct Survey {
    durable: u64,
    unsynced: VecDeque<Step>,
    checkpoints: Vec<Position>,
}

fn survey(file: &dyn StorageFile, number: u32, len: u64) -> io::Result<Survey> {
    let start = SEGMENT_HEADER_LEN as u64;
    let mut survey = Survey {
        durable: start,
        unsynced: VecDeque::new(),
        checkpoints: Vec::new(),
    };
    let mut walk = Walk::new(file, number, start, len);
    while let Some(step) = walk.next()? {
        if let Step::Record(header) = &step {
            survey.durable = survey
                .durable
                .max(u64::from(header.durable_end).min(header.offset()));
            if header.kind == KIND_CHECKPOINT {
                survey.checkpoints.push(header.position);
            }
        }
        survey.unsynced.push_back(step);
        while survey
            .unsynced
            .front()
            .is_some_and(|step| range_of(step).end <= survey.durable)
        {
            survey.unsynced.pop_front();
        }
    }
    Ok(survey)
}

/// A stretch of the unsynced region: a whole group, or bytes that are none.
struct Span {
    range: Range<u64>,
    whole: bool,
    kind: DamageKind,
    key: Option<u64>,
}

fn judge(file: &dyn StorageFile, mut steps: VecDeque<Step>) -> io::Result<Vec<Span>> {
    let mut spans: Vec<Span> = Vec::new();
    while let Some(step) = steps.pop_front() {
        let mut span = Span {
            range: range_of(&step),
            whole: false,
            kind: DamageKind::IncompleteGroup,
            key: None,
        };
        match step {
            Step::Damage { kind, header, .. } => {
                span.kind = kind;
                span.key = header.map(|header| header.key);
            }
            Step::Record(first) => {
                span.key = Some(first.key);
                span.whole = first.group_index == 0;
                if span.whole && !body_is_whole(file, &first)? {
                    (span.whole, span.kind) = (false, DamageKind::Body);
                }
                // The other members follow at once or the group is not whole.
                for index in 1..first.group_len {
                    match steps.front() {
                        Some(Step::Record(next))
                            if span.whole
                                && (next.group_index, next.group_len)
                                    == (index, first.group_len) =>
                        {
                            if !body_is_whole(file, next)? {
                                (span.whole, span.kind, span.key) =
                                    (false, DamageKind::Body, Some(next.key));
                            }
                            span.range.end = next.end();
                            steps.pop_front();
                        }
                        _ => {
                            span.whole = false;
                            break;
                        }
                    }
                }
            }
        }
        match spans.last_mut() {
            Some(before) if !before.whole && !span.whole => before.range.end = span.range.end,
            _ => spans.push(span),
        }
    }
    Ok(spans)
}

fn range_of(step: &Step) -> Range<u64> {
    match step {
        Step::Record(header) => header.offset()..header.end(),
        Step::Damage { range, .. } => range.clone(),
    }
}

fn body_is_whole(file: &dyn StorageFile, header: &RecordHeader) -> io::Result<bool> {
    if header.kind == KIND_VOID {
        return Ok(true);
    }
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; CHUNK.min(header.body_len as usize)];
    let mut at = header.body_start();
    while at < header.end() {
        let want = buffer.len().min((header.end() - at) as usize);
        let Some(chunk) = buffer.get_mut(..want) else {
            break;
        };
        match read_full_at(file, chunk, at) {
            Ok(read) if read == want => hasher.update(chunk),
            Ok(_) => return Ok(false),
            Err(error) if crate::walk::is_unreadable(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        at += want as u64;
    }
    Ok(hasher.finalize() == header.body_crc)
}

/// Takes a stretch out of use. Its part before the durable end, if any, stays as it is and is told by scans.
fn void(
    segments: &SegmentDir,
    file: &dyn StorageFile,
    number: u32,
    durable: u64,
    span: &Span,
) -> io::Result<Damage> {
    let range = span.range.start.max(durable)..span.range.end;
    // Nothing is overwritten that was not copied: without the copy the journal does not open.
    let copy = Some(quarantine::try_copy(segments, file, number, &range)?);
    if range.end - range.start >= RECORD_HEADER_LEN as u64 {
        let as_u32 =
            |number| u32::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
        let position = Position {
            segment: number,
            offset: as_u32(range.start)?,
        };
        let header =
            RecordHeader::void(position, as_u32(range.end - range.start)?, as_u32(durable)?);
        write_all_at(file, &header.encode(), range.start)?;
    }
    Ok(Damage {
        segment: number,
        range,
        kind: span.kind,
        key: span.key,
        possibly_unacknowledged: true,
        copy,
    })
}

fn rewrite(file: &dyn StorageFile, range: Range<u64>) -> io::Result<()> {
    in_chunks(file, range, |chunk, at| {
        write_all_at(file, chunk, at).map(|()| true)
    })
    .map(|_| ())
}

/// Where the zeros begin that reach to the end of the range.
fn end_of_content(file: &dyn StorageFile, range: Range<u64>) -> io::Result<u64> {
    let mut end = range.start;
    in_chunks(file, range, |chunk, at| {
        if let Some(last) = chunk.iter().rposition(|&byte| byte != 0) {
            end = at + last as u64 + 1;
        }
        Ok(true)
    })?;
    Ok(end)
}

/// Calls `each` with the bytes of a range, until it returns false or the file ends.
fn in_chunks(
    file: &dyn StorageFile,
    range: Range<u64>,
    mut each: impl FnMut(&[u8], u64) -> io::Result<bool>,
) -> io::Result<bool> {
    let mut buffer = vec![0; CHUNK.min(range.end.saturating_sub(range.start) as usize)];
    let mut at = range.start;
    while at < range.end {
        let want = buffer.len().min((range.end - at) as usize);
        let read = match buffer.get_mut(..want) {
            Some(chunk) => match read_full_at(file, chunk, at) {
                Ok(read) => read,
                // Void or not, an unreadable block is left alone: writing would take it for zeros.
                Err(error) if crate::walk::is_unreadable(&error) => {
                    at += want as u64;
                    continue;
                }
                Err(error) => return Err(error),
            },
            None => 0,
        };
        if read == 0 {
            break;
        }
        if !each(buffer.get(..read).unwrap_or_default(), at)? {
            return Ok(false);
        }
        at += read as u64;
    }
    Ok(true)
}

const CHUNK: usize = 1 << 20;
