//! What a command says that cannot make its file: what is missing, and the command that mends it.

use std::io::{self, ErrorKind};
use std::path::Path;

/// Directories are not made on the way: their owner and mode decide who reads the key, and a name that
/// was mistyped would stay unnoticed. `instead` is what else can be named.
#[must_use]
pub fn cannot_create(file: &Path, error: &io::Error, instead: &str) -> String {
    let shown = file.display();
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = parent.display();
    match error.kind() {
        _ if file.is_dir() => format!("{shown} is a directory: name a file in it"),
        ErrorKind::AlreadyExists => {
            format!("{shown} is there already and is not overwritten: remove it, or name {instead}")
        }
        ErrorKind::NotFound if !parent.exists() => format!(
            "{shown} cannot be written: {directory} does not exist: make it, for instance with \
             `mkdir -p -m 0750 {directory}`, let the server's user read it, or name {instead}"
        ),
        ErrorKind::NotADirectory => {
            format!("{shown} cannot be written: {directory} is not a directory: name {instead}")
        }
        ErrorKind::PermissionDenied => format!(
            "{shown} cannot be written: this user may not write to {directory}: run the command as \
             a user who may, for instance root, or name {instead}"
        ),
        ErrorKind::ReadOnlyFilesystem => {
            format!("{shown} cannot be written: its file system is read-only: name {instead}")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!("{shown} cannot be written: {error}: free space there, or name {instead}")
        }
        _ => format!("{shown} cannot be written: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let said = |name: &str, kind: ErrorKind| {
            let error = io::Error::from(kind);
            cannot_create(&dir.path().join(name), &error, "another --out")
        };
        let here = dir.path().display();
        let missing = said("a/b/key", ErrorKind::NotFound);
        let command = format!("`mkdir -p -m 0750 {here}/a/b`");
        assert!(missing.contains(&command), "{missing}");
        let there = said("key", ErrorKind::AlreadyExists);
        assert!(there.contains("not overwritten: remove it"), "{there}");
        // Nobody should remove it.
        let directory = said("", ErrorKind::AlreadyExists);
        assert!(directory.contains("is a directory"), "{directory}");
        assert!(!directory.contains("remove"), "{directory}");
        let refused = said("key", ErrorKind::PermissionDenied);
        assert!(refused.contains("may not write to"), "{refused}");
    }
}
