//! A notification that has to travel without the protection that its original asked for.

use crate::original::part_head;

/// A notification of ours without the header of the original but for its Date and Message-ID: what may be sent
/// where REQUIRETLS is not offered (RFC 8689 section 5, decision AMB-24). `None` for what
/// [`build`](crate::build) has not made, or for one that returns nothing of the original.
#[must_use]
pub fn redact(message: &[u8]) -> Option<Vec<u8>> {
    let header_end = memchr::memmem::find(message, b"\r\n\r\n")?;
    let header = std::str::from_utf8(message.get(..header_end)?).ok()?;
    let (_, rest) = header.split_once("boundary=\"")?;
    let (boundary, _) = rest.split_once('"')?;
    let delimiter = format!("\r\n--{boundary}\r\n");
    let end = format!("\r\n--{boundary}--\r\n");
    let third = memchr::memmem::find_iter(message, &delimiter).nth(2)?;
    let start = third + delimiter.len();
    let stop = memchr::memmem::rfind(message, end.as_bytes()).filter(|stop| *stop >= start)?;
    let part = message.get(start..stop)?;
    let head_end = memchr::memmem::find(part, b"\r\n\r\n")?;
    let (head, content) = (part.get(..head_end)?, part.get(head_end + 4..)?);

    let mut out = Vec::with_capacity(message.len());
    out.extend_from_slice(message.get(..start)?);
    part_head(
        "text/rfc822-headers",
        "Header of the message",
        "7bit",
        &mut out,
    );
    // In another encoding a line is not a line of the header: then nothing is kept.
    if head.ends_with(b": 7bit") && memchr::memmem::find(head, b"/rfc822-headers").is_some() {
        keep(content, &mut out);
    }
    out.extend_from_slice(end.as_bytes());
    Some(out)
}

/// The fields of [`KEPT`] with their continuation lines.
fn keep(content: &[u8], out: &mut Vec<u8>) {
    let mut keeping = false;
    for line in content.split_inclusive(|b| *b == b'\n') {
        let continued = matches!(line.first(), Some(b' ' | b'\t'));
        if !continued {
            keeping = KEPT.iter().any(|name| {
                line.get(..name.len())
                    .is_some_and(|l| l.eq_ignore_ascii_case(name.as_bytes()))
            });
        }
        if keeping {
            out.extend_from_slice(line);
        }
    }
}

/// Enough for the sender to know which message it is.
const KEPT: [&str; 2] = ["Date:", "Message-ID:"];

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(encoding: &str, header: &str) -> Vec<u8> {
        format!(
            "Subject: Undelivered\r\nContent-Type: multipart/report;\r\n\tboundary=\"b\"\r\n\r\n\
             For you.\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n\
             \r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\n\
             \r\n--b\r\nContent-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: {encoding}\
             \r\n\r\n{header}\r\n--b--\r\n"
        )
        .into_bytes()
    }

    #[test]
    fn d1_17_only_what_names_the_message_is_left() {
        let whole = notification(
            "7bit",
            "Received: from a\r\n\tby b\r\nSubject: secret\r\n plan\r\nMESSAGE-ID:\r\n <1@a>\r\nDate: now\r\nX: y\r\n",
        );
        let text = String::from_utf8(redact(&whole).unwrap()).unwrap();
        assert!(text.contains("\r\n\r\nMESSAGE-ID:\r\n <1@a>\r\nDate: now\r\n\r\n--b--\r\n"));
        assert!(text.contains("Sorry.") && text.contains("Action: failed"));
        for gone in ["secret", "plan", "Received", "X: y", "by b"] {
            assert!(!text.contains(gone), "{gone}: {text}");
        }
    }

    #[test]
    fn an_encoded_header_is_dropped_whole() {
        let text = redact(&notification("quoted-printable", "Date: now\r\n")).unwrap();
        assert!(!String::from_utf8(text).unwrap().contains("Date: now"));
    }

    #[test]
    fn what_is_no_notification_is_left_to_the_caller() {
        assert_eq!(redact(b"Subject: x\r\n\r\nboundary=\"b\"\r\n"), None);
        assert_eq!(redact(b""), None);
        let two = b"A: boundary=\"b\"\r\n\r\n--b\r\n\r\n\r\n--b\r\n\r\n\r\n--b--\r\n";
        assert_eq!(redact(two), None);
    }
}
