//! The original recipient that we add where none was named (`delivery.add-orcpt`).

use mail_types::{Envelope, Mailbox, MessageClass, Recipient};
use smtp_proto::xtext;

/// The recipients with original ones, if that is wanted and they are not of our own mail.
pub(crate) fn add(
    wanted: bool,
    envelope: &Envelope,
    recipients: &[&Recipient],
) -> Option<Vec<Recipient>> {
    let adds = wanted && envelope.class == MessageClass::Mail;
    adds.then(|| recipients.iter().map(|r| with_orcpt(r)).collect())
}

/// With the address under which it came as the original one, if it names none (RFC 3461 section
/// 5.2.1(d)).
fn with_orcpt(recipient: &Recipient) -> Recipient {
    let address = || parameter(&recipient.mailbox).into();
    Recipient {
        orcpt: Some(recipient.orcpt.clone().unwrap_or_else(address)),
        ..recipient.clone()
    }
}

/// In a form that every peer with DSN takes: xtext (RFC 3461 section 4.2), or `utf-8-addr-xtext` where the
/// address cannot be written in ASCII (RFC 6533 section 3).
fn parameter(mailbox: &Mailbox) -> String {
    match mailbox.to_ascii() {
        Some(ascii) => format!("rfc822;{}", xtext::encode(ascii.as_bytes())),
        None => format!("utf-8;{}", dsn::addr_xtext(mailbox.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_types::Notify;

    #[test]
    fn f1_10_f2_14_what_is_added_is_in_xtext() {
        for (address, want) in [
            ("Bob@d.test", "rfc822;Bob@d.test"),
            ("bob+tag@d.test", "rfc822;bob+2Btag@d.test"),
            ("k=v@d.test", "rfc822;k+3Dv@d.test"),
            ("\"a b\"@d.test", "rfc822;\"a+20b\"@d.test"),
            ("bob@b\u{fc}cher.test", "rfc822;bob@xn--bcher-kva.test"),
            ("j\u{fc}+x@d.test", r"utf-8;j\x{FC}\x{2B}x@d.test"),
        ] {
            let recipient = Recipient {
                mailbox: address.parse().unwrap(),
                notify: Notify::Unspecified,
                orcpt: None,
            };
            assert_eq!(with_orcpt(&recipient).orcpt.as_deref(), Some(want));
            let named = Recipient {
                orcpt: Some("rfc822;x@y.test".into()),
                ..recipient
            };
            assert_eq!(with_orcpt(&named), named, "as the sender has it");
        }
    }
}
