//! Why a message cannot be taken as it is.

/// What the submitter did wrong. The text is for the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[must_use]
pub enum Rejection {
    /// RFC 5322 section 3.6: exactly one From.
    #[error("The message has no From field")]
    NoFrom,
    /// RFC 5322 section 3.6: exactly one From.
    #[error("The message has several From fields")]
    SeveralFrom,
    /// A From field without an address.
    #[error("The From field has no address in it")]
    EmptyFrom,
    /// The listener shows who submits, and the Sender field cannot be replaced.
    #[error("The Sender field is signed and does not name you")]
    SignedSender,
    /// A key signs for somebody in From as whom the submitter may not send.
    #[error("From names an address that is signed for here and that you may not send as")]
    OtherAuthor,
    /// More than a header ever has.
    #[error("The header is larger than 262144 octets")]
    HeaderTooLarge,
}
