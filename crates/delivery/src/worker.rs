//! A worker: one session's worth of deliveries to one destination.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use attempt::Reason;
use mail_types::Timestamp;
use outbound_queue::{Leased, QueueStore};
use policy_cache::{Discovery, Outcome};

use crate::books::{Books, Entry};
use crate::demand::Requirement;
use crate::destination::{Cause, Recovery, Suspension};
use crate::engine::Inner;
use crate::lane::{Lane, Next};
use crate::planner::{Hosts, Plan, Planner};
use crate::policy::{Judgement, is_enforced, judge};
use crate::sessions::Session;
use crate::settings::Settings;
use crate::verdict::{Failure, Verdict};
use crate::work::{Attempt, Findings};

/// Delivers until there is nothing left to do here.
pub(crate) async fn run<S: QueueStore>(inner: Arc<Inner<S>>, lane: Arc<Lane>) {
    let mut held: Option<Session> = None;
    loop {
        let now = inner.now();
        match lane.next(now.monotonic) {
            Next::Work(leased) if inner.is_stopping() => inner.give_back(&leased),
            Next::Work(leased) => {
                let work = Box::pin(deliver(&inner, &lane, &leased, &mut held));
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
                let more = if inner.is_stopping() {
                    Vec::new()
                } else {
                    lease(&inner, &lane).await
                };
                if more.is_empty() {
                    if lane.leave(now.monotonic) {
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

/// Does the work and meanwhile keeps the leases of what is in hand: a slow peer may take longer than
/// a lease lasts.
async fn keeping_leases<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    leased: &Leased,
    mut work: Pin<Box<impl Future<Output = ()>>>,
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

/// Defers everything that is due at a suspended destination; false if nothing was.
pub(crate) async fn put_off<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    suspension: &Suspension,
) -> bool {
    let leases = lease(inner, lane).await;
    for leased in &leases {
        suspend(inner, lane, leased, suspension).await;
    }
    !leases.is_empty()
}

/// The same for what is in a lane's hands.
pub(crate) async fn put_off_backlog<S: QueueStore>(inner: &Inner<S>, lane: &Lane) {
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

async fn lease<S: QueueStore>(inner: &Inner<S>, lane: &Lane) -> Vec<Leased> {
    match inner.queue.lease(&lane.key, BATCH, inner.now()).await {
        Ok(leases) => leases,
        Err(error) => {
            tracing::error!(destination = %lane.key, %error, "the queue gives out no mail");
            Vec::new()
        }
    }
}

/// One attempt on one message, and its books.
async fn deliver<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Lane,
    leased: &Leased,
    held: &mut Option<Session>,
) {
    let settings = inner.settings.load_full();
    let began = inner.now().wall;
    let domain = lane.destination.host.to_string();
    if leased.bounce {
        let failure = Failure::new(
            Reason::Local,
            "The message was returned by an operator of this relay.".to_owned(),
        );
        let failure = Failure {
            status: mail_types::EnhancedStatus::permanent(0, 0),
            ..failure
        };
        let found = Findings::uniform(
            leased.recipients.len(),
            &Verdict::Bounced(Arc::new(failure)),
        );
        return enter(inner, &settings, leased, &found, None, &domain, began, None).await;
    }
    let mut plan = plan(inner, lane, &settings).await;
    // RFC 8461 section 5: an enforced policy must not fail mail for good before DNS was asked for
    // an updated one. Mail at the end of its life gets its last attempt under a fresh policy.
    let last = began >= leased.expires;
    if last
        && is_enforced(plan.discovery.as_ref(), began)
        && let Some(policy_domain) = &plan.policy_domain
    {
        let _look = inner.policies.fresh_look(policy_domain).await;
        lane.forget_plan().await;
        plan = self::plan(inner, lane, &settings).await;
    }
    let (found, requirement) = attempt(inner, lane, &settings, &plan, leased, &domain, held).await;
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

async fn plan<S: QueueStore>(inner: &Inner<S>, lane: &Lane, settings: &Settings) -> Arc<Plan> {
    let now = inner.now().wall;
    let planner = Planner {
        resolver: &*inner.resolver,
        policies: &inner.policies,
        settings,
    };
    lane.plan(now, inner.policies.generation(), || {
        planner.plan(&lane.destination, now)
    })
    .await
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
    let inputs = match judge(plan, &leased.envelope, settings, now) {
        Judgement::Known(inputs) => inputs,
        Judgement::Wait { until, detail } => {
            tracing::debug!(%until, "waiting for the policy look-up");
            return (
                all(Verdict::Deferred(Arc::new(Failure::new(
                    Reason::PolicyLookup,
                    detail,
                )))),
                None,
            );
        }
    };
    let requirement = Requirement::of(&inputs);
    let candidates = match &plan.hosts {
        Hosts::Candidates(candidates) => candidates,
        Hosts::Unknown { reason, detail } => {
            let failure = Arc::new(Failure::of_domain(*reason, domain, detail));
            return (all(Verdict::Deferred(failure)), Some(requirement));
        }
        Hosts::Undeliverable { reason, detail } => {
            let verdict = undeliverable(inner, lane, plan, &requirement, *reason, detail).await;
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
    // `TLS-Required: No` (RFC 8689 section 4.2.2, row D2-07): a host that meets the policy is
    // preferred; only if none does, the policy is set aside.
    if inputs.tls_required_no && requirement.weakened_by.is_some() {
        let strict = Requirement::of(&crate::demand::Inputs {
            tls_required_no: false,
            ..(*inputs).clone()
        });
        let found = tools.attempt(&strict).run(candidates, held).await;
        if found.alive {
            return (found, Some(strict));
        }
    }
    let found = tools.attempt(&requirement).run(candidates, held).await;
    (found, Some(requirement))
}

/// What every attempt on a message needs, whatever is required of it.
struct Tools<'a, S> {
    inner: &'a Inner<S>,
    lane: &'a Lane,
    settings: &'a Settings,
    leased: &'a Leased,
    domain: &'a str,
    now: Timestamp,
}

impl<'a, S: QueueStore> Tools<'a, S> {
    fn attempt<'b>(&self, requirement: &'b Requirement) -> Attempt<'b, S>
    where
        'a: 'b,
    {
        Attempt {
            queue: &*self.inner.queue,
            sessions: &self.inner.sessions,
            connector: self.inner.connector(&self.lane.destination),
            requirement,
            leased: self.leased,
            domain: self.domain,
            max_addresses: self.settings.max_addresses,
            per_transaction: self.settings.recipients_per_transaction,
            dice: &self.inner.dice,
            now: self.now,
        }
    }
}

/// DNS says that mail cannot go there. Under an enforced policy DNS is not enough to bounce it
/// (decision AMB-04): a fresh look is taken, and the same answer has to be seen for hours.
async fn undeliverable<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    plan: &Plan,
    requirement: &Requirement,
    reason: Reason,
    detail: &str,
) -> Verdict {
    let now = inner.now().wall;
    let failure = Failure::of_domain(reason, &lane.destination.host.to_string(), detail);
    let enforced = is_enforced(plan.discovery.as_ref(), now) || requirement.is_demanding();
    let Some(policy_domain) = plan.policy_domain.as_ref().filter(|_| enforced) else {
        return Verdict::Bounced(Arc::new(failure));
    };
    let look = inner.policies.fresh_look(policy_domain).await;
    if look.confirmed && !is_enforced(Some(&look.discovery), now) && !requirement.is_demanding() {
        return Verdict::Bounced(Arc::new(failure));
    }
    if lane.confirmed_undeliverable(now) {
        return Verdict::Bounced(Arc::new(failure));
    }
    let subject = if reason == Reason::Loop || reason == Reason::NoUsableMx {
        4
    } else {
        3
    };
    let detail = format!(
        "{} This is not believed yet: the domain's mail is protected, and DNS answers can be forged. \
         The mail is returned if the answer stays the same for four hours.",
        failure.detail
    );
    Verdict::Deferred(Arc::new(Failure {
        status: mail_types::EnhancedStatus::transient(4, subject),
        detail,
        ..failure
    }))
}

/// What the attempt means for the destination and for the policy.
async fn learn<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Lane,
    plan: &Plan,
    found: &Findings,
    requirement: Option<&Requirement>,
) {
    let now = inner.now();
    if found.alive {
        lane.reachable();
        if lane.succeeded() == Recovery::Recovered {
            wake(inner, lane).await;
        }
        testing(inner, plan, found, requirement);
        return;
    }
    let Some(failure) = found.failures.last() else {
        if let Some(Some(Verdict::Deferred(failure))) = found.verdicts.first() {
            let cause = Cause {
                reason: failure.reason,
                status: failure.status,
                detail: failure.detail.clone(),
            };
            lane.failed(cause, now.monotonic);
        }
        return;
    };
    if found
        .failures
        .iter()
        .all(|f| f.weight == crate::failure::Weight::Missing)
    {
        return; // The hosts are fine; this message does not fit them.
    }
    let cause = Cause {
        reason: failure.reason,
        status: crate::failure::as_transient(failure.status),
        detail: failure.detail.clone(),
    };
    lane.failed(cause, now.monotonic);
    if let Some(suspension) = lane.suspension(now.monotonic) {
        let pause = suspension.until.saturating_sub(now.monotonic);
        inner
            .observer
            .suspended(lane.key.as_str(), &suspension, pause);
    }
    // RFC 8461 section 8.1: the policy may have changed under the same id (decision AMB-18). The
    // cache holds this to once in five minutes.
    if requirement.is_some_and(Requirement::enforces_policy)
        && found
            .failures
            .iter()
            .any(|f| f.weight == crate::failure::Weight::Unfit)
        && let Some(domain) = plan.policy_domain.clone()
    {
        let inner = Arc::clone(inner);
        let (key, before) = (lane.key.clone(), plan.discovery.as_ref().map(policy_text));
        tokio::spawn(async move {
            let look = inner.policies.force_refresh(&domain).await;
            if Some(policy_text(&look.discovery)) != before {
                retry_now(&inner, &key).await;
            }
        });
    }
}

/// What the policy in force says; `None` if there is none.
fn policy_text(discovery: &Discovery) -> Option<String> {
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
    for policy in requirement.results(Some((&decider.mx, &decider.evidence))) {
        if policy.mode == mta_sts::Mode::Testing.as_str()
            && let Some(reason) = policy.reason
        {
            inner
                .policies
                .report_testing_failure(domain, decider.mx.as_str(), reason.key());
        }
    }
}

/// A destination answers again: its waiting mail is due.
async fn wake<S: QueueStore>(inner: &Arc<Inner<S>>, lane: &Lane) {
    tracing::info!(destination = %lane.key, "the destination answers again; its waiting mail is due");
    retry_now(inner, &lane.key).await;
}

async fn retry_now<S: QueueStore>(inner: &Inner<S>, key: &outbound_queue::Destination) {
    use outbound_queue::{Edit, Filter, MessageState, Target};
    let filter = Filter {
        destination: Some(key.clone()),
        state: Some(MessageState::Deferred),
        ..Filter::default()
    };
    if let Err(error) = inner
        .queue
        .edit(&Target::Filter(filter), Edit::Retry, false, inner.now())
        .await
    {
        tracing::warn!(destination = %key, %error, "waiting mail could not be made due; it keeps its schedule");
    }
}

/// Defers a message because its destination is left alone; no attempt is counted.
async fn suspend<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    leased: &Leased,
    suspension: &Suspension,
) {
    let settings = inner.settings.load_full();
    let now = inner.now();
    let pause = suspension.until.saturating_sub(now.monotonic);
    let domain = lane.destination.host.to_string();
    let detail = format!(
        "Delivery to {domain} is suspended for {} s after repeated failures. The last one: {}",
        pause.as_secs().max(1),
        suspension.cause.detail
    );
    let failure = Failure {
        reason: Reason::DestinationSuspended,
        status: suspension.cause.status,
        reply: None,
        detail,
    };
    let found = Findings::uniform(
        leased.recipients.len(),
        &Verdict::Deferred(Arc::new(failure)),
    );
    let not_before = Some(now.wall + pause.max(Duration::from_secs(1)));
    enter(
        inner, &settings, leased, &found, None, &domain, now.wall, not_before,
    )
    .await;
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one entry, from two callers in this file"
)]
async fn enter<S: QueueStore>(
    inner: &Inner<S>,
    settings: &Settings,
    leased: &Leased,
    found: &Findings,
    requirement: Option<&Requirement>,
    domain: &str,
    began: Timestamp,
    not_before: Option<Timestamp>,
) {
    let books = Books {
        queue: &*inner.queue,
        observer: &*inner.observer,
        settings,
        dice: &inner.dice,
    };
    let entry = Entry {
        leased,
        found,
        requirement,
        domain,
        began,
        now: inner.now(),
        not_before,
    };
    books.enter(&entry).await;
}

/// Messages leased at once by a worker that has nothing in hand.
const BATCH: usize = 20;
/// Leases last ten minutes unless renewed.
const RENEW: Duration = Duration::from_secs(120);
