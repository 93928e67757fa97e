//! The policy text (RFC 8461 section 3.2).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mail_types::HostName;

use crate::pattern::{MxPattern, PatternError};

mod parse;

/// A valid policy with the text that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    mode: Mode,
    max_age: Duration,
    mx: Arc<[MxPattern]>,
    text: Arc<str>,
}

/// What a sender is asked to do when validation fails (RFC 8461 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// No active policy.
    None,
    /// Deliver nevertheless, and report.
    Testing,
    /// Do not deliver to hosts that fail.
    Enforce,
}

/// A policy, and what was lenient or odd in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The policy.
    pub policy: Policy,
    /// In the order of the text.
    pub warnings: Vec<Warning>,
}

/// What an operator may want to know about a policy that is valid or taken as valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Tolerated: a line with nothing in it. Lines count from 1.
    BlankLine(usize),
    /// Tolerated: an `mx` value with one trailing dot.
    TrailingDot(usize),
    /// `max_age` was above a year and a leap day and is cut to that (RFC 8461 erratum 7282).
    MaxAgeClamped(u64),
    /// A wildcard over a whole top-level domain.
    BroadPattern(MxPattern),
    /// A pattern that looks like an address: no MX name equals it.
    AddressPattern(MxPattern),
}

/// Why a text is no policy: it is rejected as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Above [`MAX_POLICY_SIZE`].
    #[error("the policy is longer than 65536 bytes")]
    TooLarge,
    /// Not UTF-8.
    #[error("the policy is not UTF-8")]
    NotUtf8,
    /// A NUL, anywhere.
    #[error("line {0} has a NUL")]
    Nul(usize),
    /// A carriage return that no line feed follows is no line end.
    #[error("line {0} has a carriage return without a line feed")]
    BareCr(usize),
    /// A byte order mark in front.
    #[error("the policy starts with a byte order mark")]
    ByteOrderMark,
    /// Not `name: value`.
    #[error("line {0} is not of the form `name: value`")]
    Line(usize),
    /// The version is not `STSv1`.
    #[error("line {0}: the version is not STSv1")]
    Version(usize),
    /// The mode is not `enforce`, `testing` or `none`.
    #[error("line {0}: the mode is not enforce, testing or none")]
    Mode(usize),
    /// `max_age` is not 1 to 10 digits.
    #[error("line {0}: max_age is not 1 to 10 digits")]
    MaxAge(usize),
    /// An `mx` value is no pattern.
    #[error("line {0}: the mx pattern is invalid: {1}")]
    Mx(usize, PatternError),
    /// A required field is missing.
    #[error("the field {0} is missing")]
    Missing(&'static str),
}

/// Whether an MX name is one of the policy's (RFC 8461 section 4.1). Known before connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum HostVerdict<'a> {
    /// The name is covered; the certificate is still to be checked.
    Listed {
        /// The first pattern that covers it.
        pattern: &'a MxPattern,
    },
    /// No pattern covers the name.
    NotListed,
}

impl Policy {
    /// Parses a complete body.
    ///
    /// # Errors
    /// Says which line breaks which rule. Nothing of an invalid policy may be used.
    pub fn parse(body: &[u8]) -> Result<Parsed, PolicyError> {
        parse::parse(body)
    }

    /// The mode.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The lifetime from the fetch on: at most [`MAX_MAX_AGE`], zero allowed.
    #[must_use]
    pub const fn max_age(&self) -> Duration {
        self.max_age
    }

    /// The patterns in the order of the text; empty only in mode none.
    #[must_use]
    pub fn mx(&self) -> &[MxPattern] {
        &self.mx
    }

    /// The text as it was served: what TLS reports quote (RFC 8460 section 4.4).
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a pattern covers this MX name. The name is the exchange field as published, never
    /// the target of a CNAME; without MX records it is the domain itself (RFC 8461 section 4.1).
    pub fn host(&self, mx: &HostName) -> HostVerdict<'_> {
        self.mx
            .iter()
            .find(|p| p.matches(mx))
            .map_or(HostVerdict::NotListed, |pattern| HostVerdict::Listed {
                pattern,
            })
    }

    /// Whether both texts mean the same.
    #[must_use]
    pub fn same_meaning(&self, other: &Self) -> bool {
        self.mode == other.mode && self.max_age == other.max_age && self.mx == other.mx
    }

    /// Whether `self` demands less than `old` did: a lower mode or a lifetime of under a tenth
    /// (decision AMB-17, rows H2-21 to H2-23). Such a policy is valid and applies at once; it is
    /// only worth an alert. Added patterns are ordinary maintenance.
    #[must_use]
    pub fn is_weaker_than(&self, old: &Self) -> bool {
        self.mode < old.mode || (self.mode != Mode::None && self.max_age < old.max_age / 10)
    }
}

/// The policy in its plainest form; parsing it gives the same meaning.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version: STSv1\r\nmode: {}\r\n", self.mode)?;
        for pattern in self.mx.iter() {
            write!(f, "mx: {pattern}\r\n")?;
        }
        write!(f, "max_age: {}\r\n", self.max_age.as_secs())
    }
}

impl Mode {
    /// The word of the policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Testing => "testing",
            Self::Enforce => "enforce",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlankLine(n) => write!(f, "line {n} is blank, which the grammar does not allow"),
            Self::TrailingDot(n) => {
                write!(
                    f,
                    "line {n}: the mx ends in a dot, which the grammar does not allow"
                )
            }
            Self::MaxAgeClamped(n) => write!(f, "max_age {n} is cut to 31557600"),
            Self::BroadPattern(p) => write!(f, "{p} covers a whole top-level domain"),
            Self::AddressPattern(p) => write!(f, "{p} looks like an address and matches no MX"),
        }
    }
}

/// The largest `max_age`: 31557600 s, about a year (RFC 8461 section 3.2).
pub const MAX_MAX_AGE: Duration = Duration::from_secs(31_557_600);

/// The largest body, in octets (RFC 8461 section 3.3 suggests this limit).
pub const MAX_POLICY_SIZE: usize = 65_536;

#[cfg(test)]
mod tests;
