//! Where mail for a recipient goes: by MX records, or to an explicit next hop (`[[route]]`).

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use mail_types::{Domain, Host, HostName, Mailbox, ReversePath};

/// How the connection to an explicit next hop must be secured (`route.tls`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTls {
    /// TLS with a certificate valid for the hop's name. The default.
    Verified,
    /// As the hop's own domain has published (RFC 8461 section 3.4: its name is the policy domain).
    Policy,
    /// TLS if the hop offers it, any certificate.
    DangerousUnverified,
    /// No TLS.
    DangerousOff,
}

/// The next hop of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Name or address.
    pub target: HopTarget,
    /// TCP port; 25 unless the configuration says otherwise.
    pub port: u16,
}

/// What a route's `relay` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HopTarget {
    /// `host`: the MX hosts of that domain.
    Domain(Domain),
    /// `[host]`: that host itself, no MX look-up (decision AMB-29).
    Host(HostName),
    /// `[192.0.2.1]`: an address; it has no policy domain (row A1-03).
    Address(IpAddr),
}

/// One `[[route]]`.
#[derive(Clone, Debug)]
pub struct Route {
    /// Only for recipients of this domain; `*.d.test` also matches what is below `d.test`.
    pub recipient_domain: Option<DomainPattern>,
    /// Only for senders of this domain.
    pub sender_domain: Option<DomainPattern>,
    /// Where to.
    pub hop: NextHop,
    /// How secure.
    pub tls: RouteTls,
    /// The name that the hop's certificate must have, if not the hop's own.
    pub tls_name: Option<HostName>,
    /// PEM files of trust anchors for this hop alone.
    pub roots: Vec<PathBuf>,
}

/// `d.test`, `*.d.test` or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainPattern {
    /// Every domain.
    Any,
    /// This domain alone.
    Exact(Domain),
    /// Every domain below this one.
    Below(Domain),
}

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

/// The routes in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// With their keys, which are asked for several times a message.
    routes: Vec<(RouteKey, Arc<Route>)>,
}

impl RouteTable {
    /// From the configuration, in its order.
    #[must_use]
    pub fn new(routes: Vec<Route>) -> Self {
        Self {
            routes: routes
                .into_iter()
                .map(|route| (route.key(), Arc::new(route)))
                .collect(),
        }
    }

    /// The destination of one recipient. Routes that name a sender come before routes that do
    /// not, routes that name an exact recipient domain before patterns, and otherwise the first
    /// in the file wins (row E1-23).
    #[must_use]
    pub fn destination(&self, sender: &ReversePath, recipient: &Mailbox) -> Destination {
        let mut best: Option<((u8, u8), usize)> = None;
        for (index, (_, route)) in self.routes.iter().enumerate() {
            if let Some(rank) = route.rank(sender, recipient.host())
                && best.is_none_or(|(b, _)| rank > b)
            {
                best = Some((rank, index));
            }
        }
        let route = best.and_then(|(_, index)| self.routes.get(index));
        Destination {
            host: recipient.host().clone(),
            route: route.map(|(key, _)| *key),
        }
    }

    /// The route of a destination; `None` where MX records decide, or where the route has gone.
    #[must_use]
    pub fn get(&self, destination: &Destination) -> Option<&Arc<Route>> {
        self.routes
            .get(self.position(destination)?)
            .map(|(_, route)| route)
    }

    /// As people name a destination: its recipients' host, and the next hop of its route. A route that
    /// is no longer configured is called that.
    #[must_use]
    pub fn in_words(&self, destination: &Destination) -> (String, Option<String>) {
        let hop = self.get(destination).map(|route| route.hop.to_string());
        let gone = || "a route that is no longer configured".to_owned();
        let via = destination.route.map(|_| hop.unwrap_or_else(gone));
        (destination.host.to_string(), via)
    }

    /// Where in the file that route stands.
    #[must_use]
    pub fn position(&self, destination: &Destination) -> Option<usize> {
        let key = destination.route?;
        self.routes.iter().position(|(k, _)| *k == key)
    }

    /// Whether a route for this recipient domain exists, whoever the sender is.
    #[must_use]
    pub fn covers(&self, domain: &Domain) -> bool {
        let host = Host::Domain(domain.clone());
        self.routes
            .iter()
            .any(|(_, r)| r.sender_domain.is_none() && r.rank(&ReversePath::Null, &host).is_some())
    }
}

impl Route {
    /// FNV-1a over everything that it says: the same after a restart, another after any change.
    #[must_use]
    pub fn key(&self) -> RouteKey {
        let hash = self.said().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        RouteKey(hash)
    }

    /// Everything that the route says, a line each. Queued mail is filed under its hash: a text that is
    /// written otherwise files it anew.
    fn said(&self) -> String {
        let pattern = |p: &Option<DomainPattern>| p.as_ref().map(DomainPattern::to_string);
        let mut said = format!(
            "to {}\nfrom {}\nby {}\ntls {}\nname {}\n",
            pattern(&self.recipient_domain).unwrap_or_default(),
            pattern(&self.sender_domain).unwrap_or_default(),
            self.hop,
            self.tls.key(),
            self.tls_name.as_ref().map_or("", HostName::as_str),
        );
        for roots in &self.roots {
            said.push_str("roots ");
            said.push_str(&roots.to_string_lossy());
            said.push('\n');
        }
        said
    }

    /// `None` if this route does not apply; else how specific it is (sender, then recipient).
    fn rank(&self, sender: &ReversePath, recipient: &Host) -> Option<(u8, u8)> {
        let by_sender = match &self.sender_domain {
            None => 0,
            Some(pattern) => pattern.rank(sender.mailbox()?.domain()?)?,
        };
        let by_recipient = match (&self.recipient_domain, recipient) {
            (None, _) => 0,
            (Some(pattern), Host::Domain(d)) => pattern.rank(d)?,
            (Some(DomainPattern::Any), Host::Address(_)) => 1,
            (Some(_), Host::Address(_)) => return None,
        };
        Some((by_sender, by_recipient))
    }
}

/// Whether the queue's text for a destination is that of one with a route.
pub(crate) fn is_routed(destination: &outbound_queue::Destination) -> bool {
    destination.as_str().starts_with(ROUTED)
}

/// What the text of a destination with a route begins with; no host's name does.
const ROUTED: &str = "route:";

impl RouteTls {
    /// As in the configuration.
    const fn key(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Policy => "policy",
            Self::DangerousUnverified => "dangerous-unverified",
            Self::DangerousOff => "dangerous-off",
        }
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(domain) => domain.fmt(f),
            Self::Below(domain) => write!(f, "*.{domain}"),
        }
    }
}

impl DomainPattern {
    /// Parses `d.test`, `*.d.test` or `*`.
    ///
    /// # Errors
    /// Those of [`Domain::parse`].
    pub fn parse(text: &str) -> Result<Self, mail_types::DomainError> {
        match text.strip_prefix("*.") {
            _ if text == "*" => Ok(Self::Any),
            Some(rest) => Domain::parse(rest).map(Self::Below),
            None => Domain::parse(text).map(Self::Exact),
        }
    }

    /// `None` if the domain does not match; else 1 (any), 2 (below) or 3 (exact).
    fn rank(&self, domain: &Domain) -> Option<u8> {
        match self {
            Self::Any => Some(1),
            Self::Below(d) => {
                let above = domain.as_str().strip_suffix(d.as_str())?;
                above.ends_with('.').then_some(2)
            }
            Self::Exact(d) => (d == domain).then_some(3),
        }
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

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            HopTarget::Domain(d) => write!(f, "{d}:{}", self.port),
            HopTarget::Host(h) => write!(f, "[{h}]:{}", self.port),
            HopTarget::Address(a) => write!(f, "[{a}]:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(recipient: Option<&str>, sender: Option<&str>) -> Route {
        Route {
            recipient_domain: recipient.map(|p| DomainPattern::parse(p).unwrap()),
            sender_domain: sender.map(|p| DomainPattern::parse(p).unwrap()),
            hop: NextHop {
                target: HopTarget::Domain(Domain::parse("relay.test").unwrap()),
                port: 25,
            },
            tls: RouteTls::Verified,
            tls_name: None,
            roots: Vec::new(),
        }
    }

    fn pick(table: &RouteTable, from: &str, to: &str) -> Option<usize> {
        let sender = Mailbox::parse(from).map_or(ReversePath::Null, ReversePath::Mailbox);
        table.position(&table.destination(&sender, &Mailbox::parse(to).unwrap()))
    }

    #[test]
    fn e1_23_sender_routes_come_before_recipient_routes() {
        let table = RouteTable::new(vec![
            route(Some("*"), None),
            route(Some("d.test"), None),
            route(Some("*.d.test"), None),
            route(None, Some("ours.test")),
        ]);
        assert_eq!(pick(&table, "", "a@x.test"), Some(0));
        assert_eq!(pick(&table, "", "a@d.test"), Some(1));
        assert_eq!(pick(&table, "", "a@b.d.test"), Some(2));
        assert_eq!(pick(&table, "", "a@xd.test"), Some(0));
        assert_eq!(pick(&table, "u@ours.test", "a@d.test"), Some(3));
        assert_eq!(pick(&RouteTable::default(), "", "a@d.test"), None);
    }

    #[test]
    fn a_route_is_known_by_what_it_says_after_any_upgrade() {
        let plain = route(Some("*.d.test"), None);
        let every = Route {
            tls: RouteTls::DangerousOff,
            tls_name: Some(HostName::parse("mx.test").unwrap()),
            roots: vec!["/etc/ca.pem".into()],
            hop: NextHop {
                target: HopTarget::Host(HostName::parse("relay.test").unwrap()),
                port: 2525,
            },
            ..route(None, Some("ours.test"))
        };
        assert_eq!(
            every.said(),
            "to \nfrom ours.test\nby [relay.test]:2525\ntls dangerous-off\nname mx.test\nroots /etc/ca.pem\n"
        );
        assert_eq!(
            [plain.key(), every.key()],
            [RouteKey(0x8e4d_887b), RouteKey(0xbfff_7cf1)]
        );
    }

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
