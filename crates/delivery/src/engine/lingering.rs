//! Workers that have just run out of work, and what is handed to them.

use tokio::sync::oneshot;

/// Those who wait for work, the last one last.
pub(crate) struct Lingering<T>(Vec<oneshot::Sender<T>>);

/// The place where one worker waits.
pub(crate) struct Place<T>(oneshot::Receiver<T>);

impl<T> Lingering<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// A place for one more.
    pub(crate) fn join(&mut self) -> Place<T> {
        self.0.retain(|worker| !worker.is_closed());
        let (sender, receiver) = oneshot::channel();
        self.0.push(sender);
        Place(receiver)
    }

    /// Hands work to the worker that ran out of it last: its session is the warmest.
    ///
    /// # Errors
    /// The work, if nobody waits for any.
    pub(crate) fn hand(&mut self, mut work: T) -> Result<(), T> {
        while let Some(worker) = self.0.pop() {
            match worker.send(work) {
                Ok(()) => return Ok(()),
                Err(back) => work = back,
            }
        }
        Err(work)
    }
}

impl<T> Place<T> {
    /// What is handed over until `end`; nothing that was handed over is lost.
    pub(crate) async fn wait(mut self, end: impl Future<Output = ()>) -> Option<T> {
        tokio::select! {
            biased;
            work = &mut self.0 => return work.ok(),
            () = end => {}
        }
        self.0.close();
        self.0.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_last_to_wait_is_the_first_to_get_work() {
        let mut lingering = Lingering::new();
        let (first, second) = (lingering.join(), lingering.join());
        assert_eq!((lingering.hand(1), lingering.hand(2)), (Ok(()), Ok(())));
        assert_eq!(lingering.hand(3), Err(3));
        assert_eq!(poll(second.wait(pending())), Poll::Ready(Some(1)));
        assert_eq!(poll(first.wait(pending())), Poll::Ready(Some(2)));
    }

    #[test]
    fn who_has_left_gets_nothing_and_nothing_is_lost() {
        let mut lingering = Lingering::new();
        let (left, stays) = (lingering.join(), lingering.join());
        assert_eq!(poll(left.wait(ready(()))), Poll::Ready(None));
        assert_eq!(lingering.hand(1), Ok(()));
        assert_eq!(lingering.hand(2), Err(2));
        assert_eq!(poll(stays.wait(ready(()))), Poll::Ready(Some(1)));
        // Handed over between the last look and the end.
        let place = lingering.join();
        let late = poll_fn(|_| {
            assert_eq!(lingering.hand(3), Ok(()));
            Poll::Ready(())
        });
        assert_eq!(poll(place.wait(late)), Poll::Ready(Some(3)));
    }
}
