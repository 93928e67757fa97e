//! Networks that are more than anybody's own (row G3-03).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// Of networks that are trusted together, those that are too wide: parts of the world are the world,
/// so they are joined before they are judged.
pub(super) fn too_wide(networks: &[IpNet]) -> Vec<String> {
    let joined = IpNet::aggregate(&networks.to_vec());
    let mut wide: Vec<String> = joined.iter().filter_map(judge).collect();
    if wide.is_empty() {
        wide.extend(together(&joined));
    }
    wide
}

/// The space that a network is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    V4,
    V6,
    /// All of IPv4 as a part of IPv6, behind a prefix of this length.
    Embedded(u8),
    /// Somebody's own, however wide.
    Private,
}

impl Space {
    fn of(network: &IpNet) -> Self {
        let IpAddr::V6(address) = network.addr() else {
            return Self::V4;
        };
        let overlaps = |(prefix, length): &(Ipv6Addr, u8)| {
            let common = u32::from(network.prefix_len().min(*length));
            let mask = u128::MAX.checked_shl(128 - common).unwrap_or_default();
            u128::from(address) & mask == u128::from(*prefix) & mask
        };
        let inside = |space: &(Ipv6Addr, u8)| network.prefix_len() >= space.1 && overlaps(space);
        if PRIVATE.iter().any(inside) {
            return Self::Private;
        }
        let embedded = EMBEDDED.iter().find(|e| overlaps(e));
        embedded.map_or(Self::V6, |(_, length)| Self::Embedded(*length))
    }

    /// The prefix of the widest network that one organisation has.
    fn widest(self) -> u8 {
        match self {
            Self::V4 => V4,
            Self::V6 => V6,
            Self::Embedded(offset) => offset + V4,
            Self::Private => 0,
        }
    }
}

fn judge(network: &IpNet) -> Option<String> {
    if network.prefix_len() == 0 {
        return Some(format!("{network} is everybody"));
    }
    let wide = network.prefix_len() < Space::of(network).widest();
    wide.then(|| format!("{network} is a large part of the world"))
}

/// Many that are each narrow enough, and together not.
fn together(networks: &[IpNet]) -> Option<String> {
    let mut sums: BTreeMap<Space, u128> = BTreeMap::new();
    for network in networks {
        let bits = network.max_prefix_len() - network.prefix_len();
        let size = 1u128.checked_shl(u32::from(bits)).unwrap_or(u128::MAX);
        let sum = sums.entry(Space::of(network)).or_default();
        *sum = sum.saturating_add(size);
    }
    let too_many = |(space, sum): (Space, u128)| {
        let bits = if space == Space::V4 { 32 } else { 128 };
        let widest = 1u128.checked_shl(bits - u32::from(space.widest()));
        widest.is_some_and(|widest| sum > widest.saturating_mul(TOGETHER))
    };
    let wide = sums.into_iter().any(too_many);
    wide.then(|| {
        let first = networks.first().map(ToString::to_string);
        let (first, others) = (first.unwrap_or_default(), networks.len().saturating_sub(1));
        format!("{first} and {others} others are together a large part of the world")
    })
}

/// The widest IPv4 network that one organisation has.
const V4: u8 = 8;
/// Registries give away at most /16 of IPv6. Private networks (RFC 4193) are all in `fc00::/7`, one
/// link's addresses (RFC 4291 section 2.5.6) in `fe80::/10`.
const V6: u8 = 16;
/// As many of the widest networks, or what is as much, are one organisation's: private ones,
/// loopback and some of its own.
const TOGETHER: u128 = 6;
const PRIVATE: [(Ipv6Addr, u8); 2] = [
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
];
/// Where all of IPv4 is a part of IPv6: NAT64 (RFC 6052 section 2.1), 6to4 (RFC 3056 section 2).
const EMBEDDED: [(Ipv6Addr, u8); 2] = [
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g3_03_a_large_part_of_the_world_is_not_ones_own() {
        for list in [
            &["0.0.0.0/0"][..],
            &["0.0.0.0/1"],
            &["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3"],
            &["10.0.0.0/8", "11.0.0.0/8"],
            &["::/0"],
            &["2000::/3"],
            &["f800::/5"],
            &["64:ff9b::/90"],
            &["64:ff9b::/96"],
            &["64:ff9b::/97"],
            &["2002::/16"],
            &["2002:8000::/17"],
        ] {
            assert!(!too_wide(&nets(list)).is_empty(), "{list:?}");
        }
        for list in [
            &[
                "10.0.0.0/8",
                "172.16.0.0/12",
                "192.168.0.0/16",
                "127.0.0.0/8",
            ][..],
            &["fc00::/7"],
            &["fd00::/8", "fe80::/10"],
            &["2001:db8::/32", "2a01:c000::/19", "::1/128"],
            &["64:ff9b::a00:0/104"],
            &["2002:a00::/24"],
        ] {
            assert!(
                too_wide(&nets(list)).is_empty(),
                "{list:?}: {:?}",
                too_wide(&nets(list))
            );
        }
    }

    #[test]
    fn g3_03_many_networks_are_judged_by_their_sum() {
        let every_second = |from: u8, to: u8, form: &dyn Fn(u8) -> String| -> Vec<IpNet> {
            let each = (from..to).step_by(2).map(form);
            each.map(|n| n.parse().unwrap()).collect()
        };
        let v4 = |n: u8| format!("{n}.0.0.0/8");
        let v6 = |n: u8| format!("2{n:03}::/16");
        let nat64 = |n: u8| format!("64:ff9b::{n:x}00:0/104");
        for form in [&v4 as &dyn Fn(u8) -> String, &v6, &nat64] {
            let half = too_wide(&every_second(16, 100, form));
            assert_eq!(half.len(), 1, "{half:?}");
            assert!(half[0].contains("and 41 others are together"), "{half:?}");
            assert!(too_wide(&every_second(16, 28, form)).is_empty());
        }
    }

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|n| n.parse().unwrap()).collect()
    }
}
