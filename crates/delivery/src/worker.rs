//! A worker: one session's worth of deliveries to one destination.

pub(crate) mod concede;
pub(crate) mod concession;
pub(crate) mod content;
pub(crate) mod findings;
mod host;
pub(crate) mod reported;
pub(crate) mod sessions;
pub(crate) mod steps;
pub(crate) mod traced;
pub(crate) mod transcripts;
pub(crate) mod unknown;
pub(crate) mod work;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use attempt::{Case, Reason};
use mail_types::{Host, Timestamp};
use nxdomain_guard::Existence;
use outbound_queue::{Edit, Leased, Now, QueueStore, Target};
use tokio::time::{Instant, Sleep, sleep};

use crate::books::recalled;
use crate::books::{Books, Entry, Pace};
use crate::decide::demand::Requirement;
use crate::decide::failure::Weight;
use crate::decide::plan::{Hosts, Plan};
use crate::decide::policy::{Judgement, is_enforced, is_of_use, judge};
use crate::decide::verdict::{Failure, Verdict};
use crate::engine::aftermath::learn;
use crate::engine::lane::{Lane, Next};
use crate::engine::poison::{self, caught};
use crate::engine::suspended::suspend;
use crate::engine::{Delivery, Inner};
use crate::planner::undeliverable::{is_absence, undeliverable};
use crate::planner::{MAX_HOSTS, Planner};
use crate::settings::Settings;
use crate::worker::concede::Tools;
use crate::worker::concession::Concession;
use crate::worker::findings::Findings;
use crate::worker::sessions::Session;
use crate::worker::steps::{Steps, look};

/// The timers of a worker, which are set once for many messages.
struct Timers<'a> {
    /// When the leases of what is in hand are renewed.
    renewal: Pin<&'a mut Sleep>,
    /// How long it waits without work.
    rest: Pin<&'a mut Sleep>,
}

/// Delivers until there is nothing left to do here.
pub(crate) async fn run<S: QueueStore>(inner: Arc<Inner<S>>, lane: Arc<Lane>) {
    let mut held: Option<Session> = None;
    let mut handed: Option<Box<Leased>> = None;
    let mut fed = false;
    let mut began: Option<Duration> = None;
    let mut timers = Timers {
        renewal: pin!(sleep(RENEW)),
        rest: pin!(sleep(LINGER)),
    };
    loop {
        let now = inner.now();
        if let Some(began) = began.take() {
            lane.note_pace(now.monotonic.saturating_sub(began));
        }
        fed |= handed.is_some();
        let next = handed
            .take()
            .map_or_else(|| lane.next(now.monotonic, held.is_some()), Next::Work);
        match next {
            Next::Work(leased)
                if inner.is_stopping() || inner.paused.is_paused(&lane.destination.host) =>
            {
                inner.give_back(&leased);
            }
            Next::Work(leased) => {
                began = Some(now.monotonic);
                let work = pin!(deliver(&inner, &lane, &leased, &mut held, now));
                keeping_leases(&inner, &lane, &leased, timers.renewal.as_mut(), work).await;
            }
            Next::Left(backlog) => {
                backlog.iter().for_each(|leased| inner.give_back(leased));
                break;
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
                // Fresh mail is handed over: the queue is asked from time to time, and before leaving.
                let waits = fed && !ends && lane.is_fed();
                if waits {
                    handed = linger(&inner, &lane, &mut held, timers.rest.as_mut()).await;
                    if handed.is_some() {
                        continue;
                    }
                }
                fed = false;
                let more = if ends {
                    lane.asked(0, 1);
                    Vec::new()
                } else {
                    lease(&inner, &lane, lane.batch()).await.unwrap_or_default()
                };
                if more.is_empty() {
                    if !waits {
                        // Nothing was handed over of late: mail for others at this host may come first.
                        held.take().into_iter().for_each(|s| inner.sessions.keep(s));
                        handed = linger(&inner, &lane, &mut held, timers.rest.as_mut()).await;
                    }
                    if handed.is_none() && lane.leave(inner.now().monotonic) {
                        break;
                    }
                    continue;
                }
                let others = more.len() - 1;
                lane.push(more);
                Delivery {
                    inner: Arc::clone(&inner),
                }
                .share(&lane, others);
            }
        }
    }
    if let Some(session) = held {
        inner.sessions.keep(session);
    }
}

/// Stays a moment in case more comes: mail for one destination often does, and a worker that is
/// there, with its session, costs less than a new one. Afterwards others may use the session.
async fn linger<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    held: &mut Option<Session>,
    rest: Pin<&mut Sleep>,
) -> Option<Box<Leased>> {
    let sessions = &inner.sessions;
    let is_sought = |session: &mut Session| !sessions.may_wait(session);
    if let Some(session) = held.take_if(is_sought) {
        sessions.keep(session);
    }
    let place = if inner.has_places() {
        lane.linger()
    } else {
        None
    };
    let handed = match place {
        Some(place) => place.wait(until(rest, Instant::now() + LINGER)).await,
        None => None,
    };
    match (held.as_mut(), &handed) {
        (Some(session), Some(_)) => session.rested = true,
        (Some(_), None) => held.take().into_iter().for_each(|s| sessions.keep(s)),
        (None, _) => {}
    }
    handed.map(Box::new)
}

/// Waits until then with a timer that is set for no later than that. It is set anew only if it goes off
/// too early: most waits end before.
async fn until(mut timer: Pin<&mut Sleep>, end: Instant) {
    timer.as_mut().await;
    while Instant::now() < end {
        timer.as_mut().reset(end);
        timer.as_mut().await;
    }
}

/// Does the work and meanwhile keeps the leases of what is in hand: a slow peer may take longer than
/// a lease lasts. The timer goes on from one piece of work to the next.
pub(crate) async fn keeping_leases<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    leased: &Leased,
    mut renewal: Pin<&mut Sleep>,
    mut work: Pin<&mut impl Future<Output = ()>>,
) {
    loop {
        tokio::select! {
            biased;
            () = &mut work => return,
            () = &mut renewal => {
                renewal.as_mut().reset(Instant::now() + RENEW);
                let now = inner.now();
                for token in lane.tokens().into_iter().chain([leased.token]) {
                    if let Err(error) = inner.queue.renew(&token, now) {
                        tracing::debug!(%error, "a lease has ended; its outcome counts unless somebody else has the mail by then");
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
    lease_due_since(inner, lane, wanted, inner.now().wall).await
}

/// The same, of what is due since then at least.
pub(crate) async fn lease_due_since<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    wanted: usize,
    wall: Timestamp,
) -> Option<Vec<Leased>> {
    let now = Now {
        wall,
        ..inner.now()
    };
    match inner.queue.lease(&lane.key, wanted, now).await {
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

/// One attempt on one message, and its books, whatever happens in it. `now` was read just before.
pub(crate) async fn deliver<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Lane,
    leased: &Leased,
    held: &mut Option<Session>,
    now: Now,
) {
    let Ok(_mark) = inner.in_hand.take(leased.id, now.monotonic) else {
        return poison::later(inner, leased);
    };
    let done = {
        // Not boxed for each message. After a panic it is dropped before its books are kept.
        let work = pin!(try_once(inner, lane, leased, held, now));
        caught(work).await
    };
    if let Err(panic) = done {
        lane.done(leased.id);
        poison::panicked(inner, lane, leased, &panic).await;
    }
}

async fn try_once<S: QueueStore>(
    inner: &Arc<Inner<S>>,
    lane: &Lane,
    leased: &Leased,
    held: &mut Option<Session>,
    mut now: Now,
) {
    let settings = inner.settings.load_full();
    if !still_ours(inner, lane, &settings, leased, now).await {
        return;
    }
    let asked = now;
    let domain = lane.destination.host.to_string();
    if let Some((found, pace)) = without_a_host(inner, &settings, leased, now) {
        let entry = Entry {
            leased,
            found: &found,
            requirement: None,
            domain: &domain,
            began: asked.wall,
            now: inner.now(),
            pace,
        };
        return enter(inner, &settings, &entry).await;
    }
    let mut steps = inner.observer.times_attempts().then(Box::default);
    let made = plan_of(
        inner,
        lane,
        &settings,
        (leased, &domain),
        &mut now,
        &mut steps,
    );
    let Some(mut plan) = made.await else {
        return inner.give_back(leased);
    };
    let mut tools = Tools::new(inner, lane, &settings, (leased, &domain), now.wall);
    let (mut found, mut requirement) = attempt(&tools, &plan, held).await;
    gather(&mut found, &mut steps, asked, now);
    if note_crowding(inner, lane, &found) {
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
            now = inner.now();
            plan = look(inner, lane, &settings, &mut now, &mut steps).await;
            tools.now = now.wall;
            (found, requirement) = attempt(&tools, &plan, held).await;
            gather(&mut found, &mut steps, asked, now);
        }
        if note_crowding(inner, lane, &found) {
            return inner.give_back(leased);
        }
        // Who has it must not get it again: the others wait for an attempt of their own.
        if !fresh.confirmed || has_gone_out {
            found.defer_bounces();
        }
    }
    tools.report_overlooked(&plan, requirement.as_ref(), &found);
    lane.done(leased.id);
    found.steps = steps;
    inner.missed_dns.blame(&mut found, &*inner.resolver);
    poison::judge(inner, leased, &mut found);
    let entry = Entry {
        leased,
        found: &found,
        requirement: requirement.as_ref(),
        domain: &domain,
        began: asked.wall,
        now: inner.now(),
        pace: Pace::Attempted,
    };
    enter(inner, &settings, &entry).await;
    learn(inner, lane, &plan, &found, requirement.as_ref()).await;
}

/// The plan of an attempt; `None`: everything is to end, and it has not begun.
async fn plan_of<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    settings: &Settings,
    (leased, domain): (&Leased, &str),
    now: &mut Now,
    steps: &mut Option<Box<Steps>>,
) -> Option<Arc<Plan>> {
    let began = now.wall;
    let plan = tokio::select! {
        biased;
        plan = look(inner, lane, settings, now, steps) => plan,
        // A policy host may be silent for a minute: a stop does not wait for what has not begun.
        () = inner.workers.stopped() => return None,
    };
    traced::plan(inner, leased, domain, &plan);
    // RFC 8461 section 5: an enforced policy must not fail mail for good before DNS was asked for
    // an updated one. Mail at the end of its life gets its last attempt under a fresh policy.
    if began >= leased.expires
        && is_enforced(plan.discovery.as_ref(), began)
        && let Some(policy_domain) = &plan.policy_domain
    {
        let _look = inner.policies.fresh_look(policy_domain).await;
        inner.look_again();
        *now = inner.now();
        return Some(look(inner, lane, settings, now, steps).await);
    }
    Some(plan)
}

/// What there is to be told before any host is asked: mail that an operator returns, and a delay of which the
/// sender is to know by now.
fn without_a_host<S: QueueStore>(
    inner: &Inner<S>,
    settings: &Settings,
    leased: &Leased,
    now: Now,
) -> Option<(Findings, Pace)> {
    if leased.bounce {
        let is_too_old = settings.expire_held && now.wall >= leased.expires;
        return Some((recalled::returned(leased, is_too_old), Pace::Attempted));
    }
    let (found, next) = recalled::warning(leased, &settings.retry, now.wall, &inner.dice)?;
    Some((found, Pace::Looked(next)))
}

/// Notes what was done when: before the attempt, and in it.
fn gather(found: &mut Findings, steps: &mut Option<Box<Steps>>, asked: Now, began: Now) {
    found.began_after(asked, began);
    Steps::gather(steps, found);
}

/// Notes whether an attempt was made. True if not: there was no place at a host, or it took no more sessions than
/// those that go on.
fn note_crowding<S: QueueStore>(inner: &Inner<S>, lane: &Lane, found: &Findings) -> bool {
    let now = inner.now().monotonic;
    if found.busy {
        lane.crowded(now);
    }
    found.busy || found.is_turned_away() && lane.note_turned_away(now)
}

pub(crate) async fn plan<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    settings: &Settings,
    now: &mut Now,
) -> Arc<Plan> {
    let (asked, made) = (*now, inner.made());
    let holds = |plan: &Plan| is_of_use(plan, &lane.destination.host, settings, asked, made);
    if let Some(plan) = lane.plan_at_hand(holds) {
        return plan;
    }
    let planner = Planner {
        resolver: &*inner.resolver,
        policies: &inner.policies,
        settings,
    };
    let make = || async {
        let plan = planner.plan(&lane.destination, asked, made).await;
        note_existence(inner, lane, &plan);
        if plan.beyond > 0 {
            let domain = lane.destination.host.to_string();
            let hosts = MAX_HOSTS + plan.beyond;
            inner.observer.hosts_cut(&domain, hosts, MAX_HOSTS);
        }
        plan
    };
    let plan = lane.plan(holds, make).await;
    *now = inner.now();
    plan
}

/// Remembers whether DNS says that the recipients' domain exists.
fn note_existence<S: QueueStore>(inner: &Inner<S>, lane: &Lane, plan: &Plan) {
    let (Host::Domain(domain), None) = (&lane.destination.host, &plan.route) else {
        return;
    };
    let existence = match &plan.hosts {
        // DNS was not asked (not fully qualified), or gave no definite answer.
        _ if !domain.is_fully_qualified() => return,
        Hosts::Unknown { .. } => return,
        Hosts::Undeliverable { reason, secure, .. } if is_absence(*reason) => match secure {
            true => Existence::ProvedAbsent,
            false => Existence::Absent,
        },
        Hosts::Candidates(_) | Hosts::Undeliverable { .. } => Existence::There,
    };
    let now = inner.now().monotonic;
    inner.nxdomain_guard.lock().note(domain, existence, now);
}

/// Whether the lease still holds and the message still belongs here. Mail that a change of the
/// routes has moved goes back to be filed anew: it never takes a route that is not its own.
async fn still_ours<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    settings: &Settings,
    leased: &Leased,
    now: Now,
) -> bool {
    if let Err(error) = inner.queue.renew(&leased.token, now) {
        tracing::debug!(queue_id = %leased.id, %error, "the lease has ended; the message is left to whoever takes it next");
        return false;
    }
    let envelope = &leased.envelope;
    let mut recipients = leased
        .recipients
        .iter()
        .filter_map(|r| envelope.recipients.get(r.index));
    let sender = &envelope.reverse_path;
    if recipients.all(|r| settings.routes.destination(sender, &r.mailbox) == lane.destination) {
        return true;
    }
    inner.give_back(leased);
    let target = Target::Ids(vec![leased.id]);
    let filed = inner.queue.edit(&target, Edit::Regroup, false, now);
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
    tools: &Tools<'_, S>,
    plan: &Plan,
    held: &mut Option<Session>,
) -> (Findings, Option<Requirement>) {
    let Tools {
        inner,
        lane,
        settings,
        leased,
        domain,
        now,
        ..
    } = *tools;
    let all = |verdict| Findings::uniform(leased.recipients.len(), &verdict);
    let inputs = match judge(
        plan,
        &lane.destination.host,
        &leased.envelope,
        settings,
        now,
    ) {
        Judgement::Known(inputs) => inputs,
        Judgement::Wait {
            until,
            detail,
            held_back,
            reason,
        } => {
            let failure = Failure::new(reason, detail);
            let mut found = all(Verdict::Deferred(Arc::new(failure)));
            found.not_before = Some(until);
            found.held_back = held_back;
            return (found, None);
        }
    };
    let requirement = Requirement::of(&inputs);
    let candidates = match &plan.hosts {
        Hosts::Candidates(candidates) => candidates,
        Hosts::Unknown { reason, detail } => {
            let failure = Arc::new(Failure::of_domain((*reason, Case::Usual), domain, detail));
            return (all(Verdict::Deferred(failure)), Some(requirement));
        }
        Hosts::Undeliverable {
            reason,
            detail,
            secure,
        } => {
            let said = (*reason, detail.as_str(), *secure);
            let verdict = undeliverable(inner, lane, plan, &requirement, said).await;
            // What a doubted resolver says is no failure of the destination, which is not left alone for it.
            let is_doubted =
                matches!(&verdict, Verdict::Deferred(f) if f.reason == Reason::DnsTemporary);
            let mut found = all(verdict);
            found.held_back = is_doubted;
            return (found, Some(requirement));
        }
    };
    let tools = Tools {
        reports: reported::domain(&*inner.observer, leased, plan),
        ..*tools
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

pub(crate) async fn enter<S: QueueStore>(inner: &Inner<S>, settings: &Settings, entry: &Entry<'_>) {
    let books = Books {
        queue: &*inner.queue,
        observer: &*inner.observer,
        settings,
        dice: &inner.dice,
        limits: &inner.notices,
    };
    books.enter(entry).await;
}

/// How long a worker stays without work.
const LINGER: Duration = Duration::from_millis(20);
/// Leases last ten minutes unless renewed; a sleep of the machine counts a minute, and this goes on after it.
pub(crate) const RENEW: Duration = Duration::from_secs(30);
