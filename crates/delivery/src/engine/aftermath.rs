//! What an attempt means for the destination and for the policy.

use std::sync::Arc;

use attempt::{Facts, PolicySource, Reason, Weakened};
use mail_types::Domain;
use mta_sts::{Mode, MxPattern};
use outbound_queue::{Edit, Filter, MessageState, QueueStore, Target};
use policy_cache::{Discovery, FreshLook, Outcome, WouldFail};

use crate::books::blame;
use crate::decide::demand::Requirement;
use crate::decide::destination::{Cause, Recovery};
use crate::decide::failure::{Weight, as_transient};
use crate::decide::plan::Plan;
use crate::decide::verdict::{Decider, Verdict};
use crate::engine::Inner;
use crate::engine::lane::Lane;
use crate::engine::suspended::tell_queue;
use crate::worker::findings::Findings;

/// Draws the conclusions from an attempt that is in the books.
pub(crate) async fn learn<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Lane,
    plan: &Plan,
    found: &Findings,
    requirement: Option<&Requirement>,
) {
    if found.alive {
        lane.settled();
        if found.weakened_by == Some(Weakened::TlsRequiredNo) {
            return; // That says nothing about mail whose demands hold.
        }
        match lane.succeeded(inner.now().monotonic) {
            Recovery::None => {}
            // Mail that is due may wait for nothing but this.
            Recovery::Grown => inner.workers.progress.notify_one(),
            Recovery::Recovered => {
                wake(inner, lane).await;
                inner.workers.progress.notify_one();
            }
        }
        testing(inner, plan, found, requirement);
        return;
    }
    let side = |reason, case| blame::side(&lane.key, requirement, (reason, case), found);
    let Some(failure) = found.failures.last() else {
        // What is wrong with this message here says nothing about the destination.
        if let Some(Some(Verdict::Deferred(failure))) = found.verdicts.first()
            && failure.reason != Reason::Local
            && !found.held_back
        {
            let cause = Cause {
                reason: failure.reason,
                case: failure.case,
                side: side(failure.reason, failure.case),
                status: failure.status,
                detail: failure.detail.clone(),
            };
            fail(inner, lane, cause);
        }
        return;
    };
    if found.failures.iter().all(|f| f.weight == Weight::Missing) {
        return; // The hosts are fine; this message does not fit them.
    }
    if requirement.is_some_and(Requirement::requiretls) || failure.reason == Reason::Local {
        return; // It might have been otherwise for another message.
    }
    let cause = Cause {
        reason: failure.reason,
        case: failure.case,
        side: side(failure.reason, failure.case),
        status: as_transient(failure.status),
        detail: failure.detail.clone(),
    };
    lane.saw(found);
    fail(inner, lane, cause);
    // RFC 8461 section 8.1: the policy may have changed under the same id (decision AMB-18). The
    // cache holds this to once in five minutes.
    if requirement.is_some_and(Requirement::enforces_policy)
        && found.failures.iter().any(|f| f.weight == Weight::Unfit)
        && let Some(domain) = plan.policy_domain.clone()
    {
        let (inner, reason) = (Arc::clone(inner), failure.reason);
        let (key, before) = (lane.key.clone(), plan.discovery.as_ref().map(policy_text));
        tokio::spawn(async move {
            let look = inner.policies.force_refresh(&domain).await;
            if says_otherwise(&look, before.as_ref()) {
                inner.look_again();
                retry_now(&inner, &key, reason).await;
            }
        });
    }
}

/// An attempt failed for the destination as a whole. Tells queue and log if it is left alone from now on.
fn fail<S: QueueStore>(inner: &Inner<S>, lane: &Lane, cause: Cause) {
    let now = inner.now().monotonic;
    let begins = lane.failed(cause, now);
    let suspension = tell_queue(inner, lane);
    if let Some(suspension) = suspension.filter(|_| begins) {
        let pause = suspension.until.saturating_sub(now);
        let settings = inner.settings.load();
        let (host, route) = settings.routes.in_words(&lane.destination);
        let (observer, route) = (&inner.observer, route.as_deref());
        observer.suspended(&host, route, &suspension, pause);
    }
}

/// What the policy in force says; `None` if there is none.
pub(crate) fn policy_text(discovery: &Discovery) -> Option<String> {
    match &discovery.outcome {
        Outcome::Policy(applied) => Some(applied.policy.policy.text().to_owned()),
        Outcome::NoPolicy(_) | Outcome::Wait { .. } => None,
    }
}

/// Whether a look at the policy after a failure says otherwise than what the attempt was judged by. That
/// we cannot, or may not, ask now says nothing.
pub(crate) fn says_otherwise(look: &FreshLook, before: Option<&Option<String>>) -> bool {
    let is_known = match &look.discovery.outcome {
        Outcome::Policy(_) => true,
        Outcome::NoPolicy(_) => look.confirmed,
        Outcome::Wait { .. } => false,
    };
    is_known && Some(&policy_text(&look.discovery)) != before
}

/// RFC 8461 section 5: testing is evaluated and reported, and changes nothing else.
fn testing<S: QueueStore>(
    inner: &Inner<S>,
    plan: &Plan,
    found: &Findings,
    requirement: Option<&Requirement>,
) {
    let is_testing = |discovery: &Discovery| match &discovery.outcome {
        Outcome::Policy(applied) => applied.policy.mode() == Mode::Testing,
        Outcome::NoPolicy(_) | Outcome::Wait { .. } => false,
    };
    if !plan.discovery.as_ref().is_some_and(is_testing) {
        return;
    }
    let (Some(domain), Some(decider), Some(requirement)) =
        (&plan.policy_domain, &found.decider, requirement)
    else {
        return;
    };
    for policy in requirement.results(Some(&decider.deciding())) {
        if policy.source == PolicySource::MtaSts
            && policy.mode == Mode::Testing.as_str()
            && let Some(reason) = policy.reason
        {
            let failure = WouldFail {
                mx: decider.mx.as_str(),
                ip: decider.ip,
                reason: reason.key(),
                detail: &would_fail(plan, decider, reason),
            };
            inner.policies.report_testing_failure(domain, &failure);
        }
    }
}

/// What failed, and what enforcing the policy would have made of it.
fn would_fail(plan: &Plan, decider: &Decider, reason: Reason) -> String {
    let specifics = match (reason, plan.discovery.as_ref().map(|d| &d.outcome)) {
        (Reason::MxNotInPolicy, Some(Outcome::Policy(applied))) => {
            let listed = MxPattern::in_words(applied.policy.policy.mx());
            Some(format!("the policy lists only {listed}"))
        }
        _ => decider
            .tls
            .as_ref()
            .and_then(|tls| tls.fault.as_deref().map(str::to_owned)),
    };
    let facts = Facts {
        domain: plan.policy_domain.as_ref().map_or("", Domain::as_str),
        mx: Some(&decider.shown),
        specifics: specifics.as_deref(),
        ..Facts::default()
    };
    format!(
        "{} Were the policy enforced, this host would not get the mail, which would wait if no other host could.",
        reason.sentence(&facts)
    )
}

/// A destination that was left alone answers again: what waits for nothing else is due.
async fn wake<S: QueueStore>(inner: &Arc<Inner<S>>, lane: &Lane) {
    tracing::info!(destination = %lane.key, "the destination answers again; its waiting mail is due");
    // Mail that was put off needs no word about each.
    inner.queue.suspend(&lane.key, None, inner.now());
    for reason in [Reason::Connect, Reason::Timeout] {
        retry_now(inner, &lane.key, reason).await;
    }
}

async fn retry_now<S: QueueStore>(
    inner: &Inner<S>,
    key: &outbound_queue::Destination,
    reason: Reason,
) {
    let filter = Filter {
        destination: Some(key.clone()),
        state: Some(MessageState::Deferred),
        reason: Some(reason.into()),
        ..Filter::default()
    };
    let target = Target::Filter(filter);
    let edited = inner.queue.edit(&target, Edit::Retry, false, inner.now());
    if let Err(error) = edited.await {
        tracing::warn!(destination = %key, %error, "waiting mail could not be made due; it keeps its schedule");
    }
}

#[cfg(test)]
mod tests {
    use policy_cache::{NoPolicy, RecordTrouble, Waiting};

    use super::*;
    use mail_types::Timestamp;

    fn look(outcome: Outcome, confirmed: bool) -> FreshLook {
        FreshLook {
            discovery: Discovery {
                outcome,
                first_contact: false,
                valid_until: Timestamp::default(),
                generation: 0,
                local: None,
            },
            confirmed,
        }
    }

    #[test]
    fn a3_13_that_we_may_not_ask_yet_is_no_change_of_policy() {
        let (some, none) = (Some("version: STSv1".to_owned()), None);
        let limited = || Outcome::Wait {
            until: Timestamp::default(),
            why: Waiting::FetchLimit,
        };
        let gone = || Outcome::NoPolicy(NoPolicy::Record(RecordTrouble::NoSuchName));
        for confirmed in [false, true] {
            let waits = look(limited(), confirmed);
            assert!(!says_otherwise(&waits, Some(&some)) && !says_otherwise(&waits, None));
        }
        assert!(says_otherwise(&look(gone(), true), Some(&some)));
        assert!(!says_otherwise(&look(gone(), true), Some(&none)));
        assert!(
            !says_otherwise(&look(gone(), false), Some(&some)),
            "not confirmed"
        );
    }
}
