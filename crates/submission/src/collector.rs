//! Finds the end of a header that comes in pieces.

use mail_types::header_fields;

use crate::Rejection;

/// The header under way.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    octets: Vec<u8>,
    /// Where the line under way begins.
    line: usize,
}

impl Collector {
    /// The next octets. Says whether the header is complete: what was collected then holds the
    /// line that ends it, and perhaps more.
    pub(crate) fn feed(&mut self, octets: &[u8]) -> Result<bool, Rejection> {
        let mut searched = self.octets.len();
        self.make_room(octets.len());
        self.octets.extend_from_slice(octets);
        while let Some(lf) = self.octets[searched..].iter().position(|b| *b == b'\n') {
            searched += lf + 1;
            if self.ends_with(&self.octets[self.line..searched]) {
                return Ok(true);
            }
            self.line = searched;
            if self.line > MAX_HEADER {
                return Err(Rejection::HeaderTooLarge);
            }
        }
        if self.octets.len() > MAX_HEADER {
            return Err(Rejection::HeaderTooLarge);
        }
        Ok(false)
    }

    /// Octets of memory that it takes: at most those of the largest header, while it is incomplete.
    pub(crate) const fn held(&self) -> usize {
        self.octets.capacity()
    }

    /// Twice as much each time, but no more than a header may have.
    fn make_room(&mut self, more: usize) {
        let (length, capacity) = (self.octets.len(), self.octets.capacity());
        let needed = length + more;
        if needed > capacity {
            let wanted = (2 * capacity).min(MAX_HEADER).max(needed);
            self.octets.reserve_exact(wanted - length);
        }
    }

    /// All that came.
    pub(crate) fn into_octets(self) -> Vec<u8> {
        self.octets
    }

    fn ends_with(&self, line: &[u8]) -> bool {
        let continues = self.line > 0 && matches!(line.first(), Some(b' ' | b'\t'));
        !continues && header_fields(line).0.is_empty()
    }
}

/// Postfix has 100 KiB; lists of recipients and references are far below either.
const MAX_HEADER: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn complete_after(text: &[u8], step: usize) -> Option<usize> {
        let mut collector = Collector::default();
        let mut fed = 0;
        for piece in text.chunks(step) {
            fed += piece.len();
            if collector.feed(piece).unwrap() {
                assert_eq!(collector.into_octets(), text[..fed]);
                return Some(fed);
            }
        }
        None
    }

    #[test]
    fn the_end_is_found_at_every_split() {
        for (text, end) in [
            (&b"A: b\r\n c\r\n\r\nbody: x\r\n"[..], 12),
            (b"A: b\r\nno field here\r\nmore\r\n", 21),
            (b"\r\nbody\r\n", 2),
            (b"A: b\r\nname\r\n : folded colon\r\n", 12),
            (b" starts folded\r\nA: b\r\n", 16),
        ] {
            for step in 1..=text.len() {
                let fed = complete_after(text, step).unwrap();
                assert!((end..end + step).contains(&fed), "{text:?} {step}: {fed}");
            }
        }
        assert_eq!(complete_after(b"A: b\r\n", 3), None);
    }

    #[test]
    fn a_header_is_bounded() {
        let line = [b"X: ".as_slice(), &[b'x'; 900], b"\r\n"].concat();
        let mut collector = Collector::default();
        let refused = (0..300).find(|_| collector.feed(&line).is_err());
        assert_eq!(refused, Some(MAX_HEADER / line.len()));
        let mut collector = Collector::default();
        let endless = vec![b'x'; MAX_HEADER + 1];
        assert_eq!(collector.feed(&endless), Err(Rejection::HeaderTooLarge));
    }
}
