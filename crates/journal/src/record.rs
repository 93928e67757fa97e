//! What an owner appends.

use bytes::Bytes;

/// One record: an owner's kind and key, a small meta that every scan shows, and a body that scans skip.
#[derive(Clone, Debug)]
pub struct Record {
    pub(crate) kind: u8,
    pub(crate) key: u64,
    pub(crate) meta: Bytes,
    pub(crate) body: Vec<Bytes>,
}

impl Record {
    /// Kinds from here up are the journal's own; appending one fails with [`AppendError::ReservedKind`](crate::AppendError::ReservedKind).
    pub const FIRST_RESERVED_KIND: u8 = 0xF0;

    /// A record without a body.
    pub fn new(kind: u8, key: u64, meta: impl Into<Bytes>) -> Self {
        Self {
            kind,
            key,
            meta: meta.into(),
            body: Vec::new(),
        }
    }

    /// The same with a body, given as chunks that are written one after the other without being copied.
    #[must_use]
    pub fn with_body(mut self, chunks: impl IntoIterator<Item = Bytes>) -> Self {
        self.body = chunks.into_iter().collect();
        self
    }

    /// Bytes that the record takes in a segment, header included.
    pub fn stored_len(&self) -> u64 {
        crate::format::RECORD_HEADER_LEN as u64 + self.meta.len() as u64 + self.body_len()
    }

    pub(crate) fn body_len(&self) -> u64 {
        self.body.iter().map(|chunk| chunk.len() as u64).sum()
    }
}

/// Records that stand or fall together: a power cut leaves all of them or none. Never empty; never split over two segments.
#[derive(Clone, Debug)]
pub struct Group {
    pub(crate) first: Record,
    pub(crate) rest: Vec<Record>,
}

impl Group {
    /// A group of one; add more with [`and`](Self::and).
    pub fn new(first: Record) -> Self {
        Self {
            first,
            rest: Vec::new(),
        }
    }

    /// The same group with one more record at its end. At most 65,535 records; more are refused when appended.
    #[must_use]
    pub fn and(mut self, record: Record) -> Self {
        self.rest.push(record);
        self
    }

    /// Number of records, at least one.
    #[expect(clippy::len_without_is_empty, reason = "a group is never empty")]
    pub fn len(&self) -> usize {
        1 + self.rest.len()
    }

    /// Bytes that the group takes in a segment.
    pub fn stored_len(&self) -> u64 {
        self.records().map(Record::stored_len).sum()
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

impl From<Record> for Group {
    fn from(record: Record) -> Self {
        Self::new(record)
    }
}
