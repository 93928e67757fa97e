//! The format version of a data directory.
//!
//! One line of text, `NAME VERSION`, in a file called `FORMAT`, so that a person can read it. It stands for the layout of the
//! directory as a whole; segments carry a version of their own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::opening;
use crate::replace::replace_file;
use crate::storage::{Storage, read_full_at};
use crate::walk::is_unreadable;

/// The `FORMAT` file of a directory.
#[derive(Clone, Debug)]
pub struct FormatFile {
    path: PathBuf,
    name: &'static str,
    current: u32,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum FormatState {
    /// There is none: the directory is new (or from before there were versions). Lay it out, then [`FormatFile::write`].
    Absent,
    /// The version that this program writes.
    Current,
    /// An older one: migrate, then [`FormatFile::write`]. A crash in between finds the old version again and starts over.
    Older(u32),
    /// The file cannot be read or says nothing that is known, but the journal beside it is this application's, and of no newer
    /// version: [`FormatFile::write`].
    Damaged,
}

/// Why the directory must not be touched.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Laid out by a newer release.
    #[error("{} says format {found}, this program knows up to {supported}: use the newer program that wrote it", .path.display())]
    Newer {
        /// Version in the file.
        found: u32,
        /// Newest that this program knows.
        supported: u32,
        /// The file.
        path: PathBuf,
    },
    /// Not a format file of this name.
    #[error("{} {found}, where `{expected} VERSION` should stand with a version from 1 to {supported}: is the data directory right? If it is, remove this file: the next start writes it anew", .path.display())]
    Unknown {
        /// What it has instead, in words.
        found: String,
        /// Newest version that this program knows.
        supported: u32,
        /// The name it should have.
        expected: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("cannot read or write {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl FormatFile {
    /// The file of `directory`, for the format `name` (one word) of which this program writes version `current`.
    pub fn new(directory: &Path, name: &'static str, current: u32) -> Self {
        Self {
            path: directory.join("FORMAT"),
            name,
            current,
        }
    }

    /// Reads it. Writes nothing.
    ///
    /// # Errors
    /// [`FormatError`]: it cannot be read, is not ours, or is of a newer version.
    pub fn check(&self, storage: &dyn Storage) -> Result<FormatState, FormatError> {
        let mut text = [0; 128];
        let read = match storage.open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(FormatState::Absent);
            }
            opened => opened.and_then(|file| read_full_at(&*file, &mut text, 0)),
        };
        let read = match read {
            // As good as garbled.
            Err(error) if is_unreadable(&error) => None,
            Ok(read) => Some(read),
            Err(source) => {
                return Err(FormatError::Io {
                    path: self.path.clone(),
                    source,
                });
            }
        };
        let text = read.and_then(|read| text.get(..read));
        let found = text.and_then(|text| self.parse(text));
        let found = found.ok_or_else(|| FormatError::Unknown {
            found: text.map_or_else(|| "cannot be read".to_owned(), words),
            supported: self.current,
            expected: self.name,
            path: self.path.clone(),
        })?;
        match found.cmp(&self.current) {
            std::cmp::Ordering::Less => Ok(FormatState::Older(found)),
            std::cmp::Ordering::Equal => Ok(FormatState::Current),
            std::cmp::Ordering::Greater => Err(FormatError::Newer {
                found,
                supported: self.current,
                path: self.path.clone(),
            }),
        }
    }

    /// The same where a journal of `application` in the directory `journal` tells whose the data is: a line of text that is damaged
    /// keeps nobody from what is stored. Says so in the log.
    ///
    /// # Errors
    /// As [`check`](Self::check), but for a damaged line beside a journal that says whose the data is.
    pub fn check_beside(
        &self,
        storage: &Arc<dyn Storage>,
        journal: &Path,
        application: [u8; 8],
    ) -> Result<FormatState, FormatError> {
        match self.check(&**storage) {
            Err(FormatError::Unknown { path, found, .. })
                if opening::is_ours(storage, journal, application) =>
            {
                let journal = journal.display();
                tracing::warn!(path = %path.display(), "the format file is damaged: it {found}; {journal} is in the known format, so it is written anew");
                Ok(FormatState::Damaged)
            }
            other => other,
        }
    }

    /// Says that the directory now has the current version; durable when it returns.
    ///
    /// # Errors
    /// [`FormatError`]: it cannot be written or made durable.
    pub fn write(&self, storage: &dyn Storage) -> Result<(), FormatError> {
        replace_file(
            storage,
            &self.path,
            format!("{} {}\n", self.name, self.current).as_bytes(),
        )
        .map_err(|source| FormatError::Io {
            path: self.path.clone(),
            source,
        })
    }

    fn parse(&self, text: &[u8]) -> Option<u32> {
        let (name, version) = std::str::from_utf8(text).ok()?.trim_end().split_once(' ')?;
        // Versions begin with 1: nobody has written another.
        let version = version.parse().ok().filter(|version| *version > 0);
        version.filter(|_| name == self.name)
    }
}

/// What such a file says, for people.
fn words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return "is empty".to_owned();
    }
    let shown: String = line.chars().take(40).collect();
    format!("says `{}`", shown.escape_debug())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::{FormatError, FormatFile, FormatState};
    use crate::{RealDisk, Storage};

    #[test]
    fn h6_11_a_newer_format_is_refused_by_both_versions() {
        let directory = tempfile::tempdir().unwrap();
        FormatFile::new(directory.path(), "queue", 3)
            .write(&RealDisk)
            .unwrap();
        let error = FormatFile::new(directory.path(), "queue", 2)
            .check(&RealDisk)
            .unwrap_err();
        assert!(matches!(
            error,
            FormatError::Newer {
                found: 3,
                supported: 2,
                ..
            }
        ));
        assert!(
            error.to_string().contains("format 3") && error.to_string().contains("up to 2"),
            "{error}"
        );
    }

    #[test]
    fn absent_older_and_current_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let two = FormatFile::new(directory.path(), "queue", 2);
        assert_eq!(two.check(&RealDisk).unwrap(), FormatState::Absent);
        FormatFile::new(directory.path(), "queue", 1)
            .write(&RealDisk)
            .unwrap();
        assert_eq!(two.check(&RealDisk).unwrap(), FormatState::Older(1));
        two.write(&RealDisk).unwrap();
        assert_eq!(two.check(&RealDisk).unwrap(), FormatState::Current);
    }

    #[test]
    fn h6_05_a_garbled_file_beside_our_journal_is_no_obstacle() {
        let open = |directory: &Path, application| {
            crate::Journal::open(
                Arc::new(RealDisk),
                crate::Options::new(directory.join("journal"), application),
            )
        };
        let disk: Arc<dyn Storage> = Arc::new(RealDisk);
        for (application, is_ours) in [(*b"mine\0\0\0\0", true), (*b"theirs\0\0", false)] {
            let directory = tempfile::tempdir().unwrap();
            let two = FormatFile::new(directory.path(), "queue", 2);
            let check = || {
                let journal = directory.path().join("journal");
                two.check_beside(&disk, &journal, *b"mine\0\0\0\0")
            };
            assert_eq!(check().unwrap(), FormatState::Absent);
            std::fs::write(directory.path().join("FORMAT"), "").unwrap();
            assert!(check().is_err(), "there is no journal");
            drop(open(directory.path(), application).unwrap());
            match check() {
                Ok(FormatState::Damaged) => assert!(is_ours),
                Err(FormatError::Unknown { .. }) => assert!(!is_ours),
                other => panic!("{other:?}"),
            }
            two.write(&RealDisk).unwrap();
            assert_eq!(check().unwrap(), FormatState::Current);
        }
    }

    #[test]
    fn what_is_not_ours_is_not_taken_for_a_version() {
        for (text, told) in [
            ("", "FORMAT is empty"),
            ("queue", "FORMAT says `queue`"),
            ("queue two\n", "FORMAT says `queue two`"),
            ("other 1\n", "FORMAT says `other 1`"),
            ("queue 0\n", "FORMAT says `queue 0`"),
            ("\u{1b}[2Jx", r"FORMAT says `\u{1b}[2Jx`"),
            (&"x".repeat(100), "xxx`"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("FORMAT"), text).unwrap();
            let result = FormatFile::new(directory.path(), "queue", 2).check(&RealDisk);
            let Err(error @ FormatError::Unknown { .. }) = result else {
                panic!("{told}: {result:?}");
            };
            let error = error.to_string();
            for part in [told, "`queue VERSION`", "from 1 to 2", "remove this file"] {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }
}
