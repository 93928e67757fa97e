//! What an audit says: the facts, the findings, the verdicts.

use delivery::decide::demand::Inputs;

use crate::facts::{Facts, MailHosts};
use crate::finding::{Finding, Group, Severity};
use crate::findings;
use crate::verdict::{self, HostOutcome, Outcome};

/// What an audit says.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was seen.
    pub facts: Facts,
    /// What is to be said of it, in the order to print it.
    pub findings: Vec<Finding>,
    /// For each host of the facts, in their order.
    pub hosts: Vec<HostOutcome>,
    /// What would become of mail.
    pub outcome: Outcome,
}

impl Report {
    /// Holds the facts against the table, and asks delivery's decisions. `demands` is what the
    /// configuration asks of this domain, whatever it publishes.
    #[must_use]
    pub fn of(facts: &Facts, demands: &Inputs) -> Self {
        let (hosts, outcome) = verdict::judge(facts, demands);
        Self {
            findings: findings::of(facts),
            facts: facts.clone(),
            hosts,
            outcome,
        }
    }

    /// Mail would be delivered, and nothing is broken.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let delivered = match self.outcome {
            Outcome::Delivered { .. } => true,
            Outcome::Deferred { .. } | Outcome::Bounced { .. } => false,
        };
        delivered && self.worst() < Severity::Error
    }

    /// The severity of the worst finding.
    #[must_use]
    pub fn worst(&self) -> Severity {
        let severities = self.findings.iter().map(|f| f.severity);
        severities.max().unwrap_or(Severity::Good)
    }

    /// The findings under one heading.
    pub fn group(&self, group: Group) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |f| f.kind.group() == group)
    }

    /// Host, outcome and findings of each mail host.
    pub(crate) fn per_host(
        &self,
    ) -> impl Iterator<Item = (&crate::HostFacts, &HostOutcome, Vec<&Finding>)> {
        let hosts = match &self.facts.mail {
            MailHosts::Hosts { hosts, .. } => hosts.as_slice(),
            MailHosts::Undeliverable { .. } | MailHosts::Unknown { .. } => &[],
        };
        hosts.iter().zip(&self.hosts).map(|(host, outcome)| {
            let name = &host.candidate.name;
            let about = self.group(Group::Host);
            let about = about.filter(|f| f.host.as_ref() == Some(name)).collect();
            (host, outcome, about)
        })
    }
}
