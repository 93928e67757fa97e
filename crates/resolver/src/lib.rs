//! hickory-resolver behind the [`mail_types::Resolver`] port.
//!
//! `name-servers` puts the questions, hickory brings the response cache; this crate follows CNAMEs
//! itself and turns messages into answers. hickory's own chain walk is not used because it ends a CNAME loop as "no records", which is a definite
//! answer: mail would bounce on it (RFC 5321 section 5.1), and an attacker could make the loop.
//!
//! What fails: a look-up is an answer, a definite denial, or a temporary failure, and always ends
//! within [`Config::limit`]. Names are always fully qualified: of `/etc/resolv.conf` only the name
//! servers are used, never `search` or `ndots`. The hosts file is not read.

mod anchors;
mod chain;
mod config;
mod diagnose;
mod dname;
mod failure;
mod lookup;
mod memories;
mod path;
mod prune;
mod records;
mod validate;
mod wildcard;

pub use dns_health::{Absence, BUCKETS, Kind, Outcome, Path, Series, Silence, Stats};

pub use config::{BuildError, Config, Dnssec};
pub use lookup::DnsResolver;
pub use name_servers::Servers;

#[cfg(test)]
mod tests;
