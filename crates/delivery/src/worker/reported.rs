//! Tells what sessions show about policies, for TLS reports (RFC 8460).

use std::net::IpAddr;

use attempt::Reason;
use mail_types::{Domain, HostName, MessageClass, Resolver, Timestamp};
use outbound_queue::{Leased, QueueStore};
use smtp_client::{Cause, SessionError};
use tls_findings::{About, Count, Fault, Records, Shown, counts, overlooked, reported};
use tls_rpt::{Failure, Finding, Policy};

use crate::decide::demand::Requirement;
use crate::decide::hosts::Candidate;
use crate::decide::plan::Plan;
use crate::decide::standing::{HostDane, Standing};
use crate::decide::verdict::Verdict;
use crate::ports::Observer;
use crate::worker::concede::Tools;
use crate::worker::findings::Findings;
use crate::worker::sessions::{Session, Way};
use crate::worker::work::Attempt;

/// A host that was left out by its name.
pub(crate) struct Overlooked {
    mx: HostName,
    standing: Standing,
    count: Count,
}

/// Where and when a session was, or would have been.
struct Place<'a> {
    at: Timestamp,
    source: Option<IpAddr>,
    address: Option<IpAddr>,
    mx: &'a HostName,
    standing: &'a Standing,
}

/// Whose reports tell of this mail's sessions: the policy domain's. Nobody's where nobody wants to know, and of mail
/// that is such a report itself (RFC 8460 section 3, row B4-17).
pub(crate) fn domain<'a>(
    observer: &dyn Observer,
    leased: &Leased,
    plan: &'a Plan,
) -> Option<&'a str> {
    let wanted = leased.envelope.class != MessageClass::Report && observer.reports_tls();
    let domain = plan.policy_domain.as_ref().filter(|_| wanted);
    domain.map(Domain::as_str)
}

impl<S: QueueStore> Tools<'_, S> {
    /// Tells of hosts that were left out by their names, once whatever was tried in between.
    pub(crate) fn report_overlooked(
        &self,
        plan: &Plan,
        requirement: Option<&Requirement>,
        found: &Findings,
    ) {
        let Some(requirement) = requirement.filter(|_| !found.overlooked.is_empty()) else {
            return;
        };
        let tools = Tools {
            reports: domain(&*self.inner.observer, self.leased, plan),
            ..*self
        };
        let attempt = tools.attempt(requirement, None);
        attempt.report_overlooked(found, &*self.inner.resolver);
    }
}

impl<S: QueueStore> Attempt<'_, S> {
    /// A session stands: told once for each policy that it serves under.
    pub(crate) fn report_session(
        &self,
        way: &Way<'_>,
        session: &mut Session,
        at: Option<Timestamp>,
    ) {
        let (Some(domain), Some(at)) = (self.reports, at) else {
            return;
        };
        let Some(shown) = session.shown() else { return };
        let facts = session.connection.facts();
        let place = Place {
            at,
            source: facts.source,
            address: Some(facts.addr.ip()),
            mx: way.name,
            standing: way.standing,
        };
        for count in counts(self.published(), way.name, records(way.standing), &shown) {
            let is_new = match count.0 {
                About::Sts | About::NoPolicy => session.connection.is_new_to(domain),
                About::Tlsa => {
                    let base = way.standing.dane.base().unwrap_or(way.name);
                    session.connection.is_new_to(&format!("_tcp.{base}"))
                }
            };
            if is_new {
                self.tell(domain, &place, count);
            }
        }
    }

    /// A session could not be opened.
    pub(crate) fn report_failure(
        &self,
        way: &Way<'_>,
        error: &SessionError,
        shown: Option<Shown>,
        at: Option<Timestamp>,
    ) {
        let (Some(domain), Some(at)) = (self.reports, at) else {
            return;
        };
        let Some(shown) = shown.or_else(|| Shown::of_error(error)) else {
            return;
        };
        let place = Place {
            at,
            source: error.from,
            address: Some(way.address.ip()),
            mx: way.name,
            standing: way.standing,
        };
        let published = self.published();
        // A handshake that was ended over one demand says nothing good of another: no session came of it.
        let is_over_tls = matches!(
            error.cause,
            Cause::Certificate(_) | Cause::Dane(_) | Cause::Handshake(_)
        );
        counts(published, way.name, records(way.standing), &shown)
            .filter(|(_, fault)| fault.is_some() || !is_over_tls)
            .for_each(|count| self.tell(domain, &place, count));
    }

    /// A host was left out by its name: kept until it is known whether a session would have been opened.
    pub(crate) fn overlook(&self, candidate: &Candidate, reason: Reason, found: &mut Findings) {
        if self.reports.is_none() {
            return;
        }
        let (mx, standing) = (&candidate.name, &candidate.standing);
        if let Some(count) = overlooked(self.published(), mx, records(standing), reason) {
            found.overlooked.push(Overlooked {
                mx: mx.clone(),
                standing: standing.clone(),
                count,
            });
        }
    }

    /// Sessions are counted, not messages: mail that went over a session that was there already would not have
    /// opened one to a host of better preference either.
    fn report_overlooked(&self, found: &Findings, resolver: &dyn Resolver) {
        let Some(domain) = self.reports else { return };
        let sent = |v: &Verdict| matches!(v, Verdict::Sent { .. });
        if !found.met && found.verdicts.iter().flatten().any(sent) {
            return;
        }
        for host in &found.overlooked {
            // While our own name servers answer nobody that says nothing of the host.
            let is_unknown = matches!(host.standing.dane, HostDane::Failed { .. });
            if is_unknown && host.count.0 == About::Tlsa && resolver.fault().is_some() {
                continue;
            }
            let place = Place {
                at: self.now,
                source: None,
                address: None,
                mx: &host.mx,
                standing: &host.standing,
            };
            self.tell(domain, &place, host.count.clone());
        }
    }

    fn published(&self) -> Option<&mta_sts::Policy> {
        let published = self.requirement.published()?;
        Some(&published.stored.policy)
    }

    fn tell(&self, domain: &str, place: &Place<'_>, (about, fault): Count) {
        let base = place.standing.dane.base().unwrap_or(place.mx);
        let records = match (about, &place.standing.dane) {
            (About::Tlsa, HostDane::Usable(records)) => {
                let records = records.set.records().iter();
                records.map(dane::Association::to_record).collect()
            }
            _ => Vec::new(),
        };
        let policy = match about {
            About::Sts => {
                Policy::Sts(reported(self.published()).map_or("", |policy| policy.text()))
            }
            About::NoPolicy => Policy::NoPolicyFound,
            About::Tlsa => Policy::Tlsa(&records),
        };
        let failure = fault.map(|Fault { result, code }| Failure {
            result,
            sending_ip: place.source,
            mx: Some(place.mx.as_str()),
            helo: None,
            receiving_ip: place.address,
            reason: code.map(|code| code.into_string().into()),
        });
        self.sessions.observer.tls_finding(&Finding {
            at: place.at,
            domain: match about {
                About::Sts | About::NoPolicy => domain,
                About::Tlsa => base.as_str(),
            },
            policy,
            failure,
        });
    }
}

fn records(standing: &Standing) -> Records<'_> {
    match &standing.dane {
        HostDane::Absent => Records::Absent,
        HostDane::Usable(_) => Records::Usable,
        HostDane::Unusable { why, .. } => Records::Unusable(why),
        HostDane::Failed { .. } => Records::Unknown,
    }
}
