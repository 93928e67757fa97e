//! The original recipient that we add where none was named (`delivery.add-orcpt`).

use mail_types::{Envelope, MessageClass, Recipient};

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
    let kind = match recipient.mailbox.to_ascii() {
        Some(_) => "rfc822",
        None => "utf-8", // RFC 6533 section 3
    };
    let address = || format!("{kind};{}", recipient.mailbox).into();
    Recipient {
        orcpt: Some(recipient.orcpt.clone().unwrap_or_else(address)),
        ..recipient.clone()
    }
}
