//! What the configuration says.

use std::net::IpAddr;

use mail_types::AddressClass;
use tls_rpt::Identity;

/// What the configuration says; a reload may change all of it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Who reports. `None`: nothing is counted and nothing sent.
    pub identity: Option<Identity>,
    /// Whether reports may go by mail: there is a key to sign them with (RFC 8460 section 3).
    pub by_mail: bool,
    /// Where sessions come from as the world sees it.
    pub addresses: Addresses,
}

/// `egress.source-addresses`, and what the world sees of them.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Those that mail is sent from; none: the system chooses.
    pub sources: Vec<IpAddr>,
    /// What the world sees: of the first source of a family the first of that family, and so on.
    pub public: Vec<IpAddr>,
}

impl Addresses {
    /// What the receiver has seen of a session from this address (row B3-13): behind a NAT not the address itself.
    #[must_use]
    pub fn seen(&self, from: IpAddr) -> IpAddr {
        let family = |ip: &&IpAddr| ip.is_ipv4() == from.is_ipv4();
        if AddressClass::of(from).is_global() {
            return from;
        }
        let nth = self.sources.iter().filter(family).position(|s| *s == from);
        let mut public = self.public.iter().filter(family);
        let first = public.clone().next();
        let paired = nth.and_then(|n| public.nth(n));
        paired.or(first).copied().unwrap_or(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b3_13_behind_a_nat_it_is_what_the_world_sees() {
        let all = |list: &[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        let addresses = Addresses {
            sources: all(&["10.0.0.1", "fd00::1", "10.0.0.2"]),
            public: all(&["198.51.100.1", "198.51.100.2", "2001:db8::1"]),
        };
        for (from, seen) in [
            ("10.0.0.1", "198.51.100.1"),
            ("10.0.0.2", "198.51.100.2"),
            // The system has chosen.
            ("10.0.0.9", "198.51.100.1"),
            ("fd00::1", "2001:db8::1"),
            ("9.9.9.9", "9.9.9.9"),
        ] {
            let seen: IpAddr = seen.parse().unwrap();
            assert_eq!(addresses.seen(from.parse().unwrap()), seen, "{from}");
        }
        let none = Addresses::default();
        let own: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(none.seen(own), own);
    }
}
