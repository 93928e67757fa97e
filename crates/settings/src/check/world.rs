//! Networks that are more than anybody's own (row G3-03).

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// Of networks that are trusted together, those that are too wide: parts of the world are the world,
/// so they are joined before they are judged.
pub(super) fn too_wide(networks: &[IpNet]) -> Vec<String> {
    let joined = IpNet::aggregate(&networks.to_vec());
    joined.into_iter().filter_map(judge).collect()
}

fn judge(network: IpNet) -> Option<String> {
    if network.prefix_len() == 0 {
        return Some(format!("{network} is everybody"));
    }
    let wide = match network.addr() {
        IpAddr::V4(_) => network.prefix_len() < V4,
        IpAddr::V6(address) => {
            let inside = |within: &(Ipv6Addr, u8)| {
                let offset = within.1;
                let mask = u128::MAX << (128 - u32::from(offset));
                let same = u128::from(address) & mask == u128::from(within.0);
                same && network.prefix_len() < offset + V4
            };
            let first = address.segments()[0];
            let private = (first & 0xfe00 == 0xfc00 && network.prefix_len() >= 7)
                || (first & 0xffc0 == 0xfe80 && network.prefix_len() >= 10);
            (network.prefix_len() < V6 && !private) || EMBEDDED.iter().any(inside)
        }
    };
    wide.then(|| format!("{network} is a large part of the world"))
}

/// The widest IPv4 network that one organisation has.
const V4: u8 = 8;
/// Registries give away at most /16 of IPv6. Private networks (RFC 4193) are all in `fc00::/7`, one
/// link's addresses (RFC 4291 section 2.5.6) in `fe80::/10`.
const V6: u8 = 16;
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

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|n| n.parse().unwrap()).collect()
    }
}
