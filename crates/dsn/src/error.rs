//! Why no notification can be made.

/// Why no notification can be made: in each case the caller asked for what must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DsnError {
    /// The reverse-path is null (RFC 5321 section 4.5.5, row F1-19).
    #[error("the message has no return address, so nobody may be notified")]
    NoReturnPath,
    /// No recipient was named.
    #[error("a notification has to speak of one recipient at least")]
    NoRecipients,
}
