//! Addresses without a domain in a header: they are ours (RFC 5322 section 3.4.1 knows none).
//!
//! Only the domain is put in, behind the local part: comments, display names and folding stay as
//! they are. A field with anything in it that cannot be parsed stays as a whole.

use mail_types::{Domain, Field, Mailbox};

/// The field with domains; `None`: it stays as it is.
pub(crate) fn qualified(field: &Field<'_>, hostname: &Domain) -> Option<Vec<u8>> {
    if !FIELDS.iter().any(|name| field.is(name)) {
        return None;
    }
    let value = field.value();
    let ends = bare(value, hostname).filter(|ends| !ends.is_empty())?;
    let (name, _) = field.raw().split_at(field.raw().len() - value.len());
    let mut whole = name.to_vec();
    let mut from = 0;
    for end in ends {
        whole.extend_from_slice(value.get(from..end)?);
        whole.push(b'@');
        whole.extend_from_slice(hostname.as_str().as_bytes());
        from = end;
    }
    whole.extend_from_slice(value.get(from..)?);
    // RFC 5322 section 2.1.1, with CRLF.
    let fits = whole
        .split_inclusive(|b| *b == b'\n')
        .all(|l| l.len() <= 1000);
    fits.then_some(whole)
}

/// Where local parts without a domain end. `None`: not all of it can be parsed.
fn bare(value: &[u8], hostname: &Domain) -> Option<Vec<usize>> {
    let mut ends = Vec::new();
    let mut one = One::default();
    let mut at = 0;
    while let Some(&b) = value.get(at) {
        let next = match b {
            b'(' => comment(value, at)?,
            b'"' => enclosed(value, at, b'"')?,
            b'[' => enclosed(value, at, b']')?,
            _ => at + 1,
        };
        match (b, one.angle) {
            (b' ' | b'\t' | b'\r' | b'\n' | b'(', _) => one.space = true,
            (b'<', Angle::None) => one = One::in_angle(Angle::Open),
            (b'>', Angle::Open) => {
                ends.extend(one.bare_end(hostname)?);
                one = One::in_angle(Angle::Closed);
            }
            (b',' | b';', Angle::None | Angle::Closed) => {
                ends.extend(one.bare_end(hostname)?);
                one = One::default();
            }
            // A group's name stands before it.
            (b':', Angle::None) => one = One::default(),
            (b'<' | b'>' | b')' | b'\\' | b';', _) | (_, Angle::Closed) => return None,
            _ => one.push(value.get(at..next)?, next),
        }
        at = next;
    }
    if one.angle == Angle::Open {
        return None;
    }
    ends.extend(one.bare_end(hostname)?);
    Some(ends)
}

/// One address under way.
#[derive(Default)]
struct One {
    text: Vec<u8>,
    end: usize,
    has_at: bool,
    angle: Angle,
    /// White space or a comment stands before what comes next.
    space: bool,
    /// There are two words in it, as in a display name.
    words: bool,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Angle {
    #[default]
    None,
    Open,
    Closed,
}

impl One {
    fn in_angle(angle: Angle) -> Self {
        Self {
            angle,
            ..Self::default()
        }
    }

    fn push(&mut self, token: &[u8], end: usize) {
        let joins = |b: &u8| matches!(b, b'.' | b'@' | b',' | b':');
        let apart = std::mem::take(&mut self.space)
            && self.text.last().is_some_and(|last| !joins(last))
            && !token.first().is_some_and(joins);
        self.words |= apart;
        self.has_at |= token == b"@";
        self.text.extend_from_slice(token);
        self.end = end;
    }

    /// `Some(None)`: there is no address, or one with a domain.
    fn bare_end(&self, hostname: &Domain) -> Option<Option<usize>> {
        let text = std::str::from_utf8(&self.text).ok()?;
        // A source route, which says nothing any more.
        if text.is_empty() || text.starts_with('@') {
            return Some(None);
        }
        if self.words {
            return None;
        }
        if self.has_at {
            return Mailbox::parse(text).ok().map(|_| None);
        }
        Mailbox::parse(&format!("{text}@{hostname}"))
            .ok()
            .map(|_| Some(self.end))
    }
}

/// Where a comment ends; they nest.
fn comment(value: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut escaped = false;
    for (n, b) in value.iter().enumerate().skip(at) {
        match b {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(n + 1),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn enclosed(value: &[u8], at: usize, closing: u8) -> Option<usize> {
    let mut escaped = false;
    for (n, b) in value.iter().enumerate().skip(at + 1) {
        match b {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' => escaped = true,
            b if *b == closing => return Some(n + 1),
            _ => {}
        }
    }
    None
}

const FIELDS: [&str; 10] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Resent-From",
    "Resent-Sender",
    "Resent-Reply-To",
    "Resent-To",
    "Resent-Cc",
];

#[cfg(test)]
mod tests {
    use super::*;

    use mail_types::header_fields;

    #[test]
    fn bare_local_parts_get_the_domain() {
        let hostname = Domain::parse("h.test").unwrap();
        for (field, want) in [
            ("From: root\r\n", Some("From: root@h.test\r\n")),
            (
                "From: root (Cron Daemon)\r\n",
                Some("From: root@h.test (Cron Daemon)\r\n"),
            ),
            (
                "From: \"(Cron, Daemon)\" <root>\r\n",
                Some("From: \"(Cron, Daemon)\" <root@h.test>\r\n"),
            ),
            (
                "to : a@d.test,\r\n\troot(it\\)s, me),, Joe User\r\n < ops >\r\n",
                Some(
                    "to : a@d.test,\r\n\troot@h.test(it\\)s, me),, Joe User\r\n < ops@h.test >\r\n",
                ),
            ),
            (
                "Cc: Us: root, Ann <a@d.test>, <bob>;, carl\r\n",
                Some("Cc: Us: root@h.test, Ann <a@d.test>, <bob@h.test>;, carl@h.test\r\n"),
            ),
            ("Reply-To: a . b\r\n", Some("Reply-To: a . b@h.test\r\n")),
            (
                "Resent-To: \"odd one\"\r\n",
                Some("Resent-To: \"odd one\"@h.test\r\n"),
            ),
            (
                "To: <@x.test,@y.test:a@d.test>, root, x@[192.0.2.1]\r\n",
                Some("To: <@x.test,@y.test:a@d.test>, root@h.test, x@[192.0.2.1]\r\n"),
            ),
            // They have domains, or no addresses.
            ("From: a@d.test\r\n", None),
            ("To: Undisclosed recipients:;\r\n", None),
            ("From: <>\r\n", None),
            ("From:\r\n", None),
            // Other fields.
            ("Subject: root\r\n", None),
            ("Bcc: root\r\n", None),
            // What cannot be parsed stays, all of it.
            ("To: root, undisclosed recipients\r\n", None),
            ("To: root, a b@d.test\r\n", None),
            ("To: root, a@b@d.test\r\n", None),
            ("To: root, (open\r\n", None),
            ("To: root, \"open\r\n", None),
            ("To: root, <open\r\n", None),
            ("To: root, <a> b\r\n", None),
            ("To: root, a)\r\n", None),
            ("To: root, a..b\r\n", None),
            ("To: root, <<a>>\r\n", None),
        ] {
            let message = format!("{field}\r\n");
            let (fields, _) = header_fields(message.as_bytes());
            let [one] = fields.as_slice() else {
                panic!("{field}")
            };
            let done = qualified(one, &hostname).map(|f| String::from_utf8(f).unwrap());
            assert_eq!(done.as_deref(), want, "{field}");
        }
    }
}
