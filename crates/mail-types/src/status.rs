//! Enhanced mail system status codes (RFC 3463, RFC 2034).

use std::fmt;
use std::str::FromStr;

/// The first number of an enhanced status code (RFC 3463 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusClass {
    /// 2: success.
    Success,
    /// 4: persistent transient failure.
    Transient,
    /// 5: permanent failure.
    Permanent,
}

/// `class.subject.detail` (RFC 3463 section 2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnhancedStatus {
    class: StatusClass,
    subject: u16,
    detail: u16,
}

/// The text is not an enhanced status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an enhanced status code (class.subject.detail, class 2, 4 or 5)")]
pub struct StatusError;

impl EnhancedStatus {
    /// From its three numbers; subject and detail are at most 999.
    #[must_use]
    pub const fn new(class: StatusClass, subject: u16, detail: u16) -> Self {
        Self {
            class,
            subject,
            detail,
        }
    }

    /// `4.subject.detail`.
    #[must_use]
    pub const fn transient(subject: u16, detail: u16) -> Self {
        Self::new(StatusClass::Transient, subject, detail)
    }

    /// `5.subject.detail`.
    #[must_use]
    pub const fn permanent(subject: u16, detail: u16) -> Self {
        Self::new(StatusClass::Permanent, subject, detail)
    }

    /// `2.subject.detail`.
    #[must_use]
    pub const fn success(subject: u16, detail: u16) -> Self {
        Self::new(StatusClass::Success, subject, detail)
    }

    /// The class.
    #[must_use]
    pub const fn class(self) -> StatusClass {
        self.class
    }

    /// The subject, for instance 7 for security and policy (RFC 3463 section 3).
    #[must_use]
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// The third number.
    #[must_use]
    pub const fn detail(self) -> u16 {
        self.detail
    }

    /// The same subject and detail in another class.
    #[must_use]
    pub const fn with_class(self, class: StatusClass) -> Self {
        Self { class, ..self }
    }
}

impl StatusClass {
    /// The class that a reply code belongs to: by its first digit (RFC 5321 section 4.2.1).
    #[must_use]
    pub const fn of_reply(code: u16) -> Option<Self> {
        match code / 100 {
            2 => Some(Self::Success),
            4 => Some(Self::Transient),
            5 => Some(Self::Permanent),
            _ => None,
        }
    }

    const fn digit(self) -> u8 {
        match self {
            Self::Success => 2,
            Self::Transient => 4,
            Self::Permanent => 5,
        }
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of nearly all codes each number has one digit.
        let digits = b"0123456789";
        if let (Some(subject), Some(detail)) = (
            digits.get(usize::from(self.subject)),
            digits.get(usize::from(self.detail)),
        ) {
            let text = [b'0' + self.class.digit(), b'.', *subject, b'.', *detail];
            return f.write_str(std::str::from_utf8(&text).unwrap_or_default());
        }
        write!(f, "{}.{}.{}", self.class.digit(), self.subject, self.detail)
    }
}

impl fmt::Debug for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EnhancedStatus {
    type Err = StatusError;

    /// RFC 3463 section 2: one digit, then 1 to 3 digits twice, no leading zeros.
    fn from_str(s: &str) -> Result<Self, StatusError> {
        let mut parts = s.split('.');
        let class = match parts.next() {
            Some("2") => StatusClass::Success,
            Some("4") => StatusClass::Transient,
            Some("5") => StatusClass::Permanent,
            _ => return Err(StatusError),
        };
        let mut number = || {
            let p = parts.next().ok_or(StatusError)?;
            let plain = matches!(p.len(), 1..=3)
                && p.bytes().all(|b| b.is_ascii_digit())
                && (p.len() == 1 || !p.starts_with('0'));
            if plain {
                p.parse().map_err(|_| StatusError)
            } else {
                Err(StatusError)
            }
        };
        let (subject, detail) = (number()?, number()?);
        if parts.next().is_some() {
            return Err(StatusError);
        }
        Ok(Self {
            class,
            subject,
            detail,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f2_07_grammar() {
        for good in ["2.0.0", "4.7.10", "5.1.999"] {
            assert_eq!(
                good.parse::<EnhancedStatus>().map(|s| s.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "", "3.1.1", "5.1", "5.1.1.1", "5.01.1", "5.1.1000", "5..1", "5.1.x", "52.1.1",
            "5.+1.1",
        ] {
            assert_eq!(bad.parse::<EnhancedStatus>(), Err(StatusError), "{bad}");
        }
    }
}
