//! Untrusted text made harmless, and quoted-printable (RFC 2045 section 6.7).

use mail_types::harmless;

/// Text for people on one line: line breaks and tabs become spaces, other control characters and
/// what hides or reorders text become `?`; cut off at `max` octets.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let cut = text.floor_char_boundary(max);
    let (shown, rest) = text.split_at(cut);
    let mut out = String::with_capacity(shown.len() + 3);
    let mut after_cr = false;
    for c in shown.trim().chars() {
        match c {
            '\n' if after_cr => {}
            c => out.push(harmless(c)),
        }
        after_cr = c == '\r';
    }
    if !rest.is_empty() {
        out.push_str("...");
    }
    out
}

/// As [`one_line`], with what is not ASCII replaced too.
pub(crate) fn one_ascii_line(text: &str, max: usize) -> String {
    one_line(text, max)
        .chars()
        .map(|c| if c.is_ascii() { c } else { '?' })
        .collect()
}

/// Appends quoted-printable text with CRLF line ends. Line ends of the input (CRLF) stay line
/// ends; a lone CR or LF is encoded.
pub(crate) fn quoted_printable(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
        let (line, after) = rest.split_at(end);
        encode_line(line, out);
        out.extend_from_slice(b"\r\n");
        rest = after.get(2..).unwrap_or_default();
    }
    encode_line(rest, out);
}

fn encode_line(line: &[u8], out: &mut Vec<u8>) {
    let mut column = 0;
    for (i, &b) in line.iter().enumerate() {
        let last = i + 1 == line.len();
        let plain = matches!(b, b'!'..=b'<' | b'>'..=b'~') || (matches!(b, b' ' | b'\t') && !last);
        let width = if plain { 1 } else { 3 };
        // Room for the soft break's "=".
        if column + width > QP_LINE - 1 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if plain {
            out.push(b);
        } else {
            out.push(b'=');
            for nibble in [b >> 4, b & 15] {
                out.push(if nibble < 10 {
                    b'0' + nibble
                } else {
                    b'A' + nibble - 10
                });
            }
        }
        column += width;
    }
}

/// Whether the octets may be sent as they are without an encoding: ASCII unless 8-bit is allowed,
/// no NUL, no lone CR or LF, no line of more than 998 octets (RFC 5322 section 2.1.1).
pub(crate) fn is_plain(content: &[u8], eight_bit: bool) -> bool {
    if content.contains(&0) || !(eight_bit || content.is_ascii()) {
        return false;
    }
    let mut rest = content;
    loop {
        let end = memchr::memchr2(b'\r', b'\n', rest);
        let line = end.unwrap_or(rest.len());
        if line > MAX_LINE {
            return false;
        }
        match end {
            None => return true,
            Some(at) => match rest.get(at..) {
                Some([b'\r', b'\n', after @ ..]) => rest = after,
                _ => return false,
            },
        }
    }
}

const QP_LINE: usize = 76;
const MAX_LINE: usize = 998;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn qp(input: &[u8]) -> String {
        let mut out = Vec::new();
        quoted_printable(input, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Decoder for the test, after RFC 2045 section 6.7.
    fn decode(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let joined = text.replace("=\r\n", "");
        let mut rest = joined.bytes();
        while let Some(b) = rest.next() {
            if b == b'=' {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            } else {
                out.push(b);
            }
        }
        out
    }

    #[test]
    fn quoted_printable_examples() {
        assert_eq!(
            qp("Grüße = ok \r\n".as_bytes()),
            "Gr=C3=BC=C3=9Fe =3D ok=20\r\n"
        );
        assert_eq!(qp(b"a\rb\nc"), "a=0Db=0Ac");
    }

    #[test]
    fn plain_content() {
        for (content, eight, want, why) in [
            (&b"a\r\nb\r\n"[..], false, true, "ASCII lines"),
            (b"\xc3\xbc", false, false, "8-bit where only 7 fit"),
            (b"\xc3\xbc", true, true, "8-bit where it may be"),
            (b"a\nb", true, false, "a lone LF"),
            (b"a\rb", true, false, "a lone CR"),
            (b"a\0", true, false, "NUL"),
        ] {
            assert_eq!(is_plain(content, eight), want, "{why}");
        }
        assert!(is_plain(&[b'x'; 998], false));
        assert!(!is_plain(&[b'x'; 999], false));
    }

    proptest! {
        #[test]
        fn quoted_printable_is_safe_and_reversible(input: Vec<u8>) {
            let text = qp(&input);
            prop_assert!(text.is_ascii());
            for line in text.split("\r\n") {
                prop_assert!(line.len() <= 76 && !line.contains(['\r', '\n']));
                prop_assert!(!line.ends_with([' ', '\t']));
            }
            prop_assert_eq!(decode(&text), input);
        }

        #[test]
        fn one_line_is_one_line(s in any::<String>()) {
            prop_assert!(!one_line(&s, 100).chars().any(char::is_control));
            prop_assert!(one_ascii_line(&s, 100).bytes().all(|b| matches!(b, b' '..=b'~')));
        }
    }
}
