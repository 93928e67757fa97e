//! Content as it goes on the wire: dot-stuffing for DATA, exact octets for BDAT.
//!
//! The encoder is the last door: whatever the source (an old queue, a BDAT submission, a bug), no
//! CR without LF and no LF without CR passes it (RFC 5321 section 2.3.8, row E3-07). A stray one
//! becomes a space: that keeps every count (SIZE, BDAT) exact, and no line of anybody's choosing
//! begins there. Content that is already canonical passes without being copied.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::Framing;

#[cfg(test)]
mod tests;

/// Encodes the content of one message, piece by piece.
#[derive(Debug)]
pub struct DataEncoder {
    framing: Framing,
    at_line_start: bool,
    /// The last piece ended in CR: it goes out with its LF, or as a space.
    held_cr: bool,
    taken: u64,
    repaired: u64,
}

impl DataEncoder {
    /// At the beginning of a message.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        Self {
            framing,
            at_line_start: true,
            held_cr: false,
            taken: 0,
            repaired: 0,
        }
    }

    /// Octets of content taken so far: comparable to SIZE.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    /// Stray CRs and LFs that were replaced so far.
    #[must_use]
    pub const fn repaired(&self) -> u64 {
        self.repaired
    }

    /// Encodes the next piece into `out`.
    pub fn encode(&mut self, piece: Bytes, out: &mut WireQueue) {
        if piece.is_empty() {
            return;
        }
        self.taken += piece.len() as u64;
        if self.passes_as_it_is(&piece) {
            self.at_line_start = piece.ends_with(b"\n");
            out.push(piece);
            return;
        }
        let mut done = 0; // Everything before is in `out`.
        if std::mem::take(&mut self.held_cr) {
            if piece.first() == Some(&b'\n') {
                out.extend_from_slice(b"\r\n");
                self.at_line_start = true;
                done = 1;
            } else {
                self.stray(out);
            }
        }
        let mut at = done;
        loop {
            self.stuff(&piece, at, &mut done, out);
            let rest = piece.get(at..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'\r', b'\n', rest) else {
                break;
            };
            let end = at + found;
            match (piece.get(end), piece.get(end + 1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    at = end + 2;
                    self.at_line_start = true;
                }
                (Some(b'\r'), None) => {
                    out.push(piece.slice(done..end));
                    if end > at {
                        self.at_line_start = false;
                    }
                    self.held_cr = true;
                    return;
                }
                _ => {
                    out.push(piece.slice(done..end));
                    self.stray(out);
                    at = end + 1;
                    done = at;
                }
            }
        }
        if at < piece.len() {
            self.at_line_start = false;
        }
        out.push(piece.slice(done..));
    }

    /// Ends the content. With DATA: CRLF if the last line has none (RFC 5321 section 4.1.1.4: only
    /// then, row E3-03), and the final dot.
    pub fn finish(mut self, out: &mut WireQueue) {
        if std::mem::take(&mut self.held_cr) {
            self.stray(out);
        }
        match self.framing {
            Framing::Bdat => {}
            Framing::Data if self.at_line_start => out.extend_from_slice(b".\r\n"),
            Framing::Data => out.extend_from_slice(b"\r\n.\r\n"),
        }
    }

    /// Whether nothing is to be added, replaced or held back. So it is of nearly all content, and to look at
    /// all octets without a branch costs half of what a look at its lines one by one does.
    fn passes_as_it_is(&self, piece: &[u8]) -> bool {
        // The second of a pair that must not be: in a chunk dots are content, and LF LF is wrong anyway.
        let dot = match self.framing {
            Framing::Data => b'.',
            Framing::Bdat => b'\n',
        };
        let (Some((first, behind)), Some(last)) = (piece.split_first(), piece.last()) else {
            return false;
        };
        if self.held_cr
            || *first == b'\n'
            || *last == b'\r'
            || (self.at_line_start && *first == dot)
        {
            return false;
        }
        let mut pairs = piece.chunks(LOOK).zip(behind.chunks(LOOK));
        pairs.all(|(here, behind)| {
            let pairs = here.iter().zip(behind);
            let wrong = pairs.fold(0, |wrong, (a, b)| {
                let stray = u8::from(*a == b'\r') ^ u8::from(*b == b'\n');
                let dotted = u8::from(*a == b'\n') & u8::from(*b == dot);
                wrong | stray | dotted
            });
            wrong == 0
        })
    }

    /// RFC 5321 section 4.5.2: a dot at the start of a line is doubled.
    fn stuff(&self, piece: &Bytes, at: usize, done: &mut usize, out: &mut WireQueue) {
        let stuffed = self.framing == Framing::Data && self.at_line_start;
        if stuffed && piece.get(at) == Some(&b'.') {
            out.push(piece.slice(*done..at));
            out.extend_from_slice(b".");
            *done = at;
        }
    }

    fn stray(&mut self, out: &mut WireQueue) {
        out.extend_from_slice(b" ");
        self.at_line_start = false;
        self.repaired += 1;
    }
}

/// Octets waiting to be written: large pieces are kept as they are, small ones are put together,
/// so that one vectored write (and one TLS record) carries many.
#[derive(Debug, Default)]
pub struct WireQueue {
    pieces: VecDeque<Bytes>,
    /// The end of the queue, where small pieces gather.
    tail: BytesMut,
    len: usize,
}

impl WireQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends; without copying unless it is small.
    pub fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < SMALL {
            self.tail.extend_from_slice(&piece);
        } else {
            self.seal();
            self.pieces.push_back(piece);
        }
    }

    /// Appends a copy: for commands.
    pub fn extend_from_slice(&mut self, octets: &[u8]) {
        self.len += octets.len();
        self.tail.extend_from_slice(octets);
    }

    /// Octets waiting.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.tail.clear();
        self.len = 0;
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}

impl Buf for WireQueue {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&self.tail, |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        let pieces = self.pieces.iter().map(|p| &p[..]).chain(tail);
        let mut n = 0;
        for (slot, piece) in dst.iter_mut().zip(pieces) {
            *slot = IoSlice::new(piece);
            n += 1;
        }
        n
    }

    fn advance(&mut self, mut count: usize) {
        self.len = self.len.saturating_sub(count);
        while let Some(front) = self.pieces.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.pieces.pop_front();
        }
        self.tail.advance(count.min(self.tail.len()));
    }
}

const SMALL: usize = 512;
/// Octets looked at before the look may end.
const LOOK: usize = 4 << 10;
