//! The content of a message: in memory, or read from disk in chunks.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use mail_types::QueueId;

use crate::QueueError;

/// Content in memory, counted against the store's budget until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct HeldBody {
    chunks: Arc<Held>,
}

/// The content of a message, to be read once from the beginning.
#[derive(Debug)]
pub struct Body {
    id: QueueId,
    size: u64,
    source: Source,
}

/// How much content may be in memory.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

enum Source {
    Held { body: HeldBody, next: usize },
    Disk(Option<Box<dyn Read + Send>>),
}

#[derive(Debug)]
struct Held {
    chunks: Vec<Bytes>,
    size: u64,
    budget: Arc<Budget>,
}

impl HeldBody {
    /// `None` if the budget has no room.
    pub(crate) fn new(chunks: Vec<Bytes>, budget: &Arc<Budget>) -> Option<Self> {
        let size = chunks.iter().map(|c| c.len() as u64).sum();
        let before = budget.used.fetch_add(size, Ordering::Relaxed);
        let held = Held {
            chunks,
            size,
            budget: Arc::clone(budget),
        };
        // Dropping it gives the bytes back.
        (before.saturating_add(size) <= budget.limit).then(|| Self {
            chunks: Arc::new(held),
        })
    }

    /// The content in order; chunks are not empty.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks.chunks
    }

    /// Octets in all.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.chunks.size
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.size, Ordering::Relaxed);
    }
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicU64::new(0),
        })
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Body {
    pub(crate) fn held(id: QueueId, body: HeldBody) -> Self {
        Self {
            id,
            size: body.size(),
            source: Source::Held { body, next: 0 },
        }
    }

    pub(crate) fn disk(id: QueueId, size: u64, reader: Box<dyn Read + Send>) -> Self {
        Self {
            id,
            size,
            source: Source::Disk(Some(reader)),
        }
    }

    /// Octets in all.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The next chunk (about 64 KiB), `None` at the end. The checksum is verified at the end: a
    /// caller that sends as it reads must not end its message before it saw `None`.
    ///
    /// # Errors
    /// [`QueueError::Body`] if the content is damaged or cannot be read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, QueueError> {
        let reader = match &mut self.source {
            Source::Held { body, next } => {
                let chunk = body.chunks().get(*next).cloned();
                *next += 1;
                return Ok(chunk);
            }
            Source::Disk(reader) => reader.take(),
        };
        // Gone: the end was reached, or an earlier read failed or was given up half-way.
        let Some(reader) = reader else {
            return Err(self.error("read on after its end or a failure", false));
        };
        let read = tokio::task::spawn_blocking(move || read_chunk(reader)).await;
        let (reader, chunk) = match read {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => {
                return Err(self.error(&error.to_string(), is_damage(&error)));
            }
            Err(_) => return Err(self.error("the reader stopped", false)),
        };
        self.source = Source::Disk(Some(reader));
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    fn error(&self, cause: &str, damaged: bool) -> QueueError {
        QueueError::Body {
            id: self.id,
            cause: cause.to_owned(),
            damaged,
        }
    }
}

/// Whether what was read is wrong, and not the reading of it.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound
    )
}

/// A full chunk, or less at the end; empty at the verified end.
fn read_chunk(mut reader: Box<dyn Read + Send>) -> io::Result<(Box<dyn Read + Send>, Bytes)> {
    let mut chunk = BytesMut::zeroed(CHUNK);
    let mut filled = 0;
    while filled < CHUNK {
        match reader.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    chunk.truncate(filled);
    Ok((reader, chunk.freeze()))
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held { .. } => "memory",
            Self::Disk(_) => "disk",
        })
    }
}

/// What is read, or kept in one piece, at a time.
pub(crate) const CHUNK: usize = 64 * 1024;
