//! Values for the tests of this crate.

use mail_types::{
    Arrival, BodyType, Envelope, MessageClass, Notify, Recipient, ReversePath, Timestamp,
};

use crate::{Destination, Placement};

/// Every domain is a destination; mail lives for five days.
pub(crate) struct ByDomain;

impl Placement for ByDomain {
    fn destination(&self, _: &Envelope, recipient: &Recipient) -> Destination {
        Destination::of_host(recipient.mailbox.host())
    }

    fn expires(&self, envelope: &Envelope) -> Timestamp {
        envelope.arrival.at + std::time::Duration::from_hours(120)
    }
}

/// An envelope; the empty sender is the null reverse-path.
pub(crate) fn envelope(sender: &str, recipients: &[&str]) -> Envelope {
    Envelope {
        reverse_path: if sender.is_empty() {
            ReversePath::Null
        } else {
            ReversePath::Mailbox(sender.parse().unwrap())
        },
        recipients: recipients
            .iter()
            .map(|r| Recipient {
                mailbox: r.parse().unwrap(),
                notify: Notify::Unspecified,
                orcpt: None,
            })
            .collect(),
        body: BodyType::SevenBit,
        smtputf8: false,
        requiretls: false,
        tls_required_no: false,
        ret: None,
        envid: None,
        size: 0,
        class: MessageClass::Mail,
        arrival: Arrival {
            at: Timestamp::from_secs(10),
            ..Arrival::default()
        },
    }
}
