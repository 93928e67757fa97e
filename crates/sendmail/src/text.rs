//! From what a program writes to the lines of a message.

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
    let plain = |c: char| if c.is_control() { '?' } else { c };
    text.trim_end().chars().map(plain).take(500).collect()
}

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
