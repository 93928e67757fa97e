//! One thing that the index knows about a domain, and the rows that it is split over.
//!
//! A key is `r`, the class, the domain, a zero octet, the number of the part. The first part begins
//! with a head (numbers and digests); the row's meta follows, then, from a part of its own
//! on, the text: a renewed policy writes its first part anew and nothing else.

use bytes::Bytes;
use mail_types::Domain;

use super::IndexError;
use crate::row::{CONTACT, Encoded, LOCAL, Row, digest};

/// What a row is about; of each there is at most one per domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    Contact,
    Local,
    /// A policy, or that it was forgotten.
    Policy,
}

/// A row of the journal as the index keeps it, checked against its digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) kind: u8,
    pub(crate) meta: Vec<u8>,
    pub(crate) text: Vec<u8>,
}

impl Class {
    pub(crate) const fn of(row: &Row) -> Self {
        match row {
            Row::Policy(_) | Row::Renewed(_) | Row::Forgotten(_) => Self::Policy,
            Row::Contact(..) => Self::Contact,
            Row::Local(..) => Self::Local,
        }
    }

    /// By the kind of a journal record.
    pub(crate) const fn of_kind(kind: u8) -> Self {
        match kind {
            CONTACT => Self::Contact,
            LOCAL => Self::Local,
            _ => Self::Policy,
        }
    }

    const fn letter(self) -> u8 {
        match self {
            Self::Contact => b'c',
            Self::Local => b'l',
            Self::Policy => b'p',
        }
    }
}

impl Item {
    /// Puts the parts together; `None` if they are not what was written.
    pub(super) fn read(parts: &[(sled::IVec, sled::IVec)]) -> Option<Self> {
        let (_, first) = parts.first()?;
        let (head, _) = Head::read(first)?;
        if usize::from(head.parts) != parts.len() {
            return None;
        }
        let (mut meta, mut text) = (Vec::new(), Vec::new());
        for (n, (key, value)) in parts.iter().enumerate() {
            let (_, _, part) = split_key(key)?;
            if usize::from(part) != n {
                return None;
            }
            if part < head.meta_parts {
                let skip = if n == 0 { HEAD } else { 0 };
                meta.extend_from_slice(value.get(skip..)?);
            } else {
                text.extend_from_slice(value);
            }
        }
        let whole = head.meta == digest(&meta) && head.text == digest(&text);
        whole.then_some(Self {
            kind: head.kind,
            meta,
            text,
        })
    }
}

/// The rows of one item, in order.
pub(super) struct Pieces(Vec<(Vec<u8>, Vec<u8>)>);

impl Pieces {
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn of(
        class: Class,
        domain: &Domain,
        encoded: &Encoded,
        seq: u64,
    ) -> Result<Self, IndexError> {
        let text = encoded.body.as_ref().map_or(&[][..], Bytes::as_ref);
        let (front, more) = encoded.meta.split_at(encoded.meta.len().min(PART - HEAD));
        let rest: Vec<&[u8]> = more.chunks(PART).chain(text.chunks(PART)).collect();
        let number = |n: usize| u16::try_from(n).map_err(|_| IndexError("row too long".into()));
        let head = Head {
            parts: number(1 + rest.len())?,
            meta_parts: number(1 + more.len().div_ceil(PART))?,
            kind: encoded.kind,
            seq,
            meta: digest(&encoded.meta),
            text: digest(text),
        };
        let mut first = head.encode();
        first.extend_from_slice(front);
        let mut rows = Vec::with_capacity(1 + rest.len());
        rows.push((key(class, domain, 0), first));
        for (part, piece) in (1u16..).zip(rest) {
            rows.push((key(class, domain, part), piece.to_vec()));
        }
        Ok(Self(rows))
    }

    pub(super) fn rows(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.0
    }
}

struct Head {
    parts: u16,
    meta_parts: u16,
    kind: u8,
    seq: u64,
    /// Digest of the whole meta.
    meta: u64,
    /// Digest of the whole text.
    text: u64,
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PART);
        bytes.extend_from_slice(&self.parts.to_be_bytes());
        bytes.extend_from_slice(&self.meta_parts.to_be_bytes());
        bytes.push(self.kind);
        for number in [self.seq, self.meta, self.text] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    fn read(value: &[u8]) -> Option<(Self, &[u8])> {
        let (parts, rest) = value.split_first_chunk()?;
        let (meta_parts, rest) = rest.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (meta, rest) = rest.split_first_chunk()?;
        let (text, rest) = rest.split_first_chunk()?;
        let head = Self {
            parts: u16::from_be_bytes(*parts),
            meta_parts: u16::from_be_bytes(*meta_parts),
            kind: *kind,
            seq: u64::from_be_bytes(*seq),
            meta: u64::from_be_bytes(*meta),
            text: u64::from_be_bytes(*text),
        };
        Some((head, rest))
    }
}

/// The number of the item whose first part this is.
pub(super) fn seq(first: &[u8]) -> Option<u64> {
    Head::read(first).map(|(head, _)| head.seq)
}

/// What all keys of an item begin with.
pub(super) fn prefix(class: Class, domain: &Domain) -> Vec<u8> {
    let mut key = Vec::with_capacity(domain.as_str().len() + 5);
    key.extend_from_slice(super::ROWS);
    key.push(class.letter());
    key.extend_from_slice(domain.as_str().as_bytes());
    key.push(0);
    key
}

fn key(class: Class, domain: &Domain, part: u16) -> Vec<u8> {
    let mut key = prefix(class, domain);
    key.extend_from_slice(&part.to_be_bytes());
    key
}

/// Both keys belong to one item.
pub(super) fn same_thing(a: &[u8], b: &[u8]) -> bool {
    let thing = |key: &[u8]| key.len().checked_sub(2);
    thing(a).is_some() && thing(a).and_then(|n| a.get(..n)) == thing(b).and_then(|n| b.get(..n))
}

pub(super) fn split_key(key: &[u8]) -> Option<(Class, Domain, u16)> {
    let (thing, part) = key.split_last_chunk()?;
    let [_, letter, domain @ .., 0] = thing else {
        return None;
    };
    let class = match letter {
        b'c' => Class::Contact,
        b'l' => Class::Local,
        b'p' => Class::Policy,
        _ => return None,
    };
    let domain = Domain::parse(std::str::from_utf8(domain).ok()?).ok()?;
    Some((class, domain, u16::from_be_bytes(*part)))
}

/// Octets of a part: with key and sled's own under 4 KiB.
const PART: usize = 3 * 1024;
/// Octets of an encoded [`Head`].
const HEAD: usize = 29;
