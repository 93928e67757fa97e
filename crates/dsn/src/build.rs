//! Puts a notification together.

use mail_types::{
    Arrival, BodyType, Envelope, Mailbox, MessageClass, Notify, Recipient, ReversePath, Timestamp,
};

use crate::encode::quoted_printable;
use crate::fields::Charset;
use crate::original::{decide, part_head};
use crate::{Action, DsnError, Notification, Reporter, ReturnPath, fields, original, text};

/// A notification, ready for the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The message with CRLF line ends.
    pub message: Vec<u8>,
    /// Its envelope: `MAIL FROM:<>`, one recipient (the reverse-path) with `NOTIFY=NEVER`, class
    /// [`MessageClass::Dsn`], arrived now. `BODY` and `SMTPUTF8` as the content needs;
    /// `REQUIRETLS` as the original had it (RFC 8689 section 5).
    pub envelope: Envelope,
}

/// Builds the notification. `random` makes Message-ID and boundary; derive it from message, event
/// and time where the same notification must come out the same after a crash (row H7-04).
///
/// # Errors
/// [`DsnError`]: a null reverse-path, or no recipients.
pub fn build(
    notification: &Notification<'_>,
    reporter: &Reporter<'_>,
    now: Timestamp,
    random: [u8; 16],
) -> Result<Built, DsnError> {
    let to = notification
        .envelope
        .reverse_path
        .mailbox()
        .ok_or(DsnError::NoReturnPath)?;
    if notification.recipients.is_empty() {
        return Err(DsnError::NoRecipients);
    }
    let return_path = match to.to_ascii() {
        Some(_) => notification.return_path,
        None => ReturnPath::Utf8,
    };
    let parts = Parts::new(notification, reporter, return_path);
    let boundary = parts.boundary(random);
    let message_id = format!("<{}@{}>", hex(random), reporter.hostname);

    let mut message = Vec::with_capacity(parts.len() + 2048);
    header(notification, reporter, now, &message_id, &mut message);
    parts.write(&boundary, &mut message);

    let envelope = Envelope {
        reverse_path: ReversePath::Null,
        recipients: vec![Recipient {
            mailbox: to.clone(),
            notify: Notify::Never,
            orcpt: None,
        }],
        body: if parts.eight_bit || parts.utf8 {
            BodyType::EightBit
        } else {
            BodyType::SevenBit
        },
        smtputf8: parts.utf8 || to.to_ascii().is_none(),
        // RFC 8689 section 5.
        requiretls: notification.envelope.requiretls,
        tls_required_no: false,
        ret: None,
        envid: None,
        size: u64::try_from(message.len()).unwrap_or(u64::MAX),
        class: MessageClass::Dsn,
        arrival: Arrival {
            at: now,
            began: now,
            message_id: Some(message_id.into()),
            ..Arrival::default()
        },
    };
    Ok(Built { message, envelope })
}

/// The header fields, each once (row F3-05), up to but not including `Content-Type`.
fn header(
    notification: &Notification<'_>,
    reporter: &Reporter<'_>,
    now: Timestamp,
    message_id: &str,
    out: &mut Vec<u8>,
) {
    let mut field = |name: &str, value: &str| {
        for text in [name, ": ", value, "\r\n"] {
            out.extend_from_slice(text.as_bytes());
        }
    };
    let reverse_path = notification.envelope.reverse_path.mailbox();
    let from = reporter.from.to_ascii();
    field("Date", &now.rfc5322());
    match from {
        Some(from) => field("From", &format!("Mail Delivery System <{from}>")),
        // A configured address that the way back might not carry.
        None => field(
            "From",
            &format!("Mail Delivery System <MAILER-DAEMON@{}>", reporter.hostname),
        ),
    }
    field("To", &reverse_path.map_or_else(String::new, header_address));
    field("Subject", subject(notification));
    field("Message-ID", message_id);
    let original_id = notification.envelope.arrival.message_id.as_deref();
    if let Some(id) = original_id.filter(|id| is_message_id(id)) {
        field("References", id);
    }
    // RFC 3834 section 5 (row F4-01).
    field("Auto-Submitted", "auto-replied");
    field("MIME-Version", "1.0");
}

/// `<local@domain>` in ASCII wherever that is possible.
fn header_address(mailbox: &Mailbox) -> String {
    match mailbox.to_ascii() {
        Some(ascii) => format!("<{ascii}>"),
        None => format!("<{mailbox}>"),
    }
}

/// By what matters most to the sender. The wording is Postfix's, which filters know.
fn subject(notification: &Notification<'_>) -> &'static str {
    let any = |wanted: &[Action]| {
        notification
            .recipients
            .iter()
            .any(|r| wanted.contains(&r.action))
    };
    if any(&[Action::Failed, Action::Expired]) {
        "Undelivered Mail Returned to Sender"
    } else if any(&[Action::Delayed]) {
        "Delayed Mail (still being retried)"
    } else {
        "Mail Delivery Status Report"
    }
}

/// `<id-left@id-right>` of printable ASCII (RFC 5322 section 3.6.4): what is not that is not
/// repeated.
fn is_message_id(text: &str) -> bool {
    text.len() <= MAX_MESSAGE_ID
        && text
            .strip_prefix('<')
            .and_then(|t| t.strip_suffix('>'))
            .and_then(|t| t.split_once('@'))
            .is_some_and(|(left, right)| {
                let word = |s: &str| {
                    !s.is_empty()
                        && s.bytes()
                            .all(|b| b.is_ascii_graphic() && !b"<>@()\\\"".contains(&b))
                };
                word(left) && word(right)
            })
}

/// The three parts, each with its own header.
struct Parts {
    human: Vec<u8>,
    machine: Vec<u8>,
    original: Option<Vec<u8>>,
    /// A part is in 8-bit encoding.
    eight_bit: bool,
    /// A part is of a kind that only SMTPUTF8 may carry (RFC 6533).
    utf8: bool,
}

impl Parts {
    fn new(
        notification: &Notification<'_>,
        reporter: &Reporter<'_>,
        return_path: ReturnPath,
    ) -> Self {
        let returned = decide(notification, reporter, return_path);
        let prose = text::write(notification, reporter, returned);
        let (human, human_8bit) = human_part(&prose, return_path);

        let utf8_address = notification.recipients.iter().any(|r| {
            !r.recipient.mailbox.as_str().is_ascii()
                || r.recipient.orcpt.as_deref().is_some_and(is_utf8_type)
        });
        let charset = if return_path == ReturnPath::Utf8 && utf8_address {
            Charset::Utf8
        } else {
            Charset::Ascii
        };
        let mut machine = Vec::with_capacity(1024);
        let (kind, encoding) = match charset {
            // RFC 3464 section 2.1 (row F2-04).
            Charset::Ascii => ("message/delivery-status", "7bit"),
            // RFC 6533 section 4.
            Charset::Utf8 => ("message/global-delivery-status", "8bit"),
        };
        part_head(kind, "Delivery report", encoding, &mut machine);
        fields::write(notification, reporter, charset, &mut machine);

        let mut third = Vec::new();
        let third_8bit = original::write(returned, return_path, &mut third);
        let third_global = third.starts_with(b"Content-Type: message/global");
        Self {
            eight_bit: human_8bit || charset == Charset::Utf8 || third_8bit,
            utf8: charset == Charset::Utf8 || third_global,
            human,
            machine,
            original: (!third.is_empty()).then_some(third),
        }
    }

    fn len(&self) -> usize {
        self.human.len() + self.machine.len() + self.original.as_ref().map_or(0, Vec::len)
    }

    /// A boundary that no part contains (RFC 2046 section 5.1.1).
    fn boundary(&self, random: [u8; 16]) -> String {
        let mut number = u128::from_be_bytes(random);
        loop {
            let boundary = format!("=_{number:032x}");
            let finder = memchr::memmem::Finder::new(&boundary);
            let parts = [
                Some(&self.human),
                Some(&self.machine),
                self.original.as_ref(),
            ];
            if !parts
                .into_iter()
                .flatten()
                .any(|p| finder.find(p).is_some())
            {
                return boundary;
            }
            number = number.wrapping_add(1);
        }
    }

    fn write(&self, boundary: &str, out: &mut Vec<u8>) {
        let head = format!(
            "Content-Type: multipart/report; report-type=delivery-status;\r\n\
             \tboundary=\"{boundary}\"\r\n\
             Content-Transfer-Encoding: {}\r\n\
             \r\n\
             This is a notice in MIME format about a message that you sent.\r\n",
            if self.eight_bit { "8bit" } else { "7bit" }
        );
        out.extend_from_slice(head.as_bytes());
        let parts = [
            Some(&self.human),
            Some(&self.machine),
            self.original.as_ref(),
        ];
        for part in parts.into_iter().flatten() {
            out.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
            out.extend_from_slice(part);
        }
        out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    }
}

/// The text part, and whether it is in 8-bit encoding.
fn human_part(prose: &str, return_path: ReturnPath) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(prose.len() + 256);
    let description = "Notification";
    if prose.is_ascii() {
        part_head(
            "text/plain; charset=us-ascii",
            description,
            "7bit",
            &mut out,
        );
        out.extend_from_slice(prose.as_bytes());
        return (out, false);
    }
    let eight_bit = return_path >= ReturnPath::EightBit;
    let encoding = if eight_bit {
        "8bit"
    } else {
        "quoted-printable"
    };
    part_head("text/plain; charset=utf-8", description, encoding, &mut out);
    if eight_bit {
        out.extend_from_slice(prose.as_bytes());
    } else {
        quoted_printable(prose.as_bytes(), &mut out);
    }
    (out, eight_bit)
}

/// Whether an ORCPT parameter has the address type of RFC 6533 section 3.
fn is_utf8_type(orcpt: &str) -> bool {
    orcpt
        .split_once(';')
        .is_some_and(|(kind, _)| kind.eq_ignore_ascii_case("utf-8"))
}

fn hex(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// Longer ones are not worth a fold.
const MAX_MESSAGE_ID: usize = 250;
