//! When the steps of an attempt were made, for those who trace deliveries.
//!
//! Nothing is kept unless the observer asks for it ([`crate::Observer::times_attempts`]); then a few
//! moments are noted for each host, and handed over once when the attempt is in the books.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use attempt::{Outcome, Reason, Record};
use mail_types::{HostName, QueueId, Timestamp};
use outbound_queue::{Now, QueueStore};
use policy_cache::Outcome as Policy;
use smtp_client::OpeningTimes;

use crate::books::Entry;
use crate::decide::plan::{Hosts, Plan};
use crate::decide::verdict::Verdict;
use crate::engine::Inner;
use crate::engine::lane::Lane;
use crate::settings::Settings;
use crate::worker::findings::Findings;
use crate::worker::sessions::{Session, Source, Way};
use crate::worker::work::{After, Attempt};

/// The steps of one attempt, in the order made.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// Plans that were made or taken up: policy and hosts.
    pub looks: Vec<Look>,
    /// Hosts that were asked.
    pub visits: Vec<Visit>,
}

/// What the domain demands and who takes its mail was asked; a plan that is still valid costs no
/// time.
#[derive(Clone, Debug)]
pub struct Look {
    /// When it began.
    pub began: Instant,
    /// When it was known.
    pub ended: Instant,
    /// The mode of the MTA-STS policy in force, `none` without one, `unknown` while it is not known;
    /// `not-asked` where none is asked for.
    pub policy: &'static str,
    /// Hosts that may be asked.
    pub hosts: usize,
    /// Why there are none.
    pub reason: Option<Reason>,
}

/// One address of one host.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Its name.
    pub mx: HostName,
    /// Its address and port.
    pub at: SocketAddr,
    /// When its turn came.
    pub began: Instant,
    /// When a session stood, from the pool or new, or was given up.
    pub opened: Instant,
    /// When it was done with.
    pub ended: Instant,
    /// The steps of the opening, if there was one in this attempt.
    pub times: Option<OpeningTimes>,
    /// The session was there before.
    pub reused: bool,
    /// A transaction was begun: from `opened` to `ended`.
    pub transferred: bool,
    /// The TLS version, for instance `TLSv1.3`.
    pub tls: Option<Box<str>>,
    /// Why it did not take all of the mail.
    pub reason: Option<Reason>,
}

/// An attempt that is in the books, with its times.
#[derive(Clone, Copy, Debug)]
pub struct Story<'a> {
    /// The message.
    pub queue_id: QueueId,
    /// The recipients' domain.
    pub domain: &'a str,
    /// One for each recipient of the attempt.
    pub records: &'a [Record<'a>],
    /// When the message came, by the wall clock.
    pub arrived: Timestamp,
    /// When the attempt began.
    pub began: Timestamp,
    /// When it was over.
    pub ended: Timestamp,
    /// The same moment as `ended`, for the steps.
    pub ended_at: Instant,
    /// The steps, if there were any.
    pub steps: Option<&'a Steps>,
    /// Nothing is left to be done for this domain's recipients.
    pub is_last: bool,
}

impl Steps {
    /// Takes over what another part of the attempt has noted.
    pub(crate) fn gather(all: &mut Option<Box<Self>>, found: &mut Findings) {
        let Some(more) = found.steps.take() else {
            return;
        };
        match all {
            Some(all) => {
                all.looks.extend(more.looks);
                all.visits.extend(more.visits);
            }
            None => *all = Some(more),
        }
    }
}

impl<'a> Story<'a> {
    pub(crate) fn of(entry: &'a Entry<'_>, records: &'a [Record<'a>]) -> Self {
        let goes_on =
            |r: &Record<'_>| r.next_attempt.is_some() || matches!(r.outcome, Outcome::Held);
        Self {
            queue_id: entry.leased.id,
            domain: entry.domain,
            records,
            arrived: entry.leased.envelope.arrival.at,
            began: entry.began,
            ended: entry.now.wall,
            ended_at: Instant::now(),
            steps: entry.found.steps.as_deref(),
            is_last: !records.iter().any(goes_on),
        }
    }
}

/// The plan of an attempt; how long it took is noted where that is wanted.
pub(crate) async fn look<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    settings: &Settings,
    now: &mut Now,
    steps: &mut Option<Box<Steps>>,
) -> Arc<Plan> {
    let Some(steps) = steps else {
        return crate::worker::plan(inner, lane, settings, now).await;
    };
    let began = Instant::now();
    let plan = crate::worker::plan(inner, lane, settings, now).await;
    let (hosts, reason) = match &plan.hosts {
        Hosts::Candidates(candidates) => (candidates.len(), None),
        Hosts::Undeliverable { reason, .. } => (0, Some(reason.0)),
        Hosts::Unknown { reason, .. } => (0, Some(*reason)),
    };
    steps.looks.push(Look {
        began,
        ended: Instant::now(),
        policy: match plan.discovery.as_ref().map(|d| &d.outcome) {
            Some(Policy::Policy(applied)) => applied.policy.mode().as_str(),
            Some(Policy::NoPolicy(_)) => "none",
            Some(Policy::Wait { .. }) => "unknown",
            None => "not-asked",
        },
        hosts,
        reason,
    });
    plan
}

impl<S: QueueStore> Attempt<'_, S> {
    /// [`Attempt::host`], with its times where they are wanted.
    pub(crate) async fn visit(
        &self,
        way: &Way<'_>,
        held: &mut Option<Session>,
        source: Source,
        found: &mut Findings,
    ) -> After {
        if !self.timed {
            return self.host(way, held, source, found).await;
        }
        found.times = OpeningTimes::default();
        let began = Instant::now();
        let (connect, failures) = (found.connect, found.failures.len());
        let transmit = found.transmit;
        let after = self.host(way, held, source, found).await;
        let ended = Instant::now();
        if let Some(session) = held {
            found.times = session.connection.facts().times;
        }
        let opened = began + found.connect.saturating_sub(connect);
        let failure = found.failures.get(failures..).and_then(|f| f.last());
        let reason = match (&after, failure) {
            (_, Some(failure)) => Some(failure.reason),
            (After::Settled, None) => found.verdicts.iter().flatten().find_map(reason_of),
            (After::NextHost | After::Stale | After::Again | After::Busy, None) => None,
        };
        let reused = found.times.connected.is_some_and(|at| at < began);
        let tls = held.as_ref().and_then(Session::tls);
        let visit = Visit {
            mx: way.name.clone(),
            at: way.address,
            began,
            opened: opened.min(ended),
            ended,
            times: (!reused).then_some(found.times),
            reused,
            transferred: found.transmit > transmit,
            tls: tls.map(|tls| tls.version.as_ref().into()),
            reason,
        };
        found.steps.get_or_insert_default().visits.push(visit);
        after
    }
}

fn reason_of(verdict: &Verdict) -> Option<Reason> {
    match verdict {
        Verdict::Sent { .. } => None,
        Verdict::Deferred(failure) | Verdict::Bounced(failure) | Verdict::Parked(failure) => {
            Some(failure.reason)
        }
    }
}
