//! A secret of this installation: `DATA/auth-secret`, 32 random octets.
//!
//! From it come the SCRAM salts of users that do not exist. They have to stay the same over
//! restarts, or a second look would tell such a user from a real one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The secret. Prints nothing of itself.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct SecretError {
    path: PathBuf,
    source: io::Error,
}

/// The file's name in the data directory.
pub const SECRET: &str = "auth-secret";

impl Secret {
    /// Reads it from the data directory, or makes it; the directory is locked by the caller.
    ///
    /// # Errors
    /// The file cannot be read or made.
    pub fn open(data_dir: &Path) -> Result<Self, SecretError> {
        let path = data_dir.join(SECRET);
        match read(&path) {
            Ok(Some(secret)) => return Ok(secret),
            Ok(None) => {}
            Err(source) => return Err(SecretError { path, source }),
        }
        let secret = Self::random().map_err(|source| SecretError {
            path: path.clone(),
            source,
        })?;
        match write(data_dir, &path, &*secret.0) {
            Ok(()) => Ok(secret),
            Err(source) => Err(SecretError { path, source }),
        }
    }

    /// A new one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random() -> io::Result<Self> {
        let mut octets = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *octets).map_err(|e| io::Error::other(e.to_string()))?;
        Ok(Self(octets))
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &*self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

/// `None` if there is no file, or one that a crash cut short: nothing was promised with it.
fn read(path: &Path) -> io::Result<Option<Secret>> {
    match fs::read(path).map(Zeroizing::new) {
        Ok(octets) => Ok(<[u8; 32]>::try_from(&octets[..])
            .ok()
            .map(|octets| Secret(Zeroizing::new(octets)))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn write(directory: &Path, path: &Path, octets: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn it_stays_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let first = Secret::open(dir.path()).unwrap();
        let again = Secret::open(dir.path()).unwrap();
        assert_eq!(first.octets(), again.octets());
        let path = dir.path().join(SECRET);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_ne!(first.octets(), Secret::random().unwrap().octets());
        assert_eq!(format!("{first:?}"), "Secret { .. }");
        fs::write(&path, "short").unwrap();
        assert_ne!(first.octets(), Secret::open(dir.path()).unwrap().octets());
    }
}
