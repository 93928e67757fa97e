//! MTA-STS without I/O (RFC 8461): the TXT record (section 3.1), the policy (section 3.2), and the
//! matching of MX names (section 4.1). What a policy permits for a host (section 5) is decided beside all
//! other demands, in `delivery`.
//!
//! The grammar is kept exactly: what it refuses is invalid as a whole and never repaired, since a
//! dropped `mx` line would silently narrow a policy and a dropped `mode` silently weaken it. Two
//! leniencies exist, and each is a [`Warning`]: blank lines, and one trailing dot on an `mx`.
//!
//! ```
//! use mail_types::HostName;
//! use mta_sts::{HostVerdict, Policy};
//!
//! let text = b"version: STSv1\r\nmode: enforce\r\nmx: *.example.com\r\nmax_age: 604800\r\n";
//! let policy = Policy::parse(text)?.policy;
//! let host = HostName::parse("mx1.example.com")?;
//! assert!(matches!(policy.host(&host), HostVerdict::Listed { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod pattern;
mod policy;
mod record;

pub use pattern::{MxPattern, PatternError};
pub use policy::{
    HostVerdict, MAX_MAX_AGE, MAX_POLICY_SIZE, Mode, Parsed, Policy, PolicyError, Warning,
};
pub use record::{NoRecord, PolicyId, PolicyIdError, Record, RecordError, Selection};
