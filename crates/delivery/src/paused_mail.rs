//! Mail of paused destinations: its senders are told of the delay, as those of all mail that waits by itself. Of held
//! mail they are not: somebody has looked at the message itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use attempt::{Case, Reason};
use dsn::Action;
use mail_types::{Host, Timestamp};
use outbound_queue::{
    Destination, Filter, Leased, MessageState, MessageView, QueueError, QueueStore, RecipientState,
};

use crate::books::Pace;
use crate::engine::Inner;
use crate::findings::Findings;
use crate::recalled::{Recalled, recall};
use crate::verdict::{Failure, Verdict};
use crate::worker::enter;

/// Tells the senders of what is late by now. Called every few seconds.
pub(crate) async fn warn<S: QueueStore>(inner: &Arc<Inner<S>>) -> Result<(), QueueError> {
    let (retry, now) = (inner.settings.load().retry.clone(), inner.now());
    let epoch = Timestamp::default();
    let Some(delay) = retry.warning_due(epoch).map(|due| due.since(epoch)) else {
        return Ok(());
    };
    let every = (delay / 16).min(EVERY).as_millis();
    let looked = u128::from(inner.paused_looked.load(Ordering::Relaxed));
    let millis = now.monotonic.as_millis();
    if looked != 0 && millis.saturating_sub(looked) < every {
        return Ok(());
    }
    let millis = u64::try_from(millis).unwrap_or(u64::MAX).max(1);
    inner.paused_looked.store(millis, Ordering::Relaxed);
    for host in inner.paused.list().keys() {
        let filter = Filter {
            domain: Some(host.to_string().into()),
            arrived_before: Some(now.wall - delay),
            ..Filter::default()
        };
        let mut cursor = None;
        loop {
            let page = inner
                .queue
                .list(&filter, cursor.as_ref(), PAGE, inner.now());
            let page = page.await?;
            for message in &page.messages {
                for destination in late(message, host, now.wall) {
                    let leased = inner
                        .queue
                        .lease_one(message.id, &destination, inner.now())?;
                    if let Some(leased) = leased {
                        tell(inner, host, &leased).await;
                    }
                }
            }
            cursor = page.next;
            if cursor.is_none() || inner.is_stopping() {
                break;
            }
        }
    }
    Ok(())
}

/// Where it has recipients at this host of whose delay its sender is to be told.
fn late(message: &MessageView, host: &Host, now: Timestamp) -> Vec<Destination> {
    let mut late = Vec::new();
    // Too old is told in another way.
    if message.bounce || message.state == MessageState::Held || message.expires <= now {
        return late;
    }
    let envelope = &message.envelope;
    for (state, recipient) in message.recipients.iter().zip(&envelope.recipients) {
        let is_late = matches!(state.state, RecipientState::Pending(_))
            && !state.warned
            && recipient.mailbox.host() == host
            && dsn::entitled(envelope, recipient, Action::Delayed);
        if is_late && !late.contains(&state.destination) {
            late.push(state.destination.clone());
        }
    }
    late
}

async fn tell<S: QueueStore>(inner: &Arc<Inner<S>>, host: &Host, leased: &Leased) {
    let (settings, now) = (inner.settings.load_full(), inner.now().wall);
    if leased.bounce || now >= leased.expires || !inner.paused.is_paused(host) {
        return inner.give_back(leased);
    }
    let domain = host.to_string();
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
    let pace = Pace::Told(settings.expire_held.then_some(leased.expires));
    enter(inner, &settings, leased, &found, None, &domain, now, pace).await;
}

const PAGE: usize = 500;
const EVERY: Duration = Duration::from_secs(600);
