//! What a trace tells of an attempt besides its record: the plan, and each dialogue.

use std::fmt::Write as _;
use std::net::IpAddr;

use mail_types::HostName;
use outbound_queue::{Leased, QueueStore};
use policy_cache::Outcome;
use smtp_client::Transcript;

use crate::decide::plan::{Hosts, Plan};
use crate::decide::standing::{HostDane, Vouched};
use crate::engine::Inner;
use crate::ports::{Observer, TracedPart};
use crate::worker::work::Attempt;

/// What DNS and the policy say, before any host is asked.
pub(crate) fn plan<S: QueueStore>(inner: &Inner<S>, leased: &Leased, domain: &str, plan: &Plan) {
    if inner.observer.traces() {
        inner.observer.traced(&TracedPart {
            queue_id: leased.id,
            domain,
            mx: None,
            ip: None,
            text: &in_words(plan),
        });
    }
}

impl<S: QueueStore> Attempt<'_, S> {
    /// A dialogue, after a transaction or after what ended it.
    pub(crate) fn trace(&self, name: &HostName, ip: IpAddr, dialogue: &Transcript) {
        let observer: &dyn Observer = &*self.sessions.observer;
        if observer.traces() {
            observer.traced(&TracedPart {
                queue_id: self.leased.id,
                domain: self.domain,
                mx: Some(name),
                ip: Some(ip),
                text: &dialogue.to_string(),
            });
        }
    }
}

fn in_words(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    if let Some(route) = &plan.route {
        let _ = writeln!(text, "route to {}, tls {:?}", route.hop, route.tls);
    }
    let _ = match plan.discovery.as_ref().map(|d| &d.outcome) {
        Some(Outcome::Policy(applied)) => writeln!(
            text,
            "policy {} id {} until {}",
            applied.policy.mode().as_str(),
            applied
                .policy
                .id
                .as_ref()
                .map_or("unknown", |id| id.as_str()),
            applied.policy.expires_at.rfc3339()
        ),
        Some(Outcome::NoPolicy(why)) => writeln!(text, "no policy: {why}"),
        Some(Outcome::Wait { why, .. }) => writeln!(text, "policy not known: {why}"),
        None => writeln!(text, "no policy is asked for"),
    };
    match &plan.hosts {
        Hosts::Candidates(candidates) => {
            for c in candidates {
                let addresses = match &c.addresses {
                    Ok(list) => list
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join(" "),
                    Err(why) => format!("none: {}", why.detail),
                };
                let _ = writeln!(
                    text,
                    "host {} {}:{} ({addresses}); {}; {}",
                    c.preference,
                    c.name,
                    c.port,
                    vouched(c.standing.vouched),
                    tlsa(&c.standing.dane)
                );
            }
        }
        Hosts::Undeliverable {
            reason: (reason, _),
            detail,
            ..
        }
        | Hosts::Unknown { reason, detail } => {
            let _ = writeln!(text, "no host: {reason}: {detail}");
        }
    }
    text
}

const fn vouched(by: Vouched) -> &'static str {
    match by {
        Vouched::Nobody => "not signed with DNSSEC, as far as was looked",
        Vouched::Dnssec => "signed with DNSSEC",
        Vouched::Configuration => "named by our configuration",
    }
}

fn tlsa(dane: &HostDane) -> String {
    match dane {
        HostDane::Absent => "no TLSA records found or looked up".to_owned(),
        HostDane::Usable(records) => {
            let shown = records.set.records().iter().map(ToString::to_string);
            let shown: Vec<String> = shown.collect();
            format!("TLSA at {}: {}", records.base, shown.join(", "))
        }
        HostDane::Unusable { base, why } => format!("TLSA at {base} of no use: {why}"),
        HostDane::Failed { base, detail, .. } => format!("TLSA at {base} not known: {detail}"),
    }
}
