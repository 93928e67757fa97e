//! Addresses in their typed forms (RFC 3461 section 4.2, RFC 6533 section 3).

use std::fmt::Write;

use mail_types::Mailbox;

use crate::fields::Charset;

/// `Final-Recipient`'s value: the address as it was accepted, case kept (row F1-26).
///
/// With an address that is not ASCII: as it is where UTF-8 may stand; else with its A-label domain
/// if that is enough; else as `utf-8-addr-xtext` (RFC 6533 section 3).
pub(crate) fn typed(mailbox: &Mailbox, charset: Charset) -> String {
    let text = mailbox.as_str();
    if text.is_ascii() {
        return format!("rfc822;{text}");
    }
    match (charset, mailbox.to_ascii()) {
        (Charset::Utf8, _) => format!("utf-8;{text}"),
        (Charset::Ascii, Some(ascii)) => format!("rfc822;{ascii}"),
        (Charset::Ascii, None) => format!("utf-8;{}", addr_xtext(text)),
    }
}

/// `Original-Recipient`'s value from an ORCPT parameter, decoded (row F1-25).
///
/// A value that decodes to something that cannot stand in a field is shown as it was received.
pub(crate) fn original(orcpt: &str, charset: Charset) -> String {
    let Some((kind, value)) = orcpt.split_once(';') else {
        return format!("unknown;{orcpt}");
    };
    if kind.eq_ignore_ascii_case("utf-8") {
        let address = from_addr_xtext(value).filter(|a| a.chars().all(|c| !c.is_control()));
        return match (charset, address) {
            (_, None) => format!("{kind};{value}"),
            (Charset::Utf8, Some(a)) => format!("{kind};{a}"),
            (Charset::Ascii, Some(a)) => format!("{kind};{}", addr_xtext(&a)),
        };
    }
    match from_xtext(value) {
        Some(decoded) => format!("{kind};{decoded}"),
        None => format!("{kind};{value}"),
    }
}

/// Decodes xtext (RFC 3461 section 4). `None` if it is not xtext, or does not decode to printable
/// ASCII.
pub(crate) fn from_xtext(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        let decoded = match b {
            b'+' => hex_digit(rest.next()?)? * 16 + hex_digit(rest.next()?)?,
            _ => b,
        };
        if !matches!(decoded, b' '..=b'~') {
            return None;
        }
        out.push(char::from(decoded));
    }
    Some(out)
}

const fn hex_digit(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

/// `utf-8-addr-xtext` (RFC 6533 section 3): what is not a printable ASCII character, and `+`, `=`
/// and `\` themselves, as `\x{HEX}`.
#[must_use]
pub fn addr_xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if c.is_ascii_graphic() && !matches!(c, '+' | '=' | '\\') {
            out.push(c);
        } else {
            let _ = write!(out, "\\x{{{:02X}}}", u32::from(c));
        }
    }
    out
}

/// Decodes `utf-8-addr-xtext` and `utf-8-addr-unitext`.
fn from_addr_xtext(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let (hex, after) = after.strip_prefix("x{")?.split_once('}')?;
        let plain = (2..=6).contains(&hex.len()) && hex.bytes().all(|b| hex_digit(b).is_some());
        if !plain {
            return None;
        }
        out.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_26_f2_12_final_recipient() {
        for (address, ascii, utf8) in [
            ("Bob.X@D.test", "rfc822;Bob.X@D.test", "rfc822;Bob.X@D.test"),
            (
                "a@bücher.test",
                "rfc822;a@xn--bcher-kva.test",
                "utf-8;a@bücher.test",
            ),
            (
                "jürgen+x@d.test",
                r"utf-8;j\x{FC}rgen\x{2B}x@d.test",
                "utf-8;jürgen+x@d.test",
            ),
            (
                "用户@d.test",
                r"utf-8;\x{7528}\x{6237}@d.test",
                "utf-8;用户@d.test",
            ),
        ] {
            let m = Mailbox::parse(address).unwrap();
            assert_eq!(typed(&m, Charset::Ascii), ascii);
            assert_eq!(typed(&m, Charset::Utf8), utf8);
        }
    }

    #[test]
    fn f1_25_f2_14_original_recipient() {
        for (orcpt, ascii, utf8, why) in [
            (
                "rfc822;Bob+2Bx@d.test",
                "rfc822;Bob+x@d.test",
                "rfc822;Bob+x@d.test",
                "decoded",
            ),
            (
                "rfc822;a+0D+0AX:y",
                "rfc822;a+0D+0AX:y",
                "rfc822;a+0D+0AX:y",
                "line breaks stay encoded",
            ),
            (
                "rfc822;a+0db",
                "rfc822;a+0db",
                "rfc822;a+0db",
                "not xtext: as received",
            ),
            (
                r"utf-8;j\x{FC}@d.test",
                r"utf-8;j\x{FC}@d.test",
                "utf-8;jü@d.test",
                "decoded where UTF-8 may stand",
            ),
            (
                "utf-8;jü@d.test",
                r"utf-8;j\x{FC}@d.test",
                "utf-8;jü@d.test",
                "encoded where not",
            ),
            (
                r"utf-8;a\x{0D}\x{0A}b",
                r"utf-8;a\x{0D}\x{0A}b",
                r"utf-8;a\x{0D}\x{0A}b",
                "control characters stay encoded",
            ),
        ] {
            assert_eq!(original(orcpt, Charset::Ascii), ascii, "{why}");
            assert_eq!(original(orcpt, Charset::Utf8), utf8, "{why}");
        }
    }

    #[test]
    fn f1_23_envelope_ids_are_decoded_with_their_case() {
        assert_eq!(from_xtext("QQ+2B1").as_deref(), Some("QQ+1"));
        for bad in ["a+", "a+0", "a+0D", "a+zz", "ü"] {
            assert_eq!(from_xtext(bad), None, "{bad}");
        }
    }
}
