//! How much room a file system has left.

use std::fmt;
use std::io;
use std::path::Path;

use crate::error::Lack;

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

/// Why a journal takes nothing new for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Fewer bytes are free than are to be left.
    Space {
        /// Bytes free.
        free: u64,
        /// Bytes that are to be left.
        floor: u64,
    },
    /// Hardly a file can be made any more, whatever space there is.
    Inodes {
        /// Inodes free.
        free: u64,
    },
    /// Outcomes of deliveries wait to be recorded for want of this; until then none is begun (row H6-02).
    Unrecorded(Lack),
}

impl Shortage {
    /// A fixed word for it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Space { .. } => "space",
            Self::Inodes { .. } => "inodes",
            Self::Unrecorded(_) => "unrecorded",
        }
    }

    /// What has to come before anything is taken again.
    #[must_use]
    pub const fn until(self) -> &'static str {
        if self.is_of_disk() {
            "there is room"
        } else {
            "the queue can be written"
        }
    }

    /// Whether it is the disk that has no room.
    #[must_use]
    pub const fn is_of_disk(self) -> bool {
        match self {
            Self::Space { .. } | Self::Inodes { .. } | Self::Unrecorded(Lack::Space) => true,
            Self::Unrecorded(Lack::Descriptors | Lack::Writer) => false,
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        match self {
            Self::Space { free, floor } => write!(
                f,
                "{} MiB are free, which is below queue.minimum-free-space ({} MiB)",
                free / MIB,
                floor.div_ceil(MIB)
            ),
            Self::Inodes { free } => write!(
                f,
                "its file system has {free} inodes left and can hardly hold another file, whatever space is free (`df -i`)"
            ),
            Self::Unrecorded(lack) => write!(
                f,
                "{lack}: outcomes of deliveries cannot be recorded for now, and no delivery is begun"
            ),
        }
    }
}

/// Asks the file system that holds `path` (statvfs).
///
/// # Errors
/// The system's.
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
