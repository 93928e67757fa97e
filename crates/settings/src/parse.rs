//! Texts to the types of [`super::Settings`].

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use mail_types::{Domain, HostName, Mailbox, Timestamp};

use super::keys::Kind;
use super::settings::{
    BareNewline, CrlFailure, DnsServers, Dnssec, DomainDane, DomainMatch, DomainMtaSts,
    ListenerRole, ListenerTls, LogFormat, Rate, Relay, RelayHost, RequiredTls, RouteTls,
    TlsRequiredNo,
};
use setting_keys as units;

/// A value that is written as text in the file, in the environment, or as a TOML scalar.
pub(super) trait FromText: Sized {
    /// Parses it within the bounds of its kind.
    ///
    /// # Errors
    /// What is wrong, to stand after the text in quotes: "is not …".
    fn from_text(text: &str, kind: &Kind) -> Result<Self, String>;
}

/// A root store that `tls.roots` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RootStore {
    Webpki,
    System,
}

/// One item of `dns.servers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DnsServer {
    System,
    Address(SocketAddr),
}

/// An MX pattern, checked, in normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MxPattern(pub(super) String);

/// `delivery.tls`, where a word stands for no requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryTls {
    Policy,
    Required(RequiredTls),
}

macro_rules! choice {
    ($type:ty { $($word:literal => $value:expr),+ $(,)? }) => {
        impl FromText for $type {
            fn from_text(text: &str, kind: &Kind) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err(not_a_choice(text, kind)),
                }
            }
        }
    };
}

choice!(ListenerRole { "relay" => Self::Relay, "submission" => Self::Submission });
choice!(ListenerTls {
    "off" => Self::Off,
    "optional" => Self::Optional,
    "required" => Self::Required,
    "implicit" => Self::Implicit,
});
choice!(BareNewline { "reject" => Self::Reject, "normalize" => Self::Normalize });
choice!(Dnssec {
    "validate" => Self::Validate,
    "trust-ad" => Self::TrustAd,
    "off" => Self::Off,
});
choice!(RootStore { "webpki" => Self::Webpki, "system" => Self::System });
choice!(CrlFailure { "soft" => Self::Soft, "hard" => Self::Hard });
choice!(RouteTls {
    "verified" => Self::Verified,
    "policy" => Self::Policy,
    "dangerous-unverified" => Self::DangerousUnverified,
    "dangerous-off" => Self::DangerousOff,
});
choice!(DomainMtaSts {
    "policy" => Self::Policy,
    "require" => Self::Require,
    "dangerous-audit" => Self::DangerousAudit,
});
choice!(RequiredTls { "encrypted" => Self::Encrypted, "verified" => Self::Verified });
choice!(DeliveryTls {
    "policy" => Self::Policy,
    "encrypted" => Self::Required(RequiredTls::Encrypted),
    "verified" => Self::Required(RequiredTls::Verified),
});
choice!(TlsRequiredNo {
    "never" => Self::Never,
    "authenticated" => Self::Authenticated,
    "all" => Self::All,
});
choice!(LogFormat {
    "auto" => Self::Auto,
    "json" => Self::Json,
    "postfix" => Self::Postfix,
    "journald" => Self::Journald,
    "text" => Self::Text,
});
choice!(bool { "true" => true, "false" => false });

choice!(DomainDane {
    "policy" => Self::Policy,
    "require" => Self::Require,
    "dangerous-audit" => Self::DangerousAudit,
    "dangerous-off" => Self::DangerousOff,
});

impl FromText for u64 {
    fn from_text(text: &str, kind: &Kind) -> Result<Self, String> {
        match *kind {
            Kind::Size(min, max) => {
                let size = units::parse_size(text).ok_or("is not a size")?;
                within(size, min, max)
            }
            Kind::Count(min, max) => {
                let count = text.parse().map_err(|_| "is not a whole number")?;
                within(count, min, max)
            }
            _ => Err(WRONG_TABLE.into()),
        }
    }
}

impl FromText for usize {
    fn from_text(text: &str, kind: &Kind) -> Result<Self, String> {
        Self::try_from(u64::from_text(text, kind)?).map_err(|_| "is too large".into())
    }
}

impl FromText for Duration {
    fn from_text(text: &str, kind: &Kind) -> Result<Self, String> {
        let Kind::Duration(min, max) = *kind else {
            return Err(WRONG_TABLE.into());
        };
        let millis = units::parse_duration(text).ok_or("is not a time span")?;
        within(millis, min, max).map(Self::from_millis)
    }
}

impl FromText for String {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("is empty".into());
        }
        if text.chars().any(char::is_control) {
            return Err("has control characters".into());
        }
        Ok(text.to_owned())
    }
}

impl FromText for PathBuf {
    fn from_text(text: &str, kind: &Kind) -> Result<Self, String> {
        String::from_text(text, kind).map(Self::from)
    }
}

impl FromText for Domain {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        let domain = Self::parse(text).map_err(|error| format!("is not a domain: {error}"))?;
        if !domain.is_fully_qualified() {
            return Err("is not fully qualified: it has only one label".into());
        }
        Ok(domain)
    }
}

impl FromText for HostName {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        Self::parse(text).map_err(|error| format!("is not a host name: {error}"))
    }
}

impl FromText for Mailbox {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        Self::parse(text).map_err(|error| format!("is not a mail address: {error}"))
    }
}

impl FromText for SocketAddr {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        text.parse()
            .map_err(|_| "is not an address and a port".into())
    }
}

impl FromText for IpAddr {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        text.parse().map_err(|_| "is not an IP address".into())
    }
}

impl FromText for IpNet {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        let network = text
            .parse::<Self>()
            .or_else(|_| text.parse::<IpAddr>().map(Self::from))
            .map_err(|_| "is not a network")?;
        if network.addr() != network.network() {
            return Err(format!(
                "has bits below its prefix: did you mean \"{}\"?",
                network.trunc()
            ));
        }
        Ok(unmapped(network))
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`, as clients' addresses are compared (rows G3-03, G3-05): so
/// `::ffff:0:0/96` is seen to be everybody.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let prefix = v6.prefix_len().checked_sub(96);
    let mapped = v6.network().to_ipv4_mapped().zip(prefix);
    mapped
        .and_then(|(address, prefix)| IpNet::new(address.into(), prefix).ok())
        .unwrap_or(network)
}

impl FromText for DnsServer {
    fn from_text(text: &str, kind: &Kind) -> Result<Self, String> {
        match text {
            "system" => Ok(Self::System),
            _ => SocketAddr::from_text(text, kind).map(Self::Address),
        }
    }
}

impl FromText for Rate {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(count, period)| {
            let count: NonZeroU32 = count.trim().parse().ok()?;
            // "60/m" is one minute, as in other programs.
            let millis = units::parse_duration(period)
                .or_else(|| units::parse_duration(&format!("1{period}")))?;
            let period = Duration::from_millis(millis);
            (!period.is_zero()).then_some(Self { count, period })
        });
        parsed.ok_or_else(|| "is not a rate".into())
    }
}

impl FromText for Relay {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or("has no closing bracket")?;
            let port = match rest {
                "" => SMTP,
                _ => port(rest.strip_prefix(':').ok_or("has text after the bracket")?)?,
            };
            let host = match host.parse() {
                Ok(address) => RelayHost::Address(address),
                Err(_) => RelayHost::Host(HostName::from_text(host, &Kind::Host)?),
            };
            return Ok(Self { host, port });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, digits)) => (host, port(digits)?),
            None => (text, SMTP),
        };
        if text.parse::<IpAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
            return Err("is an address: write it in brackets".into());
        }
        let host = Domain::parse(host).map_err(|error| format!("is not a host name: {error}"))?;
        let host = RelayHost::Domain(host);
        Ok(Self { host, port })
    }
}

impl FromText for DomainMatch {
    fn from_text(text: &str, kind: &Kind) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.strip_prefix("*.") {
            Some(parent) => Domain::from_text(parent, kind).map(Self::Below),
            None => Domain::parse(text)
                .map(Self::Exact)
                .map_err(|error| format!("is not a domain: {error}")),
        }
    }
}

impl FromText for MxPattern {
    fn from_text(text: &str, kind: &Kind) -> Result<Self, String> {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(name) => ("*.", name),
            None => ("", text),
        };
        let host = HostName::from_text(name, kind)?;
        Ok(Self(format!("{wildcard}{}", host.as_str())))
    }
}

impl FromText for Timestamp {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        let at = text
            .parse::<jiff::Timestamp>()
            .or_else(|_| {
                // A day counts to its end, in UTC.
                let day: jiff::civil::Date = text.parse()?;
                day.at(23, 59, 59, 0)
                    .to_zoned(jiff::tz::TimeZone::UTC)
                    .map(|zoned| zoned.timestamp())
            })
            .map_err(|_: jiff::Error| "is not a date")?;
        let millis = u64::try_from(at.as_millisecond()).map_err(|_| "is before 1970")?;
        Ok(Self::from_millis(millis))
    }
}

/// Folds the items of `dns.servers` into one value.
///
/// # Errors
/// `"system"` stands beside addresses, or there is nothing.
pub(super) fn dns_servers(items: &[DnsServer]) -> Result<DnsServers, &'static str> {
    let addresses: Vec<SocketAddr> = items
        .iter()
        .filter_map(|item| match item {
            DnsServer::System => None,
            DnsServer::Address(address) => Some(*address),
        })
        .collect();
    match (items.contains(&DnsServer::System), addresses.is_empty()) {
        (true, true) => Ok(DnsServers::System),
        (false, false) => Ok(DnsServers::Addresses(addresses)),
        (true, false) => Err("\"system\" cannot stand beside addresses"),
        (false, true) => Err("no resolver is named"),
    }
}

fn within(value: u64, min: u64, max: u64) -> Result<u64, String> {
    if value < min {
        Err("is too small".into())
    } else if value > max {
        Err("is too large".into())
    } else {
        Ok(value)
    }
}

fn port(digits: &str) -> Result<u16, String> {
    match digits.parse() {
        Ok(0) | Err(_) => Err("has no valid port".into()),
        Ok(port) => Ok(port),
    }
}

fn not_a_choice(text: &str, kind: &Kind) -> String {
    match kind {
        Kind::Choice(_, later) if later.contains(&text) => {
            "is not implemented in this version".into()
        }
        _ => "is none of the possible values".into(),
    }
}

const SMTP: u16 = 25;
const WRONG_TABLE: &str = "cannot be read: the table of keys is wrong";
