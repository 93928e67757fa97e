//! Reading records and bodies back.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;

use crate::error::ReadError;
use crate::format::{RECORD_HEADER_LEN, RecordHeader};
use crate::position::Position;
use crate::quarantine;
use crate::record::Record;
use crate::report::{Damage, DamageKind};
use crate::segment::SegmentDir;
use crate::storage::{StorageFile, read_full_at};

/// A whole record, read back and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The owner's kind.
    pub kind: u8,
    /// The owner's key.
    pub key: u64,
    /// The owner's meta.
    pub meta: Bytes,
    /// The body.
    pub body: Bytes,
}

/// A body, read piece by piece. Its last read fails with `InvalidData` if the checksum does not match: whoever passes bytes on
/// must not call them complete before this reader has returned 0.
pub struct BodyReader {
    file: Arc<dyn StorageFile>,
    header: RecordHeader,
    at: u64,
    hasher: crc32fast::Hasher,
}

impl BodyReader {
    /// Length of the whole body in bytes.
    pub fn body_len(&self) -> u32 {
        self.header.body_len
    }
}

impl Read for BodyReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let rest = self.header.end() - self.at;
        if rest == 0 {
            let intact = self.hasher.clone().finalize() == self.header.body_crc;
            return if intact {
                Ok(0)
            } else {
                Err(damaged(&self.header))
            };
        }
        let most = buf.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        let Some(buf) = buf.get_mut(..most).filter(|buf| !buf.is_empty()) else {
            return Ok(0);
        };
        let read = self.file.read_at(buf, self.at)?;
        if read == 0 {
            return Err(damaged(&self.header));
        }
        self.hasher.update(buf.get(..read).unwrap_or_default());
        self.at += read as u64;
        Ok(read)
    }
}

/// Reads of one journal.
pub(crate) struct Reading<'a> {
    pub(crate) segments: &'a SegmentDir,
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) position: Position,
}

impl Reading<'_> {
    pub(crate) fn body_reader(self) -> Result<BodyReader, ReadError> {
        let header = self.header()?;
        let at = header.body_start();
        Ok(BodyReader {
            file: self.file,
            header,
            at,
            hasher: crc32fast::Hasher::new(),
        })
    }

    pub(crate) fn body(&self) -> Result<Bytes, ReadError> {
        let header = self.header()?;
        let body = self.bytes(&header, header.body_start(), header.body_len)?;
        self.verified(&header, body, header.body_crc, DamageKind::Body)
    }

    pub(crate) fn record(&self) -> Result<StoredRecord, ReadError> {
        let header = self.header()?;
        let meta_start = header.offset() + RECORD_HEADER_LEN as u64;
        let mut meta = self.bytes(&header, meta_start, header.meta_len + header.body_len)?;
        let body = meta.split_off(meta.len().min(header.meta_len as usize));
        Ok(StoredRecord {
            kind: header.kind,
            key: header.key,
            meta: self.verified(&header, meta, header.meta_crc, DamageKind::Meta)?,
            body: self.verified(&header, body, header.body_crc, DamageKind::Body)?,
        })
    }

    fn header(&self) -> Result<RecordHeader, ReadError> {
        let header = crate::scan::read_header(&*self.file, self.position)
            .map_err(|source| self.io(source))?;
        let header = header.filter(|header| header.kind < Record::FIRST_RESERVED_KIND);
        header.ok_or_else(|| {
            // How long it was is not known any more: the scan copies the whole stretch.
            let start = u64::from(self.position.offset);
            let range = start..start + RECORD_HEADER_LEN as u64;
            let damage = self.damage(range, DamageKind::RecordHeader, None);
            ReadError::Damaged(self.position, damage)
        })
    }

    fn bytes(&self, header: &RecordHeader, start: u64, len: u32) -> Result<Bytes, ReadError> {
        let mut bytes = vec![0; len as usize];
        let read = read_full_at(&*self.file, &mut bytes, start);
        match read {
            Ok(read) if read == bytes.len() => Ok(bytes.into()),
            Ok(_) => Err(self.damaged(header, DamageKind::Truncated)),
            Err(error) if crate::walk::is_unreadable(&error) => {
                Err(self.damaged(header, DamageKind::Unreadable))
            }
            Err(source) => Err(self.io(source)),
        }
    }

    fn verified(
        &self,
        header: &RecordHeader,
        bytes: Bytes,
        crc: u32,
        kind: DamageKind,
    ) -> Result<Bytes, ReadError> {
        if crc32fast::hash(&bytes) == crc {
            return Ok(bytes);
        }
        Err(self.damaged(header, kind))
    }

    fn damaged(&self, header: &RecordHeader, kind: DamageKind) -> ReadError {
        ReadError::Damaged(
            self.position,
            self.damage(header.offset()..header.end(), kind, Some(header.key)),
        )
    }

    fn damage(&self, range: std::ops::Range<u64>, kind: DamageKind, key: Option<u64>) -> Damage {
        let segment = self.position.segment;
        let copy = quarantine::copy(self.segments, &*self.file, segment, &range);
        Damage {
            segment,
            range,
            kind,
            key,
            possibly_unacknowledged: false,
            copy,
        }
    }

    fn io(&self, source: io::Error) -> ReadError {
        ReadError::Io {
            segment: self.position.segment,
            source,
        }
    }
}

fn damaged(header: &RecordHeader) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "the body at {} does not match its checksum",
            header.position
        ),
    )
}
