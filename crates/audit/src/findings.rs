//! From facts to findings (pure): which rows of the table apply.

mod dnssec;
mod hosts;
mod policy;
mod record;
mod reporting;

use mail_types::{DnsError, HostName};

use crate::facts::{DnsFault, Facts, MailHosts};
use crate::finding::{Finding, Words};
use crate::table::Kind;

/// Everything that the facts say, in the order of the report.
pub(crate) fn of(facts: &Facts) -> Vec<Finding> {
    let mut found = Found {
        facts,
        list: Vec::new(),
    };
    record::look(&mut found);
    policy::look(&mut found);
    hosts::look(&mut found);
    reporting::look(&mut found);
    dnssec::look(&mut found);
    if let Some(fault) = &facts.fault {
        // What could not be looked up says nothing of the domain.
        found.list.retain(|f| !of_dns(f.kind));
        let (kind, why) = match fault {
            DnsFault::Silent(why) => (Kind::OurResolver, why),
            DnsFault::Refused(why) => (Kind::OurAccess, why),
            DnsFault::Absent(why) => (Kind::OurServers, why),
            DnsFault::Barred(why) => (Kind::OurDnssec, why),
        };
        let ours = found.finding(kind, None, why);
        found.list.insert(0, ours);
    }
    found.list
}

/// Whether a look-up that failed is all that is said.
const fn of_dns(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::RecordLookup
            | Kind::PolicyDns
            | Kind::MxLookup
            | Kind::HostLookup
            | Kind::ReportingLookup
            | Kind::DaneLookup
            | Kind::PolicyDoubtful
    )
}

/// Which row is about a look-up without an answer: what this machine lacks is no fault of the domain.
const fn unless_ours(error: &DnsError, theirs: Kind, ours: Kind) -> Kind {
    match error {
        DnsError::Local(_) => ours,
        _ => theirs,
    }
}

/// The findings so far.
struct Found<'a> {
    facts: &'a Facts,
    list: Vec<Finding>,
}

impl<'a> Found<'a> {
    fn add(&mut self, kind: Kind, detail: impl AsRef<str>) {
        let finding = self.finding(kind, None, detail.as_ref());
        self.list.push(finding);
    }

    fn finding(&self, kind: Kind, host: Option<&HostName>, detail: &str) -> Finding {
        let words = Words {
            domain: self.facts.domain.as_str(),
            host,
            detail,
        };
        Finding::new(kind, words)
    }

    /// The names of the mail hosts.
    fn host_names(&self) -> impl Iterator<Item = &'a HostName> + use<'a> {
        let hosts = match &self.facts.mail {
            MailHosts::Hosts { hosts, .. } => hosts.as_slice(),
            MailHosts::Undeliverable { .. } | MailHosts::Unknown { .. } => &[],
        };
        hosts.iter().map(|host| &host.candidate.name)
    }
}

#[cfg(test)]
mod tests;
