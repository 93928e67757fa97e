//! The dialogue of a session, for people: commands and replies, no content, no secrets.

use mail_types::{harmless, is_plain_text};
use std::fmt::{self, Write};

/// The dialogue of a session, at most 4 KiB: its opening, and the last transaction; what does not
/// fit is counted. Never has control characters other than line ends.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    text: String,
    /// Octets of `text` that belong to no transaction.
    opening: usize,
    /// Transactions that were forgotten in favour of the last one.
    earlier: u32,
    omitted: usize,
}

impl Transcript {
    /// Another transaction begins: the one before is forgotten.
    pub(crate) fn begin_transaction(&mut self, carried: u32) {
        if carried == 0 {
            self.opening = self.text.len();
        } else {
            self.text.truncate(self.opening);
            self.omitted = 0;
        }
        self.earlier = carried;
    }

    /// One line of ours, for instance `MAIL FROM:<…>`.
    pub(crate) fn sent(&mut self, line: &str) {
        self.line("> ", &line);
    }

    /// What the peer said.
    pub(crate) fn received(&mut self, what: &impl fmt::Display) {
        self.line("< ", what);
    }

    /// What happened beside the dialogue, for instance the handshake.
    pub(crate) fn note(&mut self, what: &impl fmt::Display) {
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

    fn line(&mut self, prefix: &str, line: &impl fmt::Display) {
        if self.omitted > 0 {
            self.omitted += 1;
            return; // Not worth the formatting.
        }
        let start = self.text.len();
        self.text.push_str(prefix);
        let mut short = Short {
            text: &mut self.text,
            left: LINE,
        };
        // An error only says that the line was long enough.
        let _ = write!(short, "{line}");
        self.text.push('\n');
        if self.text.len() > LIMIT {
            self.text.truncate(start);
            self.omitted = 1;
        }
    }
}

/// Takes the start of a line, without control characters.
struct Short<'a> {
    text: &'a mut String,
    left: usize,
}

impl Write for Short<'_> {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let shown = more.floor_char_boundary(self.left);
        let (shown, cut) = more.split_at(shown);
        // Nearly always; this runs for each command and reply of each message.
        if is_plain_text(shown) {
            self.text.push_str(shown);
        } else {
            self.text.extend(shown.chars().map(harmless));
        }
        self.left -= shown.len();
        if cut.is_empty() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (opening, last) = self.text.split_at_checked(self.opening).unwrap_or_default();
        f.write_str(opening)?;
        if self.earlier > 0 {
            writeln!(f, "* {} earlier transactions", self.earlier)?;
        }
        f.write_str(last)?;
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

    #[test]
    fn the_opening_and_the_last_transaction_are_kept() {
        let mut t = Transcript::default();
        t.sent("EHLO a.test");
        for n in 0..500 {
            t.begin_transaction(n);
            t.sent(&format!("MAIL FROM:<{n}@a.test>"));
            t.received(&"250 ok");
        }
        let text = t.to_string();
        assert_eq!(
            text,
            "> EHLO a.test\n* 499 earlier transactions\n> MAIL FROM:<499@a.test>\n< 250 ok\n"
        );
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let mut t = Transcript::default();
        t.received(&format!("250 {}", "ü".repeat(1_000)));
        assert!(t.to_string().len() <= LINE + 3);
    }
}
