//! Groups laid out for one gathered write.

use std::io::{self, IoSlice};

use crate::append::{Appended, Places};
use crate::format::{RECORD_HEADER_LEN, RecordHeader};
use crate::position::Position;
use crate::state::Append;
use crate::storage::StorageFile;

/// Groups that go to one segment in one write. Headers and metas are gathered in a buffer that is kept from batch to batch;
/// bodies are written from where they are.
pub(crate) struct Batch {
    pub(crate) appends: Vec<(Append, Appended)>,
    pub(crate) bytes: u64,
    heads: Vec<u8>,
    /// End in `heads` of each record's header and meta.
    head_ends: Vec<usize>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            appends: Vec::new(),
            bytes: 0,
            heads: Vec::new(),
            head_ends: Vec::new(),
        }
    }

    /// Adds a group that will stand at `start`; `durable_end` is what was synced of this segment when the write begins.
    pub(crate) fn push(&mut self, append: Append, start: Position, durable_end: u32) {
        let group_len = u16::try_from(append.group.len()).unwrap_or(u16::MAX);
        let mut position = start;
        let mut places = Vec::new();
        for (index, (record, checksums)) in
            append.group.records().zip(append.checksums()).enumerate()
        {
            let body_len = record.body_len();
            let header = RecordHeader {
                position,
                kind: record.kind,
                group_index: u16::try_from(index).unwrap_or(u16::MAX),
                group_len,
                durable_end,
                key: record.key,
                // Lengths and offsets fit: groups over 1 GiB were refused before they came here.
                meta_len: record.meta.len() as u32,
                body_len: body_len as u32,
                meta_crc: checksums.meta,
                body_crc: checksums.body,
            };
            self.heads.extend_from_slice(&header.encode());
            self.heads.extend_from_slice(&record.meta);
            self.head_ends.push(self.heads.len());
            if group_len > 1 {
                places.push(position);
            }
            position.offset += RECORD_HEADER_LEN as u32 + header.meta_len + header.body_len;
        }
        let places = if group_len > 1 {
            Places::Many(places)
        } else {
            Places::One(start)
        };
        self.bytes += append.bytes;
        self.appends.push((
            append,
            Appended {
                places,
                end: position,
            },
        ));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }

    /// Writes everything at `offset`; a short write is continued.
    pub(crate) fn write(&self, file: &dyn StorageFile, offset: u64) -> io::Result<()> {
        let mut pieces = self.pieces();
        let mut rest: &mut [IoSlice<'_>] = &mut pieces;
        let mut at = offset;
        while !rest.is_empty() {
            match file.write_vectored_at(rest, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes the groups out and makes the batch ready for the next.
    pub(crate) fn take(&mut self) -> Vec<(Append, Appended)> {
        self.bytes = 0;
        self.head_ends.clear();
        self.heads.clear();
        self.heads.shrink_to(KEPT);
        std::mem::take(&mut self.appends)
    }

    fn pieces(&self) -> Vec<IoSlice<'_>> {
        let mut pieces = Vec::with_capacity(2 * self.head_ends.len() + 1);
        let mut from = 0;
        let records = self
            .appends
            .iter()
            .flat_map(|(append, _)| append.group.records());
        for (record, &end) in records.zip(&self.head_ends) {
            if record.body.iter().all(bytes::Bytes::is_empty) {
                continue;
            }
            pieces.extend(self.heads.get(from..end).map(IoSlice::new));
            pieces.extend(
                record
                    .body
                    .iter()
                    .filter(|chunk| !chunk.is_empty())
                    .map(|chunk| IoSlice::new(chunk)),
            );
            from = end;
        }
        pieces.extend(
            self.heads
                .get(from..)
                .filter(|rest| !rest.is_empty())
                .map(IoSlice::new),
        );
        pieces
    }
}

/// Capacity that the buffer of headers and metas keeps between batches.
const KEPT: usize = 1 << 20;
