//! The token file: who may use page and API.
//!
//! Lines of `name:role:sha256`; empty ones and those that begin with `#` are passed over. Only digests
//! are kept, so that whoever reads the file cannot log in. Tokens are random, not chosen: a fast
//! digest is enough for them, and would not be for passwords.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use admin::Role;

use crate::secret::Digest;

/// Every token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) digest: Digest,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("admin.token-file {}: {cause}; make it, mode 0600, readable for the server's user", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// Others may read or write it.
    #[error("admin.token-file {} is open to others (mode {mode:o}); chmod 0600 it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A line is wrong.
    #[error("admin.token-file {}, line {line}: {what}; a line is name:role:sha256", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it; never the line itself.
        what: &'static str,
    },
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |cause| TokenError::Unreadable {
            path: path.to_owned(),
            cause,
        };
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokenError::Open {
                path: path.to_owned(),
                mode,
            });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text).map_err(|(line, what)| TokenError::Line {
            path: path.to_owned(),
            line,
            what,
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut tokens: Vec<Token> = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let token = parse_line(line).map_err(|what| (n + 1, what))?;
            if tokens.iter().any(|other| other.name == token.name) {
                return Err((n + 1, "this name has a token already"));
            }
            tokens.push(token);
        }
        Ok(Self(tokens))
    }

    /// Whose token this is. Every one is compared, each in constant time.
    pub(crate) fn find(&self, presented: &str) -> Option<&Token> {
        let digest = Digest::of(presented);
        let mut found = None;
        for token in &self.0 {
            if token.digest.equals(&digest) {
                found = Some(token);
            }
        }
        found
    }

    /// The token of this name and digest, if it still stands in the file.
    pub(crate) fn current(&self, name: &str, digest: &Digest) -> Option<&Token> {
        let mut tokens = self.0.iter();
        tokens.find(|token| &*token.name == name && token.digest == *digest)
    }
}

fn parse_line(line: &str) -> Result<Token, &'static str> {
    let mut parts = line.split(':');
    let (Some(name), Some(role), Some(digest), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("there are not three parts with colons between them");
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) {
        return Err("a name has 1 to 64 of the characters A-Z a-z 0-9 . _ @ -");
    }
    let role = match role {
        "read" => Role::Read,
        "admin" => Role::Admin,
        _ => return Err("the role is neither read nor admin"),
    };
    let digest = Digest::from_hex(digest).ok_or("the digest is not 64 hexadecimal digits")?;
    Ok(Token {
        name: name.into(),
        role,
        digest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf %s secret | sha256sum
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    #[test]
    fn lines_are_read_exactly() {
        let text = format!(
            "# people\n\nalice:admin:{SECRET}\nbob@x:read:{}\n",
            "0".repeat(64)
        );
        let tokens = Tokens::parse(&text).unwrap();
        let alice = tokens.find("secret").unwrap();
        assert_eq!((&*alice.name, alice.role), ("alice", Role::Admin));
        assert!(tokens.find("Secret").is_none() && tokens.find("").is_none());
        assert!(tokens.find(SECRET).is_none(), "the digest is not the token");
        for (bad, why) in [
            (format!("alice:{SECRET}"), "three parts"),
            (format!("a:admin:{SECRET}:x"), "three parts"),
            (format!(":admin:{SECRET}"), "name"),
            (format!("a b:admin:{SECRET}"), "name"),
            (format!("a:root:{SECRET}"), "role"),
            ("a:read:abc".to_owned(), "hexadecimal"),
            (format!("a:read:{SECRET}\na:read:{SECRET}"), "already"),
        ] {
            let (line, what) = Tokens::parse(&bad).unwrap_err();
            assert!(
                what.contains(why) && line == bad.lines().count(),
                "{bad}: {what}"
            );
        }
    }

    #[test]
    fn h10_09_the_file_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, format!("a:read:{SECRET}\n")).unwrap();
        for mode in [0o644, 0o640, 0o620, 0o604] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let said = Tokens::load(&path).unwrap_err().to_string();
            assert!(
                said.contains("0600") && said.contains(&format!("{mode:o}")),
                "{said}"
            );
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Tokens::load(&path).is_ok());
        assert!(Tokens::load(&dir.path().join("none")).is_err());
    }
}
