//! Looks for lines that are one dot as soon as NUL octets are taken away.
//!
//! NUL is among the octets that a message may have (RFC 5321 section 4.1.1.4, though it SHOULD be
//! avoided), and passes. But some servers drop it before they look for the end of data, and to them
//! such a line is the end: what stands behind it would be a second message, from us. No stuffing
//! helps: a dot in front would be the end to those that take NUL for the end of a line.

use memchr::memchr;

/// What is known of the line under way. A line that begins with a dot needs no look: it is sent with
/// one more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum NulDots {
    /// Nothing has come of it.
    #[default]
    LineStart,
    /// It is NUL octets so far.
    Nuls,
    /// And one dot.
    Dot,
    /// It is something else.
    Other,
}

impl NulDots {
    /// The next octets of the content; they have no bare CR or LF. Says whether such a line has ended
    /// in them.
    pub(super) fn feed(&mut self, mut octets: &[u8]) -> bool {
        while !octets.is_empty() {
            if matches!(self, Self::LineStart | Self::Other) {
                // Most mail has no NUL at all: one search and one look at its end.
                let Some(nul) = memchr(0, octets) else {
                    *self = after(octets);
                    return false;
                };
                if nul > 0 {
                    *self = after(&octets[..nul]);
                    octets = &octets[nul..];
                }
            }
            let line_end = memchr(b'\n', octets).map_or(octets.len(), |lf| lf + 1);
            let (line, rest) = octets.split_at(line_end);
            if self.line(line) {
                return true;
            }
            octets = rest;
        }
        false
    }

    /// Whether the content ends in such a line: it gets its CRLF when it is sent.
    pub(super) fn is_dot(self) -> bool {
        self == Self::Dot
    }

    /// The rest of a line, or a part of it.
    fn line(&mut self, octets: &[u8]) -> bool {
        for b in octets {
            *self = match (*self, b) {
                (Self::Dot, b'\n') => return true,
                (_, b'\n') => Self::LineStart,
                // Before its LF, which is sure to come.
                (state, b'\r') => state,
                (Self::LineStart | Self::Nuls, 0) => Self::Nuls,
                (Self::Nuls, b'.') => Self::Dot,
                (Self::Dot, 0) => Self::Dot,
                (Self::LineStart | Self::Nuls | Self::Dot | Self::Other, _) => Self::Other,
            };
            if *self == Self::Other {
                break;
            }
        }
        if octets.ends_with(b"\n") {
            *self = Self::LineStart;
        }
        false
    }
}

/// After octets without NUL.
fn after(octets: &[u8]) -> NulDots {
    match octets.last() {
        Some(b'\n') => NulDots::LineStart,
        _ => NulDots::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(content: &[u8], step: usize) -> bool {
        let mut state = NulDots::default();
        let mut parts = content.chunks(step);
        parts.any(|part| state.feed(part)) || state.is_dot()
    }

    #[test]
    fn e3_05_nul_variants_of_the_end_of_data_at_every_split() {
        for (content, want) in [
            (&b"a\r\n\0.\r\nb\r\n"[..], true),
            (b"\0.\r\n", true),
            (b"a\0b\r\nx\r\n\0\0.\0\r\n", true),
            (b"a\r\n\0.", true), // by BDAT: its line end is added when it is sent
            (b"\0\r\n\0.\r\n", true),
            (b"\0.x\r\n\0..\r\n\0 .\r\n", false),
            // It is sent with one more dot, and so is never the end.
            (b".\0\r\na\r\n.\0\0\r\n", false),
            (b"x\0.\r\n.\r\n\0", false),
            (b"\0\r\n.\r\n", false),
            (b"\0\0\r\n\0", false),
            (b"plain\r\n.\r\n\r\n", false),
            (b"", false),
        ] {
            for step in 1..=content.len().max(1) {
                assert_eq!(found(content, step), want, "{content:?} by {step}");
            }
        }
    }
}
