//! Large bodies, each in a file of its own.
//!
//! On disk: `DIR/NAME`, complete by construction, and `DIR/.NAME.part` while it is written. The ritual: part file, write,
//! fdatasync, rename, directory fsync; only then does the owner append the record that speaks of it. So a power cut leaves
//! part files (removed by [`LargeFiles::open`]) and, between rename and record, files that no record speaks of: the owner finds
//! those with [`LargeFiles::list`] and removes them. Removal is unlink and directory fsync.

use std::io::{self, IoSlice, Read};
use std::path::PathBuf;
use std::sync::Arc;

use crate::storage::{DirEntry, Storage, StorageFile};

/// A directory of large bodies.
#[derive(Clone)]
pub struct LargeFiles {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
}

impl LargeFiles {
    /// Opens (or makes) the directory and removes part files that an earlier process left. Call it once per process.
    ///
    /// # Errors
    /// The system's.
    pub fn open(storage: Arc<dyn Storage>, dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        storage.create_dir_all(&dir)?;
        storage.sync_dir(crate::replace::parent(&dir))?;
        for entry in storage.list(&dir)? {
            if entry.name.starts_with('.') && entry.name.ends_with(".part") {
                storage.unlink(&entry.path)?;
            }
        }
        // Its descriptor is kept from here on, for removals when there is none left.
        storage.sync_dir(&dir)?;
        Ok(Self { storage, dir })
    }

    /// Begins a file. The name is letters, digits, `-` and `_`, at most 64.
    ///
    /// # Errors
    /// `InvalidInput` for a name with other characters; otherwise the system's.
    pub fn create(&self, name: &str) -> io::Result<LargeFileWriter> {
        self.create_below(name, 0)
    }

    /// The same, with so many bytes left free at the top for [`LargeFileWriter::write_top`].
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_below(&self, name: &str, free: usize) -> io::Result<LargeFileWriter> {
        let path = self.path(name)?;
        let part = self.dir.join(format!(".{name}.part"));
        let file = self.storage.create_new(&part)?;
        Ok(LargeFileWriter {
            files: self.clone(),
            file,
            part: Some(part),
            path,
            len: free as u64,
            hasher: crc32fast::Hasher::new(),
            free,
            top: crc32fast::Hasher::new(),
        })
    }

    /// Opens a complete file for reading. With what [`commit`](LargeFileWriter::commit) returned the content is verified: a wrong
    /// length is an error here, a wrong checksum makes the last read fail with `InvalidData`.
    ///
    /// # Errors
    /// `NotFound`, `InvalidData` if the length is wrong; otherwise the system's.
    pub fn read(&self, name: &str, expected: Option<LargeFileSum>) -> io::Result<LargeFileReader> {
        let file = self.storage.open(&self.path(name)?)?;
        let len = file.len()?;
        if expected.is_some_and(|expected| expected.bytes != len) {
            let text = format!("{name} has {len} bytes, not those that were written");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let expected = expected.map(|expected| expected.crc32);
        Ok(LargeFileReader {
            file,
            offset: 0,
            len,
            expected,
            hasher: crc32fast::Hasher::new(),
        })
    }

    /// Removes a file, durably. No error if it is gone.
    ///
    /// # Errors
    /// The system's: the file may be there or not.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match self.storage.unlink(&self.path(name)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.storage.sync_dir(&self.dir),
        }
    }

    /// All complete files, in no order: for the sweep of those that no record speaks of.
    ///
    /// # Errors
    /// The system's.
    pub fn list(&self) -> io::Result<Vec<DirEntry>> {
        let mut files = self.storage.list(&self.dir)?;
        files.retain(|entry| valid_name(&entry.name));
        Ok(files)
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        if valid_name(name) {
            return Ok(self.dir.join(name));
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a large file's name is letters, digits, - and _, at most 64",
        ))
    }
}

/// A file that is being written. Dropped without [`commit`](Self::commit) it leaves nothing.
pub struct LargeFileWriter {
    files: LargeFiles,
    file: Arc<dyn StorageFile>,
    part: Option<PathBuf>,
    path: PathBuf,
    len: u64,
    /// Of what stands below the top.
    hasher: crc32fast::Hasher,
    /// Bytes at the top that are not written yet.
    free: usize,
    top: crc32fast::Hasher,
}

/// Length and checksum of a complete file. The record that speaks of the file should hold both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeFileSum {
    /// Length in bytes.
    pub bytes: u64,
    /// CRC-32 (IEEE) of the content.
    pub crc32: u32,
}

impl LargeFileWriter {
    /// Writes chunks at the end, gathered, without copying. After an error the file can only be dropped.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&mut self, chunks: &[&[u8]]) -> io::Result<()> {
        chunks.iter().for_each(|chunk| self.hasher.update(chunk));
        self.len = write_at(&*self.file, chunks, self.len)?;
        Ok(())
    }

    /// Fills what was left free at the top; all of it at once.
    ///
    /// # Errors
    /// `InvalidInput` if it is not exactly what was left free; otherwise the system's.
    pub fn write_top(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() != self.free {
            let text = format!("{} bytes for a gap of {}", bytes.len(), self.free);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.top.update(bytes);
        write_at(&*self.file, &[bytes], 0)?;
        self.free = 0;
        Ok(())
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.len
    }

    /// Makes the file durable under its name. After an error nothing may speak of it, and the owner should
    /// [`fail`](crate::Journal::fail) its journal: what a failed sync left on disk is unknown.
    ///
    /// # Errors
    /// The system's.
    pub fn commit(mut self) -> io::Result<LargeFileSum> {
        if self.free > 0 {
            let text = "the top of the file was left free and never written";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.top.combine(&self.hasher);
        self.file.sync_data()?;
        if let Some(part) = &self.part {
            self.files.storage.rename(part, &self.path)?;
            self.part = None;
        }
        self.files.storage.sync_dir(&self.files.dir)?;
        Ok(LargeFileSum {
            bytes: self.len,
            crc32: self.top.clone().finalize(),
        })
    }
}

/// Writes chunks at this place, gathered; says where they end.
fn write_at(file: &dyn StorageFile, chunks: &[&[u8]], mut offset: u64) -> io::Result<u64> {
    let mut pieces: Vec<IoSlice<'_>> = chunks
        .iter()
        .filter(|chunk| !chunk.is_empty())
        .map(|chunk| IoSlice::new(chunk))
        .collect();
    let mut rest: &mut [IoSlice<'_>] = &mut pieces;
    while !rest.is_empty() {
        match file.write_vectored_at(rest, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(offset)
}

impl Drop for LargeFileWriter {
    fn drop(&mut self) {
        if let Some(part) = &self.part
            && let Err(error) = self.files.storage.unlink(part)
        {
            tracing::warn!(path = %part.display(), %error, "an unfinished body file could not be removed; the next start will");
        }
    }
}

/// A complete file, read from its start. Keeps working after the file was removed.
pub struct LargeFileReader {
    file: Arc<dyn StorageFile>,
    offset: u64,
    len: u64,
    expected: Option<u32>,
    hasher: crc32fast::Hasher,
}

impl LargeFileReader {
    /// Length in bytes.
    pub fn file_len(&self) -> u64 {
        self.len
    }
}

impl Read for LargeFileReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buf, self.offset)?;
        self.offset += read as u64;
        let Some(expected) = self.expected else {
            return Ok(read);
        };
        self.hasher.update(buf.get(..read).unwrap_or_default());
        if read == 0 && !buf.is_empty() && self.hasher.clone().finalize() != expected {
            let text = "the body file does not match its checksum";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(read)
    }
}

fn valid_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::{LargeFileSum, LargeFiles};
    use crate::RealDisk;

    #[test]
    fn a_committed_file_reads_back_and_an_abandoned_one_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let files = LargeFiles::open(Arc::new(RealDisk), directory.path().join("bodies")).unwrap();
        let mut writer = files.create("A1").unwrap();
        writer.write(&[b"one ", b"", b"two "]).unwrap();
        writer.write(&[b"three"]).unwrap();
        assert_eq!(files.list().unwrap(), []);
        let sum = writer.commit().unwrap();
        assert_eq!(
            sum,
            LargeFileSum {
                bytes: 13,
                crc32: crc32fast::hash(b"one two three")
            }
        );
        drop(files.create("B2").unwrap());
        let names: Vec<String> = files
            .list()
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        assert_eq!(names, ["A1"]);
        assert_eq!(
            std::fs::read_dir(directory.path().join("bodies"))
                .unwrap()
                .count(),
            1
        );
        let mut text = String::new();
        let mut reader = files.read("A1", Some(sum)).unwrap();
        files.remove("A1").unwrap();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), reader.file_len()), ("one two three", 13));
        files.remove("A1").unwrap();
    }

    #[test]
    fn what_was_left_free_is_filled_before_the_file_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let files = LargeFiles::open(Arc::new(RealDisk), directory.path()).unwrap();
        let mut writer = files.create_below("A1", 4).unwrap();
        writer.write(&[b"two ", b"three"]).unwrap();
        assert!(writer.write_top(b"one").is_err(), "not its length");
        writer.write_top(b"one ").unwrap();
        let sum = writer.commit().unwrap();
        assert_eq!(sum.crc32, crc32fast::hash(b"one two three"));
        let mut text = String::new();
        let mut reader = files.read("A1", Some(sum)).unwrap();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two three");
        let gap = files.create_below("B2", 4).unwrap();
        assert!(gap.commit().is_err(), "never with the gap");
        assert_eq!(files.list().unwrap().len(), 1);
    }

    #[test]
    fn a_changed_file_is_not_read_as_complete() {
        let directory = tempfile::tempdir().unwrap();
        let files = LargeFiles::open(Arc::new(RealDisk), directory.path()).unwrap();
        let mut writer = files.create("A1").unwrap();
        writer.write(&[b"content"]).unwrap();
        let sum = writer.commit().unwrap();
        std::fs::write(directory.path().join("A1"), "kontent").unwrap();
        let error = files
            .read("A1", Some(sum))
            .unwrap()
            .read_to_end(&mut Vec::new())
            .unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        std::fs::write(directory.path().join("A1"), "conten").unwrap();
        assert_eq!(
            files.read("A1", Some(sum)).err().unwrap().kind(),
            std::io::ErrorKind::InvalidData
        );
    }

    #[test]
    fn part_files_of_an_earlier_process_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(".X.part"), "half").unwrap();
        let files = LargeFiles::open(Arc::new(RealDisk), directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        drop(files.create("X").unwrap());
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let files = LargeFiles::open(Arc::new(RealDisk), directory.path()).unwrap();
        for name in ["", "..", "a/b", ".hidden", "a.b", "ä", &"x".repeat(65)] {
            assert!(files.create(name).is_err(), "{name:?}");
            assert!(files.read(name, None).is_err(), "{name:?}");
        }
    }
}
