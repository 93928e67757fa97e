//! The dialogue of a session, for people: commands and replies, no content, no secrets.

use std::fmt::{self, Write};

/// The dialogue of a session, at most 4 KiB: the beginning is kept, what does not fit is counted.
/// Never has control characters other than line ends.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    text: String,
    omitted: usize,
}

impl Transcript {
    /// One line of ours, for instance `MAIL FROM:<…>`.
    pub(crate) fn sent(&mut self, line: &str) {
        self.line("> ", line);
    }

    /// What the peer said, or what happened.
    pub(crate) fn received(&mut self, what: &impl fmt::Display) {
        if self.omitted > 0 {
            self.omitted += 1;
            return; // Not worth the formatting.
        }
        self.line("< ", &what.to_string());
    }

    /// What happened beside the dialogue, for instance the handshake.
    pub(crate) fn note(&mut self, what: &str) {
        self.line("* ", what);
    }

    /// Commands as they go on the wire, line by line; contents are never given to this.
    pub(crate) fn sent_lines(&mut self, wire: &[u8]) {
        for line in wire.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            if self.omitted > 0 {
                self.omitted += 1;
            } else {
                self.sent(String::from_utf8_lossy(line).trim_end());
            }
        }
    }

    fn line(&mut self, prefix: &str, line: &str) {
        let shown = line.floor_char_boundary(LINE);
        if self.omitted > 0 || self.text.len() + prefix.len() + shown + 1 > LIMIT {
            self.omitted += 1;
            return;
        }
        self.text.push_str(prefix);
        let shown = line.get(..shown).unwrap_or_default();
        self.text
            .extend(shown.chars().map(|c| if c.is_control() { '?' } else { c }));
        self.text.push('\n');
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.omitted > 0 {
            writeln!(f, "* {} more lines", self.omitted)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('\n')?;
        fmt::Display::fmt(self, f)
    }
}

const LIMIT: usize = 4_000;
const LINE: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_printable() {
        let mut t = Transcript::default();
        t.sent("EHLO a.test");
        t.received(&"250 ok\u{1b}[0m");
        for _ in 0..1_000 {
            t.sent_lines(b"RCPT TO:<someone@d.test>\r\n");
        }
        let text = t.to_string();
        assert!(text.starts_with("> EHLO a.test\n< 250 ok?[0m\n> RCPT TO:<someone@d.test>\n"));
        assert!(text.len() <= 4_096, "{}", text.len());
        assert!(text.contains("more lines"));
    }
}
