//! One process per data directory.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    ///
    /// # Errors
    /// [`LockError`]: another process has it, or the directory cannot be made or opened.
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

/// Waits until nobody holds a `flock` of `file`, for `patience` at most. An engine's threads may hold its
/// lock for a moment after its handle was dropped, and whoever opens it again then is refused. A file that
/// is missing is held by nobody; one that stays held is the engine's to refuse.
///
/// # Errors
/// The file cannot be opened.
pub fn await_unlocked(file: &Path, patience: Duration) -> io::Result<()> {
    // Some file systems give an exclusive lock only to who may write.
    let file = match OpenOptions::new().read(true).write(true).open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            // Dropping the file gives it back.
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if waited < patience => {
                std::thread::sleep(BETWEEN_TRIES);
                waited += BETWEEN_TRIES;
            }
            Err(TryLockError::WouldBlock) => return Ok(()),
            // No such locks here: the engine judges.
            Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
}

const BETWEEN_TRIES: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_lock_that_is_given_back_late_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        await_unlocked(&path, Duration::ZERO).unwrap();
        let held = File::create(&path).unwrap();
        held.lock().unwrap();
        // Held for good: the wait ends, and nothing is taken.
        await_unlocked(&path, Duration::from_millis(20)).unwrap();
        let other = File::open(&path).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        let (start, started) = std::sync::mpsc::channel();
        let holder = std::thread::spawn(move || {
            started.recv().unwrap();
            drop(held);
        });
        start.send(()).unwrap();
        await_unlocked(&path, Duration::from_secs(60)).unwrap();
        other.try_lock().unwrap();
        holder.join().unwrap();
    }
}
