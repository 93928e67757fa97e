//! A worker: one session's worth of deliveries to one destination.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use attempt::{PolicySource, Reason, Weakened};
use mail_types::{Host, Timestamp};
use outbound_queue::{Edit, Filter, Leased, MessageState, QueueStore, Target};
use policy_cache::{Discovery, Outcome};

use crate::books::{Books, Entry};
use crate::concession::Concession;
use crate::demand::Requirement;
use crate::destination::{Cause, Recovery};
use crate::engine::Inner;
use crate::failure::Weight;
use crate::findings::Findings;
use crate::lane::{Lane, Next};
use crate::planner::{Hosts, MAX_HOSTS, Plan, Planner};
use crate::poison::{self, caught};
use crate::policy::{Judgement, is_enforced, judge};
use crate::sessions::Session;
use crate::settings::Settings;
use crate::steps::{Steps, look};
use crate::suspended::{suspend, tell_queue};
use crate::tools::Tools;
use crate::traced;
use crate::undeliverable::undeliverable;
use crate::verdict::{Failure, Verdict};

/// Delivers until there is nothing left to do here.
pub(crate) async fn run<S: QueueStore>(inner: Arc<Inner<S>>, lane: Arc<Lane>) {
    let mut held: Option<Session> = None;
    let mut handed: Option<Box<Leased>> = None;
    loop {
        let now = inner.now();
        let next = handed
            .take()
            .map_or_else(|| lane.next(now.monotonic), Next::Work);
        match next {
            Next::Work(leased)
                if inner.is_stopping() || inner.paused.is_paused(&lane.destination.host) =>
            {
                inner.give_back(&leased);
            }
            Next::Work(leased) => {
                let work = std::pin::pin!(deliver(&inner, &lane, &leased, &mut held));
                keeping_leases(&inner, &lane, &leased, work).await;
            }
            Next::Suspended(suspension, backlog) => {
                for leased in backlog {
                    suspend(&inner, &lane, &leased, &suspension).await;
                }
                if lane.leave(now.monotonic) {
                    break;
                }
            }
            Next::Empty => {
                let ends = inner.is_stopping() || inner.paused.is_paused(&lane.destination.host);
                let more = if ends {
                    lane.asked(0, 1);
                    Vec::new()
                } else {
                    lease(&inner, &lane, lane.batch()).await.unwrap_or_default()
                };
                if more.is_empty() {
                    // Others may use the session meanwhile.
                    if let Some(session) = held.take() {
                        inner.sessions.keep(session);
                    }
                    handed = linger(&inner, &lane).await;
                    if handed.is_none() && lane.leave(inner.now().monotonic) {
                        break;
                    }
                    continue;
                }
                for leased in more {
                    if let Err(leased) = lane.push(leased, usize::MAX) {
                        inner.give_back(&leased);
                    }
                }
            }
        }
    }
    if let Some(session) = held {
        inner.sessions.keep(session);
    }
}

/// Stays a moment in case more comes: mail for one destination often does, and a worker that is
/// there costs less than a new one.
async fn linger<S: QueueStore>(inner: &Inner<S>, lane: &Lane) -> Option<Box<Leased>> {
    if !inner.has_places() {
        return None;
    }
    let place = lane.linger()?;
    place.wait(tokio::time::sleep(LINGER)).await.map(Box::new)
}

/// Does the work and meanwhile keeps the leases of what is in hand: a slow peer may take longer than
/// a lease lasts.
pub(crate) async fn keeping_leases<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    leased: &Leased,
    mut work: Pin<&mut impl Future<Output = ()>>,
) {
    loop {
        tokio::select! {
            () = &mut work => return,
            () = tokio::time::sleep(RENEW) => {
                let now = inner.now();
                for token in lane.tokens().into_iter().chain([leased.token]) {
                    if let Err(error) = inner.queue.renew(&token, now) {
                        tracing::debug!(%error, "a lease could not be renewed; its outcome will be refused");
                    }
                }
            }
        }
    }
}

/// Mail that is due; none at all if the queue gives out no mail at the moment.
pub(crate) async fn lease<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    wanted: usize,
) -> Option<Vec<Leased>> {
    match inner.queue.lease(&lane.key, wanted, inner.now()).await {
        Ok(leases) => {
            lane.asked(leases.len(), wanted);
            Some(leases)
        }
        Err(error) => {
            tracing::error!(destination = %lane.key, %error, "the queue gives out no mail");
            inner.pause_queue();
            lane.asked(0, wanted);
            None
        }
    }
}

/// One attempt on one message, and its books, whatever happens in it.
pub(crate) async fn deliver<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Lane,
    leased: &Leased,
    held: &mut Option<Session>,
) {
    let Ok(_mark) = inner.in_hand.take(leased.id, inner.now().monotonic) else {
        return poison::later(inner, leased);
    };
    let work = Box::pin(try_once(inner, lane, leased, held));
    if let Err(panic) = caught(work).await {
        poison::panicked(inner, lane, leased, &panic).await;
    }
}

async fn try_once<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Lane,
    leased: &Leased,
    held: &mut Option<Session>,
) {
    let settings = inner.settings.load_full();
    let now = inner.now();
    if !still_ours(inner, &settings, leased).await {
        return;
    }
    let began = now.wall;
    let domain = lane.destination.host.to_string();
    if leased.bounce {
        let verdict = returned(settings.expire_held && now.wall >= leased.expires);
        let found = Findings::uniform(leased.recipients.len(), &verdict);
        return enter(inner, &settings, leased, &found, None, &domain, began, None).await;
    }
    let mut steps = inner.observer.times_attempts().then(Box::default);
    let mut plan = look(inner, lane, &settings, &mut steps).await;
    traced::plan(inner, leased, &domain, &plan);
    // RFC 8461 section 5: an enforced policy must not fail mail for good before DNS was asked for
    // an updated one. Mail at the end of its life gets its last attempt under a fresh policy.
    let last = began >= leased.expires;
    if last
        && is_enforced(plan.discovery.as_ref(), began)
        && let Some(policy_domain) = &plan.policy_domain
    {
        let _look = inner.policies.fresh_look(policy_domain).await;
        inner.look_again();
        plan = look(inner, lane, &settings, &mut steps).await;
    }
    let (mut found, mut requirement) =
        attempt(inner, lane, &settings, &plan, leased, &domain, held).await;
    Steps::gather(&mut steps, &mut found);
    if found.busy {
        return inner.give_back(leased);
    }
    // The same before a bounce that a policy had a part in (decision AMB-04).
    if is_policy_bounce(&found, requirement.as_ref())
        && let Some(policy_domain) = &plan.policy_domain
    {
        let fresh = inner.policies.fresh_look(policy_domain).await;
        inner.look_again();
        let has_gone_out = found.has_gone_out();
        if !has_gone_out {
            plan = look(inner, lane, &settings, &mut steps).await;
            (found, requirement) =
                attempt(inner, lane, &settings, &plan, leased, &domain, held).await;
            Steps::gather(&mut steps, &mut found);
        }
        if found.busy {
            return inner.give_back(leased);
        }
        // Who has it must not get it again: the others wait for an attempt of their own.
        if !fresh.confirmed || has_gone_out {
            found.defer_bounces();
        }
    }
    found.steps = steps;
    poison::judge(inner, leased, &mut found);
    enter(
        inner,
        &settings,
        leased,
        &found,
        requirement.as_ref(),
        &domain,
        began,
        None,
    )
    .await;
    learn(inner, lane, &plan, &found, requirement.as_ref()).await;
}

/// Without an attempt: an operator wants it so, or it was held for all its life.
fn returned(is_too_old: bool) -> Verdict {
    if is_too_old {
        let detail = "The message was held on this relay until the end of its lifetime.";
        let failure = Failure::new(Reason::Local, detail.to_owned());
        // Its time is over: that makes it a failure for good, with 4.4.7 (decision AMB-28).
        return Verdict::Deferred(Arc::new(failure));
    }
    let detail = "The message was returned by an operator of this relay.";
    Verdict::Bounced(Arc::new(Failure {
        status: mail_types::EnhancedStatus::permanent(0, 0),
        ..Failure::new(Reason::Local, detail.to_owned())
    }))
}

pub(crate) async fn plan<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    settings: &Settings,
) -> Arc<Plan> {
    let (now, made) = (inner.now(), inner.made());
    let planner = Planner {
        resolver: &*inner.resolver,
        policies: &inner.policies,
        settings,
    };
    let make = || async {
        let plan = planner.plan(&lane.destination, now, made).await;
        note_existence(inner, lane, &plan);
        if plan.beyond > 0 {
            let domain = lane.destination.host.to_string();
            let hosts = MAX_HOSTS + plan.beyond;
            inner.observer.hosts_cut(&domain, hosts, MAX_HOSTS);
        }
        plan
    };
    lane.plan(now.monotonic, made, make).await
}

/// Remembers whether DNS says that the recipients' domain exists.
fn note_existence<S: QueueStore>(inner: &Inner<S>, lane: &Lane, plan: &Plan) {
    let (Host::Domain(domain), None) = (&lane.destination.host, &plan.route) else {
        return;
    };
    let absent = match &plan.hosts {
        // DNS was not asked (not fully qualified), or gave no definite answer.
        _ if !domain.is_fully_qualified() => return,
        Hosts::Unknown { .. } => return,
        Hosts::Candidates(_) => false,
        Hosts::Undeliverable { reason, secure, .. } => *reason == Reason::NoSuchDomain && !secure,
    };
    let now = inner.now().monotonic;
    inner.nxdomain_guard.note(domain, absent, now);
}

/// Whether the lease still holds and the message still belongs here. Mail that a change of the
/// routes has moved goes back to be filed anew: it never takes a route that is not its own.
async fn still_ours<S: QueueStore>(inner: &Inner<S>, settings: &Settings, leased: &Leased) -> bool {
    if let Err(error) = inner.queue.renew(&leased.token, inner.now()) {
        tracing::debug!(queue_id = %leased.id, %error, "the lease has ended; somebody else has the message");
        return false;
    }
    let envelope = &leased.envelope;
    let mut recipients = leased
        .recipients
        .iter()
        .filter_map(|r| envelope.recipients.get(r.index));
    if recipients.all(|r| settings.destination(envelope, r) == leased.destination) {
        return true;
    }
    inner.give_back(leased);
    let target = Target::Ids(vec![leased.id]);
    let filed = inner.queue.edit(&target, Edit::Regroup, false, inner.now());
    if let Err(error) = filed.await {
        tracing::error!(queue_id = %leased.id, %error, "mail could not be filed under its new route");
    }
    false
}

/// A bounce that the hosts' failures amount to, one of which was a policy's doing.
fn is_policy_bounce(found: &Findings, requirement: Option<&Requirement>) -> bool {
    let bounced = |v: &Verdict| matches!(v, Verdict::Bounced(_));
    found.concluded
        && found.verdicts.iter().flatten().any(bounced)
        && requirement.is_some_and(|r| {
            // Without the policy REQUIRETLS mail might have been sent elsewhere (decision AMB-23).
            let unfit = found.failures.iter().any(|f| f.weight == Weight::Unfit);
            r.enforces_policy() && (unfit || r.requiretls())
        })
}

async fn attempt<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    settings: &Settings,
    plan: &Plan,
    leased: &Leased,
    domain: &str,
    held: &mut Option<Session>,
) -> (Findings, Option<Requirement>) {
    let now = inner.now().wall;
    let all = |verdict| Findings::uniform(leased.recipients.len(), &verdict);
    let inputs = match judge(
        plan,
        &lane.destination.host,
        &leased.envelope,
        settings,
        now,
    ) {
        Judgement::Known(inputs) => inputs,
        Judgement::Wait { until, detail } => {
            let failure = Failure::new(Reason::PolicyLookup, detail);
            let mut found = all(Verdict::Deferred(Arc::new(failure)));
            found.not_before = Some(until);
            return (found, None);
        }
    };
    let requirement = Requirement::of(&inputs);
    let candidates = match &plan.hosts {
        Hosts::Candidates(candidates) => candidates,
        Hosts::Unknown { reason, detail } => {
            let failure = Arc::new(Failure::of_domain(*reason, domain, detail));
            return (all(Verdict::Deferred(failure)), Some(requirement));
        }
        Hosts::Undeliverable {
            reason,
            detail,
            secure,
        } => {
            let said = (*reason, detail.as_str(), *secure);
            let verdict = undeliverable(inner, lane, plan, &requirement, said).await;
            return (all(verdict), Some(requirement));
        }
    };
    let tools = Tools {
        inner,
        lane,
        settings,
        leased,
        domain,
        now,
    };
    let null_sender = leased.envelope.reverse_path.is_null();
    if let Some(concession) = Concession::of(&inputs, &requirement, null_sender) {
        let (found, requirement) = tools.concede(&concession, candidates, held).await;
        return (found, Some(requirement));
    }
    let attempt = tools.attempt(&requirement, None);
    let found = attempt.run(candidates, held).await;
    (found, Some(requirement))
}

/// What the attempt means for the destination and for the policy.
async fn learn<S: QueueStore>(
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
        if lane.succeeded() == Recovery::Recovered {
            wake(inner, lane).await;
        }
        testing(inner, plan, found, requirement);
        return;
    }
    let Some(failure) = found.failures.last() else {
        // What is wrong with this message here says nothing about the destination.
        if let Some(Some(Verdict::Deferred(failure))) = found.verdicts.first()
            && failure.reason != Reason::Local
        {
            let cause = Cause {
                reason: failure.reason,
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
        status: crate::failure::as_transient(failure.status),
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
            if Some(policy_text(&look.discovery)) != before {
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

/// RFC 8461 section 5: testing is evaluated and reported, and changes nothing else.
fn testing<S: QueueStore>(
    inner: &Inner<S>,
    plan: &Plan,
    found: &Findings,
    requirement: Option<&Requirement>,
) {
    let (Some(domain), Some(decider), Some(requirement)) =
        (&plan.policy_domain, &found.decider, requirement)
    else {
        return;
    };
    for policy in requirement.results(Some(&decider.deciding())) {
        if policy.source == PolicySource::MtaSts
            && policy.mode == mta_sts::Mode::Testing.as_str()
            && let Some(reason) = policy.reason
        {
            inner
                .policies
                .report_testing_failure(domain, decider.mx.as_str(), reason.key());
        }
    }
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
        reason: Some(reason.key().into()),
        ..Filter::default()
    };
    let target = Target::Filter(filter);
    let edited = inner.queue.edit(&target, Edit::Retry, false, inner.now());
    if let Err(error) = edited.await {
        tracing::warn!(destination = %key, %error, "waiting mail could not be made due; it keeps its schedule");
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one entry, from few callers"
)]
pub(crate) async fn enter<S: QueueStore>(
    inner: &Inner<S>,
    settings: &Settings,
    leased: &Leased,
    found: &Findings,
    requirement: Option<&Requirement>,
    domain: &str,
    began: Timestamp,
    suspended_until: Option<Timestamp>,
) {
    let books = Books {
        queue: &*inner.queue,
        observer: &*inner.observer,
        settings,
        dice: &inner.dice,
        limits: &inner.notices,
    };
    let entry = Entry {
        leased,
        found,
        requirement,
        domain,
        began,
        now: inner.now(),
        suspended_until,
    };
    books.enter(&entry).await;
}

/// How long a worker stays without work.
const LINGER: Duration = Duration::from_millis(20);
/// Leases last ten minutes unless renewed.
const RENEW: Duration = Duration::from_secs(120);
