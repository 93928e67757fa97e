//! Segment files: names, listing, the rituals of making and removing them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::error::{FailedOperation, Failure, OpenError};
use crate::format::{SEGMENT_HEADER_LEN, SegmentHeader, SegmentHeaderRead};
use crate::position::Position;
use crate::replace::parent;
use crate::report::SegmentInfo;
use crate::storage::{Storage, StorageFile, read_full_at, write_all_at};
use crate::walk::is_unreadable;

/// The directory of a journal.
#[derive(Clone)]
pub(crate) struct SegmentDir {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) dir: PathBuf,
    pub(crate) application: [u8; 8],
    /// Held while a file of the quarantine is made: several readers find the same damage at the same time.
    pub(crate) copying: Arc<Mutex<()>>,
}

/// Why a new segment was not made.
pub(crate) enum CreateError {
    /// The disk is full or no file can be opened, and nothing of the segment is left.
    Full(Failure),
    /// Anything else: what is on disk is unknown.
    Failed(Failure),
}

impl SegmentDir {
    pub(crate) fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{number:08}.seg"))
    }

    /// Makes the directory if needed and lists its segments by number.
    pub(crate) fn prepare(&self) -> Result<Vec<SegmentInfo>, OpenError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io {
                action,
                path,
                source,
            }
        };
        self.storage
            .create_dir_all(&self.dir)
            .map_err(io("make the directory", &self.dir))?;
        self.storage
            .sync_dir(parent(&self.dir))
            .map_err(io("sync the directory above", &self.dir))?;
        self.list().map_err(io("list", &self.dir))
    }

    /// Its segments by number; the directory is there.
    pub(crate) fn list(&self) -> io::Result<Vec<SegmentInfo>> {
        let files = self.storage.list(&self.dir)?;
        let mut segments: Vec<SegmentInfo> = files
            .iter()
            .filter_map(|file| {
                Some(SegmentInfo {
                    number: segment_number(&file.name)?,
                    bytes: file.len,
                })
            })
            .collect();
        segments.sort_by_key(|segment| segment.number);
        Ok(segments)
    }

    pub(crate) fn open(&self, number: u32) -> io::Result<Arc<dyn StorageFile>> {
        self.storage.open(&self.path(number))
    }

    /// Reads a segment's header; `Ok(None)` if it is damaged, or the medium cannot give it. A newer version or another
    /// application's journal is an error.
    pub(crate) fn read_header(&self, number: u32) -> Result<Option<SegmentHeader>, OpenError> {
        let path = self.path(number);
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        let read = self
            .storage
            .open(&path)
            .and_then(|file| read_full_at(&*file, &mut bytes, 0));
        let read = match read {
            Ok(read) => read,
            Err(source) if is_unreadable(&source) => return Ok(None),
            Err(source) => {
                return Err(OpenError::Io {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        match SegmentHeader::decode(bytes.get(..read).unwrap_or_default()) {
            SegmentHeaderRead::Valid(header) if header.application != self.application => {
                Err(OpenError::OtherApplication {
                    found: header.application,
                    expected: self.application,
                    path,
                })
            }
            SegmentHeaderRead::Valid(header) => Ok(Some(header)),
            SegmentHeaderRead::Newer(found) => Err(OpenError::NewerVersion {
                found,
                supported: crate::format::FORMAT_VERSION,
                path,
            }),
            SegmentHeaderRead::Damaged => Ok(None),
        }
    }

    /// The ritual: create, write the header, fsync the file, fsync the directory.
    pub(crate) fn create(
        &self,
        number: u32,
        checkpoint: Option<Position>,
    ) -> Result<Arc<dyn StorageFile>, CreateError> {
        let path = self.path(number);
        let failure = |error| Failure::new(FailedOperation::CreateSegment, &path, error);
        let file = match self.storage.create_new(&path) {
            Ok(file) => file,
            // Nothing was made, and nothing is unknown.
            Err(error) if is_full(&error) || is_out_of_descriptors(&error) => {
                return Err(CreateError::Full(failure(error)));
            }
            Err(error) => return Err(CreateError::Failed(failure(error))),
        };
        let header = SegmentHeader {
            number,
            application: self.application,
            checkpoint,
        };
        match write_all_at(&*file, &header.encode(), 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| self.storage.sync_dir(&self.dir))
        {
            Ok(()) => Ok(file),
            Err(error) if is_full(&error) => {
                // Nothing was appended to it yet, so taking it away again is safe, if that is certain to have happened.
                match self
                    .storage
                    .unlink(&path)
                    .and_then(|()| self.storage.sync_dir(&self.dir))
                {
                    Ok(()) => Err(CreateError::Full(failure(error))),
                    Err(error) => Err(CreateError::Failed(failure(error))),
                }
            }
            Err(error) => Err(CreateError::Failed(failure(error))),
        }
    }

    /// The ritual: unlink, fsync the directory. A file that is gone already (an earlier call failed half way) is no error.
    pub(crate) fn remove(&self, number: u32) -> Result<(), Failure> {
        let path = self.path(number);
        let unlinked = match self.storage.unlink(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        unlinked
            .and_then(|()| self.storage.sync_dir(&self.dir))
            .map_err(|error| Failure::new(FailedOperation::RemoveSegment, path, error))
    }
}

/// No room in blocks, inodes or quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Neither the process nor the system can open one more file for now.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|e| errno == Some(e.raw_os_error()))
}

fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    let number = digits.parse().ok().filter(|&number| number > 0)?;
    (format!("{number:08}") == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::segment_number;

    #[test]
    fn only_our_own_spelling_names_a_segment() {
        assert_eq!(segment_number("00000001.seg"), Some(1));
        assert_eq!(segment_number("4294967295.seg"), Some(u32::MAX));
        for name in [
            "00000000.seg",
            "1.seg",
            "000000001.seg",
            "+0000001.seg",
            "00000001.seg.bak",
            "00000001",
            "LOCK",
        ] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }
}
