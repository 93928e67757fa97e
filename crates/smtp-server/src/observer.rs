//! What happens, told to whoever counts and logs it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mail_types::{OrigClient, QueueId, ReversePath, TlsFacts};
use smtp_proto::server::{
    Cause, Ended, Incident, LoginResult, Refusal, SaslMechanism, Stage, Tally,
};

use crate::{Limit, VerifiedCertificate};

/// Is told of all events, in the task where they happen: it must not block.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn event(&self, event: Event<'_>);
}

/// Whom an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// The listener's name.
    pub listener: &'a str,
    /// The client's address and port; IPv4 never in IPv6-mapped form.
    pub address: SocketAddr,
    /// What it called itself; empty before EHLO. No control characters.
    pub helo: &'a str,
    /// Of its session, counted from the start of the process; 0 if it has none.
    pub session: u32,
}

/// Something happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A connection was accepted. [`Event::Disconnected`] follows in any case.
    Connected(Client<'a>),
    /// A connection was turned away with 421, since there are too many.
    TurnedAway {
        /// Who.
        client: Client<'a>,
        /// Too many of what.
        limit: Limit,
    },
    /// A host that must begin with a PROXY header did not; a stranger's is an [`Event::Incident`].
    ProxyRefused {
        /// The host itself.
        client: Client<'a>,
        /// What it did instead, in words.
        instead: &'a str,
    },
    /// A connection is gone.
    Disconnected {
        /// Who.
        client: Client<'a>,
        /// Messages accepted in it.
        messages: u64,
        /// How long it lasted.
        lasted: Duration,
        /// Its commands.
        commands: &'a Tally,
        /// How it ended.
        ended: Ended,
    },
    /// A handshake was done.
    TlsEstablished {
        /// With whom.
        client: Client<'a>,
        /// What was agreed.
        tls: &'a TlsFacts,
        /// The client's certificate, verified, if it was asked for one and had one.
        certificate: Option<&'a VerifiedCertificate>,
    },
    /// A handshake failed; the connection was closed.
    TlsFailed {
        /// With whom.
        client: Client<'a>,
        /// Why; [`crate::handshake_fault`] has words for it.
        error: &'a io::Error,
    },
    /// `message.received`: a message is in the queue.
    Received(Received<'a>),
    /// `message.refused`: a sender, recipient or message was refused.
    Refused {
        /// Whose.
        client: Client<'a>,
        /// Where in the transaction.
        stage: Stage,
        /// Why, as a label.
        cause: Cause,
        /// What the client was told.
        refusal: &'a Refusal,
        /// The sender, once it is known; as given, where it is no address.
        sender: Option<&'a str>,
        /// The recipient, if one was refused; as given, where it is no address.
        recipient: Option<&'a str>,
        /// Whose mail it is, where the client is a server in front of us.
        orig_client: Option<&'a OrigClient>,
    },
    /// A login was tried.
    Login {
        /// Whose.
        client: Client<'a>,
        /// How.
        mechanism: SaslMechanism,
        /// As whom: the client's word, without control characters, at most 64 characters.
        user: &'a str,
        /// What came of it.
        result: LoginResult,
    },
    /// Something about the client's behaviour.
    Incident {
        /// Whose.
        client: Client<'a>,
        /// What.
        incident: Incident,
    },
    /// `smtp.in.reply-lost`: the message is in the queue, but the client could not be told, so it
    /// may send it again.
    ReplyLost {
        /// Who.
        client: Client<'a>,
        /// The message.
        id: QueueId,
        /// Its Message-ID header, by which a second copy can be told.
        message_id: Option<&'a str>,
    },
    /// The client was too slow and got 421.
    TimedOut {
        /// Who.
        client: Client<'a>,
        /// At what.
        stage: TimeoutStage,
    },
    /// A session's task panicked. The session is gone, others are not affected.
    SessionPanicked {
        /// The listener's name.
        listener: &'a str,
    },
    /// The system did not give us a connection (out of descriptors, out of memory …). Accepting
    /// goes on after a pause.
    AcceptFailed {
        /// The listener's name.
        listener: &'a str,
        /// Why.
        error: &'a io::Error,
    },
}

/// A message that is in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Its id.
    pub id: QueueId,
    /// The upstream's id for it.
    pub upstream_id: Option<&'a str>,
    /// The Message-ID header.
    pub message_id: Option<&'a str>,
    /// The listener's name.
    pub listener: &'a str,
    /// The client's address.
    pub client: IpAddr,
    /// What the client called itself.
    pub helo: &'a str,
    /// Who authenticated.
    pub identity: Option<&'a str>,
    /// Whose mail it is, where the client is a server in front of us.
    pub orig_client: Option<&'a OrigClient>,
    /// The reverse-path.
    pub sender: &'a ReversePath,
    /// Number of recipients.
    pub recipients: usize,
    /// Octets as queued.
    pub size: u64,
    /// TLS of the session.
    pub tls: Option<&'a TlsFacts>,
    /// From MAIL to the end of the content.
    pub took: Duration,
    /// [`Client::session`].
    pub session: u32,
}

/// What the client was too slow at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeoutStage {
    /// The next command.
    Command,
    /// Content.
    Data,
    /// The TLS handshake.
    Handshake,
    /// Reading our replies.
    Write,
}

impl TimeoutStage {
    /// A stable label.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Data => "data",
            Self::Handshake => "handshake",
            Self::Write => "write",
        }
    }
}
