//! The original recipient that we add where none was named (`delivery.add-orcpt`).

use mail_types::Recipient;

/// With the address under which it came as the original one, if it names none (RFC 3461 section
/// 5.2.1(d)).
pub(crate) fn with_orcpt(recipient: &Recipient) -> Recipient {
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
