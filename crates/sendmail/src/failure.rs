//! How it ends: sysexits.

/// An exit status of sysexits.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// EX_USAGE: the command line is wrong.
    Usage = 64,
    /// EX_DATAERR: the message is wrong.
    Data = 65,
    /// EX_NOHOST: a recipient's domain takes no mail.
    NoHost = 68,
    /// EX_UNAVAILABLE: refused.
    Unavailable = 69,
    /// EX_IOERR: the message could not be read.
    Io = 74,
    /// EX_TEMPFAIL: not now.
    Temporary = 75,
}

/// Why nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The status that the caller sees.
    pub exit: Exit,
    /// One line.
    pub message: String,
}

impl Failure {
    /// With a status and a line.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}
