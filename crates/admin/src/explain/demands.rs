//! What applies to a domain: its policy, its hosts, our routes and rules.

use attempt::{Facts, Reason};
use delivery::Hosts;
use delivery::decide::demand::{DaneRule, RequiredTls};
use mail_types::{Domain, Mailbox, ReversePath};
use mta_sts::{Mode, NoRecord};
use outbound_queue::QueueStore;
use policy_cache::{Discovery, NoPolicy, Outcome, RecordTrouble, Waiting};
use routes::{Route, RouteTls};
use tokio::time::{Instant, timeout_at};

use super::{PATIENCE, hosts, time};
use crate::Control;

/// A look at everything that applies to a domain, taken once. What did not answer in time is missing.
pub(super) struct Look {
    discovery: Option<Discovery>,
    hosts: Option<Hosts>,
    /// Whether an operator has set the policy aside for now.
    is_exempt: bool,
}

impl Look {
    /// Asks DNS, and the policy host if the policy is not stored; then it is stored, as for a message.
    /// The role `read` may have that done: it adds protection and takes none away (`docs/admin.md`).
    /// Whoever asks waits until `end` and no longer; the fetch goes on.
    pub(super) async fn take<S: QueueStore>(
        control: &Control<S>,
        domain: &Domain,
        end: Instant,
    ) -> Self {
        let (discovery, hosts) = tokio::join!(
            timeout_at(end, control.policies.shown(domain)),
            timeout_at(end, control.delivery.hosts(domain))
        );
        let (discovery, hosts) = (discovery.ok(), hosts.ok());
        let local = match &discovery {
            Some(discovery) => discovery.local.clone(),
            None => control.policies.show(domain).and_then(|view| view.local),
        };
        let exemption = local.as_ref().and_then(|l| l.exemption.as_ref());
        let is_exempt = exemption.is_some_and(|e| e.is_active(control.now().wall));
        Self {
            discovery,
            hosts,
            is_exempt,
        }
    }

    /// Whether an operator has set the policy aside for now.
    pub(super) const fn is_exempt(&self) -> bool {
        self.is_exempt
    }

    /// The mode of the policy, if there is one.
    pub(super) fn policy_mode(&self) -> Option<Mode> {
        match &self.discovery.as_ref()?.outcome {
            Outcome::Policy(applied) => Some(applied.policy.mode()),
            Outcome::NoPolicy(_) | Outcome::Wait { .. } => None,
        }
    }

    /// For the facts of a letter.
    pub(super) fn policy_in_short(&self) -> Option<String> {
        let Outcome::Policy(applied) = &self.discovery.as_ref()?.outcome else {
            return None;
        };
        let stored = &applied.policy;
        let id = stored.id.as_ref().map_or("unknown", |id| id.as_str());
        Some(format!(
            "MTA-STS, mode {}, id {id}, fetched {}, hosts {}",
            stored.mode().as_str(),
            time(stored.fetched_at),
            listed(stored.policy.mx())
        ))
    }

    pub(super) fn paragraphs<S: QueueStore>(
        &self,
        control: &Control<S>,
        domain: &Domain,
    ) -> Vec<String> {
        let mut out = Vec::new();
        if let Some(route) = route(control, domain) {
            out.push(by_route(domain, &route));
            // Its own policy is not asked then.
        } else if let Some(discovery) = &self.discovery {
            let goes = !matches!(self.hosts, Some(Hosts::Undeliverable { .. }));
            out.push(policy(domain, discovery, self.is_exempt, goes));
            out.extend(text(discovery));
            if self.policy_mode() == Some(Mode::Testing) {
                out.extend(noted(control, domain));
            }
        } else {
            out.push(format!(
                "The policy host of {domain}, or the DNS that names it, has not answered within {} s: run \
                 `sealpost check {domain}` for the whole story.",
                PATIENCE.as_secs()
            ));
        }
        match &self.hosts {
            Some(found) => out.extend(hosts::paragraphs(found)),
            None => out.push(format!(
                "DNS has not said within {} s where mail for {domain} goes.",
                PATIENCE.as_secs()
            )),
        }
        out.extend(rule(control, domain));
        out.extend(set_by_operator(control, domain));
        out
    }
}

fn route<S: QueueStore>(control: &Control<S>, domain: &Domain) -> Option<std::sync::Arc<Route>> {
    let anybody = Mailbox::parse(&format!("postmaster@{domain}")).ok()?;
    let routes = &control.delivery.settings().routes;
    routes
        .get(&routes.destination(&ReversePath::Null, &anybody))
        .cloned()
}

fn by_route(domain: &Domain, route: &Route) -> String {
    let tls = match route.tls {
        RouteTls::Verified => "over TLS with a valid certificate only (`tls = \"verified\"`)",
        RouteTls::Policy => "as the policy of that host's own domain says (`tls = \"policy\"`)",
        RouteTls::DangerousUnverified => {
            "over TLS with any certificate (`tls = \"dangerous-unverified\"`)"
        }
        RouteTls::DangerousOff => "without TLS (`tls = \"dangerous-off\"`)",
    };
    let name = route
        .tls_name
        .as_ref()
        .map(|name| format!(", whose certificate has to be for {name}"))
        .unwrap_or_default();
    format!(
        "A [[route]] of our configuration takes mail for {domain} to {}{name}, {tls}. MX records and policy of \
         {domain} itself are not looked at.",
        route.hop
    )
}

/// Our `[[domain]]` rule as it counts now.
fn rule<S: QueueStore>(control: &Control<S>, domain: &Domain) -> Option<String> {
    let settings = control.delivery.settings();
    let written = settings.domains.get(domain)?;
    let rule = settings.rule(domain, control.now().wall);
    let mut says = Vec::new();
    if rule.require {
        says.push(
            "a verified host is required whether the domain publishes a policy or not".to_owned(),
        );
    }
    if !rule.mx.is_empty() {
        says.push(format!("hosts have to match {}", listed(&rule.mx)));
    }
    match rule.tls {
        Some(RequiredTls::Encrypted) => {
            says.push("TLS is required, with any certificate".to_owned())
        }
        Some(RequiredTls::Verified) => {
            says.push("TLS with a valid certificate is required".to_owned())
        }
        None => {}
    }
    match rule.dane {
        DaneRule::Require => says.push("DANE is required".to_owned()),
        DaneRule::DangerousAudit => {
            says.push("TLSA records are only noted, not enforced".to_owned())
        }
        DaneRule::DangerousOff => says.push("TLSA records are not looked at".to_owned()),
        DaneRule::Policy => {}
    }
    if rule.dangerous_audit {
        says.push("the domain's policy is only noted, not enforced".to_owned());
    }
    if says.is_empty() {
        says.push("nothing any more: what it weakened has ended".to_owned());
    }
    let until = written
        .until
        .map(|at| format!(" What weakens in it ends {}.", time(at)))
        .unwrap_or_default();
    Some(format!(
        "A [[domain]] rule of our configuration says: {}.{until}",
        says.join("; ")
    ))
}

/// Pins and exemptions.
fn set_by_operator<S: QueueStore>(control: &Control<S>, domain: &Domain) -> Vec<String> {
    let now = control.now().wall;
    let view = control.policies.show(domain);
    let local = view.and_then(|view| view.local);
    let mut out = Vec::new();
    if let Some(pin) = local.as_ref().and_then(|l| l.pin.as_ref()) {
        out.push(format!(
            "An operator has pinned the hosts {} at {} ({}, {}): this is a minimum, whatever the domain publishes.",
            listed(&pin.mx),
            time(pin.order.at),
            pin.order.by,
            pin.order.reason
        ));
    }
    let exemption = local.as_ref().and_then(|l| l.exemption.as_ref());
    if let Some(exemption) = exemption.filter(|e| e.is_active(now)) {
        out.push(format!(
            "An operator has exempted the domain until {} ({}, {}): its policy is not enforced, and its mail is \
             unprotected.",
            time(exemption.until),
            exemption.order.by,
            exemption.order.reason
        ));
    }
    out
}

/// What the domain demands, in plain words.
///
/// `goes`: DNS does not say that there is nowhere that its mail could go to.
fn policy(domain: &Domain, discovery: &Discovery, is_exempt: bool, goes: bool) -> String {
    match &discovery.outcome {
        Outcome::Policy(applied) => {
            let stored = &applied.policy;
            let meaning = match stored.mode() {
                Mode::Enforce if is_exempt => {
                    "mail would be delivered only to the hosts that it lists, over TLS with a valid certificate; an operator has set that aside for now"
                }
                Mode::Enforce => {
                    "mail is delivered only to the hosts that it lists, over TLS with a valid certificate; otherwise it waits (RFC 8461 section 5)"
                }
                Mode::Testing => {
                    "failures are only noted, and mail is delivered as if there were no policy (RFC 8461 section 5)"
                }
                Mode::None => "it asks for nothing",
            };
            let so = match stored.mode() {
                Mode::Testing | Mode::None if goes => UNPROTECTED,
                Mode::Testing | Mode::None | Mode::Enforce => "",
            };
            let id = stored
                .id
                .as_ref()
                .map(|id| format!(" id {},", id.as_str()))
                .unwrap_or_default();
            let stand_in = applied
                .fallback
                .as_ref()
                .map(|f| format!(" The stored copy stands in for a live one: {f}."))
                .unwrap_or_default();
            format!(
                "{domain} publishes an MTA-STS policy in mode {}:{id} fetched {}, valid until {}, hosts {}. That means: {meaning}.{so}{stand_in}",
                stored.mode().as_str(),
                time(stored.fetched_at),
                time(stored.expires_at),
                listed(stored.policy.mx()),
            )
        }
        Outcome::NoPolicy(why) => {
            let so = match goes {
                true => UNPROTECTED,
                false => "",
            };
            match why {
                NoPolicy::Record(RecordTrouble::NoRecord(trouble))
                    if *trouble != NoRecord::Absent =>
                {
                    format!(
                        "{domain} has an MTA-STS record that cannot be used and counts as none: {trouble}.{so}"
                    )
                }
                NoPolicy::Record(trouble) => {
                    format!("{domain} has no MTA-STS policy ({trouble}).{so}")
                }
                NoPolicy::Fetch { .. } => format!(
                    "{domain} announces an MTA-STS policy, but none is known here and it cannot be had: {why}.{so}"
                ),
                NoPolicy::Unknown { .. } => format!(
                    "It is not known whether {domain} has an MTA-STS policy, and mail no longer waits for that: {why}.{so}"
                ),
            }
        }
        Outcome::Wait { why, .. } => {
            let unknown = match why {
                Waiting::Dns { .. } => format!("whether {domain} has an MTA-STS policy"),
                Waiting::FetchLimit | Waiting::Clock(_) | Waiting::Local(_) => {
                    format!("at the moment which MTA-STS policy {domain} has")
                }
            };
            format!("It is not known {unknown}: {why}. Mail waits until it is.")
        }
    }
}

/// The last delivery that the policy would have stopped, were it enforced.
fn noted<S: QueueStore>(control: &Control<S>, domain: &Domain) -> Option<String> {
    let last = control.policies.show(domain)?.testing?;
    let words = Reason::from_key(&last.reason).map(|reason| {
        reason.sentence(&Facts {
            domain: domain.as_str(),
            mx: Some(&last.mx),
            ..Facts::default()
        })
    });
    Some(format!(
        "The last mail that enforcing it would have kept back went to {} at {}: {} ({})",
        last.mx,
        time(last.at),
        words.unwrap_or_default(),
        last.reason
    ))
}

/// The policy's own text, on one line.
fn text(discovery: &Discovery) -> Option<String> {
    let Outcome::Policy(applied) = &discovery.outcome else {
        return None;
    };
    let lines = applied.policy.policy.text().lines().map(str::trim);
    let lines: Vec<&str> = lines.filter(|l| !l.is_empty()).collect();
    let shown = lines
        .iter()
        .take(LINES)
        .copied()
        .collect::<Vec<_>>()
        .join(" | ");
    let more = if lines.len() > LINES { " | …" } else { "" };
    Some(format!("The policy reads: {shown}{more}"))
}

fn listed(patterns: &[mta_sts::MxPattern]) -> String {
    let all: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// Said where no policy of the domain demands TLS: what else may is told with the hosts, routes and rules.
const UNPROTECTED: &str = " No policy of the domain demands TLS: it is used where it is offered, with any certificate, \
                           and else mail goes out in plain text, unless TLSA records or our configuration demand more.";

/// Lines of a policy that are shown; a real one has a dozen at most.
const LINES: usize = 30;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mail_types::{DnsError, Timestamp};
    use mta_sts::{Policy, PolicyId};
    use policy_cache::{Applied, FetchError, Origin, StoredPolicy};

    use super::*;

    fn said(outcome: Outcome, goes: bool) -> String {
        let discovery = Discovery {
            outcome,
            first_contact: true,
            valid_until: Timestamp::from_secs(0),
            generation: 0,
            local: None,
        };
        policy(&domain(), &discovery, false, goes)
    }

    fn domain() -> Domain {
        Domain::parse("d.test").unwrap()
    }

    fn of_mode(mode: &str) -> Outcome {
        let text = format!("version: STSv1\nmode: {mode}\nmx: mx.d.test\nmax_age: 86400\n");
        Outcome::Policy(Applied {
            policy: Arc::new(StoredPolicy {
                domain: domain(),
                policy: Policy::parse(text.as_bytes()).unwrap().policy,
                id: None,
                fetched_at: Timestamp::from_secs(0),
                expires_at: Timestamp::from_secs(86_400),
            }),
            from: Origin::Live,
            fallback: None,
        })
    }

    fn without() -> Vec<(NoPolicy, &'static str)> {
        vec![
            (
                NoPolicy::Record(RecordTrouble::NoSuchName),
                "has no MTA-STS policy",
            ),
            (
                NoPolicy::Record(RecordTrouble::NoRecord(NoRecord::Several(2))),
                "record that cannot be used",
            ),
            (
                NoPolicy::Fetch {
                    id: PolicyId::parse("1").unwrap(),
                    cause: FetchError::Oversize,
                },
                "announces an MTA-STS policy",
            ),
            (
                NoPolicy::Unknown {
                    since: Timestamp::from_secs(0),
                    failures: 3,
                    cause: DnsError::Temporary("SERVFAIL".into()),
                },
                "not known whether",
            ),
        ]
    }

    #[test]
    fn f3_01_why_mail_may_go_out_unprotected_is_told_case_by_case() {
        for (why, want) in without() {
            let text = said(Outcome::NoPolicy(why), true);
            assert!(text.contains(want) && text.contains("plain text"), "{text}");
        }
        for mode in ["testing", "none"] {
            let text = said(of_mode(mode), true);
            assert!(text.contains(&format!("mode {mode}")), "{text}");
            // Pins, rules, TLSA records and `delivery.tls` demand what no policy does.
            let reserve = "unless TLSA records or our configuration demand more";
            assert!(text.contains(reserve), "{text}");
        }
        let text = said(of_mode("enforce"), true);
        assert!(!text.contains("plain text"), "{text}");
    }

    /// Nothing is said of how mail goes that goes nowhere.
    #[test]
    fn a_domain_without_mail_is_not_said_to_be_sent_mail_over_tls() {
        let without = without().into_iter().map(|(why, _)| Outcome::NoPolicy(why));
        for outcome in without.chain(["testing", "none"].map(of_mode)) {
            let text = said(outcome, false);
            assert!(
                !text.contains("TLS is") && !text.contains("plain text"),
                "{text}"
            );
        }
    }
}
