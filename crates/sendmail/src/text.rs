//! From what a program writes to the lines of a message.

use mail_types::harmless;

/// The input as lines that end with CRLF. Without `ignore_dots` a line with only a dot ends it.
/// NUL is dropped, a CR that ends no line becomes a space, and what is longer than a line may be
/// (RFC 5322 section 2.1.1) is broken, with a space before the rest.
pub(crate) fn lines(input: &[u8], ignore_dots: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(input.len() + input.len() / 32 + 2);
    let input = input.strip_suffix(b"\n").unwrap_or(input);
    for line in input.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line == b"." && !ignore_dots {
            break;
        }
        let clean = |b: &u8| (*b != 0).then_some(if *b == b'\r' { b' ' } else { *b });
        let clean: Vec<u8> = line.iter().filter_map(clean).collect();
        let mut rest = clean.as_slice();
        while rest.len() > MAX_LINE {
            let (first, behind) = rest.split_at(place_to_break(rest));
            text.extend_from_slice(first);
            text.extend_from_slice(b"\r\n ");
            rest = behind;
        }
        text.extend_from_slice(rest);
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// Before white space if there is some, else between two characters.
fn place_to_break(line: &[u8]) -> usize {
    let room = line.get(..MAX_LINE - 1).unwrap_or(line);
    let blank = room.iter().rposition(|b| matches!(b, b' ' | b'\t'));
    if let Some(at) = blank.filter(|at| *at > room.len() / 2) {
        return at;
    }
    // UTF-8 continues with 10xxxxxx.
    let starts = |at: &usize| line.get(*at).is_none_or(|b| b & 0xC0 != 0x80);
    let back = (room.len().saturating_sub(4)..=room.len()).rev();
    back.into_iter().find(starts).unwrap_or(room.len())
}

/// Text for a terminal or a log: one line, without control characters.
pub(crate) fn printable(text: &str) -> String {
    text.trim_end().chars().map(harmless).take(500).collect()
}

/// A name that is not ASCII, before an address (RFC 2047 sections 4.2 and 5, rule 3), behind the
/// beginning of its line.
pub(crate) fn encoded_words(before: &str, name: &str) -> String {
    let mut text = format!("{before}{WORD}");
    let mut length = text.len();
    for c in name.chars() {
        let mut octets = [0; 4];
        let octets = c.encode_utf8(&mut octets).bytes();
        let coded: String = match c {
            ' ' => "_".to_owned(),
            c if c.is_ascii_alphanumeric() || matches!(c, '!' | '*' | '+' | '-' | '/') => c.into(),
            _ => octets.map(|b| format!("={b:02X}")).collect(),
        };
        // A character is never divided (section 5).
        if length + coded.len() + WORD_END.len() > MAX_CODED_LINE {
            text.push_str(WORD_END);
            text.push_str("\r\n ");
            text.push_str(WORD);
            length = 1 + WORD.len();
        }
        length += coded.len();
        text.push_str(&coded);
    }
    text.push_str(WORD_END);
    text
}

/// The lines of a dialogue, with CRLF if their writer ends them with LF alone, as local programs may.
/// Its first line tells. Whoever writes CRLF knows what a line is: an LF alone is a part of the text
/// it passes on then, and must not become the end of a line, of data above all.
#[derive(Debug, Default)]
pub(crate) struct LineEnds {
    after_cr: bool,
    lf_alone: Option<bool>,
}

impl LineEnds {
    /// The next octets of it.
    pub(crate) fn mend(&mut self, octets: &[u8]) -> Vec<u8> {
        let mut mended = Vec::with_capacity(octets.len() + octets.len() / 16 + 1);
        for octet in octets {
            if *octet == b'\n' {
                let alone = *self.lf_alone.get_or_insert(!self.after_cr);
                if alone && !self.after_cr {
                    mended.push(b'\r');
                }
            }
            mended.push(*octet);
            self.after_cr = *octet == b'\r';
        }
        mended
    }

    /// Whether lines are mended; not known before the end of the first.
    pub(crate) fn mends(&self) -> bool {
        self.lf_alone == Some(true)
    }
}

/// What the server says to somebody whose lines are mended, without the offer of CHUNKING: octets
/// that are counted (RFC 3030) cannot be mended.
#[derive(Debug, Default)]
pub(crate) struct WithoutChunking {
    line: Vec<u8>,
    /// A line that others follow in the same reply. If they are left out it is the last.
    held: Vec<u8>,
}

impl WithoutChunking {
    /// The next octets of it; `leave_out` from now on.
    pub(crate) fn pass(&mut self, octets: &[u8], leave_out: bool) -> Vec<u8> {
        let mut shown = Vec::with_capacity(octets.len() + self.held.len());
        for piece in octets.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(piece);
            if !piece.ends_with(b"\n") {
                break;
            }
            let line = std::mem::take(&mut self.line);
            let last = line.get(3) != Some(&b'-');
            let text = line.get(4..).unwrap_or_default().trim_ascii();
            let alone = last && self.held.is_empty();
            let offer = line.starts_with(b"250") && text.eq_ignore_ascii_case(b"CHUNKING");
            if leave_out && offer && !alone {
                if let (true, Some(sign)) = (last, self.held.get_mut(3)) {
                    *sign = b' ';
                    shown.append(&mut self.held);
                }
                continue;
            }
            shown.append(&mut self.held);
            if last {
                shown.extend_from_slice(&line);
            } else {
                self.held = line;
            }
        }
        shown
    }

    /// What is left at the end.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        self.held.append(&mut self.line);
        self.held
    }
}

const WORD: &str = "=?UTF-8?Q?";
const WORD_END: &str = "?=";
/// RFC 2047 section 2: of a whole line with encoded words, of which one has 75 at most.
const MAX_CODED_LINE: usize = 76;
/// RFC 5321 section 4.5.3.1.6, without CRLF.
const MAX_LINE: usize = 998;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_dots_and_strays() {
        for (input, dots, want) in [
            (&b"a\nb\n"[..], false, &b"a\r\nb\r\n"[..]),
            (b"a\r\nb", false, b"a\r\nb\r\n"),
            (b"a\n.\nb\n", false, b"a\r\n"),
            (b"a\n.\nb\n", true, b"a\r\n.\r\nb\r\n"),
            (b"a\r\n.\r\nb", false, b"a\r\n"),
            (b"..\n", false, b"..\r\n"),
            (b"x\0y\rz\n", false, b"xy z\r\n"),
            (b"\n\n", true, b"\r\n\r\n"),
        ] {
            let got = lines(input, dots);
            assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(want));
        }
    }

    #[test]
    fn line_ends_of_a_dialogue_in_any_pieces() {
        let text = b"EHLO c\nMAIL FROM:<>\r\n\n\r\n.\n";
        let want = "EHLO c\r\nMAIL FROM:<>\r\n\r\n\r\n.\r\n";
        for piece in 1..=text.len() {
            let mut ends = LineEnds::default();
            let mended = text.chunks(piece).flat_map(|p| ends.mend(p)).collect();
            assert_eq!(String::from_utf8(mended).unwrap(), want, "{piece}");
            assert!(ends.mends());
        }
    }

    #[test]
    fn what_a_caller_passes_on_that_speaks_crlf_is_not_touched() {
        let text = b"EHLO c\r\nDATA\r\nx\n.\nMAIL FROM:<evil@x.test>\n\r\n.\r\n";
        for piece in 1..=text.len() {
            let mut ends = LineEnds::default();
            let passed: Vec<u8> = text.chunks(piece).flat_map(|p| ends.mend(p)).collect();
            assert_eq!(passed, text, "{piece}");
            assert!(!ends.mends());
        }
    }

    #[test]
    fn chunking_is_offered_only_where_octets_count() {
        for (said, want) in [
            (
                "250-a\r\n250-CHUNKING\r\n250 DSN\r\n",
                "250-a\r\n250 DSN\r\n",
            ),
            (
                "250-a\r\n250-DSN\r\n250 chunking\r\n",
                "250-a\r\n250 DSN\r\n",
            ),
            (
                "220 a\r\n500 CHUNKING\r\n250-x",
                "220 a\r\n500 CHUNKING\r\n250-x",
            ),
        ] {
            for piece in 1..=said.len() {
                for (leave_out, want) in [(true, want), (false, said)] {
                    let mut filter = WithoutChunking::default();
                    let pieces = said.as_bytes().chunks(piece);
                    let mut shown: Vec<u8> =
                        pieces.flat_map(|p| filter.pass(p, leave_out)).collect();
                    shown.extend(filter.rest());
                    assert_eq!(String::from_utf8(shown).unwrap(), want, "{piece}");
                }
            }
        }
    }

    #[test]
    fn encoded_words_are_short_and_hold_whole_characters() {
        let name = "Zo\u{eb} \u{4f60}\u{597d} (\"x\") ".repeat(9);
        let coded = encoded_words("From: ", &name);
        assert!(coded.lines().all(|l| l.len() <= 76), "{coded}");
        let mut octets = Vec::new();
        for word in coded.strip_prefix("From: ").unwrap().split("\r\n ") {
            assert!(word.len() <= 75, "{word}");
            let inner = word.strip_prefix(WORD).unwrap().strip_suffix(WORD_END);
            let from = octets.len();
            let mut rest = inner.unwrap();
            while let Some(c) = rest.chars().next() {
                let (octet, used) = match c {
                    '=' => (u8::from_str_radix(&rest[1..3], 16).unwrap(), 3),
                    '_' => (b' ', 1),
                    c => (u8::try_from(c).unwrap(), 1),
                };
                octets.push(octet);
                rest = &rest[used..];
            }
            assert!(std::str::from_utf8(&octets[from..]).is_ok(), "{word}");
        }
        assert_eq!(String::from_utf8(octets).unwrap(), name);
    }

    #[test]
    fn long_lines_are_broken_between_characters() {
        for unit in ["x", "ü", "word ", "€"] {
            let line = unit.repeat(5_000 / unit.len());
            let text = String::from_utf8(lines(line.as_bytes(), true)).unwrap();
            assert!(text.lines().count() > 4);
            assert!(text.lines().all(|l| l.len() <= MAX_LINE), "{unit}");
            let joined = text.replace("\r\n ", "");
            assert_eq!(joined.trim_end(), line.trim_end(), "{unit}");
        }
    }
}
