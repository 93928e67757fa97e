//! The machine-readable part: `message/delivery-status` (RFC 3464 section 2) or
//! `message/global-delivery-status` (RFC 6533 section 4).

use mail_types::{EnhancedStatus, StatusClass};

use crate::address::{from_xtext, original, typed};
use crate::encode::{one_ascii_line, one_line};
use crate::{Action, Diagnostic, Notification, RecipientReport, Reporter};

/// What may stand in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    Ascii,
    Utf8,
}

impl Action {
    /// `Action`'s value.
    const fn keyword(self) -> &'static str {
        match self {
            Self::Failed | Self::Expired => "failed",
            Self::Delayed => "delayed",
            Self::Relayed => "relayed",
        }
    }

    /// The status with its class made to agree (RFC 3464 section 2.3.4, row F2-07).
    pub(crate) const fn status(self, given: EnhancedStatus) -> EnhancedStatus {
        match (self, given.class()) {
            // AMB-28: giving up is 4.4.7, whatever the last cause was.
            (Self::Expired, _) => EnhancedStatus::transient(4, 7),
            (Self::Failed, StatusClass::Success) => given.with_class(StatusClass::Permanent),
            (Self::Failed, StatusClass::Transient | StatusClass::Permanent) => given,
            (Self::Delayed, _) => given.with_class(StatusClass::Transient),
            (Self::Relayed, _) => given.with_class(StatusClass::Success),
        }
    }
}

/// Appends the part's body: the message's fields, then a block for each recipient.
pub(crate) fn write(
    notification: &Notification<'_>,
    reporter: &Reporter<'_>,
    charset: Charset,
    out: &mut Vec<u8>,
) {
    let envelope = notification.envelope;
    let mut fields = FieldWriter { out, charset };
    if let Some(envid) = &envelope.envid {
        // RFC 3461 section 6.3(a): decoded.
        let decoded = from_xtext(envid);
        fields.field(
            "Original-Envelope-Id",
            "",
            decoded.as_deref().unwrap_or(envid),
        );
    }
    fields.field("Reporting-MTA", "dns; ", reporter.hostname.as_str());
    if let Some(ip) = envelope.arrival.client {
        let helo: String = one_ascii_line(&envelope.arrival.helo, MAX_NAME)
            .chars()
            .map(|c| {
                if matches!(c, '(' | ')' | '\\' | ' ') {
                    '?'
                } else {
                    c
                }
            })
            .collect();
        let helo = if helo.is_empty() { "unknown" } else { &helo };
        fields.field("Received-From-MTA", "dns; ", &format!("{helo} ({ip})"));
    }
    fields.field("Arrival-Date", "", &envelope.arrival.at.rfc5322());
    fields.field(
        "X-Sealpost-Queue-Id",
        "",
        &notification.queue_id.to_string(),
    );
    for report in notification.recipients {
        fields.out.extend_from_slice(b"\r\n");
        recipient(report, &mut fields);
    }
}

fn recipient(report: &RecipientReport<'_>, fields: &mut FieldWriter<'_>) {
    let charset = fields.charset;
    if let Some(orcpt) = &report.recipient.orcpt {
        fields.field("Original-Recipient", "", &original(orcpt, charset));
    }
    fields.field(
        "Final-Recipient",
        "",
        &typed(&report.recipient.mailbox, charset),
    );
    fields.field("Action", "", report.action.keyword());
    let status = report.action.status(report.status);
    fields.field("Status", "", &status.to_string());
    if let Some(host) = report.remote_mta.filter(|h| !h.is_empty()) {
        fields.field("Remote-MTA", "dns; ", host);
    }
    match report.diagnostic {
        Some(Diagnostic::Smtp(reply)) => fields.field("Diagnostic-Code", "smtp; ", reply),
        // RFC 3464 section 2.3.6: our words are not the remote's.
        Some(Diagnostic::Local(text)) => fields.field("Diagnostic-Code", "X-Local; ", text),
        None => {}
    }
    if let Some(at) = report.last_attempt {
        fields.field("Last-Attempt-Date", "", &at.rfc5322());
    }
    // RFC 3464 section 2.3.9: only for delayed.
    if let (Action::Delayed, Some(until)) = (report.action, report.will_retry_until) {
        fields.field("Will-Retry-Until", "", &until.rfc5322());
    }
}

/// Writes header fields. A value cannot end its field: everything but printable text is replaced,
/// long values are folded at their own spaces.
struct FieldWriter<'a> {
    out: &'a mut Vec<u8>,
    charset: Charset,
}

impl FieldWriter<'_> {
    fn field(&mut self, name: &str, prefix: &str, value: &str) {
        let clean = match self.charset {
            Charset::Ascii => one_ascii_line(value, MAX_VALUE),
            Charset::Utf8 => one_line(value, MAX_VALUE),
        };
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(prefix.as_bytes());
        fold(&clean, name.len() + 2 + prefix.len(), self.out);
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Appends text folded (RFC 5322 section 2.2.3): each fold stands before a space of the text, so
/// that unfolding gives the text back. Only words that no line can hold are broken.
fn fold(text: &str, mut column: usize, out: &mut Vec<u8>) {
    for (i, word) in text.split(' ').enumerate() {
        if i > 0 {
            // A line of nothing but spaces would not be a continuation.
            if column + 1 + word.len() > FOLD_AT && !word.is_empty() {
                out.extend_from_slice(b"\r\n");
                column = 0;
            }
            out.push(b' ');
            column += 1;
        }
        let mut rest = word;
        while rest.len() > MAX_WORD {
            let (head, tail) = rest.split_at(rest.floor_char_boundary(MAX_WORD));
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(b"\r\n ");
            column = 1;
            rest = tail;
        }
        out.extend_from_slice(rest.as_bytes());
        column += rest.len();
    }
}

const FOLD_AT: usize = 76;
/// RFC 5322 section 2.1.1 allows 998 octets on a line.
const MAX_WORD: usize = 800;
const MAX_NAME: usize = 255;
/// A reply has at most some 100 lines worth reading; this is the first 4 KiB of it.
const MAX_VALUE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folded(text: &str) -> String {
        let mut out = Vec::new();
        fold(text, 17, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn f2_07_class_agrees_with_action() {
        let s = |t: &str| t.parse::<EnhancedStatus>().unwrap();
        for (action, given, want) in [
            (Action::Failed, "5.1.1", "5.1.1"),
            (Action::Failed, "4.4.1", "4.4.1"),
            (Action::Failed, "2.0.0", "5.0.0"),
            (Action::Expired, "4.7.5", "4.4.7"),
            (Action::Expired, "5.7.1", "4.4.7"),
            (Action::Delayed, "5.7.10", "4.7.10"),
            (Action::Relayed, "4.0.0", "2.0.0"),
        ] {
            assert_eq!(action.status(s(given)), s(want), "{action:?} {given}");
        }
    }

    proptest! {
        #[test]
        fn folding_can_be_undone(text in "[!-~ ]{0,400}") {
            let text = text.trim();
            let out = folded(text);
            prop_assert_eq!(out.replace("\r\n", ""), text);
            for line in out.split("\r\n").skip(1) {
                prop_assert!(line.starts_with(' ') && !line.trim().is_empty());
            }
        }

        #[test]
        fn no_line_is_too_long(text in "[a-zü]{0,5000}") {
            prop_assert!(folded(&text).split("\r\n").all(|l| l.len() <= 998));
        }
    }
}
