//! One route: for whom, where to, and how secure.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use mail_types::{Domain, Host, HostName, ReversePath};

use crate::destination::RouteKey;
use crate::pattern::DomainPattern;

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

impl Route {
    /// FNV-1a over everything that it says: the same after a restart, another after any change.
    #[must_use]
    pub fn key(&self) -> RouteKey {
        let hash = self.said().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        RouteKey::of(hash)
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
    pub(crate) fn rank(&self, sender: &ReversePath, recipient: &Host) -> Option<(u8, u8)> {
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
            [RouteKey::of(0x8e4d_887b), RouteKey::of(0xbfff_7cf1)]
        );
    }
}
