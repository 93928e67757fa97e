//! A live audit of a recipient domain, as `sealpost check` prints it.
//!
//! [`Auditor::check`] asks DNS, the policy host and every mail host, and gathers [`Facts`]; it never
//! sends `MAIL FROM`. Everything else is pure: [`Report::of`] holds the facts against one table of
//! [`Kind`]s of findings, each with its severity, plain words and remedy, and asks delivery's own
//! decisions (`delivery::decide::demand`, `delivery::decide::hosts`, `delivery::decide::failure`) what would become of mail.
//!
//! How long a policy has been in testing mode can only be told if its id is a date, and whether the id
//! was changed with the policy only if the daemon knows an earlier one.

mod auditor;
mod facts;
mod finding;
mod findings;
mod markdown;
mod nearest;
mod progress;
mod report;
#[cfg(test)]
#[path = "tests/samples.rs"]
mod samples;
mod table;
mod verdict;
mod view;

pub use auditor::Auditor;
pub use facts::{
    AddressFacts, DnsFault, Facts, HostFacts, KnownPolicy, MailHosts, Seen, Signed, TxtAnswer,
};
pub use finding::{Finding, Group, Severity};
pub use markdown::findings_markdown;
pub use progress::Progress;
pub use report::Report;
pub use table::Kind;
pub use verdict::{HostOutcome, Outcome, Protection};
pub use view::{AddressView, FindingView, HostView, PolicyView, ReportView, VerdictView};
