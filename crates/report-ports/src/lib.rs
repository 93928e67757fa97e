//! What TLS reports get from the other parts and give to them: failed fetches as findings, signatures and our own queue
//! for those that go by mail, lines of the event log, and what the configuration says of all that.

mod fetches;
mod line;
mod mail;
mod reporting;

pub use line::ReportLine;
pub use mail::{QueueMail, Signers};
pub use reporting::{Reporting, Terms};
