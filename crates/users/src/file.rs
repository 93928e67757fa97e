//! `access.users-file`: one line for each user.
//!
//! `name argon2id scram`, separated by spaces; `#` begins a comment line. The file is the only
//! place where verifiers are kept.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use crate::{Name, Verifier};

/// All users of a file.
#[derive(Clone, Debug, Default)]
pub struct UsersFile {
    users: Vec<User>,
    by_name: HashMap<Name, usize>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct User {
    /// How the user logs in.
    pub name: Name,
    pub(crate) verifier: Verifier,
}

/// Why the file cannot be used. Says nothing of what stands in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Everybody may read or write it (row H10-09).
    #[error("{} is open to everybody (mode {mode:o}): chmod 0600 it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A line that is none.
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

impl UsersFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let unreadable = |source| FileError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if mode & 0o007 != 0 {
            let mode = mode & 0o777;
            let path = path.to_owned();
            return Err(FileError::Open { path, mode });
        }
        Self::parse(&fs::read_to_string(path).map_err(unreadable)?).map_err(|(line, problem)| {
            FileError::Line {
                path: path.to_owned(),
                line,
                problem,
            }
        })
    }

    /// Parses the text.
    ///
    /// # Errors
    /// The number of a line, from 1, and what is wrong with it; nothing of what stands in it.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut file = Self::default();
        for (n, line) in text.lines().enumerate() {
            if is_comment(line) {
                continue;
            }
            let user = User::parse(line).map_err(|problem| (n + 1, problem))?;
            let place = file.users.len();
            if file.by_name.insert(user.name.clone(), place).is_some() {
                return Err((n + 1, format!("{} stands twice", user.name)));
            }
            file.users.push(user);
        }
        Ok(file)
    }

    /// In the order of the file.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter()
    }

    pub(crate) fn user(&self, name: &Name) -> Option<&User> {
        self.by_name.get(name).and_then(|n| self.users.get(*n))
    }
}

impl User {
    /// Whether the user can log in by SCRAM too.
    #[must_use]
    pub const fn has_scram(&self) -> bool {
        self.verifier.scram().is_some()
    }

    /// Parses a line.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let mut fields = line.split_ascii_whitespace();
        let (Some(name), Some(argon2), Some(scram), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err("a user has three fields: `sealpost user add` writes them".to_owned());
        };
        let parsed = Name::parse(name).map_err(|e| e.to_string())?;
        if parsed.as_str() != name {
            return Err("the name is not in the form of RFC 4013".to_owned());
        }
        Ok(Self {
            name: parsed,
            verifier: Verifier::parse(argon2, scram)?,
        })
    }
}

/// The line of the file.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.verifier)
    }
}

pub(crate) fn is_comment(line: &str) -> bool {
    let line = line.trim_ascii_start();
    line.is_empty() || line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn lines_and_what_is_wrong_with_them() {
        let text = format!("# users\n\nann {HASH} -\n  bob@b.test\t{HASH} -  \n");
        let file = UsersFile::parse(&text).unwrap();
        let names: Vec<_> = file.users().map(|u| u.name.as_str()).collect();
        assert_eq!(names, ["ann", "bob@b.test"]);
        assert!(file.user(&Name::parse("ann").unwrap()).is_some());
        assert!(file.user(&Name::parse("Ann").unwrap()).is_none());
        for (text, line) in [
            ("ann".to_owned(), 1),
            (format!("ann {HASH}"), 1),
            (format!("ann {HASH} - more"), 1),
            (format!("# c\nann {HASH} -\nann {HASH} -"), 3),
            (format!("I\u{ad}X {HASH} -"), 1),
            (format!("ann {HASH} SCRAM-SHA-256$x"), 1),
            ("ann secret -".to_owned(), 1),
        ] {
            let (at, problem) = UsersFile::parse(&text).unwrap_err();
            assert_eq!(at, line, "{text}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn h10_09_a_file_that_everybody_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        assert!(matches!(
            UsersFile::read(&path),
            Err(FileError::Unreadable { .. })
        ));
        fs::write(&path, format!("ann {HASH} -\n")).unwrap();
        for (mode, good) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(UsersFile::read(&path).is_ok(), good, "{mode:o}");
        }
    }
}
