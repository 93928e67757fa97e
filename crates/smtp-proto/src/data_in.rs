//! Content on its way in: DATA with its dots removed (RFC 5321 section 4.5.2), BDAT chunks
//! (RFC 3030), both watched for bare CR and LF.
//!
//! Only `CRLF.CRLF` ends DATA (RFC 5321 section 4.1.1.4). A CR without LF or an LF without CR
//! never ends a line here, so none of the "smuggling" variants that other servers fell for can
//! end a message (rows E3-05, H5-01). What passes never has a bare CR or LF: it is either refused
//! or becomes a space.
//!
//! Nothing is copied: pieces are slices of the input.

#[cfg(test)]
pub(crate) mod tests;

use memchr::memchr2;

/// What to do with CR without LF and LF without CR (RFC 5321 section 2.3.8, decision AMB-26).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub enum BareNewline {
    /// Refuse the message or command.
    #[default]
    Reject,
    /// Make each one a space, and count. May break signatures.
    Normalize,
}

/// What the next input octets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'i> {
    /// Content, dots and bare line ends dealt with; never empty.
    Content(&'i [u8]),
    /// What is left of the input cannot be judged without more: keep it and read.
    More,
    /// The end of data, or of the chunk.
    End,
    /// A bare CR or LF, under [`BareNewline::Reject`]: decoding cannot go on.
    BareNewline,
}

/// What was noticed in the content of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentCounts {
    /// Bare CR and LF that became spaces.
    pub bare_newlines: u64,
    /// Lines of more than 998 octets (RFC 5321 section 4.5.3.1.6).
    pub long_lines: u64,
    /// Octets of the longest line, without CRLF.
    pub longest_line: u64,
}

/// Decodes what follows `354`.
#[derive(Clone, Debug)]
pub struct DataDecoder {
    lines: Lines,
    at_line_start: bool,
}

/// Reads the chunks of one BDAT transaction.
#[derive(Clone, Debug)]
pub struct BdatReader {
    lines: Lines,
    remaining: u64,
    last: bool,
    /// A CR was read whose next octet is not here yet, maybe in the next chunk.
    held_cr: bool,
}

impl DataDecoder {
    /// At the start of the content.
    pub fn new(bare_newline: BareNewline) -> Self {
        Self {
            lines: Lines::new(bare_newline),
            at_line_start: true,
        }
    }

    /// Looks at the front of `input` and says how many octets are done with.
    pub fn next<'i>(&mut self, input: &'i [u8]) -> (usize, Piece<'i>) {
        let mut dot = 0;
        if self.at_line_start {
            match input {
                [] | [b'.'] | [b'.', b'\r'] => return (0, Piece::More),
                [b'.', b'\r', b'\n', ..] => return (3, Piece::End),
                // RFC 5321 section 4.5.2: the first dot of any other line is removed.
                [b'.', ..] => dot = 1,
                _ => {}
            }
            self.at_line_start = false;
        }
        let rest = &input[dot..];
        let (used, stop) = self.lines.scan(rest, Dots::Matter);
        self.at_line_start = stop == Stop::LineStart;
        if used > 0 {
            return (dot + used, Piece::Content(&rest[..used]));
        }
        match stop {
            Stop::Stray => {
                let (used, piece) = self.lines.stray();
                (dot + used, piece)
            }
            Stop::Input | Stop::TrailingCr | Stop::LineStart => (dot, Piece::More),
        }
    }

    /// What was noticed so far.
    #[must_use]
    pub const fn counts(&self) -> ContentCounts {
        self.lines.counts
    }
}

impl BdatReader {
    /// At the start of the content, before the first chunk.
    pub fn new(bare_newline: BareNewline) -> Self {
        Self {
            lines: Lines::new(bare_newline),
            remaining: 0,
            last: false,
            held_cr: false,
        }
    }

    /// A `BDAT` command was read.
    pub const fn begin_chunk(&mut self, size: u64, last: bool) {
        self.remaining = size;
        self.last = last;
    }

    /// Octets of the chunk that are still to come.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether the chunk is the `LAST` one.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.last
    }

    /// Looks at the front of `input` and says how many octets are done with. After
    /// [`Piece::BareNewline`] the rest of the chunk is the caller's to skip.
    pub fn next<'i>(&mut self, input: &'i [u8]) -> (usize, Piece<'i>) {
        let left = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let window = &input[..input.len().min(left)];
        if self.held_cr {
            return self.after_cr(window);
        }
        if self.remaining == 0 {
            return (0, Piece::End);
        }
        let (used, stop) = self.lines.scan(window, Dots::AreContent);
        if used > 0 {
            self.remaining -= used as u64;
            return (used, Piece::Content(&window[..used]));
        }
        match stop {
            Stop::Stray => {
                let (used, piece) = self.lines.stray();
                self.remaining -= used as u64;
                (used, piece)
            }
            Stop::TrailingCr => {
                self.held_cr = true;
                self.remaining -= 1;
                let (used, piece) = self.next(&input[1..]);
                (1 + used, piece)
            }
            Stop::Input | Stop::LineStart => (0, Piece::More),
        }
    }

    fn after_cr<'i>(&mut self, window: &'i [u8]) -> (usize, Piece<'i>) {
        match window.first() {
            Some(b'\n') => {
                self.held_cr = false;
                self.remaining -= 1;
                self.lines.end_line();
                (1, Piece::Content(b"\r\n"))
            }
            None if self.remaining > 0 => (0, Piece::More),
            // The LF may be the first octet of the next chunk.
            None if !self.last => (0, Piece::End),
            Some(_) | None => {
                self.held_cr = false;
                let (_, piece) = self.lines.stray();
                (0, piece)
            }
        }
    }

    /// What was noticed so far.
    #[must_use]
    pub const fn counts(&self) -> ContentCounts {
        self.lines.counts
    }
}

/// Finds line ends, and keeps count of them.
#[derive(Clone, Debug)]
struct Lines {
    bare_newline: BareNewline,
    /// Octets of the current line so far.
    line: u64,
    counts: ContentCounts,
}

#[derive(Clone, Copy, PartialEq)]
enum Dots {
    /// A line that starts with a dot is looked at before it passes.
    Matter,
    AreContent,
}

#[derive(Clone, Copy, PartialEq)]
enum Stop {
    /// All of the input is content, and the line goes on.
    Input,
    /// Behind a CRLF.
    LineStart,
    /// Before a CR that is the last octet of the input.
    TrailingCr,
    /// Before a bare CR or LF.
    Stray,
}

impl Lines {
    fn new(bare_newline: BareNewline) -> Self {
        Self {
            bare_newline,
            line: 0,
            counts: ContentCounts::default(),
        }
    }

    /// How many octets from the start of `input` are content as they are, and what stopped it.
    fn scan(&mut self, input: &[u8], dots: Dots) -> (usize, Stop) {
        let mut pos = 0;
        loop {
            let Some(found) = memchr2(b'\r', b'\n', &input[pos..]) else {
                self.grow_line(input.len() - pos);
                let at_start = self.line == 0 && pos > 0;
                let stop = if at_start {
                    Stop::LineStart
                } else {
                    Stop::Input
                };
                return (input.len(), stop);
            };
            self.grow_line(found);
            let at = pos + found;
            match input[at..] {
                [b'\r', b'\n', ..] => {
                    self.end_line();
                    pos = at + 2;
                    if dots == Dots::Matter && input.get(pos).is_none_or(|b| *b == b'.') {
                        return (pos, Stop::LineStart);
                    }
                }
                [b'\r'] => return (at, Stop::TrailingCr),
                _ => return (at, Stop::Stray),
            }
        }
    }

    fn stray(&mut self) -> (usize, Piece<'static>) {
        match self.bare_newline {
            BareNewline::Reject => (0, Piece::BareNewline),
            BareNewline::Normalize => {
                self.counts.bare_newlines += 1;
                self.grow_line(1);
                (1, Piece::Content(b" "))
            }
        }
    }

    fn grow_line(&mut self, octets: usize) {
        self.line += octets as u64;
        self.counts.longest_line = self.counts.longest_line.max(self.line);
    }

    const fn end_line(&mut self) {
        if self.line > MAX_LINE {
            self.counts.long_lines += 1;
        }
        self.line = 0;
    }
}

/// RFC 5321 section 4.5.3.1.6: 1000 octets with CRLF.
const MAX_LINE: u64 = 998;

#[cfg(test)]
pub(crate) use tests::FALSE_ENDS;
