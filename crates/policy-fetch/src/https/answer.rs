//! What headers say.

use std::time::Duration;

use reqwest::header::HeaderValue;

/// `text/plain` in any case, with any parameters (RFC 8461 section 3.2).
pub(super) fn is_text_plain(value: &[u8]) -> bool {
    let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
    let essence = value.get(..end).unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/plain")
}

/// Retry-After in seconds; a date or nonsense is no wish, since our own back-off holds anyway.
pub(super) fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let seconds: u64 = text.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// A text from outside: short, and nothing in it but what prints.
pub(super) fn printable(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.chars()
        .take(MAX_SHOWN)
        .map(|c| {
            if c.is_ascii_graphic() || c == ' ' {
                c
            } else {
                '?'
            }
        })
        .collect()
}

const MAX_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a3_02_a3_03_a3_04_media_type() {
        for (value, want) in [
            ("text/plain", true),
            ("Text/Plain; charset=UTF-8; foo=bar", true),
            ("text/plain;charset=iso-8859-1", true),
            ("text/plain ; charset=utf-8", true),
            ("text/html", false),
            ("application/json", false),
            ("text", false),
            ("", false),
            ("text/plainer", false),
            ("x text/plain", false),
        ] {
            assert_eq!(is_text_plain(value.as_bytes()), want, "{value}");
        }
    }

    #[test]
    fn h2_16_retry_after() {
        for (value, want) in [
            ("120", Some(Duration::from_secs(120))),
            ("-5", None),
            ("99999999999999999999", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ] {
            assert_eq!(
                retry_after(&HeaderValue::from_static(value)),
                want,
                "{value}"
            );
        }
    }

    #[test]
    fn h2_13_texts_from_outside_are_cleaned() {
        assert_eq!(
            printable(b"https://x/\r\n\x1b[31m\xff"),
            "https://x/???[31m?"
        );
        assert_eq!(printable(&[b'a'; 1000]).len(), MAX_SHOWN);
    }
}
