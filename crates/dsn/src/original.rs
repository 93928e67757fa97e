//! The third part: what is returned of the original message (RFC 6522 section 3).

use mail_types::Ret;

use crate::encode::{is_plain, quoted_printable};
use crate::{Action, Notification, Original, Reporter, ReturnPath};

/// What is returned, decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returned<'a> {
    /// The whole message, as it is.
    Whole(&'a [u8]),
    /// The header section.
    Headers(&'a [u8], Why),
    /// Nothing.
    Nothing,
}

/// Why only the header is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// That is what was asked for, or what is usual.
    Usual,
    /// The whole was asked for and is too big.
    TooBig,
    /// The whole was asked for and cannot be carried back unchanged.
    NotCarried,
}

/// `RET=FULL` is honoured for failures below the size cap (RFC 3461 section 6.2, row F1-22), never
/// for REQUIRETLS mail (RFC 8689 section 5, row D1-16).
pub(crate) fn decide<'a>(
    notification: &Notification<'a>,
    reporter: &Reporter<'_>,
    return_path: ReturnPath,
) -> Returned<'a> {
    let envelope = notification.envelope;
    let failure = notification
        .recipients
        .iter()
        .any(|r| matches!(r.action, Action::Failed | Action::Expired));
    let asked = envelope.ret == Some(Ret::Full) && failure && !envelope.requiretls;
    let whole = match notification.original {
        Original::Withheld => return Returned::Nothing,
        // What is too big is not even read.
        Original::Headers(h) => {
            let fits = u64::try_from(reporter.max_returned).is_ok_and(|max| envelope.size <= max);
            let why = if asked && !fits {
                Why::TooBig
            } else {
                Why::Usual
            };
            return cap(h, reporter.max_returned, why);
        }
        Original::Whole(w) => w,
    };
    let headers = header_section(whole);
    if !asked {
        return cap(headers, reporter.max_returned, Why::Usual);
    }
    if whole.len() > reporter.max_returned {
        return cap(headers, reporter.max_returned, Why::TooBig);
    }
    // message/rfc822 must not be encoded (RFC 2046 section 5.2.1), so what does not fit the way
    // back as it is does not go back; UTF-8 in its header needs SMTPUTF8.
    let fits = is_plain(whole, return_path >= ReturnPath::EightBit)
        && (headers.is_ascii() || return_path == ReturnPath::Utf8);
    if fits {
        Returned::Whole(whole)
    } else {
        cap(headers, reporter.max_returned, Why::NotCarried)
    }
}

/// At most `max` octets of a header section, whole lines.
fn cap(headers: &[u8], max: usize, why: Why) -> Returned<'_> {
    let Some(head) = headers.get(..max).filter(|_| headers.len() > max) else {
        return Returned::Headers(headers, why);
    };
    let end = memchr::memmem::rfind(head, b"\r\n").map_or(0, |at| at + 2);
    Returned::Headers(head.get(..end).unwrap_or_default(), why)
}

/// Up to and with the line end of the last field; the empty line is not part of it.
fn header_section(message: &[u8]) -> &[u8] {
    if message.starts_with(b"\r\n") {
        return &[];
    }
    let end = memchr::memmem::find(message, b"\r\n\r\n").map_or(message.len(), |at| at + 2);
    message.get(..end).unwrap_or(message)
}

/// Appends the part with its own header, without a boundary. Says whether it needs 8BITMIME.
pub(crate) fn write(returned: Returned<'_>, return_path: ReturnPath, out: &mut Vec<u8>) -> bool {
    match returned {
        Returned::Nothing => false,
        Returned::Whole(message) => {
            let global = !header_section(message).is_ascii();
            part_head(
                if global {
                    "message/global"
                } else {
                    "message/rfc822"
                },
                "Undelivered message",
                if message.is_ascii() { "7bit" } else { "8bit" },
                out,
            );
            out.extend_from_slice(message);
            !message.is_ascii()
        }
        Returned::Headers(headers, _) => write_headers(headers, return_path, out),
    }
}

fn write_headers(headers: &[u8], return_path: ReturnPath, out: &mut Vec<u8>) -> bool {
    let utf8 = std::str::from_utf8(headers).is_ok();
    let content_type = if headers.is_ascii() {
        "text/rfc822-headers"
    } else if utf8 && return_path == ReturnPath::Utf8 {
        // RFC 6533 section 6.
        "message/global-headers"
    } else if utf8 {
        "text/rfc822-headers; charset=utf-8"
    } else {
        // RFC 1428 section 3.
        "text/rfc822-headers; charset=unknown-8bit"
    };
    let plain = is_plain(headers, return_path >= ReturnPath::EightBit);
    let encoding = match (plain, headers.is_ascii()) {
        (true, true) => "7bit",
        (true, false) => "8bit",
        // RFC 6522 section 4 allows it for headers that are not legal 7-bit text.
        (false, _) => "quoted-printable",
    };
    part_head(content_type, "Header of the message", encoding, out);
    if plain {
        out.extend_from_slice(headers);
    } else {
        quoted_printable(headers, out);
    }
    plain && !headers.is_ascii()
}

/// `Content-Type`, `Content-Description`, `Content-Transfer-Encoding` and the empty line.
pub(crate) fn part_head(content_type: &str, description: &str, encoding: &str, out: &mut Vec<u8>) {
    for (name, value) in [
        ("Content-Type", content_type),
        ("Content-Description", description),
        ("Content-Transfer-Encoding", encoding),
    ] {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_section_ends_at_the_first_empty_line() {
        for (message, want) in [
            (
                &b"A: 1\r\nB: 2\r\n\r\nbody\r\n\r\nmore"[..],
                &b"A: 1\r\nB: 2\r\n"[..],
            ),
            (b"A: 1\r\n", b"A: 1\r\n"),
            (b"\r\nbody", b""),
            (b"", b""),
        ] {
            assert_eq!(header_section(message), want);
        }
    }

    #[test]
    fn a_header_over_the_cap_is_cut_at_a_line() {
        let headers = b"A: 1\r\nB: 2\r\n";
        for (max, want) in [
            (100, &b"A: 1\r\nB: 2\r\n"[..]),
            (12, b"A: 1\r\nB: 2\r\n"),
            (11, b"A: 1\r\n"),
            (3, b""),
        ] {
            assert_eq!(
                cap(headers, max, Why::Usual),
                Returned::Headers(want, Why::Usual),
                "{max}"
            );
        }
    }
}
