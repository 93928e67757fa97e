//! The disk of the machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::storage::{DirEntry, Storage, StorageFile};

/// The file system of this machine. Directories are made with mode 0700, files with 0600.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Storage for RealDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(RealFile(File::open(path)?)))
    }

    fn open_writable(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(RealFile(
            OpenOptions::new().read(true).write(true).open(path)?,
        )))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A file may be removed between the listing and the question for its length.
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            // Names that are not UTF-8 are nobody's here.
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push(DirEntry {
                    path: entry.path(),
                    name,
                    len: metadata.len(),
                });
            }
        }
        Ok(files)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        directory(dir)?.sync_all()
    }
}

/// An open directory, kept: a segment that was unlinked when the process had no descriptor left could
/// not be made durably gone otherwise, which would be a failure of the store.
fn directory(dir: &Path) -> io::Result<Arc<File>> {
    let there = fs::metadata(dir)?;
    let there = (there.dev(), there.ino());
    let mut kept = DIRECTORIES.lock();
    if let Some((_, file)) = kept.iter().find(|(which, _)| *which == there) {
        return Ok(Arc::clone(file));
    }
    let file = Arc::new(File::open(dir)?);
    if kept.len() == MOST_DIRECTORIES {
        kept.remove(0);
    }
    kept.push((there, Arc::clone(&file)));
    Ok(file)
}

type Kept = Vec<((u64, u64), Arc<File>)>;

/// By device and inode, so that a directory that was replaced is not taken for the one that is there. An
/// inode's number is not given to another file while the directory is open. Static, since [`RealDisk`] has no
/// state of its own: every store makes one, and descriptors are what all of the process has together.
static DIRECTORIES: Mutex<Kept> = Mutex::new(Vec::new());

/// Those of the queue, its bodies and the policies, and some more.
const MOST_DIRECTORIES: usize = 16;

struct RealFile(File);

impl StorageFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(&self.0, buf, offset)
    }

    fn write_vectored_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let most = pieces.len().min(MAX_PIECES);
        Ok(rustix::io::pwritev(
            &self.0,
            pieces.get(..most).unwrap_or(pieces),
            offset,
        )?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// `IOV_MAX` of Linux and the BSDs.
const MAX_PIECES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_opened_once_and_again_when_another_stands_there() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("queue");
        fs::create_dir(&dir).unwrap();
        let first = directory(&dir).unwrap();
        assert!(Arc::ptr_eq(&first, &directory(&dir).unwrap()));
        fs::rename(&dir, place.path().join("aside")).unwrap();
        fs::create_dir(&dir).unwrap();
        assert!(!Arc::ptr_eq(&first, &directory(&dir).unwrap()));
        fs::remove_dir(&dir).unwrap();
        assert!(directory(&dir).is_err());
    }
}
