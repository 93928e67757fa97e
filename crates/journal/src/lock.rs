//! One process per data directory.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Holds `LOCK` in a directory with `flock` until dropped or the process ends. Acquire it before anything in the directory is opened.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
    path: PathBuf,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is in use by another process{}: only one may open this directory", .path.display(), holder(.pid))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The holder, if it has said.
        pid: Option<u32>,
    },
    /// The lock file cannot be made or locked.
    #[error("cannot lock {}: {source}", .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl DirLock {
    /// Takes the lock of `directory`, which is made (mode 0700) if missing; never waits.
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join("LOCK");
        match Self::take(directory, &path) {
            Ok(Ok(file)) => Ok(Self { _file: file, path }),
            Ok(Err(pid)) => Err(LockError::Held { path, pid }),
            Err(source) => Err(LockError::Io { path, source }),
        }
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn take(directory: &Path, path: &Path) -> io::Result<Result<File, Option<u32>>> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let known = file.take(20).read_to_string(&mut text).is_ok();
                return Ok(Err(text.trim().parse().ok().filter(|_| known)));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // The pid is a courtesy to whoever is refused; a full disk must not keep the holder from starting.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Ok(file))
    }
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

#[cfg(test)]
mod tests {
    use super::{DirLock, LockError};

    #[test]
    fn h6_08_the_second_holder_is_refused_and_told_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let first = DirLock::acquire(&data).unwrap();
        let error = DirLock::acquire(&data).unwrap_err();
        assert!(
            matches!(error, LockError::Held { pid: Some(pid), .. } if pid == std::process::id()),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains(&format!("(pid {})", std::process::id())),
            "{error}"
        );
        drop(first);
        DirLock::acquire(&data).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_of_the_system() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "x").unwrap();
        assert!(matches!(
            DirLock::acquire(&directory.path().join("file")),
            Err(LockError::Io { .. })
        ));
    }
}
