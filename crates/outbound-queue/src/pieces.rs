//! Content that arrives in pieces, collected in chunks of one size.

use bytes::{Bytes, BytesMut};

use crate::QueueError;
use crate::body::CHUNK;

/// Chunks of at most [`CHUNK`] octets.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    full: Vec<Bytes>,
    last: BytesMut,
    size: u64,
    /// Octets left free at the very top, and what fills them.
    reserved: usize,
    top: Option<Bytes>,
}

impl Pieces {
    /// Room for so many octets at once, as far as they are not of a message that is streamed anyway.
    pub(crate) fn expecting(octets: Option<u64>) -> Self {
        // Of one that does not say, the pieces themselves tell.
        let octets = octets.map_or(0, |n| usize::try_from(n).unwrap_or(CHUNK));
        Self {
            last: BytesMut::with_capacity(octets.saturating_add(TRACE).min(CHUNK)),
            ..Self::default()
        }
    }

    pub(crate) fn write(&mut self, mut data: &[u8]) {
        self.size += data.len() as u64;
        while !data.is_empty() {
            let room = CHUNK - self.last.len();
            let (now, later) = data.split_at(data.len().min(room));
            self.last.extend_from_slice(now);
            if self.last.len() == CHUNK {
                self.full.push(std::mem::take(&mut self.last).freeze());
            }
            data = later;
        }
    }

    /// Leaves octets free at the top. Before anything is written.
    pub(crate) const fn reserve(&mut self, octets: usize) {
        self.reserved = octets;
        self.size += octets as u64;
    }

    /// What stands at the top.
    pub(crate) fn fill(&mut self, octets: Bytes) {
        self.top = Some(octets);
    }

    pub(crate) const fn reserved(&self) -> usize {
        self.reserved
    }

    /// What stands at the top, exactly as long as was reserved; empty if nothing was.
    pub(crate) fn top(&self) -> Result<Bytes, QueueError> {
        let top = self.top.clone().unwrap_or_default();
        if top.len() == self.reserved {
            return Ok(top);
        }
        Err(QueueError::Misuse(
            "the top of a message was reserved and not filled",
        ))
    }

    /// Octets so far, also those that were taken.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Octets that are here.
    pub(crate) fn pending(&self) -> usize {
        self.full.len() * CHUNK + self.last.len()
    }

    /// Takes what is here.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        let mut chunks = std::mem::take(&mut self.full);
        if !self.last.is_empty() {
            chunks.push(std::mem::take(&mut self.last).freeze());
        }
        chunks
    }

    /// All of it, if nothing was taken.
    pub(crate) fn finish(&mut self) -> Result<Vec<Bytes>, QueueError> {
        let top = self.top()?;
        let mut chunks = self.take();
        if !top.is_empty() {
            chunks.insert(0, top);
        }
        Ok(chunks)
    }
}

/// The trace header that we add before the content.
const TRACE: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_octet_in_order() {
        let data: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        for step in [1, 999, CHUNK, CHUNK + 1, data.len()] {
            let mut pieces = Pieces::default();
            data.chunks(step).for_each(|piece| pieces.write(piece));
            assert_eq!((pieces.size(), pieces.pending()), (200_000, 200_000));
            assert_eq!(pieces.finish().unwrap().concat(), data, "{step}");
        }
    }
}
