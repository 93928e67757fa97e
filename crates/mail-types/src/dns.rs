//! The port through which names are looked up: answers and failures as values.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use crate::{Domain, HostName};

/// A boxed future: the port has to be usable as a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Looks up DNS names. Names are always fully qualified: no search list is ever used (row E1-20).
pub trait Resolver: Send + Sync {
    /// MX records of a domain, CNAMEs followed; unsorted. The exchange `.` is [`MxRecord::Null`].
    fn mx<'a>(
        &'a self,
        domain: &'a Domain,
    ) -> BoxFuture<'a, Result<Answer<Vec<MxRecord>>, DnsError>>;

    /// IPv4 and IPv6 addresses of a host, CNAMEs followed, in the order to try them.
    /// An error only if neither family gave an address.
    fn addresses<'a>(
        &'a self,
        host: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<IpAddr>>, DnsError>>;

    /// TXT records, CNAMEs followed; the strings of each record joined (RFC 8461 section 3.1).
    fn txt<'a>(
        &'a self,
        name: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>>;

    /// TLSA records of `_port._tcp.host` (RFC 6698, RFC 7672), CNAMEs followed there too. Records
    /// and their absence count as [`Answer::security`] and the denial's `security` say: only a
    /// proven denial says that there are none.
    fn tlsa<'a>(
        &'a self,
        host: &'a HostName,
        port: u16,
    ) -> BoxFuture<'a, Result<Answer<Vec<TlsaRecord>>, DnsError>>;

    /// As [`Resolver::txt`], past every cache: before a bounce that a policy has a part in
    /// (RFC 8461 section 5, decision AMB-04).
    fn txt_uncached<'a>(
        &'a self,
        name: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>>;

    /// Whether there is a zone of this name, as its SOA record shows, past every cache: every zone has one. So a top-level
    /// domain shows whether those who are asked find anything at all.
    fn zone<'a>(&'a self, _name: &'a Domain) -> BoxFuture<'a, Result<(), DnsError>> {
        let nobody = DnsError::Temporary("nobody is asked for zones".to_owned());
        Box::pin(std::future::ready(Err(nobody)))
    }

    /// A sentence on what is wrong on our side while look-ups fail whatever is looked up: no name server
    /// answers, or DNSSEC cannot be validated any more. A look-up without an answer then says nothing about
    /// the name.
    fn fault(&self) -> Option<String> {
        None
    }
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The records, never empty.
    pub value: T,
    /// How long the answer may be reused: the smallest TTL of the chain, as published.
    pub ttl: Duration,
    /// The DNSSEC verdict on the whole chain: one insecure link makes everything insecure (RFC 7672
    /// section 2.1.3). Addresses: of the two families the one that says more counts, because a
    /// verdict only ever decides whether TLSA records are asked for.
    pub security: Security,
    /// The name at the end of the CNAME chain, if there was one; vouched for as [`Answer::security`]
    /// says.
    pub canonical: Option<HostName>,
    /// The verdict on what stands at the very name that was asked for: its CNAME if it is an alias,
    /// else the records. Where an alias in a signed zone leads to an unsigned one, this is secure
    /// and [`Answer::security`] is not: the alias itself may still have TLSA records (RFC 7672
    /// section 2.2.2).
    pub origin: Security,
}

/// The DNSSEC verdict on an answer (RFC 4035 section 4.3). Bogus is an error, not a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// Every record in the chain was validated.
    Secure,
    /// Proven or assumed to be unsigned.
    Insecure,
    /// Nobody looked: `dns.dnssec = "off"`, a path to DNS without DNSSEC, or a name that is not
    /// asked for at all (`localhost`).
    Unchecked,
}

impl Security {
    /// The verdict on two things that are believed together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unchecked, _) | (_, Self::Unchecked) => Self::Unchecked,
            (Self::Insecure, _) | (_, Self::Insecure) => Self::Insecure,
            (Self::Secure, Self::Secure) => Self::Secure,
        }
    }
}

/// One MX record (RFC 5321 section 5.1, RFC 7505).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MxRecord {
    /// `MX preference exchange`.
    Host {
        /// Lower is tried first.
        preference: u16,
        /// The exchange field as published, in normal form.
        exchange: HostName,
    },
    /// The exchange is the root: alone it says that the domain takes no mail (RFC 7505 section 3).
    Null,
    /// The exchange is no valid host name, for instance an IP address.
    Unusable {
        /// Lower would be tried first.
        preference: u16,
        /// What was published, made printable.
        exchange: String,
    },
}

/// One TLSA record (RFC 6698 section 2.1), as published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsaRecord {
    /// Certificate usage.
    pub usage: u8,
    /// Selector.
    pub selector: u8,
    /// Matching type.
    pub matching: u8,
    /// Certificate association data.
    pub data: Vec<u8>,
}

/// Why a look-up gave no records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// NXDOMAIN: the name does not exist.
    #[error("the name does not exist (NXDOMAIN)")]
    NoSuchName {
        /// How long that may be believed (RFC 2308).
        ttl: Duration,
        /// Whether the denial was proven.
        security: Security,
    },
    /// The name exists, but not with records of this type.
    #[error("no records of this type")]
    NoRecords {
        /// How long that may be believed (RFC 2308).
        ttl: Duration,
        /// Whether the denial was proven.
        security: Security,
    },
    /// SERVFAIL, time-out, refused, unreachable, or a broken answer: ask again later.
    #[error("temporary DNS failure: {0}")]
    Temporary(String),
    /// The answer failed DNSSEC validation.
    #[error("DNSSEC validation failed: {0}")]
    Bogus(String),
    /// Our own machine could not ask: no file descriptor, no memory, no port. It says nothing about the name
    /// or its servers.
    #[error("we could not ask DNS: {0}")]
    Local(String),
}

impl DnsError {
    /// Whether the answer is definite: the records are not there.
    #[must_use]
    pub const fn is_definite(&self) -> bool {
        matches!(self, Self::NoSuchName { .. } | Self::NoRecords { .. })
    }

    /// Whether DNSSEC vouches that there is no such name.
    #[must_use]
    pub fn is_proven_absence(&self) -> bool {
        matches!(self, Self::NoSuchName { security, .. } if *security == Security::Secure)
    }
}
