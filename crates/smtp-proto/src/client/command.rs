//! Commands as they go on the wire. Nothing that is written here can hold a CR or LF of its own:
//! mailboxes have none by their type, parameters are checked.

use std::fmt::Write;

use bytes::BytesMut;
use mail_types::{BodyType, Mailbox, Notify, Recipient, Ret, Submitter};

use super::{Extensions, Mechanisms, SizeLimit, Transaction};
use crate::xtext;

/// `MAIL FROM` with the parameters that the peer offers (row E2-48).
pub(super) fn mail(out: &mut BytesMut, tx: &Transaction<'_>, offered: &Extensions, smtputf8: bool) {
    out.extend_from_slice(b"MAIL FROM:<");
    if let Some(mailbox) = tx.reverse_path.mailbox() {
        address(out, mailbox, smtputf8);
    }
    out.extend_from_slice(b">");
    if offered.size != SizeLimit::NotOffered {
        // Writing to a buffer that grows does not fail.
        let _ = write!(out, " SIZE={}", tx.size);
    }
    if offered.eight_bit_mime && tx.body == BodyType::EightBit {
        out.extend_from_slice(b" BODY=8BITMIME");
    }
    // RFC 6531 section 3.4: only when it is needed.
    if offered.smtputf8 && smtputf8 {
        out.extend_from_slice(b" SMTPUTF8");
    }
    if offered.requiretls && tx.requiretls {
        out.extend_from_slice(b" REQUIRETLS");
    }
    if offered.dsn {
        match tx.ret {
            Some(Ret::Full) => out.extend_from_slice(b" RET=FULL"),
            Some(Ret::Headers) => out.extend_from_slice(b" RET=HDRS"),
            None => {}
        }
        parameter(out, " ENVID=", tx.envid, false);
    }
    if offered.auth != Mechanisms::default() {
        match tx.submitter {
            Some(Submitter::Mailbox(mailbox)) if mailbox.as_str().is_ascii() => {
                let text = xtext::encode(mailbox.as_str().as_bytes());
                let _ = write!(out, " AUTH={text}");
            }
            Some(Submitter::Mailbox(_) | Submitter::Unknown) => {
                out.extend_from_slice(b" AUTH=<>");
            }
            None => {}
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// `RCPT TO` with the parameters of RFC 3461 if the peer offers DSN.
pub(super) fn rcpt(out: &mut BytesMut, recipient: &Recipient, offered: &Extensions, utf8: bool) {
    out.extend_from_slice(b"RCPT TO:<");
    address(out, &recipient.mailbox, utf8);
    out.extend_from_slice(b">");
    if offered.dsn {
        notify(out, recipient.notify);
        parameter(out, " ORCPT=", recipient.orcpt.as_deref(), utf8);
    }
    out.extend_from_slice(b"\r\n");
}

pub(super) fn bdat(out: &mut BytesMut, size: u64) {
    let _ = write!(out, "BDAT {size} LAST\r\n");
}

fn address(out: &mut BytesMut, mailbox: &Mailbox, utf8: bool) {
    // RFC 6531 section 3.2: without SMTPUTF8 the domain goes as A-labels (row E2-41). A local part
    // beyond ASCII has made `needs_smtputf8` true.
    match mailbox.to_ascii() {
        Some(ascii) if !utf8 => out.extend_from_slice(ascii.as_bytes()),
        _ => out.extend_from_slice(mailbox.as_str().as_bytes()),
    }
}

fn notify(out: &mut BytesMut, notify: Notify) {
    match notify {
        Notify::Unspecified => {}
        Notify::Never => out.extend_from_slice(b" NOTIFY=NEVER"),
        Notify::On {
            success,
            failure,
            delay,
        } => {
            let events = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
            let mut separator = " NOTIFY=";
            for (_, event) in events.into_iter().filter(|(wanted, _)| *wanted) {
                out.extend_from_slice(separator.as_bytes());
                out.extend_from_slice(event.as_bytes());
                separator = ",";
            }
        }
    }
}

/// A parameter that passes unchanged; one that could not have been received is left out.
fn parameter(out: &mut BytesMut, name: &str, value: Option<&str>, utf8: bool) {
    let sound = |v: &&str| {
        !v.is_empty()
            && v.chars().all(|c| match c {
                '!'..='~' => true,
                c => utf8 && !c.is_ascii() && !c.is_control() && !c.is_whitespace(),
            })
    };
    let ascii = value.filter(|v| !utf8 && is_international(v)).map(escaped);
    if let Some(value) = ascii.as_deref().or(value).filter(sound) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value.as_bytes());
    }
}

/// RFC 6533 section 3: an original recipient of type `utf-8` that is not ASCII.
fn is_international(value: &str) -> bool {
    let kind = value.get(..6);
    !value.is_ascii() && kind.is_some_and(|kind| kind.eq_ignore_ascii_case("utf-8;"))
}

/// As `utf-8-addr-xtext` (the same place), which needs no SMTPUTF8.
fn escaped(value: &str) -> String {
    value.chars().fold(String::new(), |text, c| match c {
        c if c.is_ascii() || c.is_control() => text + c.encode_utf8(&mut [0; 4]),
        c => format!("{text}\\x{{{:X}}}", u32::from(c)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_10_e2_42_an_international_original_recipient_goes_without_smtputf8_too() {
        let written = |value: &str, utf8| {
            let mut out = BytesMut::new();
            parameter(&mut out, " ORCPT=", Some(value), utf8);
            String::from_utf8(out.to_vec()).unwrap()
        };
        let given = "utf-8;j\u{fc}+x\\x{2B}@\u{1f600}.test";
        assert_eq!(written(given, true), format!(" ORCPT={given}"));
        let ascii = r" ORCPT=utf-8;j\x{FC}+x\x{2B}@\x{1F600}.test";
        assert_eq!(written(given, false), ascii);
        assert_eq!(written("rfc822;j\u{fc}@d.test", false), "");
        assert_eq!(written("utf-8;j\u{fc}\u{85}@d.test", false), "");
    }
}
