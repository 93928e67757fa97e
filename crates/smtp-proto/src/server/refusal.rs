//! Why mail is not taken, in the words of SMTP.

use std::borrow::Cow;
use std::fmt;

use mail_types::{EnhancedStatus, StatusClass};

use super::Cause;

/// A 4yz or 5yz reply whose enhanced status agrees with its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: u16,
    status: EnhancedStatus,
    text: Cow<'static, str>,
    cause: Option<Cause>,
}

impl Refusal {
    /// The client keeps the mail and tries again. A `code` outside 400 to 499 becomes 451; 421
    /// also closes the session.
    #[must_use]
    pub fn transient(
        code: u16,
        subject: u16,
        detail: u16,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code: if code / 100 == 4 { code } else { 451 },
            status: EnhancedStatus::transient(subject, detail),
            text: text.into(),
            cause: None,
        }
    }

    /// The client gives up. A `code` outside 500 to 599 becomes 554.
    #[must_use]
    pub fn permanent(
        code: u16,
        subject: u16,
        detail: u16,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code: if code / 100 == 5 { code } else { 554 },
            status: EnhancedStatus::permanent(subject, detail),
            text: text.into(),
            cause: None,
        }
    }

    /// 452 4.3.1: no room on disk.
    #[must_use]
    pub fn disk_full() -> Self {
        let text = "Not enough disk space here; try again later";
        Self::transient(452, 3, 1, text).because(Cause::DiskFull)
    }

    /// 452 4.3.2: too much to do.
    #[must_use]
    pub fn overloaded() -> Self {
        Self::transient(452, 3, 2, "Too busy to take mail; try again later")
    }

    /// 421 4.3.2: going down.
    #[must_use]
    pub fn shutting_down() -> Self {
        Self::transient(421, 3, 2, "Shutting down; try again later")
    }

    /// 451 4.3.0: a fault on our side, named in our log.
    #[must_use]
    pub fn local_error() -> Self {
        Self::transient(
            451,
            3,
            0,
            "A fault on our side, see our log; try again later",
        )
    }

    /// Says why more exactly than where it was met does.
    #[must_use]
    pub fn because(self, cause: Cause) -> Self {
        Self {
            cause: Some(cause),
            ..self
        }
    }

    /// Why, if that does not follow from where it was met.
    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// The reply code.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status.
    #[must_use]
    pub const fn status(&self) -> EnhancedStatus {
        self.status
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the client may try again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.status.class() == StatusClass::Transient
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.status, self.text)
    }
}
