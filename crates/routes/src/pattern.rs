//! Which domains a route is for.

use std::fmt;

use mail_types::Domain;

/// `d.test`, `*.d.test` or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainPattern {
    /// Every domain.
    Any,
    /// This domain alone.
    Exact(Domain),
    /// Every domain below this one.
    Below(Domain),
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(domain) => domain.fmt(f),
            Self::Below(domain) => write!(f, "*.{domain}"),
        }
    }
}

impl DomainPattern {
    /// Parses `d.test`, `*.d.test` or `*`.
    ///
    /// # Errors
    /// Those of [`Domain::parse`].
    pub fn parse(text: &str) -> Result<Self, mail_types::DomainError> {
        match text.strip_prefix("*.") {
            _ if text == "*" => Ok(Self::Any),
            Some(rest) => Domain::parse(rest).map(Self::Below),
            None => Domain::parse(text).map(Self::Exact),
        }
    }

    /// `None` if the domain does not match; else 1 (any), 2 (below) or 3 (exact).
    pub(crate) fn rank(&self, domain: &Domain) -> Option<u8> {
        match self {
            Self::Any => Some(1),
            Self::Below(d) => {
                let above = domain.as_str().strip_suffix(d.as_str())?;
                above.ends_with('.').then_some(2)
            }
            Self::Exact(d) => (d == domain).then_some(3),
        }
    }
}
