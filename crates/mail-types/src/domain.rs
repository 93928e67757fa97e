//! Domain names in one normal form: A-labels, lower case, no trailing dot.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A mail domain: letters, digits and hyphens in labels of 1 to 63 octets, 253 octets in all
/// (RFC 5321 section 2.3.5, RFC 5890), stored as lower-case A-labels without the trailing dot.
///
/// Cloning shares the text. A single label (`localhost`) is a valid value; whether mail may go
/// there is [`Domain::is_fully_qualified`]'s answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Arc<str>);

/// A host name as DNS gives it: like [`Domain`], but underscores are allowed, since MX exchanges
/// with underscores exist and certificates are issued for them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

/// Why a text is not a domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DomainError {
    /// No text, or nothing but a dot.
    #[error("the name is empty")]
    Empty,
    /// Two dots in a row, or a leading dot.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// A label of more than 63 octets.
    #[error("a label is longer than 63 octets")]
    LabelTooLong,
    /// More than 253 octets.
    #[error("the name is longer than 253 octets")]
    TooLong,
    /// A character that no domain name has.
    #[error("{0:?} is not allowed in a domain name")]
    BadCharacter(char),
    /// A hyphen at the start or end of a label.
    #[error("a label starts or ends with a hyphen")]
    Hyphen,
    /// The last label is all digits: an address, not a name (RFC 1123 section 2.1).
    #[error("the name ends in a number, like an IP address")]
    Numeric,
    /// Not valid under IDNA (UTS 46), for instance a broken `xn--` label.
    #[error("the name is not valid under IDNA")]
    Idna,
}

impl Domain {
    /// Parses U-labels or A-labels, any case, with or without one trailing dot.
    ///
    /// # Errors
    /// Says which rule of RFC 5321 or IDNA the text breaks.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        normal_form(text, Underscore::Refused).map(Self)
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// At least two labels: mail is only sent to names that need no search list (RFC 5321 2.3.5).
    #[must_use]
    pub fn is_fully_qualified(&self) -> bool {
        self.0.contains('.')
    }

    /// Its last label, a top-level domain; `None` if it is one itself.
    #[must_use]
    pub fn top_level(&self) -> Option<Self> {
        let (_, top) = self.0.rsplit_once('.')?;
        Some(Self(top.into()))
    }

    /// This name below a prefix label, for instance `_mta-sts` (RFC 8461 section 3.1).
    ///
    /// # Errors
    /// [`DomainError::TooLong`] if the result has more than 253 octets.
    pub fn prefixed(&self, label: &str) -> Result<HostName, DomainError> {
        let name = format!("{label}.{}", self.0);
        if name.len() > MAX_NAME {
            return Err(DomainError::TooLong);
        }
        Ok(HostName(name.into()))
    }

    /// The same name as a host (the implicit MX of RFC 5321 section 5.1).
    #[must_use]
    pub fn to_host(&self) -> HostName {
        HostName(Arc::clone(&self.0))
    }
}

impl HostName {
    /// Parses like [`Domain::parse`], but allows underscores.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        normal_form(text, Underscore::Allowed).map(Self)
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a mail domain, if it has no underscores.
    ///
    /// # Errors
    /// Says which rule the name breaks.
    pub fn to_domain(&self) -> Result<Domain, DomainError> {
        Domain::parse(&self.0)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Underscore {
    Allowed,
    Refused,
}

fn normal_form(text: &str, underscore: Underscore) -> Result<Arc<str>, DomainError> {
    let (text, ended) = text
        .strip_suffix('.')
        .map_or((text, false), |front| (front, true));
    if text.is_empty() {
        return Err(DomainError::Empty);
    }
    if is_normal(text) {
        check(text, underscore)?;
        return Ok(text.into());
    }
    let name = if text.is_ascii() && !has_a_label(text) {
        text.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::EMPTY)
            .map_err(|_| DomainError::Idna)?
            .into_owned()
    };
    // UTS 46 maps some characters to nothing or to dots: check what came out. One dot may end a
    // name, and only one.
    let name = if ended {
        &name
    } else {
        name.strip_suffix('.').unwrap_or(&name)
    };
    check(name, underscore)?;
    Ok(name.into())
}

/// Lower-case ASCII without A-labels needs no mapping.
fn is_normal(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii() && !b.is_ascii_uppercase())
        && !has_a_label(text)
}

fn has_a_label(text: &str) -> bool {
    text.split('.')
        .any(|l| l.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("xn--")))
}

fn check(name: &str, underscore: Underscore) -> Result<(), DomainError> {
    if name.is_empty() {
        return Err(DomainError::Empty);
    }
    if name.len() > MAX_NAME {
        return Err(DomainError::TooLong);
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(DomainError::EmptyLabel);
        }
        if label.len() > MAX_LABEL {
            return Err(DomainError::LabelTooLong);
        }
        let allowed = |c: char| {
            c.is_ascii_alphanumeric() || c == '-' || (c == '_' && underscore == Underscore::Allowed)
        };
        if let Some(bad) = label.chars().find(|c| !allowed(*c)) {
            return Err(DomainError::BadCharacter(bad));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(DomainError::Hyphen);
        }
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DomainError::Numeric);
    }
    Ok(())
}

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

macro_rules! text_impls {
    ($t:ty) => {
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $t {
            type Err = DomainError;
            fn from_str(s: &str) -> Result<Self, DomainError> {
                Self::parse(s)
            }
        }
        impl AsRef<str> for $t {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $t {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
text_impls!(Domain);
text_impls!(HostName);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a1_06_a1_07_one_normal_form() {
        for (input, want) in [
            ("D.Test", "d.test"),
            ("d.test.", "d.test"),
            ("bücher.test", "xn--bcher-kva.test"),
            ("BÜCHER.test", "xn--bcher-kva.test"),
            ("XN--BCHER-KVA.test", "xn--bcher-kva.test"),
            ("d。test", "d.test"), // the ideographic full stop of UTS 46
        ] {
            assert_eq!(
                Domain::parse(input).map(|d| d.to_string()),
                Ok(want.to_owned()),
                "{input}"
            );
        }
    }

    #[test]
    fn h1_25_h1_26_refuses_what_is_no_name() {
        let long_label = "a".repeat(64) + ".test";
        let long_name = format!("{0}.{0}.{0}.{0}", "a".repeat(63));
        for (input, want) in [
            ("", DomainError::Empty),
            (".", DomainError::Empty),
            ("a..b", DomainError::EmptyLabel),
            ("a..", DomainError::EmptyLabel),
            ("A..", DomainError::EmptyLabel),
            ("bücher..", DomainError::EmptyLabel),
            ("bücher。.", DomainError::EmptyLabel),
            (".a", DomainError::EmptyLabel),
            ("a b.test", DomainError::BadCharacter(' ')),
            ("d_x.test", DomainError::BadCharacter('_')),
            ("a\0.test", DomainError::BadCharacter('\0')),
            ("-a.test", DomainError::Hyphen),
            ("a-.test", DomainError::Hyphen),
            ("192.0.2.1", DomainError::Numeric),
            ("xn--a.test", DomainError::Idna),
            (&long_label, DomainError::LabelTooLong),
            (&long_name, DomainError::TooLong),
        ] {
            assert_eq!(Domain::parse(input), Err(want), "{input}");
        }
    }

    #[test]
    fn i1_09_hosts_may_have_underscores() {
        assert_eq!(
            HostName::parse("MX_1.d.test").map(|h| h.to_string()),
            Ok("mx_1.d.test".into())
        );
    }

    #[test]
    fn i1_10_a_name_that_no_certificate_can_have_is_no_host() {
        let long_label = format!("{}.test", "a".repeat(64));
        let long_name = ["a".repeat(63).as_str(); 4].join(".");
        for (input, want) in [
            ("192.0.2.1", DomainError::Numeric),
            ("mx.1", DomainError::Numeric),
            (&long_label, DomainError::LabelTooLong),
            (&long_name, DomainError::TooLong),
        ] {
            assert_eq!(HostName::parse(input), Err(want), "{input}");
        }
    }

    #[test]
    fn a_prefix_that_overflows_is_an_error() {
        let name = format!("{0}.{0}.{0}.{1}.test", "a".repeat(60), "b".repeat(63));
        let domain = Domain::parse(&name).unwrap();
        assert_eq!(
            domain.prefixed("_mta-sts").map(|_| ()),
            Err(DomainError::TooLong)
        );
        assert_eq!(
            Domain::parse("d.test")
                .unwrap()
                .prefixed("_mta-sts")
                .unwrap()
                .as_str(),
            "_mta-sts.d.test"
        );
    }

    proptest! {
        #[test]
        fn never_panics_and_is_idempotent(s in "\\PC{0,80}") {
            if let Ok(d) = Domain::parse(&s) {
                prop_assert_eq!(Domain::parse(d.as_str()), Ok(d.clone()));
                prop_assert!(d.as_str().len() <= 253);
            }
        }
    }
}
