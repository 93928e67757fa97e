//! What a session waits for beside its client: the time, and the server's phase.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Phase;

/// Kept for the whole session: to be entered among the waiters for each read, and taken out again, would cost
/// more than most reads.
pub(super) struct Waiting {
    /// Ends at the deadline or before it, and is then set anew.
    timer: Pin<Box<Sleep>>,
    news: Pin<Box<dyn Future<Output = watch::Receiver<Phase>> + Send>>,
}

/// What came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Time,
    /// The server has gone on to another phase, maybe before the wait began.
    Phase,
}

impl Waiting {
    /// Phases that this receiver has seen are no news.
    pub(super) fn new(phase: watch::Receiver<Phase>) -> Self {
        Self {
            timer: Box::pin(sleep_until(Instant::now())),
            news: Box::pin(next(phase)),
        }
    }

    /// Waits for the deadline or another phase.
    pub(super) async fn until(&mut self, deadline: Instant) -> Over {
        poll_fn(|cx| self.poll(cx, deadline)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<Over> {
        if self.poll_time(cx, deadline).is_ready() {
            return Poll::Ready(Over::Time);
        }
        let phase = ready!(self.news.as_mut().poll(cx));
        self.news = Box::pin(next(phase));
        Poll::Ready(Over::Phase)
    }

    fn poll_time(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

/// Ends when there is another phase; never, if none can come any more.
async fn next(mut phase: watch::Receiver<Phase>) -> watch::Receiver<Phase> {
    if phase.changed().await.is_err() {
        pending::<()>().await;
    }
    phase
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[tokio::test(start_paused = true)]
    async fn e4_12_h5_05_each_wait_ends_at_its_own_deadline() {
        let (_server, phase) = watch::channel(Phase::Open);
        let mut waiting = Waiting::new(phase);
        let began = Instant::now();
        // Given up before their ends, as reads do that get something: later, earlier and later again.
        for (after, deadline) in [(0, 300), (1, 2), (1, 600)] {
            tokio::time::advance(S(after)).await;
            let wait = waiting.until(began + S(deadline));
            assert!(tokio::time::timeout(S(0), wait).await.is_err());
        }
        for deadline in [3, 10, 10, 7, 400] {
            let at = Instant::now().max(began + S(deadline));
            assert_eq!(waiting.until(began + S(deadline)).await, Over::Time);
            assert!(Instant::now().duration_since(at) <= Duration::from_millis(2));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_is_told_once_also_of_one_that_came_between_two_waits() {
        let (server, phase) = watch::channel(Phase::Open);
        let mut waiting = Waiting::new(phase);
        let soon = || Instant::now() + S(1);
        assert_eq!(waiting.until(soon()).await, Over::Time);
        for phase in [Phase::Draining, Phase::Aborting] {
            server.send_replace(phase);
            assert_eq!(waiting.until(soon()).await, Over::Phase);
            assert_eq!(waiting.until(soon()).await, Over::Time);
        }
        let (woken, ()) = tokio::join!(waiting.until(soon()), async {
            server.send_replace(Phase::Draining);
        });
        assert_eq!(woken, Over::Phase);
        drop(server);
        assert_eq!(waiting.until(soon()).await, Over::Time, "nobody can tell");
    }
}
