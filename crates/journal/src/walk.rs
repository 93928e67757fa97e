//! Going over a segment from header to header without reading bodies.

use std::io;
use std::ops::Range;

use crate::format::{RECORD_HEADER_LEN, RECORD_MAGIC, RecordHeader};
use crate::report::DamageKind;
use crate::storage::{StorageFile, read_full_at};

/// A walk over one segment. Reads a window at a time: small records come many to a read, large bodies are skipped.
pub(crate) struct Walk<'f> {
    file: &'f dyn StorageFile,
    segment: u32,
    offset: u64,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
}

/// What stands at the next place.
#[derive(Debug)]
pub(crate) enum Step {
    /// A record with a valid header and meta; its meta is [`Walk::meta`] until the next step.
    Record(RecordHeader),
    /// Bytes up to the next valid header, or a record whose meta is damaged or missing.
    Damage {
        range: Range<u64>,
        kind: DamageKind,
        header: Option<RecordHeader>,
    },
}

impl<'f> Walk<'f> {
    /// From `offset` to `end` (exclusive) of a segment.
    pub(crate) fn new(file: &'f dyn StorageFile, segment: u32, offset: u64, end: u64) -> Self {
        Self {
            file,
            segment,
            offset,
            end,
            window: Vec::new(),
            window_start: 0,
        }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Step>> {
        if self.offset >= self.end {
            return Ok(None);
        }
        let (start, segment) = (self.offset, self.segment);
        let header = match self.bytes(start, RECORD_HEADER_LEN) {
            Ok(bytes) => RecordHeader::decode(bytes, segment, start),
            Err(error) => return self.skip_unreadable(error).map(Some),
        };
        let Some(header) = header else {
            return self
                .resynchronise(start, start + 1, DamageKind::RecordHeader)
                .map(Some);
        };
        if header.end() > self.end {
            return self
                .resynchronise(
                    start,
                    start + RECORD_HEADER_LEN as u64,
                    DamageKind::Truncated,
                )
                .map(Some);
        }
        self.offset = header.end();
        let meta_start = start + RECORD_HEADER_LEN as u64;
        let kind = match self.bytes(meta_start, header.meta_len as usize) {
            Ok(meta) if crc32fast::hash(meta) == header.meta_crc => {
                return Ok(Some(Step::Record(header)));
            }
            Ok(_) => DamageKind::Meta,
            Err(error) if is_unreadable(&error) => DamageKind::Unreadable,
            Err(error) => return Err(error),
        };
        Ok(Some(Step::Damage {
            range: start..header.end(),
            kind,
            header: Some(header),
        }))
    }

    /// The meta of the record that the last step returned.
    pub(crate) fn meta(&self, header: &RecordHeader) -> &[u8] {
        let start = header.offset() + RECORD_HEADER_LEN as u64;
        self.in_window(start, header.meta_len as usize)
            .unwrap_or_default()
    }

    fn skip_unreadable(&mut self, error: io::Error) -> io::Result<Step> {
        if !is_unreadable(&error) {
            return Err(error);
        }
        let next_block = (self.offset / BLOCK + 1) * BLOCK;
        self.resynchronise(self.offset, next_block, DamageKind::Unreadable)
    }

    /// Searches from `from` on for a header that is valid at its place; everything from `start` to there is damage.
    fn resynchronise(&mut self, start: u64, from: u64, kind: DamageKind) -> io::Result<Step> {
        let mut at = from;
        while at + RECORD_HEADER_LEN as u64 <= self.end {
            let segment = self.segment;
            let bytes = match self.bytes(at, RECORD_HEADER_LEN) {
                Ok(bytes) => bytes,
                Err(error) if is_unreadable(&error) => {
                    at = (at / BLOCK + 1) * BLOCK;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if RecordHeader::decode(bytes, segment, at).is_some() {
                break;
            }
            at = self.next_magic(at + 1);
        }
        let found = if at + RECORD_HEADER_LEN as u64 <= self.end {
            at
        } else {
            self.end
        };
        self.offset = found;
        Ok(Step::Damage {
            range: start..found,
            kind,
            header: None,
        })
    }

    /// The next place at or after `from` where the magic stands, or where the window ends before that could be said.
    fn next_magic(&self, from: u64) -> u64 {
        let window_end = self.window_start + self.window.len() as u64;
        let Some(rest) = from
            .checked_sub(self.window_start)
            .and_then(|skip| self.window.get(skip as usize..))
        else {
            return from;
        };
        match rest
            .windows(RECORD_MAGIC.len())
            .position(|bytes| bytes == RECORD_MAGIC)
        {
            Some(found) => from + found as u64,
            None => from.max(window_end.saturating_sub(RECORD_MAGIC.len() as u64 - 1)),
        }
    }

    /// `len` bytes from `offset` on, or fewer if the segment ends before.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let len = len.min(usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX));
        if self.in_window(offset, len).is_none() {
            let readable = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
            self.window.resize(len.max(WINDOW).min(readable), 0);
            self.window_start = offset;
            match read_full_at(self.file, &mut self.window, offset) {
                Ok(read) => self.window.truncate(read),
                Err(error) => {
                    self.window.clear();
                    return Err(error);
                }
            }
        }
        let available = self.window.len() as u64 + self.window_start - offset;
        Ok(self
            .in_window(offset, len.min(available as usize))
            .unwrap_or_default())
    }

    fn in_window(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.window_start)?).ok()?;
        self.window.get(start..start.checked_add(len)?)
    }
}

/// The medium could not give these bytes; others may be well.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// One read when records are small; with bodies of more than this each record costs one read.
const WINDOW: usize = 16 * 1024;
const BLOCK: u64 = 4096;

#[cfg(test)]
mod tests;
