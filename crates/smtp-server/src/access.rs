//! Who may do what: by address, and by identity.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use smtp_proto::BareNewline;
use smtp_proto::server::{Peer, Relaying};

use crate::Identities;

/// Who may do what, by address. Names from reverse DNS are never asked (row G3-06).
#[derive(Clone, Debug, Default)]
pub struct Access {
    relay: Vec<IpNet>,
    xforward: Vec<IpNet>,
    normalize: Vec<IpNet>,
    requiretls: Vec<IpNet>,
    xclient: Vec<IpNet>,
    proxy: Vec<IpNet>,
    plaintext: Vec<IpNet>,
    identities: Arc<Identities>,
}

impl Access {
    /// `relay` may send to the world (`access.relay-networks`), `xforward` may say XFORWARD
    /// (`access.xforward-hosts`), and bare CR or LF from `normalize` become spaces whatever the
    /// listener says. IPv6-mapped networks mean the IPv4 network.
    #[must_use]
    pub fn new(relay: &[IpNet], xforward: &[IpNet], normalize: &[IpNet]) -> Self {
        let all = |nets: &[IpNet]| nets.iter().copied().map(unmapped).collect();
        Self {
            relay: all(relay),
            xforward: all(xforward),
            normalize: all(normalize),
            requiretls: Vec::new(),
            xclient: Vec::new(),
            proxy: Vec::new(),
            plaintext: Vec::new(),
            identities: Arc::default(),
        }
    }

    /// `xclient` may speak for any client (`access.xclient-hosts`); `proxy` begin each connection
    /// with a PROXY header (`access.proxy-hosts`).
    #[must_use]
    pub fn impersonated_by(mut self, xclient: &[IpNet], proxy: &[IpNet]) -> Self {
        self.xclient = xclient.iter().copied().map(unmapped).collect();
        self.proxy = proxy.iter().copied().map(unmapped).collect();
        self
    }

    /// Clients in these networks need no TLS on a listener that requires it
    /// (`access.dangerous-plaintext-networks`).
    #[must_use]
    pub fn in_plain_text(mut self, networks: &[IpNet]) -> Self {
        self.plaintext = networks.iter().copied().map(unmapped).collect();
        self
    }

    /// Whether connections of this address begin with a PROXY header.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxy.iter().any(|net| net.contains(&address))
    }

    /// Somebody of whom nothing is known that would give a right.
    pub(crate) const fn stranger(address: IpAddr, listener: BareNewline) -> Peer {
        Peer {
            address,
            relaying: Relaying::Refused,
            xforward: false,
            plaintext: false,
            xclient: false,
            adds_requiretls: false,
            bare_newline: listener,
        }
    }

    /// Mail of clients in these networks is tagged REQUIRETLS (`access.requiretls-networks`).
    #[must_use]
    pub fn requiring_tls(mut self, networks: &[IpNet]) -> Self {
        self.requiretls = networks.iter().copied().map(unmapped).collect();
        self
    }

    /// What those may do who logged in or have a known certificate (`[[identity]]`).
    #[must_use]
    pub fn with_identities(mut self, identities: Identities) -> Self {
        self.identities = Arc::new(identities);
        self
    }

    pub(crate) fn identities(&self) -> Arc<Identities> {
        Arc::clone(&self.identities)
    }

    /// What the client at `address` may do on a listener with this setting.
    pub(crate) fn peer(&self, address: IpAddr, listener: BareNewline) -> Peer {
        let address = address.to_canonical();
        let among = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        Peer {
            address,
            relaying: if among(&self.relay) {
                Relaying::Allowed
            } else {
                Relaying::Refused
            },
            xforward: among(&self.xforward),
            plaintext: among(&self.plaintext),
            xclient: among(&self.xclient),
            adds_requiretls: among(&self.requiretls),
            bare_newline: if among(&self.normalize) {
                BareNewline::Normalize
            } else {
                listener
            },
        }
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8` (row G3-05). A wider network that has the mapped range in
/// it, such as `::/0`, stays an IPv6 network and never means IPv4.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let v4 = v6
        .network()
        .to_ipv4_mapped()
        .zip(v6.prefix_len().checked_sub(96));
    match v4.map(|(address, prefix)| Ipv4Net::new(address, prefix)) {
        Some(Ok(v4)) => IpNet::V4(v4),
        _ => net,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relaying(net: &str, address: &str) -> bool {
        let access = Access::new(&[net.parse().unwrap()], &[], &[]);
        let peer = access.peer(address.parse().unwrap(), BareNewline::Reject);
        peer.relaying == Relaying::Allowed
    }

    #[test]
    fn g3_05_mapped_addresses_are_exact() {
        for (net, address, want) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:11.0.0.1", false),
            ("10.0.0.0/8", "::10.1.2.3", false),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true),
            ("2001:db8::/32", "2001:db8::1", true),
            ("2001:db8::/32", "10.0.0.1", false),
            ("::/0", "192.0.2.1", false),
            ("127.0.0.0/8", "::1", false),
        ] {
            assert_eq!(relaying(net, address), want, "{address} in {net}");
        }
    }

    #[test]
    fn g1_07_plain_text_is_for_each_network_by_name() {
        let access = Access::default().in_plain_text(&["10.0.0.0/8".parse().unwrap()]);
        let plaintext = |address: &str| {
            let peer = access.peer(address.parse().unwrap(), BareNewline::Reject);
            peer.plaintext
        };
        assert!(plaintext("10.1.2.3") && plaintext("::ffff:10.1.2.3"));
        assert!(!plaintext("11.0.0.1") && !plaintext("::1"));
    }

    #[test]
    fn nobody_by_default() {
        let peer = Access::default().peer(IpAddr::from([127, 0, 0, 1]), BareNewline::Reject);
        assert_eq!(peer.relaying, Relaying::Refused);
        assert!(!peer.xforward);
    }

    #[test]
    fn e3_06_normalizing_by_network() {
        let access = Access::new(&[], &[], &["192.0.2.0/24".parse().unwrap()]);
        let of = |a: &str| {
            access
                .peer(a.parse().unwrap(), BareNewline::Reject)
                .bare_newline
        };
        assert_eq!(of("192.0.2.9"), BareNewline::Normalize);
        assert_eq!(of("192.0.3.9"), BareNewline::Reject);
    }
}
