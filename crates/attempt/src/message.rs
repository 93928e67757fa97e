//! The other events in a message's life.

use std::net::IpAddr;

use mail_types::{EnhancedStatus, Mailbox, QueueId, ReversePath, Timestamp, TlsFacts};

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
}

/// `message.refused`: a command or a message was answered with 4yz or 5yz.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// When.
    pub at: Timestamp,
    /// The client's address.
    pub client: IpAddr,
    /// What the client called itself in EHLO; empty if it has not.
    pub helo: &'a str,
    /// The listener's name.
    pub listener: &'a str,
    /// The command that was refused: `MAIL`, `RCPT`, `DATA`, `END-OF-MESSAGE`, `CONNECT` …
    pub stage: &'a str,
    /// The cause, from a fixed set.
    pub cause: RefusedBy,
    /// Our reply code.
    pub code: u16,
    /// Our enhanced status code.
    pub dsn: EnhancedStatus,
    /// Our reply's text.
    pub detail: &'a str,
    /// `MAIL FROM`, if there was one.
    pub from: Option<&'a ReversePath>,
    /// The `RCPT TO` argument as given, if there was one.
    pub to: Option<&'a str>,
}

/// Why a message or command was refused: the label set of `sealpost_messages_refused_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusedBy {
    /// The client may not relay.
    RelayDenied,
    /// Authentication is needed first.
    AuthRequired,
    /// Credentials were wrong.
    AuthFailed,
    /// STARTTLS is needed first.
    TlsRequired,
    /// The address is not valid or not acceptable.
    BadAddress,
    /// Command or parameter syntax.
    Syntax,
    /// Larger than the listener allows.
    TooBig,
    /// More recipients than the listener allows.
    TooManyRecipients,
    /// A bare CR or LF in the content (decision AMB-26).
    BareNewline,
    /// The content is not acceptable for another cause: header loop, 8-bit without BODY …
    Content,
    /// Too many Received fields: the message goes in circles (RFC 5321 section 6.3).
    Loop,
    /// Too many connections, commands or errors from this client, or it was too slow.
    Limit,
    /// The disk is full or the queue cannot take mail now.
    Unavailable,
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
    pub const ALL: [Self; 13] = [
        Self::RelayDenied,
        Self::AuthRequired,
        Self::AuthFailed,
        Self::TlsRequired,
        Self::BadAddress,
        Self::Syntax,
        Self::TooBig,
        Self::TooManyRecipients,
        Self::BareNewline,
        Self::Content,
        Self::Loop,
        Self::Limit,
        Self::Unavailable,
    ];

    /// As in the `cause` field.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::RelayDenied => "relay-denied",
            Self::AuthRequired => "auth-required",
            Self::AuthFailed => "auth-failed",
            Self::TlsRequired => "tls-required",
            Self::BadAddress => "bad-address",
            Self::Syntax => "syntax",
            Self::TooBig => "too-big",
            Self::TooManyRecipients => "too-many-recipients",
            Self::BareNewline => "bare-newline",
            Self::Content => "content",
            Self::Loop => "loop",
            Self::Limit => "limit",
            Self::Unavailable => "unavailable",
        }
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
