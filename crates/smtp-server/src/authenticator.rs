//! The port through which logins are judged. The users stand behind it.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use smtp_proto::ScramSecret;
use zeroize::Zeroizing;

/// Knows the users.
pub trait Authenticator: Send + Sync + 'static {
    /// For SCRAM: what is known of a user, or the like of it for one that does not exist; and a
    /// nonce for this exchange alone, printable ASCII without a comma.
    fn scram(&self, user: &str) -> (ScramSecret, String);

    /// Judges a login.
    fn judge<'a>(
        &'a self,
        client: IpAddr,
        user: &'a str,
        attempt: LoginAttempt,
    ) -> Pin<Box<dyn Future<Output = LoginVerdict> + Send + 'a>>;
}

/// What is to be judged.
pub enum LoginAttempt {
    /// A password, as the client wrote it.
    Password(Zeroizing<String>),
    /// A proof by SCRAM, which was judged with the secret that [`Authenticator::scram`] gave.
    Proof {
        /// Whether it is right.
        holds: bool,
    },
}

/// What is found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum LoginVerdict {
    /// It is the user of this name.
    Accepted(Box<str>),
    /// It is not; the reply is held back for so long.
    Rejected(Duration),
    /// Too many failures, whether the password is right or not.
    HeldOff {
        /// When it may be tried again, from the reply on.
        again: Duration,
        /// The reply is held back for so long.
        delay: Duration,
    },
    /// Too many logins at once.
    Busy,
}
