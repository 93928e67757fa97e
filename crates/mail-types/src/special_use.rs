//! Special-use addresses: where mail from the outside never lives (RFC 6890 and its registries).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address this is. IPv4 addresses inside IPv6 ones (IPv4-mapped, 6to4, NAT64,
/// Teredo) are judged by the address inside, so that no wrapping gets round the check (row H1-21).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// A globally reachable unicast address.
    Global,
    /// `0.0.0.0/8`, `::`: this host, this network (RFC 791, RFC 4291).
    Unspecified,
    /// `127.0.0.0/8`, `::1` (RFC 1122, RFC 4291).
    Loopback,
    /// `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16` (RFC 1918), `fc00::/7` (RFC 4193), and the
    /// deprecated site-local `fec0::/10` (RFC 3879).
    Private,
    /// `169.254.0.0/16` (RFC 3927), `fe80::/10` (RFC 4291); cloud metadata services live here.
    LinkLocal,
    /// `100.64.0.0/10`: behind a provider's NAT (RFC 6598).
    SharedSpace,
    /// Documentation and benchmarking ranges (RFC 5737, RFC 3849, RFC 9637, RFC 2544, RFC 5180).
    Documentation,
    /// `224.0.0.0/4`, `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// Everything else that the registries set apart: `192.0.0.0/24`, `240.0.0.0/4`, `100::/64`,
    /// `2001::/23`, local-use NAT64, segment routing, and IPv6 outside `2000::/3`.
    Reserved,
}

impl AddressClass {
    /// Classifies an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => of_v6(v6),
        }
    }

    /// Whether mail may go there without the operator's leave.
    #[must_use]
    pub const fn is_global(self) -> bool {
        matches!(self, Self::Global)
    }

    /// A few words for the log and the DSN.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Global => "a global address",
            Self::Unspecified => "an unspecified address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::SharedSpace => "an address behind a provider's NAT",
            Self::Documentation => "a documentation address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::Reserved => "a reserved address",
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The IPv4 address inside an IPv6 one (IPv4-mapped, 6to4, NAT64, Teredo), else the address itself:
/// where a connection to it ends.
#[must_use]
pub fn unwrapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => embedded_v4(v6.segments()).map_or(ip, IpAddr::V4),
    }
}

fn of_v4(ip: Ipv4Addr) -> AddressClass {
    let [a, b, c, d] = ip.octets();
    match (a, b, c) {
        (0, ..) => AddressClass::Unspecified,
        (127, ..) => AddressClass::Loopback,
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => AddressClass::Private,
        (169, 254, _) => AddressClass::LinkLocal,
        (100, 64..=127, _) => AddressClass::SharedSpace,
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) | (198, 18..=19, _) => {
            AddressClass::Documentation
        }
        // 192.0.0.9 and 192.0.0.10 are global anycast of PCP and TURN: no mail lives there either.
        // 192.88.99.0/24 was the 6to4 relay anycast prefix (RFC 7526).
        (192, 0, 0) | (192, 88, 99) => AddressClass::Reserved,
        (224..=239, ..) => AddressClass::Multicast,
        (255, 255, 255) if d == 255 => AddressClass::Broadcast,
        (240..=255, ..) => AddressClass::Reserved,
        _ => AddressClass::Global,
    }
}

fn of_v6(ip: Ipv6Addr) -> AddressClass {
    let s = ip.segments();
    if let Some(inner) = embedded_v4(s) {
        return of_v4(inner);
    }
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] | [0x2001, 2, 0, ..] => {
            AddressClass::Documentation
        }
        // 2001::/23: IETF protocol assignments (Teredo was unwrapped above).
        [0x2001, 0..=0x01ff, ..] => AddressClass::Reserved,
        [0x2000..=0x3fff, ..] => AddressClass::Global,
        _ => AddressClass::Reserved,
    }
}

/// The IPv4 address that packets to this IPv6 address end at, if it wraps one.
fn embedded_v4(s: [u16; 8]) -> Option<Ipv4Addr> {
    let join = |hi: u16, lo: u16| {
        let ([a, b], [c, d]) = (hi.to_be_bytes(), lo.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        // IPv4-mapped, and IPv4-translated of RFC 2765.
        [0, 0, 0, 0, 0, 0xffff, hi, lo] | [0, 0, 0, 0, 0xffff, 0, hi, lo] => Some(join(hi, lo)),
        // NAT64 (RFC 6052, RFC 8215: the latter is local use but leads to an IPv4 address as well).
        [0x0064, 0xff9b, 0, 0, 0, 0, hi, lo] | [0x0064, 0xff9b, 1, _, _, _, hi, lo] => {
            Some(join(hi, lo))
        }
        // 6to4 (RFC 3056).
        [0x2002, hi, lo, ..] => Some(join(hi, lo)),
        // Teredo (RFC 4380): the client's address with all bits flipped.
        [0x2001, 0, _, _, _, _, hi, lo] => Some(join(!hi, !lo)),
        // IPv4-compatible, deprecated; `::` and `::1` are not that.
        [0, 0, 0, 0, 0, 0, hi, lo] if hi != 0 => Some(join(hi, lo)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e1_14_h1_21_wrapped_addresses_are_unwrapped() {
        for (wrapped, inner) in [
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("64:ff9b::192.0.2.1", "192.0.2.1"),
            ("2002:c000:201::1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            let (wrapped, inner): (IpAddr, IpAddr) =
                (wrapped.parse().unwrap(), inner.parse().unwrap());
            assert_eq!(unwrapped(wrapped), inner);
        }
    }

    #[test]
    fn h1_19_h1_20_h1_21_h1_23_classes() {
        for (address, want) in [
            ("8.8.8.8", AddressClass::Global),
            ("100.63.255.255", AddressClass::Global),
            ("172.32.0.1", AddressClass::Global),
            ("0.0.0.0", AddressClass::Unspecified),
            ("0.1.2.3", AddressClass::Unspecified),
            ("127.0.0.1", AddressClass::Loopback),
            ("127.255.0.1", AddressClass::Loopback),
            ("10.1.2.3", AddressClass::Private),
            ("172.31.255.255", AddressClass::Private),
            ("192.168.0.1", AddressClass::Private),
            ("169.254.169.254", AddressClass::LinkLocal),
            ("100.64.0.1", AddressClass::SharedSpace),
            ("192.0.2.1", AddressClass::Documentation),
            ("198.19.0.1", AddressClass::Documentation),
            ("192.0.0.8", AddressClass::Reserved),
            ("224.0.0.1", AddressClass::Multicast),
            ("240.0.0.1", AddressClass::Reserved),
            ("255.255.255.255", AddressClass::Broadcast),
            ("2606:4700::1111", AddressClass::Global),
            ("::", AddressClass::Unspecified),
            ("::1", AddressClass::Loopback),
            ("fc00::1", AddressClass::Private),
            ("fdff::1", AddressClass::Private),
            ("fec0::1", AddressClass::Private),
            ("fe80::1", AddressClass::LinkLocal),
            ("febf::1", AddressClass::LinkLocal),
            ("ff02::1", AddressClass::Multicast),
            ("2001:db8::1", AddressClass::Documentation),
            ("3fff::1", AddressClass::Documentation),
            ("2001:10::1", AddressClass::Reserved),
            ("100::1", AddressClass::Reserved),
            ("4000::1", AddressClass::Reserved),
            ("::ffff:127.0.0.1", AddressClass::Loopback),
            ("::ffff:8.8.8.8", AddressClass::Global),
            ("::ffff:0:10.0.0.1", AddressClass::Private),
            ("::10.0.0.1", AddressClass::Private),
            ("64:ff9b::192.168.1.1", AddressClass::Private),
            ("64:ff9b::8.8.8.8", AddressClass::Global),
            ("64:ff9b:1::169.254.169.254", AddressClass::LinkLocal),
            ("2002:0a00:0001::1", AddressClass::Private),
            ("2002:7f00:0001::", AddressClass::Loopback),
            (
                "2001:0:4136:e378:8000:63bf:80ff:fffe",
                AddressClass::Loopback,
            ),
        ] {
            assert_eq!(
                AddressClass::of(address.parse().unwrap()),
                want,
                "{address}"
            );
        }
    }
}
