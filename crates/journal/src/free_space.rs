//! How much room a file system has left.

use std::io;
use std::path::Path;

/// Room left for processes without privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// Bytes free.
    pub bytes: u64,
    /// Bytes of the whole file system.
    pub total_bytes: u64,
    /// Inodes free; `None` on file systems that make them as needed (btrfs).
    pub inodes: Option<u64>,
}

/// Asks the file system that holds `path` (statvfs).
pub fn free_space(path: &Path) -> io::Result<FreeSpace> {
    let answer = rustix::fs::statvfs(path)?;
    Ok(FreeSpace {
        bytes: answer.f_bavail.saturating_mul(answer.f_frsize),
        total_bytes: answer.f_blocks.saturating_mul(answer.f_frsize),
        inodes: (answer.f_files > 0).then_some(answer.f_favail),
    })
}

#[cfg(test)]
mod tests {
    use super::free_space;

    #[test]
    fn a_real_file_system_has_no_more_free_than_it_has() {
        let directory = tempfile::tempdir().unwrap();
        let space = free_space(directory.path()).unwrap();
        assert!(
            space.total_bytes > 0 && space.bytes <= space.total_bytes,
            "{space:?}"
        );
        assert!(free_space(&directory.path().join("missing")).is_err());
    }
}
