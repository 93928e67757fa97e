//! A user name and a password that never show themselves.

use std::fmt;

use zeroize::Zeroizing;

/// What we log in with at a next hop. Prints without the password, and forgets it when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: Box<str>,
    password: Zeroizing<String>,
}

/// Why a user name or a password cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Nothing there.
    #[error("the user name is empty")]
    NoUsername,
    /// Nothing there.
    #[error("the password is empty")]
    NoPassword,
    /// A control character: NUL separates the parts of PLAIN (RFC 4616 section 2).
    #[error("there is a control character in it")]
    Control,
}

impl Credentials {
    /// Takes a user name and a password.
    ///
    /// # Errors
    /// One of them is empty or has control characters.
    pub fn new(username: &str, password: Zeroizing<String>) -> Result<Self, CredentialsError> {
        if username.is_empty() {
            return Err(CredentialsError::NoUsername);
        }
        if password.is_empty() {
            return Err(CredentialsError::NoPassword);
        }
        if username
            .chars()
            .chain(password.chars())
            .any(char::is_control)
        {
            return Err(CredentialsError::Control);
        }
        Ok(Self {
            username: username.into(),
            password,
        })
    }

    /// The user name, which may be shown.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// Whether both are printable ASCII, which SASLprep leaves as it is (RFC 4013): what SCRAM
    /// needs, since both sides have to compute with the same octets.
    pub(super) fn is_prepared(&self) -> bool {
        let plain = |text: &str| text.bytes().all(|b| matches!(b, b' '..=b'~'));
        plain(&self.username) && plain(&self.password)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(username: &str, password: &str) -> Result<Credentials, CredentialsError> {
        Credentials::new(username, Zeroizing::new(password.to_owned()))
    }

    #[test]
    fn the_password_never_shows() {
        let shown = format!("{:?}", credentials("relay", "hunter2").unwrap());
        assert!(
            shown.contains("relay") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn what_would_break_the_protocol_is_refused() {
        assert_eq!(credentials("", "x"), Err(CredentialsError::NoUsername));
        assert_eq!(credentials("x", ""), Err(CredentialsError::NoPassword));
        assert_eq!(credentials("x", "a\0b"), Err(CredentialsError::Control));
        assert_eq!(
            credentials("x\r\nQUIT", "a"),
            Err(CredentialsError::Control)
        );
    }
}
