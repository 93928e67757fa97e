//! What a login consists of, between the session and whoever knows the users (RFC 4954).
//!
//! The session speaks the mechanisms and never knows whom there is; the driver is asked by
//! [`AuthRequest`] and answers with [`AuthAnswer`]. Nothing here shows a password when printed.

mod plain;
mod scram;

use std::fmt;

use zeroize::Zeroizing;

use super::Identity;

pub(super) use plain::plain;
pub(super) use scram::{ClientFirst, Exchange, ScramError};

/// Which logins a listener takes; all of them inside TLS only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logins {
    /// There are users with passwords: PLAIN and SCRAM-SHA-256.
    pub passwords: bool,
    /// LOGIN too, for old clients.
    pub login: bool,
    /// Client certificates are asked for: EXTERNAL.
    pub certificates: bool,
}

/// A SASL mechanism that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaslMechanism {
    /// RFC 4616.
    Plain,
    /// The obsolete draft-murchison-sasl-login.
    Login,
    /// RFC 7677, without channel binding.
    ScramSha256,
    /// RFC 7677 with `tls-exporter` (RFC 9266).
    ScramSha256Plus,
    /// RFC 4422 appendix A: the client's certificate.
    External,
}

/// What the driver is asked.
pub enum AuthRequest {
    /// Whether this is the user's password: answer with [`AuthAnswer`].
    Password {
        /// As the client wrote it, not prepared.
        user: Box<str>,
        /// As the client wrote it, not prepared.
        password: Zeroizing<String>,
    },
    /// What is known of the user, or the like of it for one that does not exist: answer with
    /// [`super::Session::scram_secret`].
    Scram {
        /// As the client wrote it, not prepared.
        user: Box<str>,
    },
    /// The user's proof was judged: answer with [`AuthAnswer`].
    Proof {
        /// As the client wrote it, not prepared.
        user: Box<str>,
        /// Whether it is right.
        holds: bool,
    },
    /// The user wants to be known by its certificate, which was judged: answer with
    /// [`AuthAnswer`].
    Certificate {
        /// Whose it is; `None`: nobody's.
        identity: Option<Identity>,
    },
}

/// How a login ends.
#[derive(Debug)]
#[must_use]
pub enum AuthAnswer {
    /// It is this identity.
    Accepted(Identity),
    /// 535 5.7.8: user or password is wrong; nobody learns which.
    Rejected,
    /// 534 5.7.9: all is right, but this user may not use the mechanism.
    TooWeak,
    /// 454 4.7.0 with this text: not now.
    NotNow(String),
}

/// What the session was told about the client's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub enum ClientCertificate {
    /// None was shown, or none asked for.
    #[default]
    None,
    /// One was shown that belongs to nobody, or is not valid: worth nothing.
    Unknown,
    /// It belongs to this identity.
    Of(Identity),
}

impl SaslMechanism {
    /// The strongest first, as EHLO lists them.
    pub const ALL: [Self; 5] = [
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::Plain,
        Self::Login,
        Self::External,
    ];

    /// Its registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::External => "EXTERNAL",
        }
    }

    /// The mechanism with this name; case does not count (RFC 4422 section 3.1, leniently).
    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|m| m.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => f.debug_tuple("Password").field(user).finish(),
            Self::Scram { user } => f.debug_tuple("Scram").field(user).finish(),
            Self::Proof { user, .. } => f.debug_tuple("Proof").field(user).finish(),
            Self::Certificate { .. } => f.write_str("Certificate"),
        }
    }
}
