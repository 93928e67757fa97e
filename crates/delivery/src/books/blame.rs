//! Who demands what a host did not meet, and what is said of the host then.

use attempt::{Case, DemandedBy, Facts, Reader, Reason, Side, Tried};
use mail_types::HostName;
use outbound_queue::{Destination, QueueStore};
use smtp_client::Cause;

use crate::books::Entry;
use crate::decide::demand::Requirement;
use crate::decide::failure::HostFailure;
use crate::decide::hosts::Candidate;
use crate::decide::standing::Standing;
use crate::decide::verdict::Failure;
use crate::worker::findings::Findings;
use crate::worker::sessions::{Session, Way};
use crate::worker::work::Attempt;
use routes::is_routed;

/// Whose demand a host has not met that stands so in DNS; of a route the demand may be its own or its hop's.
pub(crate) fn demanded_by(
    destination: &Destination,
    requirement: Option<&Requirement>,
    reason: Reason,
    standing: &Standing,
) -> DemandedBy {
    let by = requirement.map_or(DemandedBy::Recipient, |r| r.demanded_by(reason, standing));
    match is_routed(destination.as_str()) {
        true => by.by_route(),
        false => by,
    }
}

/// Whose move it is at a destination after an attempt that failed like this.
pub(crate) fn side(
    destination: &Destination,
    requirement: Option<&Requirement>,
    (reason, case): (Reason, Case),
    found: &Findings,
) -> Side {
    let (by, tried) = (
        demanded_by(destination, requirement, reason, found.stood()),
        &found.tried,
    );
    match reason.side_in(case, by) {
        Side::Wait => {
            more_serious(tried, by).map_or(Side::Wait, |(host, its)| its.side_in(host.case, by))
        }
        side => side,
    }
}

/// The first host that somebody has to act on.
fn more_serious(tried: &[Tried], by: DemandedBy) -> Option<(&Tried, Reason)> {
    let mut tried = tried.iter().filter_map(|t| Some((t, t.reason?)));
    tried.find(|(t, reason)| reason.is_more_serious(t.case, by))
}

/// What is to be done about a failure, and by whom.
pub(crate) struct Advice<'a> {
    pub(crate) side: Side,
    /// For the operator.
    pub(crate) text: String,
    /// Whether it is the sender on our side who has to act.
    pub(crate) is_for_sender: bool,
    reason: Reason,
    pub(crate) facts: Facts<'a>,
}

impl<'a> Advice<'a> {
    /// Where nobody has to act on the answer that decided, a host that somebody has to act on tells more.
    pub(crate) fn of(entry: &'a Entry<'_>, failure: &Failure, given_up: bool) -> Self {
        let recalled = entry.found.recalled.as_deref();
        let by = match (entry.requirement, recalled) {
            (None, Some(recalled)) => recalled.by,
            (Some(_), _) | (None, None) => demanded_by(
                &entry.leased.destination,
                entry.requirement,
                failure.reason,
                entry.found.stood(),
            ),
        };
        let mut facts = Facts {
            domain: entry.domain,
            mx: entry.decided_by().map(|(mx, _)| mx),
            by,
            case: failure.case,
            given_up,
            ..Facts::default()
        };
        let mut reason = failure.reason;
        if let Some(cause) = entry.found.suspended.as_deref()
            && cause.reason.side_in(cause.case, by) != Side::Wait
        {
            (reason, facts.case) = (cause.reason, cause.case);
            facts.mx = cause.mx.as_deref();
        }
        if reason.side_in(facts.case, by) == Side::Wait
            && let Some((host, its)) = more_serious(&entry.found.tried, by)
        {
            (reason, facts.mx, facts.case) = (its, Some(&*host.mx), host.case);
        }
        let (side, text) = (reason.side_in(facts.case, by), reason.advice(&facts));
        let is_for_sender = reason.is_for_sender(facts.case);
        if let Some(cause) = recalled.and_then(|recalled| recalled.cause.as_ref()) {
            // The sender has to do with what failed before, and the message will not go out by itself.
            (reason, facts.case, facts.given_up) = (cause.reason, cause.case, true);
            facts.mx = cause.mx.as_deref();
        }
        Self {
            side,
            text,
            is_for_sender,
            reason,
            facts,
        }
    }

    /// In words for whoever sent the message.
    pub(crate) fn for_sender(&self) -> String {
        self.reason.advice(&Facts {
            reader: Reader::Sender,
            ..self.facts
        })
    }
}

impl<S: QueueStore> Attempt<'_, S> {
    /// What sentences about a host begin with.
    pub(crate) fn about(&self, reason: Reason, standing: &Standing) -> Facts<'_> {
        let (to, requirement) = (&self.leased.destination, Some(self.requirement));
        Facts {
            domain: self.domain,
            by: demanded_by(to, requirement, reason, standing),
            ..Facts::default()
        }
    }

    /// The same, of a session that failed.
    pub(crate) fn about_cause(&self, way: &Way<'_>, cause: &Cause) -> Facts<'_> {
        self.about(cause.reason(), way.standing)
    }

    /// A candidate that is not connected to, since it does not meet what is demanded.
    pub(crate) fn passed_over(
        &self,
        candidate: &Candidate,
        (reason, case): (Reason, Case),
        specifics: &str,
    ) -> HostFailure {
        let (name, port) = (&candidate.name, candidate.port);
        let addresses = candidate.addresses.as_ref().ok();
        let ip = addresses.and_then(|a| a.first().copied());
        let detail = self.told(name, &candidate.standing, (reason, case), specifics);
        HostFailure {
            case,
            ..HostFailure::passed_over(name, ip, port, reason, detail)
        }
    }

    /// A candidate without an address that can be connected to.
    pub(crate) fn unreachable(
        &self,
        candidate: &Candidate,
        (reason, case): (Reason, Case),
        specifics: &str,
    ) -> HostFailure {
        let (name, port) = (&candidate.name, candidate.port);
        let detail = self.told(name, &candidate.standing, (reason, case), specifics);
        HostFailure {
            case,
            ..HostFailure::unreachable(name, None, port, reason, detail)
        }
    }

    /// A session that does not fit the demands.
    pub(crate) fn unfit(
        &self,
        way: &Way<'_>,
        session: &Session,
        (reason, case): (Reason, Case),
        specifics: &str,
    ) -> HostFailure {
        let detail = self.told(way.name, way.standing, (reason, case), specifics);
        let seen = session.facts();
        HostFailure {
            case,
            dane: seen.dane,
            tls: session.tls(),
            ..HostFailure::unfit(way.name, way.address, reason, detail, seen.tls)
        }
    }

    fn told(
        &self,
        mx: &HostName,
        standing: &Standing,
        (reason, case): (Reason, Case),
        specifics: &str,
    ) -> String {
        reason.sentence(&Facts {
            mx: Some(mx.as_str()),
            specifics: Some(specifics),
            case,
            ..self.about(reason, standing)
        })
    }
}
