//! The envelope of a message, and how it arrived.

use std::fmt;
use std::net::IpAddr;

use crate::{Mailbox, Timestamp};

/// Everything about a message but its content. The default is plain mail, from and to nobody yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// `MAIL FROM`.
    pub reverse_path: ReversePath,
    /// `RCPT TO`, in the order given; never empty in the queue.
    pub recipients: Vec<Recipient>,
    /// `BODY=` (RFC 6152). [`BodyType::EightBit`] also when the content proved to have 8-bit octets.
    pub body: BodyType,
    /// `SMTPUTF8` was given (RFC 6531 section 3.4).
    pub smtputf8: bool,
    /// `REQUIRETLS` was given (RFC 8689 section 2).
    pub requiretls: bool,
    /// A `TLS-Required: No` header that this submitter may use (RFC 8689, decision AMB-32).
    pub tls_required_no: bool,
    /// `RET=` (RFC 3461 section 4.3).
    pub ret: Option<Ret>,
    /// `ENVID=` as received, in xtext (RFC 3461 section 4.4).
    pub envid: Option<Box<str>>,
    /// Octets of the content as queued (trace header included), with CRLF, before dot-stuffing.
    pub size: u64,
    /// What kind of message this is to us.
    pub class: MessageClass,
    /// How it came in.
    pub arrival: Arrival,
}

/// The reverse-path (RFC 5321 section 3.6.2; `<>` as in section 4.5.5).
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReversePath {
    /// `<>`: no error message is ever sent in answer.
    #[default]
    Null,
    /// Where error messages go.
    Mailbox(Mailbox),
}

/// One forward-path with its RFC 3461 parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The forward-path, source route removed.
    pub mailbox: Mailbox,
    /// `NOTIFY=`.
    pub notify: Notify,
    /// `ORCPT=` as received (`addr-type;xtext`).
    pub orcpt: Option<Box<str>>,
}

/// `NOTIFY=` (RFC 3461 section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Notify {
    /// Not given: failures are reported, delays may be.
    #[default]
    Unspecified,
    /// `NEVER`.
    Never,
    /// A list of events.
    On {
        /// `SUCCESS`.
        success: bool,
        /// `FAILURE`.
        failure: bool,
        /// `DELAY`.
        delay: bool,
    },
}

/// `BODY=` (RFC 6152 section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BodyType {
    /// `7BIT`.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBit,
}

/// `RET=` (RFC 3461 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ret {
    /// The whole message in a failure report.
    Full,
    /// Its headers only.
    Headers,
}

/// What kind of message this is to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MessageClass {
    /// Mail that somebody handed to us.
    #[default]
    Mail,
    /// A delivery status notification of our own.
    Dsn,
    /// A TLS report of our own: exempt from the policies of its destination (RFC 8460 section 3).
    Report,
}

/// How a message came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// When the end of data was accepted.
    pub at: Timestamp,
    /// When the transaction began (for `delays.before_queue`).
    pub began: Timestamp,
    /// The listener's name.
    pub listener: Box<str>,
    /// The client's address; `None` for our own messages.
    pub client: Option<IpAddr>,
    /// What the client called itself in EHLO.
    pub helo: Box<str>,
    /// The upstream's queue id (XFORWARD IDENT, or the id in its Received field).
    pub upstream_id: Option<Box<str>>,
    /// The Message-ID header's value.
    pub message_id: Option<Box<str>>,
    /// Who authenticated, by a login or by a client certificate; such mail is "authenticated" to
    /// `delivery.dangerous-tls-required-no`.
    pub identity: Option<Box<str>>,
    /// `AUTH=` of the MAIL command as we stand by it; `None` if there was none.
    pub submitter: Option<Submitter>,
    /// TLS of the inbound session.
    pub tls: Option<TlsFacts>,
}

/// Who submitted a message first, as MAIL's `AUTH=` says it (RFC 4954 section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitter {
    /// `<>`: not known, or known to nobody whom we trust.
    Unknown,
    /// This one, said by a client that is trusted to say so.
    Mailbox(Mailbox),
}

/// What is worth saying of a TLS session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// For instance `TLSv1.3`.
    pub version: Box<str>,
    /// For instance `TLS_AES_256_GCM_SHA384`.
    pub cipher: Box<str>,
}

impl ReversePath {
    /// The mailbox, if there is one.
    #[must_use]
    pub const fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(m) => Some(m),
        }
    }

    /// Whether this is `<>`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl fmt::Display for ReversePath {
    /// Without angle brackets: empty for the null reverse-path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Mailbox(m) => m.fmt(f),
        }
    }
}

impl fmt::Debug for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{self}>")
    }
}

impl Notify {
    /// Whether a "failed" DSN may be sent (RFC 3461 section 5.2.6).
    #[must_use]
    pub const fn wants_failure(self) -> bool {
        match self {
            Self::Unspecified => true,
            Self::Never => false,
            Self::On { failure, .. } => failure,
        }
    }

    /// Whether a "delayed" DSN may be sent (RFC 3461 section 5.2.5).
    #[must_use]
    pub const fn wants_delay(self) -> bool {
        match self {
            Self::Unspecified => true,
            Self::Never => false,
            Self::On { delay, .. } => delay,
        }
    }

    /// Whether success was asked for (RFC 3461 section 5.2.2).
    #[must_use]
    pub const fn wants_success(self) -> bool {
        matches!(self, Self::On { success: true, .. })
    }
}
