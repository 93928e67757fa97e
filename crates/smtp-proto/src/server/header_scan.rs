//! Reads the header of a message as it streams by: nothing is changed, a few fields are noted.

use mail_types::{Domain, QueueId, Timestamp, harmless};
use memchr::memchr;

/// What the header says that we want to know.
#[derive(Debug)]
pub(super) struct HeaderScan {
    hostname: Domain,
    now: Timestamp,
    /// The field under way, unfolded, as far as we look at it. Reused from field to field.
    field: Vec<u8>,
    place: Place,
    /// `Received` fields.
    pub(super) received: u32,
    /// Those of them that we wrote ourselves.
    pub(super) own: u32,
    /// The id in the topmost `Received` field.
    pub(super) upstream_id: Option<Box<str>>,
    /// The value of `Message-ID`.
    pub(super) message_id: Option<Box<str>>,
    tls_required: u32,
    tls_required_no: bool,
    /// An octet beyond ASCII stands in it.
    eight_bit: bool,
    /// The content may have parts with headers of their own.
    has_parts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    LineStart,
    InLine,
    /// A CR was seen at the start of a line: the end of the header, if LF follows.
    EmptyLine,
    Body,
}

impl HeaderScan {
    /// `hostname` and `now` tell our own trace headers from those of others.
    pub(super) fn new(hostname: Domain, now: Timestamp) -> Self {
        Self {
            hostname,
            now,
            field: Vec::with_capacity(USUAL_FIELD),
            place: Place::LineStart,
            received: 0,
            own: 0,
            upstream_id: None,
            message_id: None,
            tls_required: 0,
            tls_required_no: false,
            eight_bit: false,
            has_parts: false,
        }
    }

    /// The next octets of the content; they have no bare CR or LF.
    pub(super) fn feed(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() && self.place != Place::Body {
            match (self.place, octets[0]) {
                (Place::LineStart, b'\r') => {
                    self.place = Place::EmptyLine;
                    octets = &octets[1..];
                    continue;
                }
                (Place::EmptyLine, _) => {
                    self.end();
                    continue;
                }
                (Place::LineStart, b' ' | b'\t') => {}
                (Place::LineStart, _) => self.end_field(),
                (Place::InLine | Place::Body, _) => {}
            }
            if self.place == Place::Body {
                return;
            }
            let line_end = memchr(b'\n', octets).map(|i| i + 1);
            let (line, rest) = octets.split_at(line_end.unwrap_or(octets.len()));
            self.eight_bit = self.eight_bit || !line.is_ascii();
            let room = MAX_FIELD.saturating_sub(self.field.len());
            self.field.extend_from_slice(&line[..line.len().min(room)]);
            self.place = if line_end.is_some() {
                Place::LineStart
            } else {
                Place::InLine
            };
            octets = rest;
        }
    }

    /// There is no more header.
    pub(super) fn end(&mut self) {
        self.end_field();
        self.place = Place::Body;
    }

    /// `TLS-Required: No`, exactly once (RFC 8689 section 3: more than one field is not valid).
    pub(super) const fn tls_required_no(&self) -> bool {
        self.tls_required == 1 && self.tls_required_no
    }

    /// Whether the content may need SMTPUTF8: a header beyond ASCII, its own or that of a part, where
    /// `eight_bit` says whether any octet of the content is (RFC 6531 section 3.4, row E2-42).
    pub(super) const fn may_need_utf8(&self, eight_bit: bool) -> bool {
        self.eight_bit || (eight_bit && self.has_parts)
    }

    fn end_field(&mut self) {
        if self.field.is_empty() {
            return;
        }
        let field = std::mem::take(&mut self.field);
        match name_and_value(&field) {
            Some((name, value)) => self.note(name, value, field.len() < MAX_FIELD),
            // No field: whatever follows is not a header any more (as MTAs treat it).
            None => self.place = Place::Body,
        }
        self.field = field;
        self.field.clear();
    }

    /// `whole`: nothing of the field was cut off.
    fn note(&mut self, name: &[u8], value: &[u8], whole: bool) {
        if name.eq_ignore_ascii_case(b"received") {
            self.received = self.received.saturating_add(1);
            let value = String::from_utf8_lossy(value);
            let (by, id) = trace_clauses(&value);
            if self.received == 1 {
                self.upstream_id = id.map(Into::into);
            }
            if self.is_own(by, id) {
                self.own = self.own.saturating_add(1);
            }
        } else if name.eq_ignore_ascii_case(b"message-id") && self.message_id.is_none() {
            self.message_id = printable(value);
        } else if name.eq_ignore_ascii_case(b"content-type") {
            // RFC 2046 section 5: what is text, which is what mail is without the field, has no parts.
            let kind = value.trim_ascii_start().get(..TEXT.len());
            let is_text = kind.is_some_and(|kind| kind.eq_ignore_ascii_case(TEXT));
            self.has_parts = self.has_parts || !is_text;
        } else if name.eq_ignore_ascii_case(b"tls-required") {
            self.tls_required = self.tls_required.saturating_add(1);
            // RFC 8689 section 3: only "No" has a meaning (any case: row D2-04), and what does not
            // fit into what we look at may have more.
            self.tls_required_no = whole && value.trim_ascii().eq_ignore_ascii_case(b"no");
        }
    }

    /// Our name alone does not make a trace header ours, since a front Postfix may share it; with
    /// an id of our form whose time is recent it does (row E4-35).
    fn is_own(&self, by: Option<&str>, id: Option<&str>) -> bool {
        let ours = by.is_some_and(|by| by.eq_ignore_ascii_case(self.hostname.as_str()));
        let Some(id) = id
            .filter(|_| ours)
            .and_then(|id| id.parse::<QueueId>().ok())
        else {
            return false;
        };
        let made = Timestamp::from_millis((id.raw() >> 8) / 1000);
        made.since(self.now) <= OWN_AGE && self.now.since(made) <= OWN_AGE
    }
}

fn name_and_value(field: &[u8]) -> Option<(&[u8], &[u8])> {
    // In the first line, as `mail_types::header_fields` has it: one opinion on what a field is.
    let line = memchr(b'\n', field).map_or(field, |end| &field[..end]);
    let colon = memchr(b':', line)?;
    let name = field[..colon].trim_ascii_end();
    // RFC 5322 section 2.2: printable ASCII.
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    Some((name, &field[colon + 1..]))
}

/// The `by` and `id` clauses of a trace field; text in parentheses and the date do not count.
fn trace_clauses(value: &str) -> (Option<&str>, Option<&str>) {
    let (mut by, mut id) = (None, None);
    let mut depth = 0usize;
    let mut last = "";
    for word in value.split_ascii_whitespace() {
        let opened = word.matches('(').count();
        let outside = depth == 0 && opened == 0;
        depth = (depth + opened).saturating_sub(word.matches(')').count());
        if !outside {
            continue;
        }
        let text = word.split(';').next().unwrap_or_default();
        if last.eq_ignore_ascii_case("by") && by.is_none() {
            by = Some(text);
        } else if last.eq_ignore_ascii_case("id") && id.is_none() && is_id(text) {
            id = Some(text);
        }
        if word.contains(';') {
            break;
        }
        last = word;
    }
    (by, id)
}

fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A value for a log line: trimmed, one line, no control characters.
fn printable(value: &[u8]) -> Option<Box<str>> {
    let value = value.trim_ascii();
    let text = String::from_utf8_lossy(value);
    let is_plain = value.iter().all(|b| matches!(b, b' '..=b'~'));
    if is_plain && (1..=MAX_MESSAGE_ID).contains(&value.len()) {
        return Some(text.into());
    }
    let clean: String = text
        .chars()
        .filter(|c| !matches!(c, '\r' | '\n'))
        .map(harmless)
        .take(MAX_MESSAGE_ID)
        .collect();
    (!clean.is_empty()).then(|| clean.into())
}

const TEXT: &[u8] = b"text/";
/// Octets that most fields have room in.
const USUAL_FIELD: usize = 256;
/// Octets of a field that are looked at.
const MAX_FIELD: usize = 4096;
const MAX_MESSAGE_ID: usize = 998;
const MAX_ID: usize = 128;
/// Longer than any message is in a queue.
const OWN_AGE: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_secs(1_772_366_400)
    }

    fn own_id() -> QueueId {
        QueueId::next(now().as_millis() * 1000, 3, QueueId::from_raw(0))
    }

    fn scan(text: &str, step: usize) -> HeaderScan {
        let mut scan = HeaderScan::new(Domain::parse("relay.test").unwrap(), now());
        for part in text.as_bytes().chunks(step) {
            scan.feed(part);
        }
        scan.end();
        scan
    }

    #[test]
    fn notes_the_fields_at_every_split() {
        let own = format!(
            "Received: from a ([192.0.2.1])\r\n\tby RELAY.test with ESMTP id {};\r\n\tdate\r\n",
            own_id()
        );
        let text = format!(
            "Received: from x (x [192.0.2.9])\r\n\tby front.test (Postfix) with ESMTPS id 4RZ3Yk\r\n\tfor <a@b>; date\r\n\
             {own}message-ID:\r\n <1@x.test>\r\nSubject: received: by relay.test\r\nTLS-REQUIRED:\tNO \r\n\r\n\
             Received: in the body\r\nTLS-Required: No\r\n"
        );
        for step in 1..text.len() {
            let s = scan(&text, step);
            assert_eq!((s.received, s.own), (2, 1), "step {step}");
            assert_eq!(s.upstream_id.as_deref(), Some("4RZ3Yk"));
            assert_eq!(s.message_id.as_deref(), Some("<1@x.test>"));
            assert!(s.tls_required_no());
        }
    }

    #[test]
    fn d2_02_to_d2_04_tls_required() {
        // What makes it another word stands behind what is looked at.
        let cut = format!("TLS-Required: No{}x\r\n\r\n", " ".repeat(MAX_FIELD));
        for (text, want) in [
            ("TLS-Required: No\r\n\r\n", true),
            ("tls-required: NO\r\n\r\n", true),
            ("TLS-Required:\r\n No\r\n\r\n", true),
            ("TLS-Required: No", true), // a header without an end
            ("TLS-Required: No\r\nTLS-Required: No\r\n\r\n", false),
            ("TLS-Required: No\r\nTLS-Required: Yes\r\n\r\n", false),
            ("TLS-Required: Yes\r\n\r\n", false),
            ("TLS-Required: nope\r\n\r\n", false),
            (&cut, false),
            ("TLS-Required: No; x\r\n\r\n", false),
            ("Subject: x\r\n TLS-Required: No\r\n\r\n", false),
            ("\r\nTLS-Required: No\r\n", false),
            // No field, which ends the header.
            ("TLS-Required\r\n : No\r\n\r\n", false),
            ("x\r\n : y\r\nTLS-Required: No\r\n\r\n", false),
            ("not a field\r\nTLS-Required: No\r\n\r\n", false),
            ("", false),
        ] {
            for step in [1, 2, 7, 1000] {
                assert_eq!(scan(text, step).tls_required_no(), want, "{text:?}");
            }
        }
    }

    #[test]
    fn e2_42_only_a_header_beyond_ascii_needs_smtputf8() {
        let plain = "Subject: x\r\n\r\n";
        let text = "Content-Type:\r\n TEXT/plain; charset=utf-8\r\n\r\n";
        let mixed = "content-type: multipart/mixed; boundary=x\r\n\r\n";
        let long = format!("Subject: {}\u{fc}\r\n\r\n", "x".repeat(2 * MAX_FIELD));
        for (header, body, want) in [
            (plain, "x", false),
            (plain, "\u{fc}", false),
            (text, "\u{fc}", false),
            (mixed, "x", false),
            // A part may have a file name that is not ASCII.
            (mixed, "\u{fc}", true),
            ("Subject: \u{fc}\r\n\r\n", "x", true),
            (&long, "x", true),
            ("Content-Type: message/rfc822\r\n\r\n", "\u{fc}", true),
            ("Content-Type: (a) multipart/mixed\r\n\r\n", "\u{fc}", true),
        ] {
            let whole = format!("{header}{body}");
            for step in [1, 3, 1000] {
                let scan = scan(&whole, step);
                assert_eq!(
                    scan.may_need_utf8(!whole.is_ascii()),
                    want,
                    "{header:?} {body:?}"
                );
            }
        }
    }

    #[test]
    fn e4_35_own_traces_need_name_and_id() {
        let id = own_id();
        let old = QueueId::next(1_000_000, 3, QueueId::from_raw(0));
        for (value, own) in [
            (format!("from a by relay.test with ESMTP id {id}; x"), 1),
            (
                format!("from a by relay.test (Postfix) with ESMTP id {id}"),
                1,
            ),
            (format!("from a by other.test with ESMTP id {id}; x"), 0),
            (format!("from a (by relay.test id {id}) by b id 1; x"), 0),
            (
                "from a by relay.test (Postfix) with ESMTP id 3A5F2C00E1B; x".into(),
                0,
            ),
            (
                "from a by relay.test (Postfix) with ESMTP id 4RZ3Yk5Xm1z9tqF; x".into(),
                0,
            ),
            (format!("from a by relay.test with ESMTP id {old}; x"), 0),
            ("from a by relay.test".into(), 0),
        ] {
            assert_eq!(
                scan(&format!("Received: {value}\r\n\r\n"), 9).own,
                own,
                "{value}"
            );
        }
    }

    #[test]
    fn h5_06_bombs_are_bounded_and_control_characters_replaced() {
        let text = format!(
            "Message-ID: {}\r\nReceived: by x id 1\r\n\r\n",
            "a".repeat(100_000)
        );
        let s = scan(&text, 1000);
        assert_eq!((s.received, s.message_id.map(|m| m.len())), (1, Some(998)));
        assert!(s.field.capacity() < 3 * MAX_FIELD);
        // As many as there are, lines without end, and parts however deep: none of it is kept.
        let fields = "X-A: b\r\n".repeat(100_000);
        let line = "X".repeat(4 << 20);
        let part = "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n";
        for bomb in [
            fields.clone(),
            format!("{fields}\r\n"),
            line.clone(),
            format!("X: {line}"),
            format!("X: y\r\n {line}"),
            part.repeat(10_000),
        ] {
            for step in [1000, usize::MAX] {
                let s = scan(&bomb, step);
                assert!(s.field.capacity() < 3 * MAX_FIELD, "{}", &bomb[..20]);
                assert_eq!((s.received, s.message_id), (0, None));
            }
        }
        let s = scan("Message-ID: <a\u{7}\0b>\r\n\r\n", 100);
        assert_eq!(s.message_id.as_deref(), Some("<a??b>"));
    }
}
