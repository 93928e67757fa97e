//! Replies (RFC 5321 section 4.2): the value, the incremental parser, the formatter.
//!
//! The text of a [`Reply`] never has control characters in it, whoever sent it: they are replaced
//! at the door, so that no log line, DSN or transcript has to think of them again.

use std::fmt::{self, Write};

use bytes::{Buf, BytesMut};
use mail_types::{EnhancedStatus, StatusClass, harmless, is_plain_text};

#[cfg(test)]
mod tests;

/// One reply: code, enhanced status, text.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<EnhancedStatus>,
    /// Lines joined by `\n`, without code and enhanced status, no other control characters.
    text: Box<str>,
}

/// What a reply says by its first digit (RFC 5321 section 4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyClass {
    /// 2yz: done.
    Completion,
    /// 3yz: go on.
    Intermediate,
    /// 4yz: not now.
    Transient,
    /// 5yz: no.
    Permanent,
    /// Any other first digit: no SMTP reply; ends the transaction.
    Other,
}

impl Reply {
    /// A reply of our own. `text` may have several lines, separated by `\n`.
    #[must_use]
    pub fn new(code: u16, enhanced: Option<EnhancedStatus>, text: &str) -> Self {
        let mut clean = String::with_capacity(text.len());
        for (n, line) in text.split('\n').enumerate() {
            if n > 0 {
                clean.push('\n');
            }
            push_printable(&mut clean, line);
        }
        Self {
            code,
            enhanced,
            text: clean.into(),
        }
    }

    /// Parses exactly one complete reply, for instance from a record on disk.
    ///
    /// # Errors
    /// What [`ReplyParser::next`] says; [`ReplyError::Malformed`] if it is not complete.
    pub fn parse(text: &str) -> Result<Self, ReplyError> {
        let mut buf = BytesMut::from(text);
        if !text.ends_with('\n') {
            buf.extend_from_slice(b"\r\n");
        }
        let reply = ReplyParser::new(ReplyLimits::default()).next(&mut buf)?;
        match reply {
            Some(reply) if buf.is_empty() => Ok(reply),
            _ => Err(ReplyError::malformed(text.as_bytes())),
        }
    }

    /// The three-digit code.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status as sent, if its class agrees with the code (RFC 2034 section 4).
    #[must_use]
    pub const fn enhanced(&self) -> Option<EnhancedStatus> {
        self.enhanced
    }

    /// The enhanced status, or class.0.0 after the code (row E2-47). `None` for codes that have no
    /// class (3yz and beyond 5yz).
    #[must_use]
    pub fn status(&self) -> Option<EnhancedStatus> {
        self.enhanced
            .or_else(|| StatusClass::of_reply(self.code).map(|c| EnhancedStatus::new(c, 0, 0)))
    }

    /// Decided by the first digit only (RFC 5321 section 4.3.2, row E2-04).
    #[must_use]
    pub const fn class(&self) -> ReplyClass {
        match self.code / 100 {
            2 => ReplyClass::Completion,
            3 => ReplyClass::Intermediate,
            4 => ReplyClass::Transient,
            5 => ReplyClass::Permanent,
            _ => ReplyClass::Other,
        }
    }

    /// 2yz.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        matches!(self.class(), ReplyClass::Completion)
    }

    /// The lines without code and enhanced status; at least one, possibly empty.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n')
    }

    /// Writes the reply as it goes on the wire.
    pub fn write_to(&self, out: &mut BytesMut) {
        write_reply(out, self.code, self.enhanced, self.lines());
    }
}

impl fmt::Display for Reply {
    /// On one line: `550 5.1.1 first line second line`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Piece by piece: this is done several times for each message.
        let digits = [100, 10, 1].map(|unit| b"0123456789"[usize::from(self.code / unit % 10)]);
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())?;
        if let Some(enhanced) = &self.enhanced {
            f.write_str(" ")?;
            fmt::Display::fmt(enhanced, f)?;
        }
        for line in self.lines().filter(|l| !l.is_empty()) {
            f.write_str(" ")?;
            f.write_str(line)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Appends a reply to `out`: `code-text`, …, `code text`, each line ended by CRLF. The enhanced
/// status stands on every line (RFC 2034 section 4). What is not printable ASCII becomes `?`.
pub fn write_reply<'a>(
    out: &mut BytesMut,
    code: u16,
    enhanced: Option<EnhancedStatus>,
    lines: impl IntoIterator<Item = &'a str>,
) {
    let mut lines = lines.into_iter().peekable();
    let mut line = lines.next().unwrap_or_default();
    loop {
        let more = lines.peek().is_some();
        out.reserve(line.len() + AROUND_TEXT);
        let mut start = [0; 4];
        for (digit, unit) in start.iter_mut().zip([100, 10, 1]) {
            *digit = b"0123456789"[usize::from(code / unit % 10)];
        }
        start[3] = if more { b'-' } else { b' ' };
        out.extend_from_slice(&start);
        if let Some(enhanced) = enhanced {
            let gap = if line.is_empty() { "" } else { " " };
            // Writing to a buffer that grows does not fail.
            let _ = write!(out, "{enhanced}{gap}");
        }
        if is_plain_text(line) {
            out.extend_from_slice(line.as_bytes());
        } else {
            for c in line.chars() {
                // A reply is ASCII (RFC 5321 section 4.2): UTF-8 is only for those who have asked for it.
                let _ = out.write_char(if c.is_ascii() { harmless(c) } else { '?' });
            }
        }
        out.extend_from_slice(b"\r\n");
        match lines.next() {
            Some(next) => line = next,
            None => return,
        }
    }
}

/// Octets of a line beside its text: code, enhanced status, CRLF.
const AROUND_TEXT: usize = 16;

/// How much a peer may say before it counts as abuse (RFC 5321 section 4.5.3.1.5 asks for 512
/// octets a line; longer ones are common and tolerated).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Octets in a line, with its end.
    pub line: usize,
    /// Lines in a reply.
    pub lines: usize,
    /// Octets of text that are kept of a reply; what is beyond is read and forgotten.
    pub kept: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self {
            line: 64 * 1024,
            lines: 8_192,
            kept: 4_096,
        }
    }
}

/// Takes replies out of a stream of octets, however it is cut into pieces.
#[derive(Debug)]
pub struct ReplyParser {
    limits: ReplyLimits,
    /// Octets at the start of the buffer that are known to hold no LF.
    scanned: usize,
    lines: usize,
    code: u16,
    enhanced: Option<EnhancedStatus>,
    text: String,
}

/// The peer did not speak SMTP, or too much of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line beyond [`ReplyLimits::line`].
    #[error("the reply has a line of more than {0} octets")]
    LineTooLong(usize),
    /// A reply beyond [`ReplyLimits::lines`].
    #[error("the reply has more than {0} lines")]
    TooManyLines(usize),
    /// Lines of one reply with different codes.
    #[error("the lines of one reply have different codes ({first:03} and {then:03})")]
    MixedCodes {
        /// The code of the first line.
        first: u16,
        /// The one that differs.
        then: u16,
    },
    /// Not `code`, `code text` or `code-text`, or a NUL or lone CR in it.
    #[error("not an SMTP reply: {0:?}")]
    Malformed(Box<str>),
}

impl ReplyError {
    fn malformed(line: &[u8]) -> Self {
        let mut shown = String::new();
        let start = line.get(..80).unwrap_or(line);
        push_printable(&mut shown, &String::from_utf8_lossy(start));
        Self::Malformed(shown.into())
    }
}

impl ReplyParser {
    /// With nothing read yet.
    #[must_use]
    pub const fn new(limits: ReplyLimits) -> Self {
        Self {
            limits,
            scanned: 0,
            lines: 0,
            code: 0,
            enhanced: None,
            text: String::new(),
        }
    }

    /// Other limits from here on: EHLO replies are kept longer than others.
    pub const fn set_kept(&mut self, kept: usize) {
        self.limits.kept = kept;
    }

    /// Whether some lines of an unfinished reply were read.
    #[must_use]
    pub const fn is_midway(&self) -> bool {
        self.lines > 0
    }

    /// Takes the next reply off the front of `buf`; `None` if it is not complete yet. Octets after
    /// the reply stay.
    ///
    /// # Errors
    /// [`ReplyError`]: nothing that comes later can be trusted, the session has to end.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        loop {
            let fresh = buf.get(self.scanned..).unwrap_or_default();
            let Some(lf) = memchr::memchr(b'\n', fresh) else {
                self.scanned = buf.len();
                if buf.len() > self.limits.line {
                    return Err(ReplyError::LineTooLong(self.limits.line));
                }
                return Ok(None);
            };
            let end = self.scanned + lf;
            if end >= self.limits.line {
                return Err(ReplyError::LineTooLong(self.limits.line));
            }
            self.scanned = 0;
            let last = self.line(buf.get(..end).unwrap_or_default())?;
            buf.advance(end + 1);
            if last {
                self.lines = 0;
                return Ok(Some(Reply {
                    code: self.code,
                    enhanced: self.enhanced,
                    text: std::mem::take(&mut self.text).into(),
                }));
            }
        }
    }

    /// One line without its LF; true if it is the last of its reply.
    fn line(&mut self, raw: &[u8]) -> Result<bool, ReplyError> {
        let line = raw.strip_suffix(b"\r").unwrap_or(raw);
        // Row H3-12: a NUL or a CR within a line is no SMTP. Octets beyond ASCII are let through
        // (RFC 6531 section 3.7.4.2; Latin-1 is common too): refusing a 250 for its spelling would
        // deliver the message twice.
        if memchr::memchr2(0, b'\r', line).is_some() {
            return Err(ReplyError::malformed(raw));
        }
        let (code, last, text) = split_line(line).ok_or_else(|| ReplyError::malformed(line))?;
        let text = String::from_utf8_lossy(text);
        let (status, rest) = split_status(&text, code);
        if self.lines == 0 {
            self.code = code;
            self.enhanced = status;
        } else if code != self.code {
            return Err(ReplyError::MixedCodes {
                first: self.code,
                then: code,
            });
        }
        self.lines += 1;
        if self.lines > self.limits.lines {
            return Err(ReplyError::TooManyLines(self.limits.lines));
        }
        let shown = if status.is_some() && status == self.enhanced {
            rest
        } else {
            &text
        };
        if self.text.len() + shown.len() < self.limits.kept {
            if self.lines > 1 {
                self.text.push('\n');
            }
            push_printable(&mut self.text, shown);
        } else if self.lines == 1 {
            let end = shown.floor_char_boundary(self.limits.kept);
            push_printable(&mut self.text, shown.get(..end).unwrap_or_default());
        }
        Ok(last)
    }
}

/// Code, whether this is the last line, text (RFC 5321 section 4.2; a bare code is accepted, row
/// E2-05).
fn split_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code = digits.iter().try_fold(0u16, |code, b| {
        b.is_ascii_digit().then(|| code * 10 + u16::from(b - b'0'))
    })?;
    match rest.split_first() {
        None => Some((code, true, rest)),
        Some((b' ', text)) => Some((code, true, text)),
        Some((b'-', text)) => Some((code, false, text)),
        Some(_) => None,
    }
}

/// The enhanced status at the start of a line's text, if it agrees with the code, and the rest.
fn split_status(text: &str, code: u16) -> (Option<EnhancedStatus>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let status = word
        .parse::<EnhancedStatus>()
        .ok()
        .filter(|s| StatusClass::of_reply(code) == Some(s.class()));
    (status, rest.trim_start())
}

fn push_printable(out: &mut String, text: &str) {
    if is_plain_text(text) {
        out.push_str(text);
    } else {
        out.extend(text.chars().map(harmless));
    }
}
