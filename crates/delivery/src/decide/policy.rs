//! From what the cache knows to what delivery needs (pure).

use std::sync::Arc;

use attempt::{NoPolicy, PolicyFrom, Reason};
use mail_types::{Domain, Envelope, Host, MessageClass, Timestamp};
use mta_sts::Mode;
use outbound_queue::Now;
use policy_cache::{Discovery, Origin, Outcome, Waiting};

use crate::decide::demand::{DaneRule, Inputs, Published};
use crate::decide::plan::{Made, Plan};
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
    // What it says of hosts without TLSA records would be taken for an answer.
    if plan.tlsa_unasked && inputs.rule.dane != DaneRule::DangerousOff {
        return wait_for_tlsa(recipients, now);
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
                return wait_for_policy(domain, *until, why);
            }
        }
    }
    Judgement::Known(Box::new(inputs))
}

fn wait_for_policy(domain: &Domain, until: Timestamp, why: &Waiting) -> Judgement {
    let detail = match why {
        Waiting::Clock(_) | Waiting::Local(_) => {
            format!("It is not known which MTA-STS policy {domain} has: {why}.")
        }
        Waiting::Dns { .. } => {
            format!("It is not known yet whether {domain} has an MTA-STS policy: {why}.")
        }
        Waiting::FetchLimit => {
            format!("It is not known at the moment which MTA-STS policy {domain} has: {why}.")
        }
    };
    Judgement::Wait {
        until,
        detail,
        held_back: matches!(why, Waiting::FetchLimit | Waiting::Clock(_)),
        reason: match why {
            Waiting::Local(_) => Reason::Local,
            Waiting::Dns { .. } | Waiting::FetchLimit | Waiting::Clock(_) => Reason::PolicyLookup,
        },
    }
}

/// The next attempt asks for them.
fn wait_for_tlsa(recipients: &Host, now: Timestamp) -> Judgement {
    Judgement::Wait {
        until: now,
        detail: format!(
            "It is not known yet whether the hosts of {recipients} have TLSA records: the rule under which they were \
             not asked for has just ended."
        ),
        held_back: true,
        reason: Reason::PolicyLookup,
    }
}

/// Whether a plan that was made for mail to these recipients may be used for more of it.
pub(crate) fn is_of_use(
    plan: &Plan,
    recipients: &Host,
    settings: &Settings,
    now: Now,
    made: Made,
) -> bool {
    let lacks_tlsa = || match recipients {
        Host::Domain(domain) => settings.rule(domain, now.wall).dane != DaneRule::DangerousOff,
        Host::Address(_) => false,
    };
    plan.holds(now.monotonic, made) && !(plan.tlsa_unasked && lacks_tlsa())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mail_types::{Mailbox, RetrySchedule};
    use outbound_queue::conformance::envelope;

    use super::*;
    use crate::decide::plan::Hosts;
    use crate::settings::DomainRule;

    const NOW: Now = Now {
        wall: Timestamp::from_secs(1000),
        monotonic: Duration::from_secs(10),
    };
    const MADE: Made = Made {
        policies: 1,
        epoch: 1,
    };

    fn d_test() -> Domain {
        Domain::parse("d.test").unwrap()
    }

    /// `[[domain]] name = "d.test", dane = "dangerous-off"` until then, or no rule.
    fn settings(off_until: Option<Timestamp>) -> Settings {
        let rule = |until| DomainRule {
            require: false,
            dangerous_audit: false,
            mx: Vec::new(),
            tls: None,
            dane: DaneRule::DangerousOff,
            until: Some(until),
        };
        let any = Duration::from_secs(60);
        Settings {
            hostname: d_test(),
            bounce_from: Mailbox::parse("postmaster@us.test").unwrap(),
            tls: None,
            dane_satisfies_sts: false,
            routes: routes::RouteTable::default(),
            domains: off_until.map(|u| (d_test(), rule(u))).into_iter().collect(),
            retry: RetrySchedule::new(Vec::new(), any, any, any),
            connections: 1,
            connections_per_destination: 1,
            connections_per_host: 1,
            spacing_per_host: None,
            recipients_per_transaction: 1,
            max_addresses: 1,
            patience: any,
            allow_special_use: Vec::new(),
            own: Vec::new(),
            max_returned: 0,
            seal: crate::Seal::default(),
            add_orcpt: false,
            notices: dsn::NoticeSettings::default(),
            expire_held: false,
            drain_timeout: any,
        }
    }

    fn plan(tlsa_unasked: bool) -> Plan {
        Plan {
            hosts: Hosts::Candidates(Vec::new()),
            policy_domain: None,
            discovery: None,
            route: None,
            valid_until: Duration::from_secs(11),
            made: MADE,
            beyond: 0,
            tlsa_unasked,
        }
    }

    #[test]
    fn c3_14_a_plan_without_tlsa_records_ends_with_the_rule() {
        let recipients = Host::Domain(d_test());
        let later = NOW.wall + Duration::from_secs(1);
        for (unasked, rule_until, fits) in [
            (true, Some(later), true),
            (true, Some(NOW.wall), false),
            (true, None, false),
            (false, None, true),
            (false, Some(later), true),
        ] {
            let (plan, settings) = (plan(unasked), settings(rule_until));
            let used = is_of_use(&plan, &recipients, &settings, NOW, MADE);
            let judged = judge(
                &plan,
                &recipients,
                &envelope("", &["b@d.test"]),
                &settings,
                NOW.wall,
            );
            let goes = match judged {
                Judgement::Known(_) => true,
                Judgement::Wait { held_back, .. } => {
                    assert!(held_back, "it says nothing about the destination");
                    false
                }
            };
            let case = format!("{unasked} {rule_until:?}");
            assert_eq!((used, goes), (fits, fits), "{case}");
        }
        let over = Now {
            monotonic: Duration::from_secs(11),
            ..NOW
        };
        let rules = settings(None);
        assert!(!is_of_use(&plan(false), &recipients, &rules, over, MADE));
    }
}
