//! Any DSN parameters, any reply of a server and any content: the notification about them is one
//! well-formed message, whose fields are the ones that we write.

use mail_types::{
    Arrival, BodyType, Domain, EnhancedStatus, Envelope, MessageClass, QueueId, Recipient,
    Timestamp, header_fields,
};
use smtp_proto::{Command, ForwardPath};

use super::{content, split_byte, whole_lines};

/// The input's lines: what stands behind `MAIL`, what stands behind `RCPT`, the reply; then content.
pub(super) fn check(input: &[u8]) {
    let (flags, input) = split_byte(input);
    let mut parts = input.splitn(4, |b| *b == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (mail, rcpt, reply, original) = (part(), part(), part(), part());
    let mail = [b"MAIL FROM:<ann@a.test> ", mail].concat();
    let Ok(Command::Mail(mail)) = Command::parse(&mail) else {
        return;
    };
    let rcpt = [b"RCPT TO:<bob@b.test> ", rcpt].concat();
    let Ok(Command::Rcpt(rcpt)) = Command::parse(&rcpt) else {
        return;
    };
    let ForwardPath::Mailbox(mailbox) = rcpt.path else {
        return;
    };
    let recipient = Recipient {
        mailbox,
        notify: rcpt.notify,
        orcpt: rcpt.orcpt,
    };
    let envelope = Envelope {
        reverse_path: mail.path,
        recipients: vec![recipient],
        body: mail.body.unwrap_or(BodyType::SevenBit),
        smtputf8: mail.smtputf8,
        requiretls: false,
        tls_required_no: false,
        ret: mail.ret,
        envid: mail.envid,
        size: 0,
        class: MessageClass::Mail,
        arrival: Arrival::default(),
    };
    notify(
        flags,
        &envelope,
        &String::from_utf8_lossy(reply),
        &content(original),
    );
}

fn notify(flags: u8, envelope: &Envelope, reply: &str, original: &[u8]) {
    let hostname = Domain::parse("relay.test").unwrap();
    let from = "postmaster@relay.test".parse().unwrap();
    let action = [
        dsn::Action::Failed,
        dsn::Action::Expired,
        dsn::Action::Delayed,
        dsn::Action::Relayed,
    ][usize::from(flags & 3)];
    let report = dsn::RecipientReport {
        recipient: &envelope.recipients[0],
        action,
        status: EnhancedStatus::permanent(7, 1),
        remote_mta: Some("mx.b.test"),
        diagnostic: Some(if flags & 4 == 0 {
            dsn::Diagnostic::Smtp(reply)
        } else {
            dsn::Diagnostic::Local(reply)
        }),
        last_attempt: Some(NOW),
        held: false,
        will_retry_until: Some(NOW),
        summary: reply,
        story: None,
    };
    let notification = dsn::Notification {
        queue_id: QueueId::from_raw(1),
        envelope,
        recipients: &[report],
        original: if flags & 8 == 0 {
            dsn::Original::Headers(original)
        } else {
            dsn::Original::Whole(original)
        },
        return_path: [
            dsn::ReturnPath::SevenBit,
            dsn::ReturnPath::EightBit,
            dsn::ReturnPath::Utf8,
        ][usize::from(flags >> 4) % 3],
    };
    let reporter = dsn::Reporter {
        hostname: &hostname,
        from: &from,
        max_returned: 4096,
    };
    let built = dsn::build(&notification, &reporter, NOW, [7; 16]).expect("there is a return path");
    message(&built.message, built.envelope.smtputf8);
    if built.envelope.body == BodyType::SevenBit {
        assert!(built.message.is_ascii(), "8-bit octets without 8BITMIME");
    }
}

fn message(message: &[u8], utf8: bool) {
    whole_lines(message);
    let (fields, body) = header_fields(message);
    assert!(
        body.starts_with(b"\r\n"),
        "the header ends in an empty line"
    );
    for field in &fields {
        let name = String::from_utf8_lossy(field.name());
        assert!(
            FIELDS.iter().any(|f| f.eq_ignore_ascii_case(&name)),
            "{name}"
        );
        let twice = fields.iter().filter(|f| f.is(&name)).count();
        assert_eq!(twice, 1, "{name}");
        assert!(utf8 || field.raw().is_ascii());
    }
    let longest = message.split(|b| *b == b'\n').map(<[u8]>::len).max();
    assert!(longest.unwrap_or_default() <= 999, "RFC 5322 section 2.1.1");
    // One boundary: as many parts as we write, whatever stands in them.
    let head = &message[..message.len() - body.len()];
    let text = String::from_utf8_lossy(head);
    let boundary = text
        .split("boundary=\"")
        .nth(1)
        .and_then(|t| t.split('"').next());
    let line = format!("\r\n--{}", boundary.expect("there is a boundary"));
    let lines = message
        .windows(line.len())
        .filter(|w| *w == line.as_bytes())
        .count();
    assert!((3..=4).contains(&lines), "{lines} boundaries");
}

const NOW: Timestamp = Timestamp::from_secs(1_772_366_400);
const FIELDS: [&str; 12] = [
    "Date",
    "From",
    "To",
    "Subject",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Auto-Submitted",
    "Received",
    "In-Reply-To",
    "References",
    "Content-Transfer-Encoding",
];
