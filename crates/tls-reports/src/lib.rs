//! TLS reports (RFC 8460) kept and sent: the counts of each day on disk, what became of each report, and the
//! sending of those that are due.
//!
//! ```text
//! DATA/reports/node                   what tells this relay's reports from those of others
//! DATA/reports/2026-11-24.counts      what that day showed (see `disk.rs`)
//! DATA/reports/2026-11-24.outcomes    what became of its reports, once it is closed (see `outcome.rs`)
//! ```
//!
//! Counts are written every minute in which something was counted, when a day is closed and at the stop: a crash
//! loses at most the last minute of days that are open. A closed day changes no more, and what becomes of each
//! report is on disk before the next step. A crash between the acceptance of a report and that record has the
//! report sent again, with the same report-id.

mod book;
mod close;
mod disk;
mod hosts;
mod options;
mod outcome;
mod ports;
mod post;
mod reports;
mod run;
mod send;
mod view;

pub use options::{Addresses, Options};
pub use ports::{BoxError, Events, Mail, Ports, Post, ReportEvent, What};
pub use post::{HttpsPost, TlsSource};
pub use reports::Reports;
pub use view::{ListFilter, NotNow, OpenError, ReportView, State, Trouble};

#[cfg(test)]
mod tests;
