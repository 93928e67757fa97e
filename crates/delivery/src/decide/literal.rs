//! Hosts that are known by their address only, and how a host is named to people.

use std::net::IpAddr;

use mail_types::HostName;

/// A host name for an address: only a label for the log, since no certificate can match it.
pub(crate) fn literal_name(ip: IpAddr) -> Option<HostName> {
    let text = match ip {
        IpAddr::V4(v4) => v4.to_string().replace('.', "-"),
        IpAddr::V6(v6) => v6.to_string().replace(':', "-"),
    };
    HostName::parse(&format!("{LITERAL_PREFIX}{}", text.trim_matches('-'))).ok()
}

/// How the names begin that hosts without a name get.
const LITERAL_PREFIX: &str = "address-";

/// A host's name for people.
pub(crate) fn shown(name: &HostName, ip: Option<IpAddr>) -> String {
    match ip {
        Some(ip) if stands_for(name, ip) => format!("[{ip}]"),
        Some(_) | None => name.to_string(),
    }
}

/// Whether the name is what [`literal_name`] made of an address. Asked several times a message: an IPv4
/// address is compared without making the name again.
fn stands_for(name: &HostName, ip: IpAddr) -> bool {
    let Some(rest) = name.as_str().strip_prefix(LITERAL_PREFIX) else {
        return false;
    };
    match ip {
        IpAddr::V4(v4) => rest
            .split('-')
            .map(|part| part.parse().ok())
            .eq(v4.octets().map(Some)),
        IpAddr::V6(_) => literal_name(ip).as_ref() == Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_name_is_shown_by_its_address() {
        for text in ["192.0.2.1", "10.0.0.255", "2001:db8::1", "::1"] {
            let ip: IpAddr = text.parse().unwrap();
            let name = literal_name(ip).unwrap();
            assert_eq!(shown(&name, Some(ip)), format!("[{text}]"));
            let other = Some("192.0.2.9".parse().unwrap());
            for ip in [None, other] {
                assert_eq!(shown(&name, ip), name.to_string());
            }
        }
        let ip = Some("192.0.2.1".parse().unwrap());
        for text in ["mx.d.test", "address-192-0-2", "address-192-0-2-1-1"] {
            assert_eq!(shown(&text.parse().unwrap(), ip), text);
        }
    }
}
