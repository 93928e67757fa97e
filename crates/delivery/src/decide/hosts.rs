//! The hosts of a destination: which, in which order, or why there are none (RFC 5321 section 5.1, RFC 7505).
//!
//! What an answer means is decided here; the look-ups are done by the planner. Nothing here knows of policies:
//! those are demands on each message.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use attempt::{Case, Reason};
use mail_types::{DnsError, Domain, HostName, MxRecord, Security};

use crate::decide::standing::Standing;

/// One host to try, with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The MX record's exchange, or the hop's name: what policies and certificates are held against.
    pub name: HostName,
    /// The name that its certificate must have: its own (decision AMB-12), unless a route says
    /// otherwise.
    pub tls_name: HostName,
    /// Lower is tried first.
    pub preference: u16,
    /// TCP port.
    pub port: u16,
    /// Its addresses in the order to try them, or why there are none.
    pub addresses: Result<Vec<IpAddr>, Unreachable>,
    /// Who vouches for it, and its TLSA records.
    pub standing: Standing,
}

/// Why a candidate has no address to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The reason key.
    pub reason: Reason,
    /// One phrase: what exactly was answered.
    pub detail: String,
    /// The answer is definite: no address exists. Otherwise a later look-up may find one.
    pub definite: bool,
}

/// What a look-up of the domain says about mail to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MxVerdict {
    /// These hosts take its mail: `(preference, name)`, sorted, equals in published order.
    Hosts {
        /// The list.
        hosts: Vec<(u16, HostName)>,
        /// The answer may be used that long.
        ttl: Duration,
        /// DNSSEC state of the answer, or of the denial if it is implicit.
        security: Security,
        /// The domain's name at the end of its CNAMEs, if it is an alias; as secure as the answer.
        canonical: Option<HostName>,
        /// The domain has no MX records and is its own mail host (RFC 5321 section 5.1).
        implicit: bool,
    },
    /// The domain takes no mail, now and by this answer for good.
    Undeliverable {
        /// The reason key, and which of its cases it is.
        reason: (Reason, Case),
        /// One phrase: what exactly was answered.
        detail: String,
        /// DNSSEC vouches for it.
        secure: bool,
    },
    /// Nothing is known: ask again later.
    Unknown {
        /// The reason key.
        reason: Reason,
        /// One phrase: what exactly was answered.
        detail: String,
    },
}

/// Reads an MX answer (RFC 5321 section 5.1, RFC 7505 section 3).
#[must_use]
pub fn read_mx(
    domain: &Domain,
    answer: Result<mail_types::Answer<Vec<MxRecord>>, DnsError>,
) -> MxVerdict {
    let answer = match answer {
        Ok(answer) => answer,
        // RFC 5321 section 5.1: an empty list makes the domain its own MX, with preference 0.
        Err(DnsError::NoRecords { ttl, security }) => {
            return MxVerdict::Hosts {
                hosts: vec![(0, domain.to_host())],
                ttl,
                security,
                canonical: None,
                implicit: true,
            };
        }
        // "If … a non-existent domain error is returned, this situation MUST be reported as an error."
        Err(DnsError::NoSuchName { security, .. }) => {
            return MxVerdict::Undeliverable {
                secure: security == Security::Secure,
                reason: (Reason::NoSuchDomain, Case::Usual),
                detail: "DNS answers NXDOMAIN".to_owned(),
            };
        }
        // "If a temporary error is returned, the message MUST be queued and retried later."
        Err(DnsError::Temporary(why)) => {
            return MxVerdict::Unknown {
                reason: Reason::DnsTemporary,
                detail: format!("the MX look-up failed: {why}"),
            };
        }
        Err(error @ DnsError::Local(_)) => {
            return MxVerdict::Unknown {
                reason: Reason::Local,
                detail: format!("its MX records are not known: {error}"),
            };
        }
        Err(DnsError::Bogus(why)) => {
            return MxVerdict::Unknown {
                reason: Reason::DnsBogus,
                detail: format!("the MX answer failed validation: {why}"),
            };
        }
    };
    let mut hosts: Vec<(u16, HostName)> = Vec::with_capacity(answer.value.len());
    let (mut null, mut unusable) = (false, Vec::new());
    for record in answer.value {
        match record {
            MxRecord::Host {
                preference,
                exchange,
            } => hosts.push((preference, exchange)),
            MxRecord::Null => null = true,
            MxRecord::Unusable { exchange, .. } => unusable.push(exchange),
        }
    }
    if hosts.is_empty() {
        let (reason, detail) = if null && unusable.is_empty() {
            let reason = (Reason::NullMx, Case::Usual);
            (reason, "it publishes a null MX".to_owned())
        } else {
            (
                (Reason::NoUsableMx, Case::MxNotAHost),
                format!("its MX records name {}", unusable.join(", ")),
            )
        };
        return MxVerdict::Undeliverable {
            reason,
            detail,
            secure: answer.security == Security::Secure,
        };
    }
    // A null MX beside others is a mistake of the domain: the others count (row E1-18).
    hosts.sort_by_key(|(preference, _)| *preference);
    hosts.dedup();
    MxVerdict::Hosts {
        hosts,
        ttl: answer.ttl,
        security: answer.security,
        canonical: answer.canonical,
        implicit: false,
    }
}

/// Removes ourselves and everything not better than ourselves (RFC 5321 section 5.1).
///
/// "Self" is an address and port that leads back to one of our own listeners (row E1-14); a name
/// alone is not.
///
/// # Errors
/// The reason to give up if nothing is left: we are the best MX of a domain that is not ours.
pub fn drop_self(
    candidates: Vec<Candidate>,
    is_self: impl Fn(SocketAddr) -> bool,
) -> Result<Vec<Candidate>, String> {
    let ours = |c: &Candidate| {
        c.addresses
            .as_ref()
            .is_ok_and(|list| list.iter().any(|ip| is_self(SocketAddr::new(*ip, c.port))))
    };
    let Some(limit) = candidates
        .iter()
        .filter(|c| ours(c))
        .map(|c| c.preference)
        .min()
    else {
        return Ok(candidates);
    };
    let best = candidates
        .iter()
        .find(|c| ours(c))
        .map(|c| c.name.to_string())
        .unwrap_or_default();
    let left: Vec<Candidate> = candidates
        .into_iter()
        .filter(|c| c.preference < limit)
        .collect();
    if left.is_empty() {
        return Err(format!("its best mail host {best} is this relay"));
    }
    Ok(left)
}

/// Shuffles hosts of equal preference (RFC 5321 section 5.1: "the sender-SMTP MUST randomize them
/// to spread the load"). `random` gives numbers below its argument.
pub fn shuffle_equals<T>(
    hosts: &mut [T],
    preference: impl Fn(&T) -> u16,
    mut random: impl FnMut(usize) -> usize,
) {
    let mut start = 0;
    while start < hosts.len() {
        let p = preference(&hosts[start]);
        let end = hosts[start..]
            .iter()
            .position(|h| preference(h) != p)
            .map_or(hosts.len(), |n| start + n);
        // Fisher-Yates within the group.
        for i in (start + 1..end).rev() {
            let j = start + random(i - start + 1);
            hosts.swap(i, j);
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_types::Answer;

    fn domain() -> Domain {
        Domain::parse("d.test").unwrap()
    }

    fn mx(preference: u16, name: &str) -> MxRecord {
        MxRecord::Host {
            preference,
            exchange: HostName::parse(name).unwrap(),
        }
    }

    fn answer(value: Vec<MxRecord>) -> Result<Answer<Vec<MxRecord>>, DnsError> {
        Ok(Answer {
            value,
            ttl: Duration::from_secs(60),
            security: Security::Unchecked,
            canonical: None,
            origin: Security::Unchecked,
        })
    }

    fn names(verdict: &MxVerdict) -> Vec<&str> {
        match verdict {
            MxVerdict::Hosts { hosts, .. } => hosts.iter().map(|(_, h)| h.as_str()).collect(),
            _ => Vec::new(),
        }
    }

    fn reason(verdict: MxVerdict) -> Option<Reason> {
        match verdict {
            MxVerdict::Hosts { .. } => None,
            MxVerdict::Undeliverable { reason, .. } => Some(reason.0),
            MxVerdict::Unknown { reason, .. } => Some(reason),
        }
    }

    #[test]
    fn e1_08_sorted_by_preference() {
        let v = read_mx(
            &domain(),
            answer(vec![mx(20, "c.test"), mx(5, "a.test"), mx(10, "b.test")]),
        );
        assert_eq!(names(&v), ["a.test", "b.test", "c.test"]);
    }

    #[test]
    fn e1_05_no_mx_means_the_domain_itself() {
        let none = DnsError::NoRecords {
            ttl: Duration::from_secs(9),
            security: Security::Unchecked,
        };
        let v = read_mx(&domain(), Err(none));
        assert_eq!(names(&v), ["d.test"]);
        assert!(matches!(v, MxVerdict::Hosts { implicit: true, .. }));
    }

    #[test]
    fn e1_03_e1_04_e1_17_e1_18_what_each_answer_means() {
        let gone = DnsError::NoSuchName {
            ttl: Duration::ZERO,
            security: Security::Unchecked,
        };
        let d = domain();
        assert_eq!(reason(read_mx(&d, Err(gone))), Some(Reason::NoSuchDomain));
        assert_eq!(
            reason(read_mx(&d, Err(DnsError::Temporary("SERVFAIL".into())))),
            Some(Reason::DnsTemporary)
        );
        assert_eq!(
            reason(read_mx(&d, Err(DnsError::Bogus("x".into())))),
            Some(Reason::DnsBogus)
        );
        assert_eq!(
            reason(read_mx(&d, answer(vec![MxRecord::Null]))),
            Some(Reason::NullMx)
        );
        assert_eq!(
            names(&read_mx(
                &d,
                answer(vec![MxRecord::Null, mx(10, "mx1.d.test")])
            )),
            ["mx1.d.test"]
        );
        let ip = MxRecord::Unusable {
            preference: 10,
            exchange: "192.0.2.1".into(),
        };
        let MxVerdict::Undeliverable { reason, .. } = read_mx(&d, answer(vec![ip])) else {
            panic!("an address is no host")
        };
        assert_eq!(reason, (Reason::NoUsableMx, Case::MxNotAHost));
    }

    fn candidate(preference: u16, ip: &str) -> Candidate {
        let name = HostName::parse(&format!("mx{preference}.d.test")).unwrap();
        Candidate {
            tls_name: name.clone(),
            name,
            preference,
            port: 25,
            addresses: Ok(vec![ip.parse().unwrap()]),
            standing: Standing::default(),
        }
    }

    #[test]
    fn e1_12_e1_13_drops_itself_and_what_is_not_better() {
        let ours: IpAddr = "192.0.2.9".parse().unwrap();
        let is_self = |a: SocketAddr| a.ip() == ours && a.port() == 25;
        let list = vec![
            candidate(5, "192.0.2.1"),
            candidate(10, "192.0.2.9"),
            candidate(20, "192.0.2.3"),
        ];
        let left = drop_self(list, is_self).unwrap();
        assert_eq!(left.iter().map(|c| c.preference).collect::<Vec<_>>(), [5]);
        assert!(drop_self(vec![candidate(10, "192.0.2.9")], is_self).is_err());
        assert_eq!(
            drop_self(vec![candidate(10, "192.0.2.1")], is_self)
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn e1_09_equal_preferences_share_the_load() {
        let mut state = 42u64;
        let mut random = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        let mut first = [0u32; 4];
        for _ in 0..1000 {
            let mut hosts = vec![(5, 9), (10, 0), (10, 1), (10, 2), (10, 3), (20, 8)];
            shuffle_equals(&mut hosts, |h| h.0, &mut random);
            assert_eq!((hosts[0], hosts[5]), ((5, 9), (20, 8)));
            first[hosts[1].1] += 1;
        }
        assert!(first.iter().all(|n| (200..=300).contains(n)), "{first:?}");
    }
}
