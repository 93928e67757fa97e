//! The body hash: relaxed canonicalisation (RFC 6376 section 3.4.4) of a body in pieces.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use memchr::memchr3;

/// Hashes a body as it passes.
pub struct BodyHash {
    context: Context,
    /// Canonical octets on their way to the hash, so that it is not called for each word.
    buffer: Vec<u8>,
    /// Line ends not hashed yet: at the end of a body they do not count.
    line_ends: u64,
    /// White space not hashed yet: at the end of a line it does not count.
    space: bool,
    /// A CR whose LF may follow.
    cr: bool,
    /// Something was hashed.
    any: bool,
}

/// The SHA-256 of a canonical body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyDigest(pub(crate) [u8; 32]);

impl BodyHash {
    /// Of an empty body.
    #[must_use]
    pub fn new() -> Self {
        Self {
            context: Context::new(&SHA256),
            buffer: Vec::with_capacity(BUFFER),
            line_ends: 0,
            space: false,
            cr: false,
            any: false,
        }
    }

    /// The next octets behind the empty line that ends the header.
    pub fn update(&mut self, mut octets: &[u8]) {
        while let Some((&first, rest)) = octets.split_first() {
            if std::mem::take(&mut self.cr) {
                if first == b'\n' {
                    self.line_ends += 1;
                    self.space = false;
                    octets = rest;
                    continue;
                }
                // Mail has no bare CR; were there one it would be text.
                self.text(b"\r");
            }
            match first {
                b' ' | b'\t' => self.space = true,
                b'\r' => self.cr = true,
                _ => {
                    let end = memchr3(b' ', b'\t', b'\r', octets).unwrap_or(octets.len());
                    let (text, behind) = octets.split_at(end);
                    self.text(text);
                    octets = behind;
                    continue;
                }
            }
            octets = rest;
        }
    }

    /// The digest of all that came.
    #[must_use]
    pub fn finish(mut self) -> BodyDigest {
        if self.cr {
            self.text(b"\r");
        }
        if self.any {
            // The last line has one line end, whether it came or not.
            self.put(b"\r\n");
        }
        self.context.update(&self.buffer);
        let mut digest = [0; 32];
        digest.copy_from_slice(self.context.finish().as_ref());
        BodyDigest(digest)
    }

    fn text(&mut self, text: &[u8]) {
        for _ in 0..std::mem::take(&mut self.line_ends) {
            self.put(b"\r\n");
        }
        if std::mem::take(&mut self.space) {
            self.put(b" ");
        }
        self.any = true;
        self.put(text);
    }

    fn put(&mut self, octets: &[u8]) {
        if self.buffer.len() + octets.len() > BUFFER {
            self.context.update(&self.buffer);
            self.buffer.clear();
        }
        if octets.len() > BUFFER {
            self.context.update(octets);
        } else {
            self.buffer.extend_from_slice(octets);
        }
    }
}

impl Default for BodyHash {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyHash").finish_non_exhaustive()
    }
}

const BUFFER: usize = 4096;

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};
    use proptest::prelude::*;

    use super::*;

    /// Written after the RFC's words, line by line.
    fn plainly(body: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(body.to_vec()).unwrap();
        let mut lines: Vec<String> = text
            .split("\r\n")
            .map(|line| {
                let lead = if line.starts_with([' ', '\t']) {
                    " "
                } else {
                    ""
                };
                let words: Vec<&str> = line.split([' ', '\t']).filter(|w| !w.is_empty()).collect();
                if words.is_empty() {
                    String::new()
                } else {
                    format!("{lead}{}", words.join(" "))
                }
            })
            .collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
            .iter()
            .flat_map(|l| format!("{l}\r\n").into_bytes())
            .collect()
    }

    fn hashed(body: &[u8], step: usize) -> BodyDigest {
        let mut hash = BodyHash::new();
        body.chunks(step).for_each(|piece| hash.update(piece));
        hash.finish()
    }

    fn expected(canonical: &[u8]) -> BodyDigest {
        BodyDigest(digest(&SHA256, canonical).as_ref().try_into().unwrap())
    }

    #[test]
    fn bodies_of_the_rfc_and_edges() {
        for (body, canonical) in [
            // RFC 6376 section 3.4.5.
            (&b" C \r\nD \t E\r\n\r\n\r\n"[..], &b" C\r\nD E\r\n"[..]),
            (b"", b""),
            (b"\r\n", b""),
            (b"\r\n \t\r\n\r\n", b""),
            (b"x", b"x\r\n"),
            (b"x\r\n", b"x\r\n"),
            (b"\r\n\r\nx \r\n \r\ny", b"\r\n\r\nx\r\n\r\ny\r\n"),
            (b".\r\n", b".\r\n"),
        ] {
            for step in 1..=body.len().max(1) {
                assert_eq!(hashed(body, step), expected(canonical), "{body:?} {step}");
            }
        }
    }

    #[test]
    fn long_lines_go_past_the_buffer() {
        let body = vec![b'x'; 3 * BUFFER + 5];
        let mut canonical = body.clone();
        canonical.extend_from_slice(b"\r\n");
        for step in [7, BUFFER, body.len()] {
            assert_eq!(hashed(&body, step), expected(&canonical));
        }
    }

    proptest! {
        #[test]
        fn like_the_plain_reading(
            parts in prop::collection::vec(prop::sample::select(vec!["a", "bc", " ", "\t", "\r\n", "\r\n\r\n", "ü"]), 0..60),
            step in 1usize..9,
        ) {
            let body = parts.concat().into_bytes();
            prop_assert_eq!(hashed(&body, step), expected(&plainly(&body)));
        }
    }
}
