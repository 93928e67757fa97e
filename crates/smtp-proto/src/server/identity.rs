//! Who a client is, once it has proved it, and what it may do for that (pure).

use mail_types::Senders;

/// Somebody who logged in, or whose certificate is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, as the users file or the identity's entry has it.
    pub name: Box<str>,
    /// As whom it may send.
    pub senders: Senders,
    /// Octets of a message at most, where that is less than the listener's limit (row G3-09).
    pub max_message_size: Option<u64>,
    /// Whether its word on who submitted a message is passed on (RFC 4954 section 5).
    pub names_submitters: bool,
}

/// Why a client may send mail to the world, or that it may not. There is no other ground (row
/// G3-01): no name from reverse DNS, no EHLO name, no sender address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ground {
    /// Its address is in a network that may relay; does not count on a submission listener.
    Network,
    /// It logged in.
    Login,
    /// Its certificate belongs to an identity.
    Certificate,
    /// None: it is a stranger.
    Nothing,
}
