//! Under which text mail waits: its recipients' host, and its route.

use std::fmt;

use mail_types::{Domain, Host, Mailbox};

/// The grouping key of the queue: everything that shares a plan, a window and a back-off.
///
/// Prints as the recipient domain, or as `route:KEY:domain` where an explicit route applies, so
/// that recipients of one domain never mix with those of another in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The recipients' host.
    pub host: Host,
    /// The route, by its key: what it says, not where it stands in the file, so that queued mail
    /// never takes another route because the file has changed.
    pub route: Option<RouteKey>,
}

/// Names a route by what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteKey(u32);

/// Whether the queue's text for a destination is that of one with a route.
#[must_use]
pub fn is_routed(destination: &str) -> bool {
    destination.starts_with(ROUTED)
}

/// What the text of a destination with a route begins with; no host's name does.
const ROUTED: &str = "route:";

impl RouteKey {
    pub(crate) const fn of(hash: u32) -> Self {
        Self(hash)
    }
}

impl Destination {
    /// The text under which the queue files it.
    #[must_use]
    pub fn key(&self) -> String {
        self.to_string()
    }

    /// Reads what [`Destination::key`] wrote.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let (route, host) = match key.strip_prefix(ROUTED) {
            Some(rest) => {
                let (index, host) = rest.split_once(':')?;
                (Some(RouteKey(u32::from_str_radix(index, 16).ok()?)), host)
            }
            None => (None, key),
        };
        // A mailbox at that host has the same grammar for literals; a name may be longer than a mailbox
        // leaves room for, since its A-labels are longer than what was typed.
        let host = if host.starts_with('[') {
            Mailbox::parse(&format!("x@{host}")).ok()?.host().clone()
        } else {
            Host::Domain(Domain::parse(host).ok()?)
        };
        Some(Self { host, route })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.route {
            Some(RouteKey(key)) => write!(f, "{ROUTED}{key:08x}:{}", self.host),
            None => self.host.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_survive_the_queue() {
        for (host, route) in [
            ("d.test", None),
            ("d.test", Some(RouteKey(2))),
            ("[192.0.2.1]", None),
            ("[IPv6:2001:db8::1]", Some(RouteKey(0xffff_ffff))),
        ] {
            let host = Mailbox::parse(&format!("x@{host}")).unwrap().host().clone();
            let destination = Destination { host, route };
            assert_eq!(Destination::parse(&destination.key()), Some(destination));
        }
        assert_eq!(Destination::parse("route:x:d.test"), None);
        // As long as a name may be, and longer than a mailbox leaves room for.
        let longest = format!("{}{}", "xn--tda.".repeat(30), "x".repeat(13));
        let host = Host::Domain(Domain::parse(&longest).unwrap());
        let longest = Destination { host, route: None };
        assert_eq!(Destination::parse(&longest.key()), Some(longest));
    }
}
