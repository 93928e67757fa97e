//! Time limits of what nearly always comes in time.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep};

/// One timer for one limit after the other. It is set anew only if it goes off too early, or would too
/// late: a timer for each reply would be put in the runtime's wheel and taken out again each time.
pub(crate) struct Timer(Pin<Box<Sleep>>);

impl Default for Timer {
    fn default() -> Self {
        Self(Box::pin(sleep(FAR)))
    }
}

impl Timer {
    /// What comes of the work; `None` if it is not done at that time, or a moment later: if nothing of this
    /// process ran until then (it was stopped), what came meanwhile is there and not read yet. A stop that ends
    /// just after the limit looks like none, so that every limit has this moment, once.
    pub(crate) async fn within<T>(
        &mut self,
        until: Instant,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        self.shared(until, &mut None, work).await
    }

    /// The same where several pieces of work share a limit, and its moment: until when that is, once it has begun.
    pub(crate) async fn shared<T>(
        &mut self,
        until: Instant,
        moment: &mut Option<Instant>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        let mut until = until;
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            if self.0.deadline() > until {
                self.0.as_mut().reset(until);
            }
            // Also if the work has used up the task's turn: a peer that never stops is bounded too.
            while pin!(unconstrained(self.0.as_mut())).poll(cx).is_ready() {
                let now = Instant::now();
                if now >= until {
                    let end = *moment.get_or_insert(now + MOMENT);
                    if now >= end {
                        return Poll::Ready(None);
                    }
                    until = end;
                }
                self.0.as_mut().reset(until);
            }
            Poll::Pending
        })
        .await
    }
}

/// Beyond all limits.
const FAR: Duration = Duration::from_secs(24 * 3600);
/// How long what came during a stop may take to be read.
const MOMENT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn each_limit_holds_whatever_the_one_before_was() {
        let mut timer = Timer::default();
        // Shorter than what it is set for, longer, and again shorter: over none too early.
        for millis in [20, 40, 60, 10] {
            let limit = Duration::from_millis(millis);
            let began = Instant::now();
            assert_eq!(timer.within(began + limit, ready(7)).await, Some(7));
            let came = timer.within(began + limit, pending::<()>()).await;
            assert!(came.is_none() && began.elapsed() >= limit, "{limit:?}");
            let later = began + Duration::from_secs(600);
            assert!(timer.within(later, sleep(limit)).await.is_some());
        }
        let over = Instant::now();
        assert_eq!(timer.within(over, ready(7)).await, Some(7));
        assert_eq!(timer.within(over, pending::<()>()).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn e2_17_what_shares_a_limit_shares_its_moment() {
        let mut timer = Timer::default();
        let (began, mut moment) = (Instant::now(), None);
        let half = MOMENT / 2;
        let done = timer.shared(began, &mut moment, sleep(half)).await;
        assert!(done.is_some(), "the first half of it");
        let done = timer.shared(Instant::now(), &mut moment, sleep(MOMENT));
        assert!(done.await.is_none());
        assert_eq!(began.elapsed().as_millis() / 100, 10, "the second half");
        let done = timer.shared(Instant::now(), &mut moment, sleep(half));
        assert!(done.await.is_none());
        assert_eq!(began.elapsed().as_millis() / 100, 10, "no more of it");
        let done = timer.shared(began, &mut moment, ready(7)).await;
        assert_eq!(done, Some(7), "what is there is read");
    }

    #[tokio::test]
    async fn a_limit_holds_for_work_that_never_rests() {
        let mut timer = Timer::default();
        let restless = async {
            loop {
                tokio::task::consume_budget().await;
            }
        };
        let until = Instant::now() + Duration::from_millis(20);
        assert_eq!(timer.within::<()>(until, restless).await, None);
    }

    #[tokio::test]
    async fn h7_12_what_came_while_nothing_ran_is_read_before_the_limit_counts() {
        for stopped in [Duration::from_millis(20), MOMENT] {
            let mut timer = Timer::default();
            let until = Instant::now();
            let (peer, reply) = oneshot::channel();
            let mut within = Box::pin(timer.within(until, reply));
            // It is waited for, the time is over, and the runtime has yet to see the reply.
            assert!(poll_once(within.as_mut()).await.is_none());
            sleep(stopped).await;
            let seen = poll_once(within.as_mut()).await;
            assert!(seen.is_none(), "{stopped:?}: {seen:?}");
            peer.send(250).unwrap();
            assert_eq!(within.await, Some(Ok(250)));
            assert!(timer.within(until, pending::<()>()).await.is_none(), "once");
        }
    }

    /// What comes of one look at the work.
    async fn poll_once<F: Future>(mut work: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}
