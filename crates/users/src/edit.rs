//! Changes the users file: whole, or not at all; by one at a time.
//!
//! The new text is written to a temporary file beside the old one, synced, and renamed over it;
//! then the directory is synced. Mode and owner of the old file are kept. Meanwhile the directory is
//! locked, so that two that change it at once do not undo each other's work. Comments and the other
//! users' lines stay as they are.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::file::is_comment;
use crate::{Name, Password, User, UsersFile, Verifier};

/// Why the file was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What stands in it is not a users file.
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// There is no such user.
    #[error("there is no user {0}")]
    NoUser(Name),
    /// No random numbers, or a password that cannot be hashed.
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
}

/// Adds a user, or gives one a new password; says whether the user is new. The file is made if
/// there is none. Takes a second or so.
///
/// # Errors
/// [`EditError`]; the file is then as it was.
pub fn add(path: &Path, name: &Name, password: &Password, scram: bool) -> Result<bool, EditError> {
    let mut salt = [0; crate::verifier::SALT];
    getrandom::fill(&mut salt).map_err(|e| EditError::Hash(e.to_string()))?;
    let verifier = Verifier::make(password, &salt, scram)
        .ok_or_else(|| EditError::Hash("Argon2id does not take it".to_owned()))?;
    let user = User {
        name: name.clone(),
        verifier,
    };
    change(path, |lines| {
        let line = user.to_string();
        Ok(match lines.iter_mut().find(|old| is_of(old, name)) {
            Some(old) => {
                *old = line;
                false
            }
            None => {
                lines.push(line);
                true
            }
        })
    })
}

/// Removes a user.
///
/// # Errors
/// [`EditError`]; the file is then as it was.
pub fn remove(path: &Path, name: &Name) -> Result<(), EditError> {
    change(path, |lines| {
        let before = lines.len();
        lines.retain(|line| !is_of(line, name));
        if lines.len() == before {
            return Err(EditError::NoUser(name.clone()));
        }
        Ok(())
    })
}

fn is_of(line: &str, name: &Name) -> bool {
    !is_comment(line) && line.split_ascii_whitespace().next() == Some(name.as_str())
}

fn change<T>(
    path: &Path,
    edit: impl FnOnce(&mut Vec<String>) -> Result<T, EditError>,
) -> Result<T, EditError> {
    let file = |source: io::Error| EditError::File {
        path: path.to_owned(),
        source,
    };
    // Behind a link: the link stays, and the file that it names is changed, in its own directory.
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(e) if e.kind() == io::ErrorKind::NotFound && !path.is_symlink() => path.to_owned(),
        Err(e) => return Err(file(e)),
    };
    let shown = path;
    let path = real.as_path();
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = File::open(parent).map_err(file)?;
    // Until it is closed.
    flock(&directory, FlockOperation::LockExclusive).map_err(|e| file(e.into()))?;
    let old = match fs::metadata(path) {
        Ok(metadata) => Some(metadata),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(file(e)),
    };
    let text = match &old {
        Some(_) => fs::read_to_string(path).map_err(file)?,
        None => HEADER.to_owned(),
    };
    UsersFile::parse(&text).map_err(|(line, problem)| EditError::Line {
        path: shown.to_owned(),
        line,
        problem,
    })?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let done = edit(&mut lines)?;
    let mut text = lines.join("\n");
    text.push('\n');
    replace(path, &text, old.as_ref(), &directory).map_err(file)?;
    Ok(done)
}

fn replace(
    path: &Path,
    text: &str,
    old: Option<&fs::Metadata>,
    directory: &File,
) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    // What an earlier run left behind: nobody else writes here while the directory is locked.
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary);
    let written = written.and_then(|mut file| {
        if let Some(old) = old {
            let own = file.metadata()?;
            if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
                std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        directory.sync_all()
    });
    if written.is_err() {
        // The error that is told is the first one.
        let _ = fs::remove_file(&temporary);
    }
    written
}

const HEADER: &str =
    "# Users of the mail relay. Change it with `sealpost user add` and `sealpost user remove`.\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn password() -> Password {
        Password::choose("correct horse").unwrap()
    }

    #[test]
    fn users_come_change_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        assert!(add(&path, &name("ann"), &password(), false).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(add(&path, &name("bob"), &password(), false).unwrap());
        let first = fs::read_to_string(&path).unwrap();
        assert!(!add(&path, &name("ann"), &password(), false).unwrap());
        let second = fs::read_to_string(&path).unwrap();
        assert_ne!(first, second, "a new salt");
        assert_eq!(
            first.lines().nth(2),
            second.lines().nth(2),
            "bob's line stays"
        );
        remove(&path, &name("ann")).unwrap();
        let error = remove(&path, &name("ann")).unwrap_err();
        assert_eq!(error.to_string(), "there is no user ann");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with('#') && !text.contains("correct horse"));
        let users: Vec<_> = UsersFile::read(&path).unwrap().users().cloned().collect();
        assert_eq!(users.len(), 1);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn mode_and_comments_stay_and_damage_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        fs::write(&path, "# printers\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        add(&path, &name("ann"), &password(), false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .starts_with("# printers\nann ")
        );
        fs::write(&path, "not a user\n").unwrap();
        let error = add(&path, &name("bob"), &password(), false).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a user\n");
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let [real, link] = ["real", "users"].map(|name| dir.path().join(name));
        std::os::unix::fs::symlink("real", &link).unwrap();
        assert!(add(&link, &name("ann"), &password(), false).is_err());
        fs::write(&real, "# printers\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
        add(&link, &name("ann"), &password(), false).unwrap();
        assert!(link.is_symlink());
        assert_eq!(UsersFile::read(&real).unwrap().users().count(), 1);
        remove(&link, &name("ann")).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "# printers\n");
    }

    #[test]
    fn many_at_once_lose_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        std::thread::scope(|scope| {
            for n in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    add(path, &name(&format!("user{n}")), &password(), false).unwrap()
                });
            }
        });
        assert_eq!(UsersFile::read(&path).unwrap().users().count(), 4);
    }
}
