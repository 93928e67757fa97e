//! From what the cache knows to what delivery needs (pure).

use std::sync::Arc;

use attempt::{NoPolicy, PolicyFrom, Reason};
use mail_types::{Envelope, Host, MessageClass, Timestamp};
use mta_sts::Mode;
use policy_cache::{Discovery, Origin, Outcome, Waiting};

use crate::demand::{Inputs, Published};
use crate::planner::Plan;
use crate::settings::Settings;

/// Whether the mail can be judged now.
#[must_use]
pub(crate) enum Judgement {
    /// These are the inputs of its requirement.
    Known(Box<Inputs>),
    /// What the domain demands is not known yet (decisions AMB-01, AMB-06).
    Wait {
        until: Timestamp,
        detail: String,
        /// Our own limits, or clock, keep it from being asked: that says nothing about the destination.
        held_back: bool,
        /// The look-up failed, or something of ours.
        reason: Reason,
    },
}

/// Gathers everything that may demand something of this message.
pub(crate) fn judge(
    plan: &Plan,
    recipients: &Host,
    envelope: &Envelope,
    settings: &Settings,
    now: Timestamp,
) -> Judgement {
    let report = envelope.class == MessageClass::Report;
    let mut inputs = Inputs {
        delivery_tls: settings.tls,
        route_tls: plan.route.as_ref().map(|r| r.tls),
        requiretls: envelope.requiretls,
        tls_required_no: envelope.tls_required_no,
        report,
        dane_published: plan.publishes_dane(),
        dane_satisfies_sts: settings.dane_satisfies_sts,
        ..Inputs::default()
    };
    // `[[domain]]` speaks of the recipients' domain, whatever way the mail takes.
    if let Host::Domain(domain) = recipients {
        inputs.rule = settings.rule(domain, now);
    }
    let (Some(domain), Some(discovery)) = (&plan.policy_domain, &plan.discovery) else {
        return Judgement::Known(Box::new(inputs));
    };
    if let Some(local) = &discovery.local {
        inputs.exempt = local.exemption.as_ref().is_some_and(|e| e.is_active(now));
        // The configuration beats a pin; both only add (decision AMB-33).
        if let Some(pin) = local.pin.as_ref().filter(|_| !inputs.rule.require) {
            inputs.rule.require = true;
            inputs.rule.mx.clone_from(&pin.mx);
        }
    }
    inputs.first_contact = discovery.first_contact;
    match &discovery.outcome {
        Outcome::Policy(applied) => {
            // RFC 8461 section 5.1: an expired policy is not applied; a plan may outlive one.
            if !applied.policy.is_expired(now) || discovery.first_contact {
                let from = match applied.from {
                    Origin::Live => PolicyFrom::Live,
                    Origin::Cache => PolicyFrom::Cache,
                };
                let stored = Arc::clone(&applied.policy);
                inputs.published = Some(Published {
                    stored,
                    from,
                    first_contact: discovery.first_contact,
                });
            }
        }
        Outcome::NoPolicy(none) => {
            inputs.no_policy = none.failed_step().map(|step| NoPolicy {
                step,
                why: none.to_string().into(),
            });
        }
        Outcome::Wait { until, why } => {
            // What is set aside in any case is not waited for, unless something else asks for it: a rule or a
            // pin without hosts of its own, REQUIRETLS.
            let set_aside = inputs.exempt || inputs.rule.dangerous_audit;
            let asked_for = inputs.rule.require || inputs.requiretls;
            inputs.not_waited_for = set_aside && !asked_for;
            // Reports of ours go whatever the policy says (RFC 8460 section 3).
            if !report && !inputs.not_waited_for {
                let detail = match why {
                    Waiting::Clock(_) | Waiting::Local(_) => {
                        format!("It is not known which MTA-STS policy {domain} has: {why}.")
                    }
                    Waiting::Dns { .. } => format!(
                        "It is not known yet whether {domain} has an MTA-STS policy: {why}."
                    ),
                    Waiting::FetchLimit => format!(
                        "It is not known at the moment which MTA-STS policy {domain} has: {why}."
                    ),
                };
                return Judgement::Wait {
                    until: *until,
                    detail,
                    held_back: matches!(why, Waiting::FetchLimit | Waiting::Clock(_)),
                    reason: match why {
                        Waiting::Local(_) => Reason::Local,
                        Waiting::Dns { .. } | Waiting::FetchLimit | Waiting::Clock(_) => {
                            Reason::PolicyLookup
                        }
                    },
                };
            }
        }
    }
    Judgement::Known(Box::new(inputs))
}

/// Whether an enforce policy is in force, so that DNS alone must not bounce mail (decision AMB-04).
pub(crate) fn is_enforced(discovery: Option<&Discovery>, now: Timestamp) -> bool {
    match discovery.map(|d| &d.outcome) {
        Some(Outcome::Policy(applied)) => {
            applied.policy.mode() == Mode::Enforce && !applied.policy.is_expired(now)
        }
        Some(Outcome::NoPolicy(_) | Outcome::Wait { .. }) | None => false,
    }
}
