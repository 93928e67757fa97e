//! Messages that fail us, not their peers (row H7-08): an attempt that panics, content that cannot be
//! read. A few tries are made; then the message is parked: held, until an operator releases it or has
//! it tried again. Its destination does not suffer for it.
//!
//! A message that ends the whole process is another matter: see [`crate::engine::in_hand`].

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use attempt::{Facts, Reason};
use mail_types::QueueId;
use outbound_queue::{Edit, Leased, QueueError, QueueStore, Target};
use parking_lot::Mutex;

use crate::books::{Entry, Pace};
use crate::decide::verdict::{Failure, Verdict};
use crate::engine::Inner;
use crate::engine::lane::Lane;
use crate::worker::enter;
use crate::worker::findings::Findings;

/// How often each message has failed us since the start.
#[derive(Default)]
pub(crate) struct Strikes(Mutex<BTreeMap<QueueId, u32>>);

impl Strikes {
    /// Counts one more; true if that was the last one.
    #[must_use]
    fn strike(&self, id: QueueId) -> bool {
        let mut strikes = self.0.lock();
        let count = strikes.entry(id).or_default();
        *count += 1;
        if *count >= TRIES {
            strikes.remove(&id);
            return true;
        }
        if strikes.len() > REMEMBERED {
            strikes.pop_first();
        }
        false
    }
}

/// What a panic said.
pub(crate) struct Panicked(String);

impl Panicked {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self(text.unwrap_or_else(|| "a panic without words".to_owned()))
    }
}

/// Does the work; a panic in it is an error and not the end of the worker. The work is to be dropped then.
pub(crate) async fn caught<F: Future>(mut work: Pin<&mut F>) -> Result<F::Output, Panicked> {
    std::future::poll_fn(move |context| {
        // What the work holds is dropped with it, and locks here are never poisoned.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(Panicked::of(&*payload))),
        }
    })
    .await
}

/// The books of an attempt that panicked.
pub(crate) async fn panicked<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Lane,
    leased: &Leased,
    panic: &Panicked,
) {
    tracing::error!(queue_id = %leased.id, destination = %leased.destination, panic = panic.0, "the delivery of a message panicked");
    lane.inconclusive();
    let detail = format!(
        "Something on this relay is broken: the attempt panicked ({}).",
        panic.0
    );
    let failure = Failure::new(Reason::Local, detail);
    let verdict = Verdict::Deferred(Arc::new(failure));
    let mut found = Findings::uniform(leased.recipients.len(), &verdict);
    found.ours = true;
    judge(inner, leased, &mut found);
    let (settings, domain) = (
        inner.settings.load_full(),
        lane.destination.host.to_string(),
    );
    let began = inner.now().wall;
    let entered = {
        let entry = Entry {
            leased,
            found: &found,
            requirement: None,
            domain: &domain,
            began,
            now: inner.now(),
            pace: Pace::Attempted,
        };
        let entering = enter(inner, &settings, &entry);
        caught(pin!(entering)).await
    };
    if entered.is_ok() {
        return;
    }
    // Not even its books can be kept.
    tracing::error!(queue_id = %leased.id, "the message is parked: what became of its attempt cannot be told");
    inner.give_back(leased);
    if let Err(error) = park(inner, vec![leased.id]).await {
        tracing::error!(queue_id = %leased.id, %error, "the message could not be parked");
    }
}

/// A suspect whose turn it is not yet (see [`crate::engine::in_hand`]) goes back in a moment. That is no attempt,
/// and nothing about it is written.
pub(crate) fn later<S: QueueStore>(inner: &Arc<Inner<S>>, leased: &Leased) {
    let pause = TURN.mul_f64(0.5 + inner.dice.unit());
    let (inner, leased) = (Arc::downgrade(inner), leased.clone());
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        if let Some(inner) = inner.upgrade() {
            inner.give_back(&leased);
            if leased.bounce || !inner.paused.list().is_empty() {
                // A paused destination looks for what is returned only when told; it may have been meanwhile.
                inner.returns.fetch_add(1, Ordering::AcqRel);
                inner.workers.progress.notify_one();
            }
        }
    });
}

/// Parks messages without an attempt.
pub(crate) async fn park<S: QueueStore>(
    inner: &Inner<S>,
    ids: Vec<QueueId>,
) -> Result<(), QueueError> {
    let target = Target::Ids(ids);
    let parked = inner.queue.edit(&target, Edit::Park, false, inner.now());
    parked.await?;
    Ok(())
}

/// After the last try the message is parked instead of deferred.
pub(crate) fn judge<S: QueueStore>(inner: &Inner<S>, leased: &Leased, found: &mut Findings) {
    if !found.ours || !inner.strikes.strike(leased.id) {
        return;
    }
    for verdict in found.verdicts.iter_mut().flatten() {
        if let Verdict::Deferred(failure) = verdict {
            let facts = Facts {
                specifics: Some(failure.detail.trim_end_matches('.')),
                ..Facts::default()
            };
            let detail = Reason::Parked.sentence(&facts);
            *verdict = Verdict::Parked(Arc::new(Failure::new(Reason::Parked, detail)));
        }
    }
}

/// About how long a message waits whose turn it is not. A lease lasts much longer.
const TURN: Duration = Duration::from_secs(5);
/// A message is tried so often although it fails us.
const TRIES: u32 = 3;
/// Messages whose tries are counted.
const REMEMBERED: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h7_08_the_third_strike_is_the_last_and_memory_is_bounded() {
        let strikes = Strikes::default();
        let id = QueueId::from_raw;
        assert!(!strikes.strike(id(1)) && !strikes.strike(id(2)) && !strikes.strike(id(1)));
        assert!(strikes.strike(id(1)));
        assert!(!strikes.strike(id(1)), "released, it has its tries again");
        for n in 0..30_000 {
            let _ = strikes.strike(id(100 + n));
        }
        assert!(strikes.0.lock().len() <= REMEMBERED);
    }

    #[tokio::test]
    async fn h7_08_a_panic_is_an_error_of_the_work_alone() {
        let fine = caught(pin!(async { 7 })).await;
        assert!(matches!(fine, Ok(7)));
        let work = async {
            tokio::task::yield_now().await;
            panic!("no {}", "luck");
        };
        let Err(panic) = caught(pin!(work)).await;
        assert_eq!(panic.0, "no luck");
    }
}
