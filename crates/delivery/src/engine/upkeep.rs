//! What has to be done from time to time: summaries of notifications that were withheld, held mail at the
//! end of its life.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use attempt::Reason;
use mail_types::Timestamp;
use outbound_queue::{Edit, Filter, Incoming, MessageState, QueueError, QueueStore, Target};

use crate::books::notify;
use crate::engine::Inner;
use dsn::NoticeSummary;

/// `running` for so long.
pub(crate) async fn look<S: QueueStore>(inner: &Arc<Inner<S>>, running: Duration) {
    inner.in_hand.beat(inner.now().monotonic);
    let Ok(_alone) = inner.upkeep.try_lock() else {
        return;
    };
    if inner.in_hand.is_well_after(running) {
        inner.in_hand.all_is_well();
    }
    let settings = inner.settings.load_full();
    let now = inner.now();
    let ended = inner.notices.lock().ended(&settings.notices, now.monotonic);
    summarise(inner, &ended).await;
    if let Err(error) = follow_the_clock(inner).await {
        tracing::warn!(%error, "mail that waits for a time which the clock has gone back before could not be made due");
    }
    if let Err(error) = follow_dns(inner).await {
        tracing::warn!(%error, "mail that waited for DNS could not be made due; it keeps its schedule");
    }
    let is_believed = inner.nxdomain_guard.lock().has_ended(now.monotonic);
    if is_believed {
        inner.observer.dns_believed();
    }
    let millis = u64::try_from(now.monotonic.as_millis()).unwrap_or(u64::MAX);
    let looked = inner.held_looked.load(Ordering::Relaxed);
    if settings.expire_held && (looked == 0 || millis.saturating_sub(looked) >= HELD_EVERY) {
        inner.held_looked.store(millis.max(1), Ordering::Relaxed);
        if let Err(error) = expire_held(inner, now.wall).await {
            tracing::warn!(%error, "held mail could not be looked through for what is too old");
        }
    }
}

/// An orderly end: what was withheld is told now.
pub(crate) async fn end<S: QueueStore>(inner: &Inner<S>) {
    let settings = inner.settings.load_full();
    let all = inner.notices.lock().ended(&settings.notices, Duration::MAX);
    summarise(inner, &all).await;
}

async fn summarise<S: QueueStore>(inner: &Inner<S>, summaries: &[NoticeSummary]) {
    if summaries.is_empty() {
        return;
    }
    for summary in summaries {
        inner.observer.notices_summarised(summary);
    }
    if let Err(error) = send(inner, summaries).await {
        tracing::error!(%error, "the summary of notifications that were not sent is lost; the log has them all");
    }
}

async fn send<S: QueueStore>(
    inner: &Inner<S>,
    summaries: &[NoticeSummary],
) -> Result<(), QueueError> {
    let (settings, now) = (inner.settings.load_full(), inner.now());
    let mut incoming = inner.queue.begin(None, now)?;
    let id = incoming.id();
    let notices = &settings.notices;
    let summary = dsn::summarise(
        summaries,
        notices,
        &notify::reporter(&settings),
        id,
        now.wall,
    );
    let Some((envelope, text)) = summary else {
        return Ok(());
    };
    incoming.write(text.as_bytes()).await?;
    incoming.commit(envelope, false, now).await?;
    Ok(())
}

/// Milliseconds by which the clock was set back and believed in all.
fn set_back<S>(inner: &Inner<S>) -> u64 {
    let set_back = inner.policies.clock_set_back();
    u64::try_from(set_back.as_millis()).unwrap_or(u64::MAX)
}

/// Whether [`follow_the_clock`] has nothing left to do.
pub(crate) fn has_followed_the_clock<S>(inner: &Inner<S>) -> bool {
    inner.set_back.load(Ordering::Relaxed) == set_back(inner)
}

/// The clock was set back and is believed: the times of next attempts lie in a far future (row
/// H8-02). They are due now; windows and pacing spread them.
async fn follow_the_clock<S: QueueStore>(inner: &Inner<S>) -> Result<(), QueueError> {
    let millis = set_back(inner);
    if inner.set_back.load(Ordering::Relaxed) == millis {
        return Ok(());
    }
    let deferred = Target::Filter(Filter {
        state: Some(MessageState::Deferred),
        ..Filter::default()
    });
    inner
        .queue
        .edit(&deferred, Edit::Retry, false, inner.now())
        .await?;
    inner.set_back.store(millis, Ordering::Relaxed);
    inner.workers.progress.notify_one();
    Ok(())
}

/// Look-ups work again: what was put down to us because they did not is due.
async fn follow_dns<S: QueueStore>(inner: &Inner<S>) -> Result<(), QueueError> {
    // Taken before the mail is made due: who is blamed from here on is woken again.
    if inner.resolver.fault().is_some() || !inner.missed_dns.take(inner.now().monotonic) {
        return Ok(());
    }
    // What was learnt meanwhile is not to hold it up once more.
    inner.policies.forget_failed_look_ups(None);
    inner.look_again();
    // A message of which a part is due already is one of those that are due; held mail stays out.
    for state in [MessageState::Deferred, MessageState::Due] {
        let ours = Target::Filter(Filter {
            state: Some(state),
            reason: Some(Reason::Local.into()),
            ..Filter::default()
        });
        let edited = inner.queue.edit(&ours, Edit::Retry, false, inner.now());
        if let Err(error) = edited.await {
            inner.missed_dns.again();
            return Err(error.into());
        }
    }
    inner.workers.progress.notify_one();
    Ok(())
}

/// Held mail, and that of paused destinations, is returned at the end of its life
/// (`queue.expire-held`).
async fn expire_held<S: QueueStore>(inner: &Inner<S>, now: Timestamp) -> Result<(), QueueError> {
    let settings = inner.settings.load_full();
    let held = Filter {
        state: Some(MessageState::Held),
        ..Filter::default()
    };
    let paused = inner.paused.list();
    let paused = paused.keys().map(|host| Filter {
        domain: Some(host.to_string().into()),
        ..Filter::default()
    });
    let retry = &settings.retry;
    let shortest = retry.lifetime_of(false).min(retry.lifetime_of(true));
    let mut changed = 0;
    for filter in std::iter::once(held).chain(paused) {
        let filter = Filter {
            arrived_before: Some(now - shortest),
            ..filter
        };
        let mut cursor = None;
        loop {
            let page = inner
                .queue
                .list(&filter, cursor.as_ref(), PAGE, inner.now())
                .await?;
            let old = page
                .messages
                .iter()
                .filter(|m| m.expires <= now && !m.bounce);
            let target = Target::Ids(old.map(|m| m.id).collect());
            let edited = inner.queue.edit(&target, Edit::Bounce, false, inner.now());
            changed += edited.await?.changed;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    if changed > 0 {
        inner.returns.fetch_add(1, Ordering::AcqRel);
        inner.workers.progress.notify_one();
    }
    Ok(())
}

const PAGE: usize = 500;
/// Milliseconds between two looks at held mail.
const HELD_EVERY: u64 = 10 * 60 * 1000;
