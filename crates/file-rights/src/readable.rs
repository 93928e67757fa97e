//! Whether a file that the configuration names can be read, and if not, what mends it.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, with the file's name.
    pub message: String,
    /// What to do.
    pub remedy: &'static str,
}

/// That it is a regular file and this process may read it. Nothing else is opened: a pipe would keep
/// the start or the reload waiting for somebody who writes.
///
/// # Errors
/// Why not, and what mends that.
pub fn readable(file: &Path) -> Result<Metadata, Fault> {
    let found = fs::metadata(file).map_err(|error| read_failed(file, &error))?;
    let named = file.display();
    if found.is_dir() {
        return Err(Fault {
            message: format!("{named} is a directory"),
            remedy: "name a file in it",
        });
    }
    if !found.is_file() {
        return Err(Fault {
            message: format!("{named} is not a regular file"),
            remedy: "name a file that can be read again at each reload",
        });
    }
    match File::open(file) {
        Ok(_) => Ok(found),
        Err(error) => Err(read_failed(file, &error)),
    }
}

/// What to do depends on what the system says.
pub fn read_failed(file: &Path, error: &io::Error) -> Fault {
    let named = file.display();
    let (message, remedy) = match error.kind() {
        ErrorKind::NotFound => (
            missing(file),
            "put it there, or name the file that is meant",
        ),
        ErrorKind::NotADirectory => (
            format!("{named}: what stands before the last \"/\" is not a directory"),
            "name the file that is meant",
        ),
        ErrorKind::PermissionDenied => refused(file),
        ErrorKind::InvalidData => (
            format!("{named} is not UTF-8"),
            "write the file as UTF-8 text",
        ),
        _ => (
            format!("{named} cannot be read: {error}"),
            "see what the system's log says of its disk, or put the file elsewhere",
        ),
    };
    Fault { message, remedy }
}

/// Links are usual here: those who renew certificates change where they lead.
fn missing(file: &Path) -> String {
    let named = file.display();
    if let Ok(to) = fs::read_link(file) {
        return format!(
            "{named} is a link to {}, which does not exist",
            to.display()
        );
    }
    let parent = file.parent().filter(|p| !p.as_os_str().is_empty());
    match parent.filter(|p| fs::symlink_metadata(p).is_err()) {
        Some(parent) => format!(
            "{named} does not exist, nor does its directory {}",
            parent.display()
        ),
        None => format!("{named} does not exist"),
    }
}

fn refused(file: &Path) -> (String, &'static str) {
    let user = rustix::process::geteuid().as_raw();
    let named = file.display();
    match closed_directory(file) {
        Some(directory) => (
            format!(
                "{named} cannot be read: user {user} may not enter {}",
                directory.display()
            ),
            if HIDDEN.iter().any(|above| file.starts_with(above)) {
                "put a copy into /etc/sealpost: the systemd unit hides /home and /root, whatever their permissions"
            } else {
                "let the server's user enter it (chmod g+x and its group), or put a copy into /etc/sealpost"
            },
        ),
        None => (
            format!("{named}: user {user} may not read it"),
            "chmod 0640 it, with the group of the server's user",
        ),
    }
}

/// The first on the way that this process may not enter.
fn closed_directory(file: &Path) -> Option<PathBuf> {
    let mut above: Vec<&Path> = file.ancestors().skip(1).collect();
    above.reverse();
    let closed = above.into_iter().find(|directory| {
        !directory.as_os_str().is_empty() && access(*directory, Access::EXEC_OK).is_err()
    });
    closed.map(Path::to_owned)
}

/// `ProtectHome=yes` of the unit.
const HIDDEN: [&str; 2] = ["/home", "/root"];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn each_cause_names_the_file_and_its_own_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        symlink(at("gone"), at("link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), 0o600.into()).unwrap();
        assert!(readable(&at("file")).is_ok());
        for (name, says, remedy) in [
            ("none", "none does not exist", "put it there"),
            ("no/file", "nor does its directory", "put it there"),
            ("link", "which does not exist", "put it there"),
            ("file/key", "is not a directory", "name the file"),
            ("", "is a directory", "name a file in it"),
            ("pipe", "is not a regular file", "each reload"),
        ] {
            let fault = readable(&at(name)).unwrap_err();
            let file = at(name).display().to_string();
            assert!(fault.message.contains(&file), "{name}: {}", fault.message);
            assert!(fault.message.contains(says), "{name}: {}", fault.message);
            assert!(fault.remedy.contains(remedy), "{name}: {}", fault.remedy);
            assert!(!fault.message.contains("os error"), "{}", fault.message);
        }
    }

    /// Tests may run as root, whom nothing is refused: the system's word is made up.
    #[test]
    fn a_file_that_may_not_be_read_is_told_with_whose_permission_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let error = ErrorKind::PermissionDenied.into();
        let fault = read_failed(&file, &error);
        assert!(
            fault.message.contains("may not read it"),
            "{}",
            fault.message
        );
        assert!(fault.remedy.contains("chmod 0640"), "{}", fault.remedy);
        // Nobody can enter what is not there.
        let fault = read_failed(Path::new("/home/no-such-user-of-ours/key"), &error);
        assert!(
            fault.message.contains("may not enter /home"),
            "{}",
            fault.message
        );
        assert!(fault.remedy.contains("hides /home"), "{}", fault.remedy);
    }
}
