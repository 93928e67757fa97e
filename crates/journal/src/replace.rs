//! A whole file replaced so that a power cut leaves the old one or the new one.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::storage::{Storage, write_all_at};

/// Replaces (or makes) the file at `path`: temp file beside it, write, fsync, rename, fsync of the directory. After an error the old
/// file may be there or the new one, each whole; a temp file with the name `.PATH.tmp` may be left and is replaced next time.
///
/// # Errors
/// The system's.
pub fn replace_file(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = temp_path(path)?;
    match storage.unlink(&temp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = storage.create_new(&temp)?;
    write_all_at(&*file, bytes, 0)?;
    file.sync_all()?;
    storage.rename(&temp, path)?;
    storage.sync_dir(parent(path))
}

pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn temp_path(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temp = OsString::from(".");
    temp.push(name);
    temp.push(".tmp");
    Ok(parent(path).join(temp))
}
