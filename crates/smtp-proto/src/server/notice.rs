//! What a session has to tell those who count and log.

use mail_types::OrigClient;

use super::{Refusal, SaslMechanism};

/// Something worth an event or a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Mail was refused: a sender, a recipient, or a whole message.
    Refused {
        /// Where in the transaction.
        stage: Stage,
        /// Why, as a label.
        cause: Cause,
        /// What the client was told.
        refusal: Refusal,
        /// The sender, once it is known; as given, cut and without control characters, where it is
        /// no address.
        sender: Option<Box<str>>,
        /// The recipient, if one was refused; as given where it is no address, as the sender.
        recipient: Option<Box<str>>,
        /// Whose mail it is, where the client is a server in front of us.
        orig_client: Option<Box<OrigClient>>,
    },
    /// Something about the client's behaviour.
    Incident(Incident),
    /// A login was tried.
    Login {
        /// How.
        mechanism: SaslMechanism,
        /// As whom: the client's own word, without control characters, at most 64 characters.
        user: Box<str>,
        /// What came of it.
        result: LoginResult,
    },
}

/// How a session ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// With QUIT, or by our own will.
    #[default]
    Orderly,
    /// The client went away without a word, or the handshake failed. In the midst of content with
    /// the octets of it that had come.
    Lost(Option<u64>),
    /// It was too slow; with octets as above.
    TimedOut(Option<u64>),
    /// It made too many mistakes.
    TooManyErrors,
}

/// What came of a login. [`LoginResult::key`] is stable, for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginResult {
    /// 235.
    Accepted,
    /// 535: wrong.
    Rejected,
    /// 534: right, but not by this mechanism.
    TooWeak,
    /// 454: too many at once, or too many that failed.
    NotNow,
}

/// Where in a transaction mail was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// At `MAIL`.
    Mail,
    /// At `RCPT`.
    Rcpt,
    /// At `DATA` or the first `BDAT`.
    Begin,
    /// After the content.
    Content,
}

/// Why mail was refused. [`Cause::key`] is stable, for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A stranger wanted to relay.
    RelayDenied,
    /// No TLS where it is required, or where REQUIRETLS needs it.
    TlsRequired,
    /// Larger than the limit.
    TooLarge,
    /// More recipients than the limit.
    TooManyRecipients,
    /// Bare CR or LF.
    BareNewline,
    /// Too many `Received` fields, or too many of our own.
    Loop,
    /// A line longer than we pass on.
    LineTooLong,
    /// A command or address that breaks the grammar.
    Syntax,
    /// A parameter that is unknown, or has a bad value.
    Parameter,
    /// A UTF-8 address without SMTPUTF8.
    Utf8Address,
    /// The queue did not take it (overloaded, shutting down …).
    Queue,
    /// Nor did it for want of room on the disk.
    DiskFull,
    /// The identity has sent as much as it may in a time.
    Limit,
    /// The recipient check refused it.
    Recipient,
    /// The sender's domain takes no mail.
    SenderDomain,
    /// The content is not what may be submitted, or passed on.
    Content,
    /// No login where one is required.
    AuthRequired,
    /// The identity may not send as this address.
    SenderDenied,
}

/// Something about the client's behaviour. [`Incident::key`] is stable, for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Incident {
    /// A bare CR or LF; the session was closed.
    BareNewline,
    /// Bare CR and LF that became spaces.
    BareNewlineNormalized {
        /// How many, in one message or command.
        count: u64,
    },
    /// Lines of more than 998 octets, passed on unchanged.
    LongLines {
        /// How many, in one message.
        count: u64,
    },
    /// A line that is a dot and NUL octets; the message was refused.
    NulDot,
    /// Plaintext right behind STARTTLS (CVE-2011-0411); the session was closed.
    StartTlsInjection,
    /// A verb of HTTP; the session was closed.
    CrossProtocol,
    /// A TLS ClientHello where SMTP was expected; the session was closed.
    TlsOnPlainPort,
    /// Talked before the greeting.
    EarlyTalker,
    /// XFORWARD from a client that may not say it.
    XforwardDenied,
    /// XCLIENT from a client that may not say it.
    XclientDenied,
    /// A header of the PROXY protocol from a client that may not send one; the session was closed.
    ProxyUntrusted,
    /// Too many refused commands; the session was closed.
    TooManyErrors,
    /// More messages than one session may bring; the session was closed.
    TooManyMessages,
    /// Wanted another protocol than SMTP by ALPN; there was no handshake.
    AlpnMismatch,
}

impl Cause {
    /// Of a refusal by those who take the mail: what is final is about the content, since
    /// everything about ourselves passes.
    pub(super) fn of_intake(refusal: &Refusal) -> Self {
        if refusal.is_transient() {
            Self::Queue
        } else {
            Self::Content
        }
    }

    /// A stable label.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::RelayDenied => "relay-denied",
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
            Self::Limit => "limit",
            Self::Recipient => "recipient",
            Self::SenderDomain => "sender-domain",
            Self::Content => "content",
            Self::AuthRequired => "auth-required",
            Self::SenderDenied => "sender-denied",
        }
    }
}

impl Incident {
    /// A stable label.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::BareNewline => "bare_newline",
            Self::BareNewlineNormalized { .. } => "bare_newline_normalized",
            Self::LongLines { .. } => "long_lines",
            Self::NulDot => "nul_dot",
            Self::StartTlsInjection => "starttls_injection",
            Self::CrossProtocol => "cross_protocol",
            Self::TlsOnPlainPort => "tls_on_plain_port",
            Self::EarlyTalker => "early_talker",
            Self::XforwardDenied => "xforward_denied",
            Self::XclientDenied => "xclient_denied",
            Self::ProxyUntrusted => "proxy_untrusted",
            Self::TooManyErrors => "too_many_errors",
            Self::TooManyMessages => "too_many_messages",
            Self::AlpnMismatch => "alpn_mismatch",
        }
    }
}

impl LoginResult {
    /// A stable label.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::TooWeak => "too-weak",
            Self::NotNow => "not-now",
        }
    }
}

impl Stage {
    /// A stable label.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Begin => "begin",
            Self::Content => "content",
        }
    }
}
