//! What would become of mail, by the decisions that the relay itself takes (pure).
//!
//! Hosts were connected to with TLS if offered, and their certificates observed. What a connection
//! under the domain's real requirement would have come to follows from that: `Requirement` is asked
//! about the session that it would have demanded, with what was seen of it.

use std::net::SocketAddr;
use std::sync::Arc;

use attempt::{Case, PolicyFrom, Reason};
use delivery::decide::conclusion::{Conclusion, conclude};
use delivery::decide::demand::{
    Assurance, HostDecision, Inputs, Published, Requirement, SeenDane, SeenTls, SessionDecision,
    SessionFacts,
};
use delivery::decide::failure::HostFailure;
use delivery::decide::hosts::Candidate;
use mail_types::{DnsError, HostName};
use mta_sts::Selection;
use smtp_client::{Cause, CertificateFailure, StartTls, TlsSession};

use crate::facts::{AddressFacts, DnsFault, Facts, HostFacts, MailHosts, Seen, TxtAnswer};

/// What would become of mail to the domain now, from a relay that knows nothing of it yet.
#[derive(Clone, Debug)]
#[must_use]
pub enum Outcome {
    /// It would be delivered.
    Delivered {
        /// The first host that would take it.
        host: HostName,
        /// How.
        protection: Protection,
    },
    /// It would wait.
    Deferred {
        /// The reason key of the event.
        reason: Reason,
        /// One sentence.
        because: String,
    },
    /// It would be returned.
    Bounced {
        /// The reason key of the event.
        reason: Reason,
        /// One sentence.
        because: String,
    },
}

/// What would become of mail at one host.
#[derive(Clone, Debug)]
#[must_use]
pub enum HostOutcome {
    /// It would be sent there.
    Takes {
        /// How.
        protection: Protection,
    },
    /// It would not; the failures are in the order of the addresses, the first tells.
    Refused(Vec<HostFailure>),
}

/// How a message would travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// The certificate has to be valid, and is.
    Verified,
    /// The certificate has to be the one that TLSA records name, and is.
    Dane,
    /// Over TLS; nobody demands a valid certificate.
    Encrypted,
    /// In plain text; nobody demands TLS.
    Plain,
}

/// The outcome for each host of the facts, and for mail as a whole. `demands` is what the
/// configuration asks of this domain.
pub(crate) fn judge(facts: &Facts, demands: &Inputs) -> (Vec<HostOutcome>, Outcome) {
    let (hosts, outcome) = by_what_answered(facts, demands);
    let (Some(fault), Outcome::Deferred { reason, .. }) = (&facts.fault, &outcome) else {
        return (hosts, outcome);
    };
    // As the relay does: without an answer to anything it is not the domain's servers that fail.
    let (DnsFault::Silent(why)
    | DnsFault::Refused(why)
    | DnsFault::Absent(why)
    | DnsFault::Barred(why)) = fault;
    match reason {
        Reason::DnsTemporary | Reason::PolicyLookup | Reason::DaneLookup => {
            (hosts, ours(facts, why))
        }
        _ => (hosts, outcome),
    }
}

fn by_what_answered(facts: &Facts, demands: &Inputs) -> (Vec<HostOutcome>, Outcome) {
    let requirement = requirement(facts, demands);
    let domain = facts.domain.as_str();
    let hosts = match &facts.mail {
        MailHosts::Hosts { hosts, .. } => hosts.as_slice(),
        MailHosts::Undeliverable { reason, detail } => {
            return (Vec::new(), of_domain(domain, *reason, detail, &requirement));
        }
        MailHosts::Unknown { reason, detail } => {
            let (reason, because) = (*reason, sentence(domain, None, *reason, detail));
            return (Vec::new(), Outcome::Deferred { reason, because });
        }
    };
    let outcomes: Vec<_> = hosts
        .iter()
        .map(|host| at_host(domain, host, &requirement))
        .collect();
    // First contact while DNS does not say whether there is a policy: the mail waits.
    if let TxtAnswer::Failed(error) = &facts.record {
        if matches!(error, DnsError::Local(_)) {
            return (outcomes, ours(facts, &error.to_string()));
        }
        let reason = Reason::PolicyLookup;
        let because = sentence(domain, None, reason, &error.to_string());
        return (outcomes, Outcome::Deferred { reason, because });
    }
    // And while it is a fault of ours that its policy is not known.
    if let (Some(Selection::Found(_)), Err(error)) = (facts.selection(), &facts.policy)
        && error.is_ours()
    {
        return (outcomes, ours(facts, &error.to_string()));
    }
    let outcome = overall(facts, hosts, &outcomes, &requirement);
    (outcomes, outcome)
}

/// Mail waits for something that fails on this side.
fn ours(facts: &Facts, why: &str) -> Outcome {
    let reason = Reason::Local;
    let because = sentence(facts.domain.as_str(), None, reason, why);
    Outcome::Deferred { reason, because }
}

fn requirement(facts: &Facts, demands: &Inputs) -> Requirement {
    let published = facts.published().map(|stored| Published {
        stored: Arc::new(stored),
        from: PolicyFrom::Live,
        first_contact: true,
    });
    let dane_published = match &facts.mail {
        MailHosts::Hosts { hosts, .. } => {
            let dane = |host: &HostFacts| host.candidate.standing.dane.is_present();
            hosts.iter().any(dane)
        }
        MailHosts::Undeliverable { .. } | MailHosts::Unknown { .. } => false,
    };
    Requirement::of(&Inputs {
        published,
        dane_published,
        ..demands.clone()
    })
}

fn overall(
    facts: &Facts,
    hosts: &[HostFacts],
    outcomes: &[HostOutcome],
    requirement: &Requirement,
) -> Outcome {
    let domain = facts.domain.as_str();
    let mut failures = Vec::new();
    for (host, outcome) in hosts.iter().zip(outcomes) {
        match outcome {
            HostOutcome::Takes { protection } => {
                return Outcome::Delivered {
                    host: host.candidate.name.clone(),
                    protection: *protection,
                };
            }
            HostOutcome::Refused(of_host) => failures.extend(of_host.iter().cloned()),
        }
    }
    let definite = |h: &HostFacts| h.candidate.addresses.as_ref().is_err_and(|u| u.definite);
    if hosts.iter().all(definite) {
        // A domain without MX records is its own mail host.
        let (case, detail) = match &facts.mail {
            MailHosts::Hosts { implicit: true, .. } => (Case::NoMailHost, String::new()),
            _ => {
                let detail = format!("no mail host of {domain} has an address");
                (Case::Usual, detail)
            }
        };
        return of_domain(domain, (Reason::NoUsableMx, case), &detail, requirement);
    }
    let told = |n: usize| {
        failures.get(n).map_or_else(
            || (Reason::NoUsableMx, String::new()),
            |f: &HostFailure| (f.reason, f.detail.clone()),
        )
    };
    match conclude(
        &failures,
        requirement,
        std::time::Duration::ZERO,
        std::time::Duration::MAX,
    ) {
        Some(Conclusion::Bounce(n)) => {
            let (reason, because) = told(n);
            Outcome::Bounced { reason, because }
        }
        Some(Conclusion::Defer(n)) => {
            let (reason, because) = told(n);
            Outcome::Deferred { reason, because }
        }
        None => of_domain(domain, (Reason::NoUsableMx, Case::Usual), "", requirement),
    }
}

/// What DNS says of the domain is final, unless something is demanded: DNS can be forged.
fn of_domain(
    domain: &str,
    (reason, case): (Reason, Case),
    detail: &str,
    requirement: &Requirement,
) -> Outcome {
    let because = reason.sentence(&attempt::Facts {
        specifics: Some(detail),
        case,
        ..about(domain)
    });
    if requirement.is_demanding() {
        Outcome::Deferred { reason, because }
    } else {
        Outcome::Bounced { reason, because }
    }
}

fn at_host(domain: &str, host: &HostFacts, requirement: &Requirement) -> HostOutcome {
    let candidate = &host.candidate;
    let by_name = requirement.host(&candidate.name, &candidate.standing);
    if let HostDecision::Refuse {
        reason,
        case,
        specifics,
    } = by_name
    {
        let detail = refusal(domain, candidate, (reason, case, requirement), &specifics);
        let (name, port) = (&candidate.name, candidate.port);
        let failure = HostFailure::passed_over(name, None, port, reason, detail);
        return HostOutcome::Refused(vec![HostFailure { case, ..failure }]);
    }
    if let Err(unreachable) = &candidate.addresses {
        let failure = HostFailure::unreachable(
            &candidate.name,
            None,
            candidate.port,
            unreachable.reason,
            sentence(
                domain,
                Some(&candidate.name),
                unreachable.reason,
                &unreachable.detail,
            ),
        );
        return HostOutcome::Refused(vec![failure]);
    }
    let mut failures = Vec::new();
    for address in &host.addresses {
        match at_address(domain, candidate, address, requirement) {
            Ok(protection) => return HostOutcome::Takes { protection },
            Err(failure) => failures.push(*failure),
        }
    }
    HostOutcome::Refused(failures)
}

fn at_address(
    domain: &str,
    candidate: &Candidate,
    at: &AddressFacts,
    requirement: &Requirement,
) -> Result<Protection, Box<HostFailure>> {
    let (tls, cause) = match &at.seen {
        Seen::Session { starttls, tls } => (seen_tls(starttls, tls.as_deref()), None),
        // What failed in TLS is tried once more in plain text where nothing is demanded.
        Seen::Failed { stage, cause } => match plain_after(cause) {
            Some(reason) => (SeenTls::None(reason), Some((*stage, cause))),
            None => {
                let failure = HostFailure::from_cause(
                    &about(domain),
                    &candidate.name,
                    at.address,
                    candidate.port,
                    *stage,
                    cause,
                );
                return Err(Box::new(failure));
            }
        },
        Seen::NotChecked => {
            let (name, port) = (&candidate.name, candidate.port);
            let detail = sentence(domain, Some(name), Reason::Timeout, "not checked");
            let ip = Some(at.address);
            return Err(Box::new(HostFailure::unreachable(
                name,
                ip,
                port,
                Reason::Timeout,
                detail,
            )));
        }
    };
    let assurance = requirement.assurance(&candidate.standing);
    let protection = match (&tls, assurance) {
        (SeenTls::None(_), _) => Protection::Plain,
        (_, Assurance::Dane | Assurance::DaneAndAuthenticated) => Protection::Dane,
        (SeenTls::Verified, Assurance::Authenticated) => Protection::Verified,
        (SeenTls::Verified | SeenTls::Unverified(_), _) => Protection::Encrypted,
    };
    let session = SessionFacts {
        assurance,
        tls: tls.clone(),
        dane: seen_dane(&at.seen),
        records: candidate.standing.dane.records().cloned(),
        offers_requiretls: false,
    };
    match requirement.session(&candidate.name, &candidate.standing, &session) {
        SessionDecision::Deliver => Ok(protection),
        SessionDecision::Refuse {
            reason,
            case,
            specifics,
        } => {
            let specifics = match (&at.seen, cause) {
                (_, Some((_, cause))) => cause.specifics(),
                (Seen::Session { tls: Some(tls), .. }, None) if reason == Reason::DaneMismatch => {
                    let fault = tls.dane.failure().map(|f| f.fault.to_string());
                    fault.unwrap_or(specifics)
                }
                (Seen::Session { starttls, tls }, None) => {
                    why(starttls, tls.as_deref()).unwrap_or(specifics)
                }
                (Seen::Failed { .. } | Seen::NotChecked, None) => specifics,
            };
            let detail = refusal(domain, candidate, (reason, case, requirement), &specifics);
            let address = SocketAddr::new(at.address, candidate.port);
            let failure = HostFailure::unfit(&candidate.name, address, reason, detail, tls);
            Err(Box::new(HostFailure { case, ..failure }))
        }
    }
}

/// What TLSA records said, in delivery's terms.
fn seen_dane(seen: &Seen) -> SeenDane {
    match seen {
        Seen::Session { tls: Some(tls), .. } => SeenDane::of(&tls.dane),
        Seen::Session { tls: None, .. } | Seen::Failed { .. } | Seen::NotChecked => {
            SeenDane::Nothing
        }
    }
}

/// What TLS proved, in delivery's terms.
fn seen_tls(starttls: &StartTls, tls: Option<&TlsSession>) -> SeenTls {
    match (tls, starttls) {
        (Some(tls), _) if tls.verdict.would_verify() => SeenTls::Verified,
        (Some(tls), _) => {
            let reason = tls.verdict.failure().map(CertificateFailure::reason);
            SeenTls::Unverified(reason.unwrap_or(Reason::CertNotTrusted))
        }
        (None, StartTls::Refused(_)) => SeenTls::None(Reason::StarttlsRefused),
        (None, StartTls::Used | StartTls::NotOffered | StartTls::NotTried) => {
            SeenTls::None(Reason::StarttlsNotOffered)
        }
    }
}

/// The exact fault behind a refused session.
fn why(starttls: &StartTls, tls: Option<&TlsSession>) -> Option<String> {
    match (tls, starttls) {
        (Some(tls), _) => tls.verdict.failure().map(|f| f.fault.to_string()),
        (None, StartTls::Refused(reply)) => Some(reply.to_string()),
        (None, StartTls::Used | StartTls::NotOffered | StartTls::NotTried) => None,
    }
}

fn plain_after(cause: &Cause) -> Option<Reason> {
    match cause {
        Cause::Handshake(_) | Cause::Certificate(_) | Cause::Dane(_) => Some(cause.reason()),
        // Neither 220 nor a refusal, as delivery takes it.
        Cause::StartTlsRefused(reply) if reply.code() / 100 == 2 => Some(cause.reason()),
        Cause::Connect(_)
        | Cause::StartTlsNotOffered(_)
        | Cause::StartTlsRefused(_)
        | Cause::StartTlsInjection
        | Cause::Lost(_)
        | Cause::Timeout(_)
        | Cause::Remote(_)
        | Cause::Protocol(_)
        | Cause::Missing(_)
        | Cause::Auth(_)
        | Cause::Local(_)
        | Cause::Configured(_) => None,
    }
}

/// Why a host or its session is refused.
fn refusal(
    domain: &str,
    candidate: &Candidate,
    (reason, case, requirement): (Reason, Case, &Requirement),
    specifics: &str,
) -> String {
    reason.sentence(&attempt::Facts {
        mx: Some(candidate.name.as_str()),
        specifics: Some(specifics),
        case,
        by: requirement.demanded_by(reason, &candidate.standing),
        ..about(domain)
    })
}

fn about(domain: &str) -> attempt::Facts<'_> {
    attempt::Facts {
        domain,
        ..attempt::Facts::default()
    }
}

fn sentence(domain: &str, mx: Option<&HostName>, reason: Reason, specifics: &str) -> String {
    reason.sentence(&attempt::Facts {
        mx: mx.map(HostName::as_str),
        specifics: Some(specifics),
        ..about(domain)
    })
}

#[cfg(test)]
mod tests;
