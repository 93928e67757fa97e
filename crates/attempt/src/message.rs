//! The other events in a message's life.

use std::net::IpAddr;

use mail_types::{EnhancedStatus, Mailbox, OrigClient, QueueId, ReversePath, Timestamp, TlsFacts};

mod log;

/// `message.received`: a message is durable and will be answered `250`.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// When.
    pub at: Timestamp,
    /// Our id for it.
    pub queue_id: QueueId,
    /// The upstream's id (XFORWARD IDENT).
    pub upstream_id: Option<&'a str>,
    /// The Message-ID field's value.
    pub message_id: Option<&'a str>,
    /// The client's address; `None` for our own messages.
    pub client: Option<IpAddr>,
    /// Whose mail it is, where the client is a server in front of us.
    pub orig_client: Option<&'a OrigClient>,
    /// What the client called itself in EHLO.
    pub helo: &'a str,
    /// The listener's name.
    pub listener: &'a str,
    /// Who authenticated.
    pub identity: Option<&'a str>,
    /// `MAIL FROM`.
    pub from: &'a ReversePath,
    /// Number of recipients.
    pub nrcpt: usize,
    /// Octets of the content.
    pub size: u64,
    /// TLS of the inbound session.
    pub tls: Option<&'a TlsFacts>,
    /// The number of the client's session, in Postfix lines; 0 if there is none.
    pub session: u32,
}

/// `message.refused`: a command or a message was answered with 4yz or 5yz.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// When.
    pub at: Timestamp,
    /// The client's address.
    pub client: IpAddr,
    /// Whose mail it is, where the client is a server in front of us.
    pub orig_client: Option<&'a OrigClient>,
    /// What the client called itself in EHLO; empty if it has not.
    pub helo: &'a str,
    /// The listener's name.
    pub listener: &'a str,
    /// Where: `mail`, `rcpt`, `begin`, `content`.
    pub stage: &'a str,
    /// The cause, from a fixed set.
    pub cause: RefusedBy,
    /// Our reply code.
    pub code: u16,
    /// Our enhanced status code.
    pub dsn: EnhancedStatus,
    /// Our reply's text.
    pub detail: &'a str,
    /// The sender, if there was one: as given, where it is no address.
    pub from: Option<&'a str>,
    /// The recipient, if one was refused: as given, where it is no address.
    pub to: Option<&'a str>,
    /// The number of the client's session, in Postfix lines.
    pub session: u32,
}

/// Why a message or command was refused: the label set of `sealpost_messages_refused_total`, with
/// the keys that the SMTP session gives its refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusedBy {
    /// The client may not relay.
    RelayDenied,
    /// Authentication is needed first.
    AuthRequired,
    /// Credentials were wrong.
    AuthFailed,
    /// No TLS where it is required.
    TlsRequired,
    /// Larger than the listener allows.
    TooLarge,
    /// More recipients than the listener allows.
    TooManyRecipients,
    /// A bare CR or LF in the content (decision AMB-26).
    BareNewline,
    /// Too many Received fields: the message goes in circles (RFC 5321 section 6.3).
    Loop,
    /// A line longer than is passed on (decision AMB-27).
    LineTooLong,
    /// A command or address that breaks the grammar.
    Syntax,
    /// A parameter that is unknown or has a bad value.
    Parameter,
    /// A UTF-8 address without SMTPUTF8.
    Utf8Address,
    /// The queue does not take mail now: failed, overloaded, shutting down.
    Queue,
    /// Too little room is left on the disk.
    DiskFull,
    /// The check of recipients refused it.
    Recipient,
    /// The sender's domain takes no mail (RFC 7505).
    SenderDomain,
    /// The identity may not send as this address.
    SenderDenied,
    /// The content is not what may be submitted: no From field or several, a header too large.
    Content,
    /// This identity has sent as much as it may for now.
    Limit,
}

/// `message.removed`: nothing is left to be done for a message.
#[derive(Clone, Copy, Debug)]
pub struct Removed<'a> {
    /// When.
    pub at: Timestamp,
    /// The message.
    pub queue_id: QueueId,
    /// The upstream's id.
    pub upstream_id: Option<&'a str>,
    /// Why.
    pub because: RemovedBecause,
}

/// Why a message left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemovedBecause {
    /// Every recipient has its outcome.
    Done,
    /// An operator cancelled it.
    Cancelled,
}

/// `dsn.sent`: a delivery status notification was put into the queue.
#[derive(Clone, Copy, Debug)]
pub struct DsnSent<'a> {
    /// When.
    pub at: Timestamp,
    /// The message that it speaks of.
    pub queue_id: QueueId,
    /// The notification's own id.
    pub dsn_id: QueueId,
    /// To whom it goes.
    pub to: &'a Mailbox,
    /// What it says.
    pub kind: DsnKind,
    /// How many recipients it speaks of.
    pub nrcpt: usize,
    /// Octets of the notification.
    pub size: u64,
}

/// What a notification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DsnKind {
    /// Delivery failed, or was given up.
    Failed,
    /// Delivery is late and goes on.
    Delayed,
    /// The mail went on to a system that sends no notifications.
    Relayed,
}

impl RefusedBy {
    /// Every cause, for tables.
    pub const ALL: [Self; 19] = [
        Self::RelayDenied,
        Self::AuthRequired,
        Self::AuthFailed,
        Self::TlsRequired,
        Self::TooLarge,
        Self::TooManyRecipients,
        Self::BareNewline,
        Self::Loop,
        Self::LineTooLong,
        Self::Syntax,
        Self::Parameter,
        Self::Utf8Address,
        Self::Queue,
        Self::DiskFull,
        Self::Recipient,
        Self::SenderDomain,
        Self::SenderDenied,
        Self::Content,
        Self::Limit,
    ];

    /// As in the `cause` field.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::RelayDenied => "relay-denied",
            Self::AuthRequired => "auth-required",
            Self::AuthFailed => "auth-failed",
            Self::TlsRequired => "tls-required",
            Self::TooLarge => "too-large",
            Self::TooManyRecipients => "too-many-recipients",
            Self::BareNewline => "bare-newline",
            Self::Loop => "loop",
            Self::LineTooLong => "line-too-long",
            Self::Syntax => "syntax",
            Self::Parameter => "parameter",
            Self::Utf8Address => "utf8-address",
            Self::Queue => "queue",
            Self::DiskFull => "disk-full",
            Self::Recipient => "recipient",
            Self::SenderDomain => "sender-domain",
            Self::SenderDenied => "sender-denied",
            Self::Content => "content",
            Self::Limit => "limit",
        }
    }

    /// The cause with this key.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.key() == key)
    }

    /// Position in [`RefusedBy::ALL`], for tables.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl RemovedBecause {
    /// As in the `because` field.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

impl DsnKind {
    /// As in the `kind` field.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Relayed => "relayed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RefusedBy;

    #[test]
    fn every_cause_stands_at_its_index_with_a_key_of_its_own() {
        for (i, cause) in RefusedBy::ALL.into_iter().enumerate() {
            assert_eq!(cause.index(), i);
            assert_eq!(RefusedBy::from_key(cause.key()), Some(cause));
        }
        assert_eq!(RefusedBy::from_key("no-such-cause"), None);
    }
}
