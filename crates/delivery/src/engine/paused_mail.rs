//! Mail of paused destinations: kept back until somebody resumes them, its senders told of the delay.
//!
//! It waits as that of suspended destinations does: put off once, its stored time that of its next duty (the sender's
//! warning), and the queue holds the rest however much there is. A pause that lasts a few minutes writes nothing
//! about any message: only what has been due for a while is put off, what an operator returns goes at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use attempt::{Case, Reason};
use dsn::Action;
use mail_types::{Host, RetrySchedule, Timestamp};
use outbound_queue::{
    AttemptNote, Destination, Effort, Finish, Leased, LeasedRecipient, Now, Outcome, QueueStore,
};
use parking_lot::Mutex;

use crate::books::history::as_before;
use crate::books::recalled::{Recalled, recall};
use crate::books::{Entry, Pace};
use crate::decide::verdict::{Failure, Verdict};
use crate::engine::Inner;
use crate::engine::lane::Lane;
use crate::engine::suspended::deliver_here;
use crate::settings::Settings;
use crate::worker::findings::Findings;
use crate::worker::{enter, lease_due_since};

/// What the queue was told to hold until its host is resumed.
#[derive(Default)]
pub(crate) struct KeptBack(Mutex<HashMap<Host, BTreeSet<Destination>>>);

impl KeptBack {
    fn note(&self, lane: &Lane) {
        let mut all = self.0.lock();
        let of_host = all.entry(lane.destination.host.clone()).or_default();
        of_host.insert(lane.key.clone());
    }

    fn take(&self, host: &Host) -> BTreeSet<Destination> {
        self.0.lock().remove(host).unwrap_or_default()
    }
}

/// How long mail of a paused destination is due before it is put off, and how often that is looked for; `None`: no
/// sender is warned, and it can stay as it is.
pub(crate) fn patience(retry: &RetrySchedule) -> Option<Duration> {
    let arrival = Timestamp::default();
    let delay = retry.warning_due(arrival)?.since(arrival);
    Some((delay / 32).min(LONGEST))
}

/// Lets go on what was kept back, since its host is not paused any more.
pub(crate) fn release<S: QueueStore>(inner: &Inner<S>, host: &Host) {
    let now = inner.now();
    for key in inner.kept_back.take(host) {
        inner.queue.suspend(&key, None, now);
    }
}

/// Hands back what an operator returns, which the queue gives out before all others, and puts off what has been due
/// for a while.
///
/// `returns` counts as seen once nothing is left to return; until then the scheduler comes again.
pub(crate) async fn keep_back<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Arc<Lane>,
    returns: u64,
) {
    let Some(_turn) = lane.put_off() else { return };
    while hold(inner, lane) {
        let settings = inner.settings.load_full();
        let since = match patience(&settings.retry) {
            Some(patience) => inner.now().wall - patience,
            // What is returned is due since the beginning of time.
            None => Timestamp::default(),
        };
        let Some(leases) = lease_due_since(inner, lane, BATCH, since).await else {
            return;
        };
        if leases.is_empty() {
            lane.saw_returns(returns);
            return;
        }
        for leased in &leases {
            if inner.is_stopping() || !inner.paused.is_paused(&lane.destination.host) {
                inner.give_back(leased);
            } else if leased.bounce {
                deliver_here(inner, lane, leased).await;
            } else {
                put_off(inner, lane, &settings, leased).await;
            }
        }
        if inner.is_stopping() {
            return;
        }
    }
}

/// Has the queue hold what was put off until somebody resumes the host. False if somebody has.
fn hold<S: QueueStore>(inner: &Inner<S>, lane: &Lane) -> bool {
    let (host, now) = (&lane.destination.host, inner.now());
    inner
        .queue
        .suspend(&lane.key, Some(now.wall + FOR_GOOD), now);
    // Noted after the queue was told, and only then looked at: whoever resumes the host either finds it noted, or is seen
    // here.
    inner.kept_back.note(lane);
    let is_paused = inner.paused.is_paused(host);
    if !is_paused {
        // Resumed in between: that is the last word.
        inner.queue.suspend(&lane.key, None, now);
        release(inner, host);
    }
    is_paused
}

/// Leaves a message until its next duty, and tells its sender of the delay if it is time for that.
async fn put_off<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Lane,
    settings: &Settings,
    leased: &Leased,
) {
    let now = inner.now();
    let (retry, arrived) = (&settings.retry, leased.envelope.arrival.at);
    let is_over = now.wall >= leased.expires;
    let warned = leased.recipients.iter().all(|slot| slot.warned);
    let look_at = match is_over {
        true => look_past_end(now.wall, leased.expires),
        false => retry.next_duty(now.wall, arrived, leased.expires, warned),
    };
    let is_late = retry.is_warning_due(now.wall, arrived) && !(is_over && settings.expire_held);
    if !is_late
        || !leased
            .recipients
            .iter()
            .any(|slot| is_to_tell(leased, slot))
    {
        return leave(inner, leased, look_at, now);
    }
    let domain = lane.destination.host.to_string();
    let detail = format!("Delivery to {domain} is paused by the operator of this relay.");
    let failure = Failure {
        case: Case::ByOperator,
        ..Failure::new(Reason::Local, detail)
    };
    let verdict = Verdict::Deferred(Arc::new(failure));
    let mut found = Findings::uniform(leased.recipients.len(), &verdict);
    found.recalled = Some(Box::new(Recalled {
        at: recall(leased).1.at,
        ..Recalled::default()
    }));
    let ends = settings.expire_held.then_some(leased.expires);
    let pace = Pace::Paused { look_at, ends };
    let entry = Entry {
        leased,
        found: &found,
        requirement: None,
        domain: &domain,
        began: now.wall,
        now: inner.now(),
        pace,
    };
    enter(inner, settings, &entry).await;
}

/// When mail past its end comes up again while it is kept back: there is nothing to do then, so that each look is twice as
/// far off as the one before. One is needed where the destination is resumed, and left alone before all were tried.
fn look_past_end(now: Timestamp, expires: Timestamp) -> Timestamp {
    now + now.since(expires).clamp(A_DAY, LAST_LOOK)
}

fn is_to_tell(leased: &Leased, slot: &LeasedRecipient) -> bool {
    let envelope = &leased.envelope;
    let recipient = envelope.recipients.get(slot.index);
    !slot.warned && recipient.is_some_and(|r| dsn::entitled(envelope, r, Action::Delayed))
}

/// Puts a message off without a word to anybody.
fn leave<S: QueueStore>(inner: &Inner<S>, leased: &Leased, look_at: Timestamp, now: Now) {
    let mut notes: Vec<AttemptNote> = Vec::new();
    let outcomes = leased.recipients.iter().map(|slot| {
        let note = as_before(slot);
        let at = notes.iter().position(|n| *n == note).unwrap_or_else(|| {
            notes.push(note);
            notes.len() - 1
        });
        let outcome = Outcome::Deferred {
            next_attempt: look_at,
            note: at,
        };
        (slot.index, outcome)
    });
    let finish = Finish {
        lease: leased.token,
        outcomes: outcomes.collect(),
        notes,
        told: Vec::new(),
        warned: Vec::new(),
        effort: Effort::PutOff,
        messages: Vec::new(),
    };
    if let Err(error) = inner.queue.finish(finish, now) {
        tracing::debug!(queue_id = %leased.id, %error, "mail of a paused destination could not be put off");
    }
}

/// Messages put off together.
const BATCH: usize = 20;
const A_DAY: Duration = Duration::from_hours(24);
const LAST_LOOK: Duration = Duration::from_hours(30 * 24);
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// Nobody pauses a destination for longer without a restart, and after one the queue is told anew.
const FOR_GOOD: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_that_is_kept_past_its_end_has_a_record_now_and_then() {
        let expires = Timestamp::from_secs(1_000_000);
        let records_in = |days: u32| {
            let end = expires + A_DAY * days;
            let mut looks = vec![expires];
            while let Some(next) = looks.last().map(|last| look_past_end(*last, expires))
                && next <= end
            {
                looks.push(next);
            }
            // Resumed at any time it is looked at after as long as it was kept past its end, but for the first day.
            assert!(looks.is_sorted_by(|a, b| {
                b.since(*a) <= a.since(expires).max(A_DAY) && b.since(*a) >= A_DAY
            }));
            looks.len()
        };
        assert_eq!((records_in(0), records_in(1)), (1, 2));
        assert!(records_in(30) <= 7 && records_in(365) <= 19);
    }
}
