//! `xtext` (RFC 3461 section 4): printable ASCII with the rest as `+` and two upper-case hex digits.

/// The text is not xtext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not xtext: printable ASCII without \"=\", with \"+\" only before two of 0-9 A-F")]
pub struct XtextError;

/// Encodes octets.
#[must_use]
pub fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for &b in octets {
        if is_plain(b) {
            text.push(char::from(b));
        } else {
            text.push('+');
            text.push(char::from(HEX[usize::from(b >> 4)]));
            text.push(char::from(HEX[usize::from(b & 15)]));
        }
    }
    text
}

/// Decodes into octets.
///
/// # Errors
/// If a character is not allowed, or `+` is not followed by two upper-case hex digits.
pub fn decode(text: &str) -> Result<Vec<u8>, XtextError> {
    let mut octets = Vec::with_capacity(text.len());
    scan(text, |b| octets.push(b))?;
    Ok(octets)
}

/// Checks the grammar without decoding.
///
/// # Errors
/// As [`decode`].
pub fn check(text: &str) -> Result<(), XtextError> {
    scan(text, |_| ())
}

fn scan(text: &str, mut octet: impl FnMut(u8)) -> Result<(), XtextError> {
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'+' {
            let high = bytes.next().and_then(hex).ok_or(XtextError)?;
            let low = bytes.next().and_then(hex).ok_or(XtextError)?;
            octet(high << 4 | low);
        } else if is_plain(b) {
            octet(b);
        } else {
            return Err(XtextError);
        }
    }
    Ok(())
}

const fn is_plain(b: u8) -> bool {
    matches!(b, b'!'..=b'~') && b != b'+' && b != b'='
}

const fn hex(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn f1_03_grammar() {
        for (text, want) in [
            ("", ""),
            ("QQ+2B1", "QQ+1"),
            ("a+20b", "a b"),
            ("a@d.test", "a@d.test"),
        ] {
            assert_eq!(decode(text).as_deref(), Ok(want.as_bytes()), "{text}");
        }
        for bad in ["+", "+0", "+zz", "+2b", "a=b", "a b", "ü", "a\t", "+2"] {
            assert_eq!(decode(bad), Err(XtextError), "{bad}");
            assert_eq!(check(bad), Err(XtextError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(octets: Vec<u8>) {
            let text = encode(&octets);
            prop_assert!(check(&text).is_ok());
            prop_assert_eq!(decode(&text), Ok(octets));
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = decode(&text);
        }
    }
}
