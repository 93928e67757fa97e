//! Values for the tests of this crate.

use mail_types::{
    Arrival, BodyType, Envelope, Mailbox, MessageClass, Notify, Recipient, ReversePath, Timestamp,
};

pub(crate) const ARRIVED: Timestamp = Timestamp::from_millis(1_772_366_400_250);

pub(crate) fn recipient(address: &str) -> Recipient {
    Recipient {
        mailbox: Mailbox::parse(address).unwrap(),
        notify: Notify::Unspecified,
        orcpt: None,
    }
}

pub(crate) fn envelope(from: &str) -> Envelope {
    Envelope {
        reverse_path: ReversePath::Mailbox(Mailbox::parse(from).unwrap()),
        recipients: vec![recipient("b@d.test")],
        body: BodyType::SevenBit,
        smtputf8: false,
        requiretls: false,
        tls_required_no: false,
        ret: None,
        envid: None,
        size: 100,
        class: MessageClass::Mail,
        arrival: Arrival {
            at: ARRIVED,
            began: ARRIVED,
            listener: "relay".into(),
            client: Some("192.0.2.9".parse().unwrap()),
            helo: "client.s.test".into(),
            message_id: Some("<1@s.test>".into()),
            ..Arrival::default()
        },
    }
}
