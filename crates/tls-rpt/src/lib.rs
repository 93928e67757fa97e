//! TLS reports (RFC 8460), as values: what sessions show about the policies of those they are for, the
//! counts of a day, and the report that is made of them.
//!
//! Nothing here asks a clock, a name server or the disk.

mod finding;

pub use finding::{Failure, Finding, Policy, PolicyType, ResultType};
