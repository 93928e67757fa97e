//! Why a session could not be opened or a transaction not be finished.

use reasons::Reason;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use smtp_proto::{AuthFault, MissingExtension, RecipientOutcome, Reply, ReplyError, Stage};

use crate::{CertificateFailure, DaneFailure, DaneVerdict, OpeningTimes, TlsSession, Transcript};

/// A session could not be opened as asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{stage}: {cause}")]
pub struct SessionError {
    /// Where it stopped.
    pub stage: Stage,
    /// Why.
    pub cause: Cause,
    /// The TLS session, if it got that far.
    pub tls: Option<Box<TlsSession>>,
    /// If the handshake ended over the certificate: all that is said of it, since one demand may be
    /// met where another is not.
    pub judged: Option<Box<Judged>>,
    /// The dialogue up to there.
    pub transcript: Transcript,
    /// The address that we sent from, if TCP stood.
    pub from: Option<IpAddr>,
    /// How far it got, and when.
    pub times: OpeningTimes,
}

/// What is said of the certificate of a handshake that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// PKIX, with the MX name.
    pub certificate: Result<(), Box<CertificateFailure>>,
    /// The host's TLSA records.
    pub dane: DaneVerdict,
}

/// A transaction did not come to its end. The connection is not usable any more, except after
/// [`Cause::Missing`].
#[derive(Clone, Debug, thiserror::Error)]
#[error("{stage}: {cause}")]
pub struct TransactionError {
    /// Where it stopped.
    pub stage: Stage,
    /// Why.
    pub cause: Cause,
    /// In the order of the transaction's recipients: what was decided before; `None` is undecided
    /// and may be tried again.
    pub recipients: Vec<Option<RecipientOutcome>>,
    /// All of the content, or its last octets, were handed over: the peer may have taken the
    /// message, and a second try may deliver it twice (row H3-16).
    pub after_final_dot: bool,
    /// The peer had not answered any command of this transaction, unless with 421: on a connection
    /// that was reused, the sign of one that went stale; try again at once on a fresh one.
    pub unanswered: bool,
    /// The dialogue up to there.
    pub transcript: Transcript,
}

/// Why a session or a transaction failed.
#[derive(Clone, Debug, thiserror::Error)]
#[must_use]
pub enum Cause {
    /// No TCP connection.
    #[error("no connection: {0}")]
    Connect(SocketFault),
    /// STARTTLS is demanded and the peer does not offer it.
    #[error("the host does not offer STARTTLS (it offers: {0})")]
    StartTlsNotOffered(Box<str>),
    /// STARTTLS is demanded and the peer refused it.
    #[error("the host refused STARTTLS: {0}")]
    StartTlsRefused(Reply),
    /// Octets came in clear after the 220 and before the handshake: somebody tampers
    /// (RFC 3207 section 4, row E2-28).
    #[error("octets in clear followed the reply to STARTTLS: an attempt to inject commands")]
    StartTlsInjection,
    /// The TLS handshake failed, but not over the certificate.
    #[error("the TLS handshake failed: {0}")]
    Handshake(HandshakeFault),
    /// The certificate is not valid for the MX name.
    #[error("{0}")]
    Certificate(Box<CertificateFailure>),
    /// The host's TLSA records do not accept its certificate (RFC 7672 section 2.2).
    #[error("{0}")]
    Dane(Box<DaneFailure>),
    /// The peer closed or reset the connection (row E2-12).
    #[error("the connection was lost: {0}")]
    Lost(SocketFault),
    /// No reply in time.
    #[error("no answer within {}", Span(*.0))]
    Timeout(Duration),
    /// A 4yz or 5yz that concerns the session or the transaction as a whole.
    #[error("the host said: {0}")]
    Remote(Reply),
    /// What came was no SMTP, or not an answer to what was asked.
    #[error("the host broke the protocol: {0}")]
    Protocol(ProtocolFault),
    /// We could not log in.
    #[error("{0}")]
    Auth(AuthFault),
    /// The message needs what the peer does not offer. Nothing was sent.
    #[error("{0}")]
    Missing(MissingExtension),
    /// Our own side failed: the content could not be read, the MX name cannot be a TLS name.
    #[error("local trouble: {0}")]
    Local(Box<str>),
    /// Something is configured here that does not work, whatever the host.
    #[error("{0}")]
    Configured(Box<str>),
}

/// An error of the socket, as a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct SocketFault {
    /// Its kind.
    pub kind: io::ErrorKind,
    /// The system's words.
    pub text: Box<str>,
}

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[must_use]
pub enum HandshakeFault {
    /// The peer sent an alert; its name in kebab case, for instance `handshake-failure`.
    #[error("the host sent the alert {0}")]
    Alert(Box<str>),
    /// The peer sent this alert since it wants a certificate of us.
    #[error(
        "it asks for a client certificate, which senders on the internet do not have (alert {0})"
    )]
    ClientCertificate(Box<str>),
    /// No protocol version in common: the host speaks neither TLS 1.2 nor 1.3.
    #[error("no protocol version in common")]
    ProtocolVersion,
    /// The connection ended during the handshake.
    #[error("{}", tls_words::CLOSED)]
    Eof,
    /// The connection was reset during the handshake.
    #[error("{}", tls_words::RESET)]
    Reset,
    /// No end in time.
    #[error("the handshake took too long")]
    Timeout,
    /// The peer does not hold the key of the certificate that it shows.
    #[error("the host's signature is wrong: it does not hold the certificate's key")]
    WrongSignature,
    /// More than a TLS library reads of one message; only that with the certificates grows so large.
    #[error("its certificate is larger than 64 KiB")]
    CertificateTooLarge,
    /// Not TLS.
    #[error("{}", tls_words::NOT_TLS)]
    NotTls,
    /// Anything else that the TLS library objects to.
    #[error("{0}")]
    Other(Box<str>),
}

/// How the peer broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolFault {
    /// Not a reply at all.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// A reply came that nothing asked for (row H3-06).
    #[error("a reply came that nothing had asked for")]
    Desync,
    /// A reply that makes no sense at this stage, for instance 250 to DATA.
    #[error("unexpected reply: {0}")]
    Unexpected(Reply),
}

impl Cause {
    /// The reason that stands in the record of an attempt.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Connect(_) => Reason::Connect,
            Self::StartTlsNotOffered(_) => Reason::StarttlsNotOffered,
            Self::StartTlsRefused(_) => Reason::StarttlsRefused,
            Self::StartTlsInjection => Reason::StarttlsInjection,
            Self::Handshake(_) => Reason::TlsHandshake,
            Self::Certificate(failure) => failure.reason(),
            Self::Dane(failure) => failure.reason(),
            Self::Lost(_) | Self::Protocol(_) => Reason::ConnectionLost,
            Self::Timeout(_) => Reason::Timeout,
            Self::Auth(_) => Reason::RouteAuth,
            Self::Remote(reply) if reply.code() / 100 == 5 => Reason::Remote5xx,
            Self::Remote(_) => Reason::Remote4xx,
            Self::Missing(MissingExtension::RequireTls) => Reason::RequireTlsUnsupported,
            Self::Missing(
                MissingExtension::EightBitMime
                | MissingExtension::SmtpUtf8
                | MissingExtension::Size { .. },
            ) => Reason::ExtensionMissing,
            Self::Local(_) | Self::Configured(_) => Reason::Local,
        }
    }

    /// The failure-reason-code of a TLS report (RFC 8460 section 4.3), for causes that concern TLS.
    #[must_use]
    pub fn report_code(&self) -> Option<Box<str>> {
        match self {
            Self::StartTlsRefused(reply) => {
                Some(format!("starttls-refused-{}", reply.code()).into())
            }
            Self::StartTlsInjection => Some("starttls-injection".into()),
            Self::Handshake(fault) => Some(fault.code()),
            Self::Certificate(failure) => Some(failure.code().into()),
            Self::Dane(failure) => Some(failure.code().into()),
            Self::Connect(_)
            | Self::StartTlsNotOffered(_)
            | Self::Lost(_)
            | Self::Timeout(_)
            | Self::Remote(_)
            | Self::Protocol(_)
            | Self::Auth(_)
            | Self::Missing(_)
            | Self::Local(_)
            | Self::Configured(_) => None,
        }
    }

    /// The peer's reply, if one is behind this.
    #[must_use]
    pub const fn reply(&self) -> Option<&Reply> {
        match self {
            Self::StartTlsRefused(reply)
            | Self::Remote(reply)
            | Self::Auth(AuthFault::Refused(reply) | AuthFault::Wanted(reply))
            | Self::Protocol(ProtocolFault::Unexpected(reply)) => Some(reply),
            Self::Connect(_)
            | Self::StartTlsNotOffered(_)
            | Self::StartTlsInjection
            | Self::Handshake(_)
            | Self::Certificate(_)
            | Self::Dane(_)
            | Self::Lost(_)
            | Self::Timeout(_)
            | Self::Protocol(ProtocolFault::Reply(_) | ProtocolFault::Desync)
            | Self::Auth(
                AuthFault::NotOffered(_)
                | AuthFault::NotVerified
                | AuthFault::Server(_)
                | AuthFault::Protocol,
            )
            | Self::Missing(_)
            | Self::Local(_)
            | Self::Configured(_) => None,
        }
    }
}

impl HandshakeFault {
    /// The failure-reason-code of a TLS report (RFC 8460 section 4.3).
    #[must_use]
    pub fn code(&self) -> Box<str> {
        match self {
            Self::Alert(name) | Self::ClientCertificate(name) => format!("alert-{name}").into(),
            Self::ProtocolVersion => "protocol-version".into(),
            Self::Eof => "handshake-eof".into(),
            Self::Reset => "handshake-reset".into(),
            Self::Timeout => "handshake-timeout".into(),
            Self::WrongSignature => "handshake-signature".into(),
            Self::CertificateTooLarge => "certificate-too-large".into(),
            Self::NotTls => "not-tls".into(),
            Self::Other(_) => "handshake-failed".into(),
        }
    }
}

impl SocketFault {
    pub(crate) fn closed() -> Self {
        Self {
            kind: io::ErrorKind::UnexpectedEof,
            text: CLOSED.into(),
        }
    }
}

impl From<io::Error> for SocketFault {
    fn from(error: io::Error) -> Self {
        let text = match error.kind() {
            // Row H9-08. The system's words ("cannot assign requested address") say nothing to anybody.
            io::ErrorKind::AddrNotAvailable => {
                "this machine has no free port left towards that address, or none of its kind to reach it from \
                 (EADDRNOTAVAIL)"
                    .into()
            }
            // Over TLS without its "close_notify": the library's words are for programmers.
            io::ErrorKind::UnexpectedEof => CLOSED.into(),
            _ => error.to_string().into(),
        };
        Self {
            kind: error.kind(),
            text,
        }
    }
}

/// How long was waited, in the largest unit that says it without a fraction.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64().round() as u64;
        match seconds {
            0 => write!(f, "{} ms", self.0.as_millis()),
            _ if seconds.is_multiple_of(60) => write!(f, "{} min", seconds / 60),
            _ => write!(f, "{seconds} s"),
        }
    }
}

const CLOSED: &str = "the host closed the connection";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_was_waited_is_said_in_plain_units() {
        for (millis, words) in [
            (300_000, "5 min"),
            (299_990, "5 min"),
            (8_000, "8 s"),
            (90_000, "90 s"),
            (200, "200 ms"),
        ] {
            let cause = Cause::Timeout(Duration::from_millis(millis));
            assert_eq!(cause.to_string(), format!("no answer within {words}"));
        }
    }

    #[test]
    fn a_session_that_ends_without_close_notify_was_closed() {
        let error = io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/",
        );
        let fault = SocketFault::from(error);
        assert_eq!(fault, SocketFault::closed());
    }
}
