//! What of an audit is done.

use std::fmt;

/// A part of an audit that has ended, well or badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The TXT record at `_mta-sts`.
    Record,
    /// The policy file.
    Policy,
    /// The mail hosts: addresses, STARTTLS, certificates, TLSA records.
    Hosts,
    /// The TXT record at `_smtp._tls`.
    Reporting,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record => "MTA-STS record looked up",
            Self::Policy => "policy host asked",
            Self::Hosts => "mail hosts visited",
            Self::Reporting => "reporting record looked up",
        })
    }
}
