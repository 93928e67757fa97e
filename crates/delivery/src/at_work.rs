//! Who is counted among the workers: as long as one is at work a stop waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use outbound_queue::QueueStore;

use crate::engine::Inner;

/// A place among the workers, until this is dropped.
pub(crate) struct AtWork<S: QueueStore>(Arc<Inner<S>>);

impl<S: QueueStore> AtWork<S> {
    pub(crate) fn begin(inner: &Arc<Inner<S>>) -> Self {
        inner.workers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(inner))
    }
}

impl<S: QueueStore> Drop for AtWork<S> {
    fn drop(&mut self) {
        if self.0.workers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.drained.notify_waiters();
        }
    }
}
