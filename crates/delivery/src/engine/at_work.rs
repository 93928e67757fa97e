//! Who is counted among the workers, and who waits outside for a place at a crowded host: as long as one is
//! at work or waits a stop waits too.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The workers of an engine.
pub(crate) struct Workers {
    /// Those that have a connection, or are about to.
    count: AtomicUsize,
    /// Those that wait for a place at a host, without a connection.
    aside: AtomicUsize,
    /// Both of them, so that a stop never sees one in between.
    all: AtomicUsize,
    /// `delivery.connections`.
    limit: AtomicUsize,
    stopping: AtomicBool,
    /// A worker left, or something else that may let the scheduler go on.
    pub(crate) progress: Notify,
    /// One of those aside may look whether it can come back.
    freed: Notify,
    /// All of them are to end what has not begun.
    ended: Notify,
    /// The last one left.
    drained: Notify,
}

/// A place among the workers, until this is dropped.
pub(crate) struct AtWork(Arc<Workers>);

/// A worker that has given its place away for a while. Dropped, it counts again.
pub(crate) struct Aside<'a> {
    workers: &'a Workers,
    counts: bool,
}

impl Workers {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            count: AtomicUsize::new(0),
            aside: AtomicUsize::new(0),
            all: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            stopping: AtomicBool::new(false),
            progress: Notify::new(),
            freed: Notify::new(),
            ended: Notify::new(),
            drained: Notify::new(),
        }
    }

    pub(crate) fn begin(self: &Arc<Self>) -> AtWork {
        self.all.fetch_add(1, Ordering::AcqRel);
        self.count.fetch_add(1, Ordering::AcqRel);
        AtWork(Arc::clone(self))
    }

    /// Those that have a connection, or are about to.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Those that wait for a place at a host. For a moment it may seem one more than there may be.
    pub(crate) fn aside(&self) -> usize {
        let limit = self.limit.load(Ordering::Relaxed);
        self.aside.load(Ordering::Relaxed).min(limit)
    }

    /// So many connections at most from now on.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    /// A worker that waits for a place at a host keeps none of ours: others have work (row E5-04). `None`: so
    /// many wait already that it is better asked for later, with nothing in hand.
    pub(crate) fn step_aside(&self) -> Option<Aside<'_>> {
        let limit = self.limit.load(Ordering::Relaxed);
        if self.aside.fetch_add(1, Ordering::AcqRel) >= limit {
            self.aside.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        self.count.fetch_sub(1, Ordering::AcqRel);
        self.free();
        Some(Aside {
            workers: self,
            counts: false,
        })
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// What has not begun is to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.ended.notify_waiters();
        self.progress.notify_one();
    }

    /// Returns once [`Self::stop`] was called.
    pub(crate) async fn stopped(&self) {
        loop {
            let ended = self.ended.notified();
            if self.is_stopping() {
                return;
            }
            ended.await;
        }
    }

    /// Returns once nobody is at work or waits.
    pub(crate) async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            if self.left() == 0 {
                return;
            }
            drained.await;
        }
    }

    /// Those at work and those that wait.
    pub(crate) fn left(&self) -> usize {
        self.all.load(Ordering::Acquire)
    }

    fn free(&self) {
        self.freed.notify_one();
        self.progress.notify_one();
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let workers = &self.0;
        workers.count.fetch_sub(1, Ordering::AcqRel);
        workers.freed.notify_one();
        if workers.all.fetch_sub(1, Ordering::AcqRel) == 1 {
            workers.drained.notify_waiters();
        }
    }
}

impl Aside<'_> {
    /// Counts again, as soon as there is a place. False: everything is to end.
    pub(crate) async fn back(mut self) -> bool {
        let workers = self.workers;
        loop {
            let mut freed = pin!(workers.freed.notified());
            // Before the look: what is freed meanwhile is for whoever waits already.
            freed.as_mut().enable();
            if workers.is_stopping() {
                return false;
            }
            let limit = workers.limit.load(Ordering::Relaxed);
            let more = |count| (count < limit).then_some(count + 1);
            let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
            if workers.count.fetch_update(set, fetch, more).is_ok() {
                self.counts = true;
                return true;
            }
            tokio::select! {
                () = freed => {}
                () = workers.stopped() => {}
            }
        }
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        if !self.counts {
            self.workers.count.fetch_add(1, Ordering::AcqRel);
        }
        self.workers.aside.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn e5_04_who_waits_for_a_host_keeps_no_place_and_comes_back_when_there_is_one() {
        let workers = Arc::new(Workers::new(2));
        let (first, second) = (workers.begin(), workers.begin());
        let aside = workers.step_aside().unwrap();
        assert_eq!(workers.aside(), 1);
        assert_eq!((workers.count(), workers.left()), (1, 2));
        let third = workers.begin();
        let back = tokio::spawn({
            let workers = Arc::clone(&workers);
            async move {
                workers.drained().await;
            }
        });
        let mut waiting = std::pin::pin!(aside.back());
        let early =
            std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_ready()));
        assert!(!early.await, "all places are taken");
        drop(third);
        assert!(waiting.await);
        assert_eq!((workers.count(), workers.left()), (2, 2));
        drop((first, second));
        back.await.unwrap();
    }

    #[tokio::test]
    async fn not_all_may_wait_and_a_stop_ends_the_waiting() {
        let workers = Arc::new(Workers::new(1));
        let (first, _second) = (workers.begin(), workers.begin());
        let aside = workers.step_aside().unwrap();
        assert!(workers.step_aside().is_none());
        assert_eq!(workers.aside(), 1);
        assert_eq!(workers.count(), 1);
        workers.stop();
        assert!(!aside.back().await);
        assert_eq!((workers.count(), workers.left()), (2, 2));
        drop(first);
        workers.stopped().await;
    }
}
