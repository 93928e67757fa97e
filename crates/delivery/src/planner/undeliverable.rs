//! What becomes of mail when DNS says that it cannot go anywhere.

use std::sync::Arc;

use attempt::{Case, Reason};
use mail_types::{DnsError, Domain, EnhancedStatus, Host};
use nxdomain_guard::{Disbelief, Doubt};
use outbound_queue::QueueStore;

use crate::decide::demand::Requirement;
use crate::decide::failure::as_transient;
use crate::decide::plan::Plan;
use crate::decide::policy::is_enforced;
use crate::decide::verdict::{Failure, Verdict};
use crate::engine::Inner;
use crate::engine::lane::Lane;

/// DNS says that mail cannot go there. Under an enforced policy DNS is not enough to bounce it
/// (decision AMB-04): a fresh look is taken, and the same answer has to be seen for hours.
pub(crate) async fn undeliverable<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    plan: &Plan,
    requirement: &Requirement,
    said: ((Reason, Case), &str, bool),
) -> Verdict {
    let now = inner.now().wall;
    let ((reason, case), detail, secure) = said;
    let domain = lane.destination.host.to_string();
    let doubt = || inner.nxdomain_guard.lock().doubt(inner.now().monotonic);
    let is_domain = matches!(lane.destination.host, Host::Domain(_));
    let is_unproven = is_domain && is_absence((reason, case)) && !secure;
    if is_unproven && let Some(doubt) = doubt() {
        return doubted(inner, lane, reason, doubt);
    }
    if let Some(route) = &plan.route
        && reason != Reason::Loop
    {
        // What we have written wrongly is no reason to return mail.
        let said = format!("{}: {detail}", route.hop);
        let failure = Failure::of_domain((Reason::NoUsableMx, Case::RouteHost), &domain, &said);
        return Verdict::Deferred(Arc::new(Failure {
            status: as_transient(failure.status),
            ..failure
        }));
    }
    let failure = Failure::of_domain((reason, case), &domain, detail);
    let believed = || Verdict::Bounced(Arc::new(failure.clone()));
    let enforced = is_enforced(plan.discovery.as_ref(), now) || requirement.is_demanding();
    let subject = match reason {
        Reason::Loop | Reason::NoUsableMx => 4,
        _ => 3,
    };
    let unprotected = async || match disbelief(inner, lane, is_unproven).await {
        Some(disbelief) => not_believed(&failure, subject, disbelief.words()),
        None => believed(),
    };
    let Some(policy_domain) = plan.policy_domain.as_ref().filter(|_| enforced) else {
        return unprotected().await;
    };
    let look = inner.policies.fresh_look(policy_domain).await;
    if look.confirmed && !is_enforced(Some(&look.discovery), now) && !requirement.is_demanding() {
        return unprotected().await;
    }
    // What DNSSEC vouches for is nobody's forgery.
    if secure || lane.note_undeliverable(now) {
        lane.settled();
        return believed();
    }
    not_believed(&failure, subject, NOT_BELIEVED)
}

/// Whether DNS says of a domain that there is nothing at it: NXDOMAIN, or neither MX records nor an address, or no
/// address of any host that the MX records name, which may be known from before.
pub(crate) const fn is_absence(said: (Reason, Case)) -> bool {
    matches!(
        said,
        (Reason::NoSuchDomain, _) | (Reason::NoUsableMx, Case::NoMailHost | Case::Usual)
    )
}

fn not_believed(failure: &Failure, detail: u16, why: &str) -> Verdict {
    Verdict::Deferred(Arc::new(Failure {
        case: Case::NotBelieved,
        status: EnhancedStatus::transient(4, detail),
        detail: format!("{}{why}", failure.detail),
        ..failure.clone()
    }))
}

/// DNS says that there is nothing at a domain that was there lately, or said so first when it was doubted, or finds
/// nothing at all: a resolver may lie, or somebody may mend it.
async fn disbelief<S: QueueStore>(
    inner: &Inner<S>,
    lane: &Lane,
    is_unproven: bool,
) -> Option<Disbelief> {
    let Host::Domain(domain) = &lane.destination.host else {
        return None;
    };
    if !is_unproven {
        return None;
    }
    let (nothing, now) = (Disbelief::NothingFound, inner.now().monotonic);
    let known = inner.nxdomain_guard.lock().disbelief(domain, now);
    if known.is_some_and(|why| why != nothing) || finds_others(inner, domain).await {
        return known.filter(|why| *why != nothing);
    }
    let mut guard = inner.nxdomain_guard.lock();
    guard.put_in_doubt(domain, nothing, now);
    guard.disbelief(domain, now)
}

/// Whether who says that there is nothing at a domain finds anything: its top-level domain, or another one lately.
/// After a start nothing else is known of a resolver, and the first mail is not to be what it is tested with.
async fn finds_others<S: QueueStore>(inner: &Inner<S>, domain: &Domain) -> bool {
    let is_asked = |top: &Domain| !["invalid", "onion"].contains(&top.as_str());
    let Some(top) = domain.top_level().filter(is_asked) else {
        return true; // DNS was not asked for it (RFC 6761 section 6.4, RFC 7686 section 2).
    };
    match inner.resolver.zone(&top).await {
        Ok(()) => true,
        Err(error) if error.is_proven_absence() => true,
        // No zone is without its record: whoever says NOERROR to that, and nothing else, says it to everything.
        Err(DnsError::NoRecords { .. }) => false,
        Err(_) => (inner.nxdomain_guard.lock()).finds_something(inner.now().monotonic),
    }
}

/// What DNS says, without what follows it as long as there are other attempts.
pub(crate) fn without_disbelief(detail: &str) -> Option<&str> {
    let words = Disbelief::ALL.map(Disbelief::words);
    let mut all = words.iter().chain([&NOT_BELIEVED]);
    all.find_map(|why| detail.strip_suffix(why))
}

const NOT_BELIEVED: &str = " This is not believed yet: the domain's mail is protected, and DNS answers \
     can be forged. The mail is returned if the answer stays the same for four hours.";

/// Nearly every domain is said not to exist: that is a fault of the resolver rather than of all of them.
fn doubted<S: QueueStore>(inner: &Inner<S>, lane: &Lane, reason: Reason, doubt: Doubt) -> Verdict {
    let Doubt {
        absent,
        asked,
        news,
    } = doubt;
    if news {
        inner.observer.dns_doubted(absent, asked);
    }
    let what = match reason {
        Reason::NoSuchDomain => "NXDOMAIN",
        _ => "NOERROR without records",
    };
    let specifics = format!(
        "{what} is not believed now, since of {absent} of the {asked} domains that were looked up last \
         DNS finds nothing"
    );
    if let Host::Domain(domain) = &lane.destination.host {
        let now = inner.now().monotonic;
        let doubt = Disbelief::WasDoubted;
        inner.nxdomain_guard.lock().put_in_doubt(domain, doubt, now);
    }
    let domain = lane.destination.host.to_string();
    let failure = Failure::of_domain((Reason::DnsTemporary, Case::Usual), &domain, &specifics);
    Verdict::Deferred(Arc::new(failure))
}
