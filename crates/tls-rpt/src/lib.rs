//! TLS reports (RFC 8460), as values: what sessions show about the policies of those they are for, the
//! counts of a day, and the report that is made of them.
//!
//! A [`Finding`] is what one session showed; a [`Tally`] counts the findings of one [`Day`]; a [`Report`]
//! says in JSON what was counted of one domain, and [`message`] puts it into a mail. [`record`] reads where
//! a domain wants its reports. Nothing here asks a clock, a name server or the disk.

mod counts;
mod day;
mod encoded;
mod finding;
mod fit;

mod message;
mod record;
mod report;
mod schedule;
mod tally;

pub use counts::{Counts, Detail, PolicyCounts};
pub use day::{Day, DayError};
pub use encoded::{Encoded, file_name, gzip};
pub use finding::{Failure, Finding, Policy, PolicyType, ResultType};
pub use message::message;
pub use record::{Endpoint, NoReports, Rua, TlsRptRecord, record};
pub use report::{Identity, Report, report_id};
pub use schedule::{TRIED_FOR, first_sending, retry_delay};
pub use tally::{MAX_DOMAINS, Tally};
