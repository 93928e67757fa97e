//! DANE for SMTP without I/O (RFC 6698, RFC 7671, RFC 7672): which TLSA records of a host count,
//! which certificate they match, and at which names they are looked for.
//!
//! | secure TLSA records | [`Reading`] | what follows (RFC 7672 section 2.2) |
//! |---|---|---|
//! | at least one usable | [`Reading::Usable`] | the host must be authenticated by them |
//! | some, none of them usable | [`Reading::Unusable`] | TLS is mandatory, unauthenticated |
//! | none | [`Reading::Absent`] | nothing: MTA-STS or opportunistic TLS decide |
//! | not known | [`Reading::Failed`] | the host is treated as unreachable |
//!
//! Usable are usages 2 (DANE-TA) and 3 (DANE-EE) only: RFC 7672 section 3.1.3 makes 0 and 1, which
//! depend on public authorities, unusable for SMTP. Nothing here parses certificates: they come in
//! with their key already cut out.
//!
//! ```
//! use dane::{Certificate, Records, TlsaSet};
//! use mail_types::TlsaRecord;
//!
//! let key = b"\x30\x03key";
//! let published = [TlsaRecord { usage: 3, selector: 1, matching: 0, data: key.to_vec() }];
//! let Records::Usable(set) = TlsaSet::read(&published) else { unreachable!() };
//! let presented = Certificate { der: b"\x30\x00", spki: key };
//! assert!(set.end_entity(&presented).is_some());
//! ```

mod association;
mod host;
mod set;

pub use association::{Association, Discarded, Flaw, Matching, Selector, Usage};
pub use host::{HostRecords, Reading, base_domains, next_hop_names};
pub use set::{Certificate, Records, TlsaSet};
