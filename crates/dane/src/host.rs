//! Where TLSA records of a host are looked for, and what an answer means for the host.

use std::net::IpAddr;

use mail_types::{Answer, DnsError, Domain, HostName, Security, TlsaRecord};

use crate::{Discarded, Records, TlsaSet};

/// What authenticates a host: its TLSA records with the names that they go with. A session that was
/// opened for this serves only what asks for exactly the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostRecords {
    /// The TLSA base domain (RFC 7672 section 2.2.3): what is sent as SNI (section 8.1).
    pub base: HostName,
    /// The usable records.
    pub set: TlsaSet,
    /// Names that a certificate under a DANE-TA(2) record may be for (RFC 7672 section 3.2.2), the
    /// base domain first. Only that one if there is no such record, so that connections are shared
    /// by all domains behind the host.
    pub names: Vec<HostName>,
}

/// What DNS says of a host's TLSA records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Reading {
    /// No secure records: as if DANE did not exist (RFC 7672 section 2.2).
    Absent,
    /// The host must be authenticated by these.
    Usable(TlsaSet),
    /// TLS is mandatory, unauthenticated.
    Unusable(Vec<Discarded>),
    /// It is not known whether there are any: the host counts as unreachable (section 2.1.1).
    Failed(DnsError),
}

impl HostRecords {
    /// `further` are names beside the base domain that DNSSEC or the configuration vouches for: the
    /// next-hop domain and what it is an alias of (RFC 7672 section 3.2.2). With an insecure MX
    /// record there are none (row C3-03).
    #[must_use]
    pub fn new(base: HostName, set: TlsaSet, further: &[HostName]) -> Self {
        let mut names = vec![base.clone()];
        if set.has_trust_anchors() {
            for name in further {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        Self { base, set, names }
    }
}

impl Reading {
    /// Reads a TLSA answer (RFC 7672 sections 2.1.1 and 2.2). The addresses of the host must have
    /// been found securely, or there is nothing to ask (section 2.2.2, row C2-08).
    pub fn of(answer: Result<Answer<Vec<TlsaRecord>>, DnsError>) -> Self {
        match answer {
            Ok(answer) => match answer.security {
                Security::Secure => match TlsaSet::read(&answer.value) {
                    Records::Usable(set) => Self::Usable(set),
                    Records::Unusable(discarded) => Self::Unusable(discarded),
                    Records::None => Self::Absent,
                },
                // An unsigned zone below a signed one; or nobody looked.
                Security::Insecure | Security::Unchecked => Self::Absent,
            },
            // A denial is either proven, or about an unsigned zone.
            Err(DnsError::NoSuchName { .. } | DnsError::NoRecords { .. }) => Self::Absent,
            Err(error @ (DnsError::Temporary(_) | DnsError::Bogus(_) | DnsError::Local(_))) => {
                Self::Failed(error)
            }
        }
    }
}

/// RFC 7672 section 3.2.2: names that a certificate under a DANE-TA record may be for beside the TLSA
/// base domain: the next-hop domain and what it is an alias of, if its MX records are secure (row
/// C3-03).
#[must_use]
pub fn next_hop_names(
    domain: &Domain,
    security: Security,
    canonical: Option<&HostName>,
) -> Vec<HostName> {
    match security {
        Security::Secure => std::iter::once(domain.to_host())
            .chain(canonical.cloned())
            .collect(),
        Security::Insecure | Security::Unchecked => Vec::new(),
    }
}

/// The names at which TLSA records of a host are looked for, in this order; the first that has some
/// is the TLSA base domain. The expanded name only if every CNAME on the way to the addresses is
/// secure (RFC 7672 section 2.2.2, row C1-06); an alias in a signed zone that leads to an unsigned one
/// may still have records of its own. Nothing is asked if the host stands in an unsigned zone (row
/// C2-08), and names between the first and the last of a chain never are (row C2-09).
#[must_use]
pub fn base_domains(host: &HostName, addresses: &Answer<Vec<IpAddr>>) -> Vec<HostName> {
    let alias = addresses.canonical.iter().filter(|name| *name != host);
    match (addresses.security, addresses.origin) {
        (Security::Secure, _) => alias.chain([host]).cloned().collect(),
        (Security::Insecure, Security::Secure) => alias.map(|_| host.clone()).collect(),
        (Security::Insecure, Security::Insecure | Security::Unchecked)
        | (Security::Unchecked, _) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn answer<T>(value: T, security: Security) -> Answer<T> {
        Answer {
            value,
            ttl: Duration::from_secs(60),
            security,
            canonical: None,
            origin: security,
        }
    }

    fn record(usage: u8) -> TlsaRecord {
        TlsaRecord {
            usage,
            selector: 1,
            matching: 1,
            data: vec![0; 32],
        }
    }

    #[test]
    fn c2_01_c2_02_c2_03_c1_04_what_each_answer_means() {
        use Security::{Insecure, Secure, Unchecked};
        let of = |usage, security| Reading::of(Ok(answer(vec![record(usage)], security)));
        assert!(matches!(of(3, Secure), Reading::Usable(_)));
        assert!(matches!(of(1, Secure), Reading::Unusable(_)));
        assert_eq!(of(3, Insecure), Reading::Absent);
        assert_eq!(of(3, Unchecked), Reading::Absent);
        for security in [Secure, Insecure] {
            let ttl = Duration::ZERO;
            let gone = DnsError::NoSuchName { ttl, security };
            assert_eq!(Reading::of(Err(gone)), Reading::Absent);
            let empty = DnsError::NoRecords { ttl, security };
            assert_eq!(Reading::of(Err(empty)), Reading::Absent);
        }
        for error in [
            DnsError::Temporary("SERVFAIL".into()),
            DnsError::Bogus("no signature".into()),
        ] {
            assert_eq!(Reading::of(Err(error.clone())), Reading::Failed(error));
        }
    }

    #[test]
    fn c1_06_c2_08_c2_09_where_records_are_looked_for() {
        let host = name("alias.d.test");
        let mut addresses = answer(Vec::<IpAddr>::new(), Security::Secure);
        assert_eq!(base_domains(&host, &addresses), std::slice::from_ref(&host));
        addresses.canonical = Some(name("mx.p.test"));
        assert_eq!(
            base_domains(&host, &addresses),
            [name("mx.p.test"), host.clone()]
        );
        // A secure alias of something insecure: only what stands at the alias itself.
        addresses.security = Security::Insecure;
        assert_eq!(base_domains(&host, &addresses), std::slice::from_ref(&host));
        for security in [Security::Insecure, Security::Unchecked] {
            addresses.security = security;
            addresses.origin = security;
            assert!(base_domains(&host, &addresses).is_empty());
        }
    }

    #[test]
    fn c3_03_further_names_count_with_trust_anchors_only() {
        let set = |usage| match TlsaSet::read(&[record(usage)]) {
            Records::Usable(set) => set,
            other => panic!("{other:?}"),
        };
        let (base, domain) = (name("mx.d.test"), name("d.test"));
        let further = [domain.clone(), base.clone()];
        let ta = HostRecords::new(base.clone(), set(2), &further);
        assert_eq!(ta.names, [base.clone(), domain]);
        let ee = HostRecords::new(base.clone(), set(3), &further);
        assert_eq!(ee.names, [base]);
    }
}
