//! Mail that is put off before any attempt was made: attempts count from 1.

use std::time::Duration;

use attempt::{Delays, Facts, Format, Formatter, Outcome, Reason, Record};
use mail_types::{Mailbox, QueueId, ReversePath, Timestamp};

#[test]
fn no_attempt_has_no_number() {
    let (from, to) = (ReversePath::Null, Mailbox::parse("b@d.test").unwrap());
    let reason = Reason::DestinationSuspended;
    let (detail, advice) = (
        reason.sentence(&Facts::default()),
        reason.advice(&Facts::default()),
    );
    let line = |format, attempt| {
        let record = Record {
            at: Timestamp::from_secs(1_772_366_400),
            outcome: Outcome::Deferred,
            queue_id: QueueId::from_raw(1),
            upstream_id: None,
            message_id: None,
            from: &from,
            to: &to,
            domain: "d.test",
            mx: None,
            ip: None,
            port: None,
            tried: &[],
            reason: Some(reason),
            dsn: reason.status(),
            reply: None,
            in_reply_to: None,
            detail: &detail,
            policies: &[],
            first_contact: false,
            no_policy: None,
            weakened_by: None,
            tls: None,
            attempt,
            next_attempt: None,
            for_sender: false,
            gives_up: None,
            delay: Duration::ZERO,
            delays: Delays::default(),
            side: None,
            advice: &advice,
        };
        let mut out = Vec::new();
        Formatter::new(format, "relay.test", "sealpost", 7).write(&record, &mut out);
        String::from_utf8(out).unwrap()
    };
    let none = line(Format::Json, 0);
    assert!(none.contains("\"attempt\":null,"), "{none}");
    for (format, named) in [
        (Format::Postfix, " attempt="),
        (Format::Text { colour: false }, " attempt="),
    ] {
        let (none, two) = (line(format, 0), line(format, 2));
        assert!(!none.contains(named), "{none}");
        assert!(two.contains(&format!("{named}2")), "{two}");
    }
}
