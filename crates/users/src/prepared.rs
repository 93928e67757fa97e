//! Names and passwords after SASLprep (RFC 4013), so that both sides compute with the same octets.

use std::fmt;

use zeroize::Zeroizing;

/// A user's name: SASLprep's result, without white space, at most 255 octets.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

/// Why a name is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there, or nothing is left of it.
    #[error("the name is empty")]
    Empty,
    /// Longer than 255 octets.
    #[error("the name is longer than 255 octets")]
    TooLong,
    /// A character that names must not have.
    #[error(
        "the name has white space, a control character or another that RFC 4013 prohibits, or begins with #"
    )]
    Prohibited,
}

/// A password: SASLprep's result. Prints nothing of itself, and is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

/// Why a text cannot be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Shorter than 8 characters.
    #[error("the password is shorter than 8 characters")]
    TooShort,
    /// Longer than 1,024 octets.
    #[error("the password is longer than 1,024 octets")]
    TooLong,
    /// Nothing at all, for instance the end of standard input.
    #[error("the password is empty")]
    Empty,
    /// A character that passwords must not have.
    #[error("the password has a control character or another that RFC 4013 prohibits")]
    Prohibited,
}

impl Name {
    /// Prepares a name.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > LONGEST_NAME {
            return Err(NameError::TooLong);
        }
        let name = stringprep::saslprep(text).map_err(|_| NameError::Prohibited)?;
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.starts_with('#') || name.contains(char::is_whitespace) {
            return Err(NameError::Prohibited);
        }
        if name.len() > LONGEST_NAME {
            return Err(NameError::TooLong);
        }
        Ok(Self(name.into()))
    }

    /// The prepared text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl Password {
    /// Prepares what somebody chose as a password.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn choose(text: &str) -> Result<Self, PasswordError> {
        if text.is_empty() {
            return Err(PasswordError::Empty);
        }
        if text.len() > LONGEST_PASSWORD {
            return Err(PasswordError::TooLong);
        }
        let prepared = Self::parse(text).ok_or(PasswordError::Prohibited)?;
        if prepared.0.chars().count() < SHORTEST_PASSWORD {
            return Err(PasswordError::TooShort);
        }
        if prepared.0.len() > LONGEST_PASSWORD {
            return Err(PasswordError::TooLong);
        }
        Ok(prepared)
    }

    /// Prepares what a client says; `None` if it can be nobody's password.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > LONGEST_PASSWORD {
            return None;
        }
        let prepared = stringprep::saslprep(text).ok()?.into_owned();
        Some(Self(Zeroizing::new(prepared)))
    }

    /// A remark on a password that is easily guessed, for whoever chooses it.
    #[must_use]
    pub fn weakness(&self, name: &Name) -> Option<&'static str> {
        let text = self.0.to_lowercase();
        let first = text.chars().next();
        if text.contains(&*name.as_str().to_lowercase()) {
            Some("it has the user's name in it")
        } else if text.chars().all(|c| Some(c) == first) {
            Some("it is one character over and over")
        } else if self.0.chars().count() < GOOD_PASSWORD {
            Some("it is shorter than 12 characters")
        } else {
            None
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password").finish_non_exhaustive()
    }
}

const LONGEST_NAME: usize = 255;
const LONGEST_PASSWORD: usize = 1024;
/// NIST SP 800-63B section 5.1.1.2: at least 8.
const SHORTEST_PASSWORD: usize = 8;
const GOOD_PASSWORD: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4013() {
        // Section 3: soft hyphen, case, FEMININE ORDINAL and ROMAN NUMERAL NINE; then what is
        // prohibited or of mixed direction.
        for (text, want) in [
            ("I\u{ad}X", Some("IX")),
            ("user", Some("user")),
            ("USER", Some("USER")),
            ("\u{aa}", Some("a")),
            ("\u{2168}", Some("IX")),
            ("\u{7}", None),
            ("\u{627}1", None),
        ] {
            let name = Name::parse(text).ok();
            assert_eq!(name.as_ref().map(Name::as_str), want, "{text:?}");
        }
    }

    #[test]
    fn names_that_a_line_cannot_hold_are_refused() {
        for text in ["", "\u{ad}", "a b", "a\u{a0}b", "#a", "a\nb", "a\0"] {
            assert!(Name::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Name::parse(&"a".repeat(256)), Err(NameError::TooLong));
        for text in ["ann@example.org", "a:b", "änn", "=,$"] {
            assert!(Name::parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn passwords() {
        assert_eq!(Password::choose(""), Err(PasswordError::Empty));
        assert_eq!(Password::choose("1234567"), Err(PasswordError::TooShort));
        assert_eq!(
            Password::choose("1234567\0"),
            Err(PasswordError::Prohibited)
        );
        let long = "x".repeat(1025);
        assert_eq!(Password::choose(&long), Err(PasswordError::TooLong));
        // RFC 4013 section 2.1: other spaces become a space.
        let a = Password::choose("correct\u{a0}horse").unwrap();
        assert!(a == Password::choose("correct horse").unwrap());
        assert_eq!(format!("{a:?}"), "Password { .. }");
        let ann = Name::parse("ann").unwrap();
        for (text, weak) in [
            ("annannann-and-more", true),
            ("aaaaaaaaaaaaaaa", true),
            ("x8%kkw2..", true),
            ("correct horse battery", false),
        ] {
            let password = Password::choose(text).unwrap();
            assert_eq!(password.weakness(&ann).is_some(), weak, "{text}");
        }
    }
}
