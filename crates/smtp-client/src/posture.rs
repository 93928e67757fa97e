//! How secure a connection has to be.

use std::fmt;

/// What the decision about a destination allows on one connection. Made by the caller from the
/// policies of the recipient domain; nothing here ever weakens it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[must_use]
pub enum Posture {
    /// STARTTLS and a certificate that is valid for the MX name (RFC 8461 section 4.2).
    #[default]
    Authenticate,
    /// STARTTLS and a certificate that the host's TLSA records accept (RFC 7672 section 2.2), which
    /// the [`Peer`](crate::Peer) has to bring along. What *authenticate* would have said is recorded.
    Dane,
    /// Both: DANE beside an enforced MTA-STS policy (decision AMB-14).
    DaneAndAuthenticate,
    /// STARTTLS with whatever certificate: keeps out listeners, not impostors. What *authenticate*
    /// would have said is recorded.
    DangerousEncrypt,
    /// STARTTLS if it is offered and not refused, else plain text. What *authenticate* would have
    /// said is recorded.
    DangerousOpportunistic,
    /// Plain text without trying STARTTLS: the second try after a failed handshake.
    DangerousPlain,
}

impl Posture {
    /// The word that logs use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Dane => "dane",
            Self::DaneAndAuthenticate => "dane-and-authenticate",
            Self::DangerousEncrypt => "dangerous-encrypt",
            Self::DangerousOpportunistic => "dangerous-opportunistic",
            Self::DangerousPlain => "dangerous-plain",
        }
    }
}

impl fmt::Display for Posture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
