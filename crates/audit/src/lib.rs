//! A live audit of a recipient domain, as `sealpost check` prints it.
//!
//! [`Auditor::check`] asks DNS, the policy host and every mail host, and gathers [`Facts`]; it never
//! sends `MAIL FROM`. Everything else is pure: [`Report::of`] holds the facts against one table of
//! [`Kind`]s of findings, each with its severity, plain words and remedy, and asks delivery's own
//! decisions (`delivery::demand`, `delivery::plan`, `delivery::failure`) what would become of mail.
//!
//! What an audit cannot know is left out or said so: how long a policy has been in testing mode,
//! whether its id was bumped with its last change, and what this relay has stored of the domain.

mod auditor;
mod facts;
mod finding;
mod findings;
mod markdown;
mod nearest;
mod report;
#[cfg(test)]
mod samples;
mod table;
mod verdict;
mod view;

pub use auditor::Auditor;
pub use facts::{AddressFacts, Facts, HostFacts, MailHosts, Seen, Signed, TxtAnswer};
pub use finding::{Finding, Group, Severity};
pub use markdown::findings_markdown;
pub use report::Report;
pub use table::Kind;
pub use verdict::{HostOutcome, Outcome, Protection};
pub use view::{AddressView, FindingView, HostView, PolicyView, ReportView, VerdictView};
