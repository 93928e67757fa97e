//! Segment files kept open for reading, a bounded number of them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::ReadError;
use crate::segment::SegmentDir;
use crate::storage::StorageFile;

/// The least recently used is closed first. Whoever holds an `Arc` of a file keeps it, unlinked or not.
pub(crate) struct Handles {
    open: Mutex<VecDeque<(u32, Arc<dyn StorageFile>)>>,
    most: usize,
}

impl Handles {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            open: Mutex::new(VecDeque::new()),
            most: most.max(1),
        }
    }

    pub(crate) fn get(
        &self,
        segments: &SegmentDir,
        number: u32,
    ) -> Result<Arc<dyn StorageFile>, ReadError> {
        let mut open = self.open.lock();
        if let Some(at) = open.iter().position(|(of, _)| *of == number)
            && let Some(entry) = open.remove(at)
        {
            let file = Arc::clone(&entry.1);
            open.push_back(entry);
            return Ok(file);
        }
        drop(open);
        let file = match segments.open(number) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ReadError::SegmentGone(number));
            }
            Err(source) => {
                return Err(ReadError::Io {
                    segment: number,
                    source,
                });
            }
        };
        let mut open = self.open.lock();
        if open.len() >= self.most {
            open.pop_front();
        }
        open.push_back((number, Arc::clone(&file)));
        Ok(file)
    }

    pub(crate) fn forget(&self, number: u32) {
        self.open.lock().retain(|(of, _)| *of != number);
    }
}
