//! Mail of a destination that is being left alone: it waits, unless its time is over.
//!
//! Each message is put off once: it gets its event and a word in the queue, which then holds it until
//! the suspension ends, however often that is prolonged. It comes here again only to have its sender
//! told of the delay, and to be given up.
//!
//! Nothing here connects. Mail at the end of its life is given up with the cause for which the
//! destination is suspended, after a fresh look at record and policy where one is enforced (RFC 8461
//! section 5): if the policy has changed, the mail gets one more real attempt instead.

use std::sync::Arc;
use std::time::Duration;

use attempt::Reason;
use mail_types::Timestamp;
use outbound_queue::{Leased, QueueStore};
use tokio::task::JoinSet;

use crate::books::blame::demanded_by;
use crate::books::recalled::{Cause, Recalled, recall};
use crate::books::{Entry, Pace};
use crate::decide::demand::Requirement;
use crate::decide::destination::Suspension;
use crate::decide::plan::Plan;
use crate::decide::policy::{Judgement, is_enforced, judge};
use crate::decide::verdict::{Failure, Verdict};
use crate::engine::Inner;
use crate::engine::aftermath::{policy_text, says_otherwise};
use crate::engine::lane::Lane;
use crate::settings::Settings;
use crate::worker::findings::Findings;
use crate::worker::{RENEW, deliver, enter, keeping_leases, lease, plan};

/// Defers everything that is due at a suspended destination. One task at a time does.
pub(crate) async fn put_off<S: QueueStore>(inner: &Arc<Inner<S>>, lane: &Arc<Lane>) {
    let Some(_turn) = lane.put_off() else { return };
    // Whatever the clocks did: as long as the lane is left alone the queue gives out only what is new.
    if tell_queue(inner, lane).is_none() {
        return;
    }
    loop {
        let leases = lease(inner, lane, BATCH).await.unwrap_or_default();
        // It may have ended since, or gone on: an operator, a reload, a session that was under way.
        let suspension = lane.suspension(inner.now().monotonic);
        let Some(suspension) = suspension.filter(|_| !leases.is_empty() && !inner.is_stopping())
        else {
            leases.iter().for_each(|leased| inner.give_back(leased));
            return;
        };
        // Many may be at their end at once; each may have to wait a minute for a look at a policy.
        let mut ends = JoinSet::new();
        for leased in &leases {
            if let Some(end) = suspend_or_end(inner, lane, leased, &suspension).await {
                ends.spawn(end);
            }
        }
        while ends.join_next().await.is_some() {}
        if lane.is_narrow(inner.now().monotonic) {
            return; // What went back for want of a place would come again at once.
        }
    }
}

/// Tells the queue until when the destination is left alone, if it is.
pub(crate) fn tell_queue<S: QueueStore>(inner: &Inner<S>, lane: &Lane) -> Option<Suspension> {
    let now = inner.now();
    let suspension = lane.suspension(now.monotonic)?;
    let pause = suspension.until.saturating_sub(now.monotonic);
    let until = now.wall + pause.max(SHORTEST);
    inner.queue.suspend(&lane.key, Some(until), now);
    if lane.suspension(now.monotonic).is_none() {
        // Lifted in between: that is the last word.
        inner.queue.suspend(&lane.key, None, now);
    }
    Some(suspension)
}

/// [`put_off`] for what is in a lane's hands.
pub(crate) async fn put_off_backlog<S: QueueStore>(inner: &Arc<Inner<S>>, lane: &Arc<Lane>) {
    match lane.suspension(inner.now().monotonic) {
        Some(suspension) => {
            for leased in lane.drain() {
                suspend(inner, lane, &leased, &suspension).await;
            }
        }
        None => lane
            .drain()
            .iter()
            .for_each(|leased| inner.give_back(leased)),
    }
}

/// Delivers outside of a worker, and counts as one: a stop waits for it.
pub(crate) async fn deliver_here<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Arc<Lane>,
    leased: &Leased,
) {
    let _worker = inner.workers.begin();
    // Not before that: whoever stops us either sees this worker, or this one the stop.
    if inner.is_stopping() {
        return inner.give_back(leased);
    }
    let mut held = None;
    let work = std::pin::pin!(deliver(inner, lane, leased, &mut held, inner.now()));
    let renewal = std::pin::pin!(tokio::time::sleep(RENEW));
    keeping_leases(inner, lane, leased, renewal, work).await;
}

/// Defers a message because its destination is left alone; no attempt is counted. What is at its end
/// is given up behind the caller's back.
pub(crate) async fn suspend<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Arc<Lane>,
    leased: &Leased,
    suspension: &Suspension,
) {
    if let Some(end) = suspend_or_end(inner, lane, leased, suspension).await {
        let (inner, lane) = (Arc::clone(inner), Arc::clone(lane));
        tokio::spawn(async move {
            end.await;
            inner.look_for_returns(&lane);
        });
    }
}

/// The same; for a message at its end the work that gives it up, which may take a minute.
async fn suspend_or_end<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Arc<Lane>,
    leased: &Leased,
    suspension: &Suspension,
) -> Option<impl Future<Output = ()> + Send + use<S>> {
    let now = inner.now();
    if leased.bounce {
        // An operator returns it: no host is asked.
        deliver_here(inner, lane, leased).await;
        return None;
    }
    // An operator wants this one tried; its failure is one of the outage that is known.
    // The order stands until there was an attempt: the host may have no place just now.
    if lane.is_ordered(leased.id) {
        deliver_here(inner, lane, leased).await;
        return None;
    }
    // RFC 8689 section 4.2.2: what suspended the destination is what this mail sets aside.
    if leased.envelope.tls_required_no && suspension.cause.reason.status().subject() == SECURITY {
        deliver_here(inner, lane, leased).await;
        return None;
    }
    if leased.put_off && now.wall < leased.due && now.wall < leased.expires {
        // It was put off before, and was out for nothing: a probe failed.
        inner.give_back(leased);
        return None;
    }
    if now.wall >= leased.expires {
        let (inner, lane) = (Arc::clone(inner), Arc::clone(lane));
        let (leased, suspension) = (leased.clone(), suspension.clone());
        return Some(async move { give_up(&inner, &lane, &leased, &suspension).await });
    }
    let settings = inner.settings.load_full();
    let pause = suspension.until.saturating_sub(now.monotonic);
    let domain = lane.destination.host.to_string();
    let detail = format!(
        "Delivery to {domain} is suspended for {} s after repeated failures. The last one: {}",
        pause.as_secs().max(1),
        suspension.cause.detail
    );
    let failure = Failure {
        reason: Reason::DestinationSuspended,
        case: attempt::Case::Usual,
        status: suspension.cause.status,
        reply: None,
        stage: None,
        detail,
    };
    let mut found = Findings::uniform(
        leased.recipients.len(),
        &Verdict::Deferred(Arc::new(failure)),
    );
    let mx = lane.last_seen().and_then(|(_, decider)| decider);
    found.suspended = Some(Box::new(Cause {
        reason: suspension.cause.reason,
        case: suspension.cause.case,
        mx: mx.map(|decider| decider.shown.as_str().into()),
    }));
    // What is demanded is told by what was known last: nobody is asked for this.
    let plan = lane.last_plan();
    let requirement = plan.and_then(|plan| demands(&plan, lane, leased, &settings, now.wall));
    let pace = Pace::PutOff(now.wall + pause.max(SHORTEST));
    let entry = Entry {
        leased,
        found: &found,
        requirement: requirement.as_ref(),
        domain: &domain,
        began: now.wall,
        now: inner.now(),
        pace,
    };
    enter(inner, &settings, &entry).await;
    None
}

/// What a message demands, if that is known.
fn demands(
    plan: &Plan,
    lane: &Lane,
    leased: &Leased,
    settings: &Settings,
    now: Timestamp,
) -> Option<Requirement> {
    match judge(
        plan,
        &lane.destination.host,
        &leased.envelope,
        settings,
        now,
    ) {
        Judgement::Known(inputs) => Some(Requirement::of(&inputs)),
        Judgement::Wait { .. } => None,
    }
}

/// The end of a message whose destination is suspended: what the last real attempt found counts.
async fn give_up<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Lane,
    leased: &Leased,
    suspension: &Suspension,
) {
    let settings = inner.settings.load_full();
    let mut read = inner.now();
    let now = read.wall;
    let plan = plan(inner, lane, &settings, &mut read).await;
    if is_enforced(plan.discovery.as_ref(), now)
        && let Some(policy_domain) = &plan.policy_domain
    {
        let before = plan.discovery.as_ref().map(policy_text);
        let look = inner.policies.fresh_look(policy_domain).await;
        if says_otherwise(&look, before.as_ref()) {
            inner.look_again();
            lane.resume();
            inner.queue.suspend(&lane.key, None, inner.now());
            inner.give_back(leased);
            return;
        }
    }
    let requirement = demands(&plan, lane, leased, &settings, now);
    let failure = Failure {
        reason: suspension.cause.reason,
        case: suspension.cause.case,
        status: suspension.cause.status,
        reply: None,
        stage: None,
        detail: suspension.cause.detail.clone(),
    };
    let mut found = Findings::uniform(
        leased.recipients.len(),
        &Verdict::Deferred(Arc::new(failure)),
    );
    if let Some((tried, decider)) = lane.last_seen() {
        found.tried = tried;
        found.decider = decider;
    }
    let (to, reason) = (&leased.destination, suspension.cause.reason);
    let by = demanded_by(to, requirement.as_ref(), reason, found.stood());
    found.recalled = Some(Box::new(Recalled {
        at: recall(leased).1.at,
        by,
        ..Recalled::default()
    }));
    let domain = lane.destination.host.to_string();
    let entry = Entry {
        leased,
        found: &found,
        requirement: requirement.as_ref(),
        domain: &domain,
        began: now,
        now: inner.now(),
        pace: Pace::Attempted,
    };
    enter(inner, &settings, &entry).await;
}

/// Messages put off together.
const BATCH: usize = 20;
const SHORTEST: Duration = Duration::from_secs(1);
/// Enhanced status X.7.Z: the hosts are there and do not meet a demand.
const SECURITY: u16 = 7;
