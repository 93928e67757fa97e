//! The table of keys: the one place that says which keys exist, what they hold and what they mean.
//!
//! Loading walks the merged layers against it, and the sample file and `docs/configuration.md` are
//! printed from it. A key is added here and in the settings that are read by it, nowhere else.

mod delivery;
mod identity;
mod inbound;
mod operation;
mod routing;
mod service;
mod signing;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The whole name, for instance `server.hostname`; for an entry `listener.name`.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// The default as TOML, or `None` if it is unset.
    pub default: Option<&'static str>,
    /// An example as TOML, for keys without a telling default.
    pub example: Option<&'static str>,
    /// One paragraph for operators.
    pub doc: &'static str,
}

/// What a key holds, with its bounds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number from the first to the second.
    Count(u64, u64),
    /// A time span of so many milliseconds at least and at most.
    Duration(u64, u64),
    /// A number of bytes from the first to the second.
    Size(u64, u64),
    /// Text without control characters, not empty.
    Text,
    /// A path.
    Path,
    /// A mail domain, two labels or more.
    Domain,
    /// A host name.
    Host,
    /// A mailbox.
    Mailbox,
    /// One of the first list; those of the second are not implemented yet.
    Choice(&'static [&'static str], &'static [&'static str]),
    /// `ip:port`.
    Socket,
    /// An IP address.
    Address,
    /// An IP network in CIDR form.
    Network,
    /// `count/period`.
    Rate,
    /// `host[:port]` or `[host]:port`.
    Relay,
    /// `*`, a domain, or `*.` and a domain.
    DomainMatch,
    /// `*.` and a domain, or a host name (RFC 8461 section 3.2).
    MxPattern,
    /// A day or a point in time, RFC 3339.
    Date,
    /// `system` or an `ip:port`.
    DnsServer,
    /// `sha256:…`, `dns:…` or `email:…`.
    CertificateMatch,
    /// An address, a domain, or `*.` and a domain.
    SenderMatch,
    /// A list of these.
    List(&'static Self),
    /// This word, or the other kind.
    WordOr(&'static str, &'static Self),
}

/// Sections that are written `[[name]]` and may stand more than once.
pub const ENTRY_SECTIONS: [&str; 6] = [
    "listener",
    "certificate",
    "identity",
    "dkim",
    "route",
    "domain",
];

/// All keys, section by section, in the order of the sample file.
pub fn all() -> impl Iterator<Item = &'static Key> {
    [
        service::KEYS,
        inbound::KEYS,
        signing::KEYS,
        identity::KEYS,
        routing::KEYS,
        delivery::KEYS,
        operation::KEYS,
    ]
    .into_iter()
    .flatten()
}

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

impl Key {
    /// Section and last part of the name.
    pub fn split(&self) -> (&'static str, &'static str) {
        self.name.rsplit_once('.').unwrap_or(("", self.name))
    }

    /// Whether it belongs to a `[[…]]` section.
    pub fn is_of_entry(&self) -> bool {
        ENTRY_SECTIONS.contains(&self.split().0)
    }

    const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            default: None,
            example: None,
            doc,
        }
    }

    const fn default(self, toml: &'static str) -> Self {
        Self {
            default: Some(toml),
            ..self
        }
    }

    const fn example(self, toml: &'static str) -> Self {
        Self {
            example: Some(toml),
            ..self
        }
    }
}

impl Kind {
    /// In words, for messages and documentation.
    pub fn describe(&self) -> String {
        match *self {
            Self::Bool => "true or false".into(),
            Self::Count(min, max) => format!("a whole number from {min} to {max}"),
            Self::Duration(min, max) => format!(
                "a time span such as \"90s\", \"5m\", \"4h\" or \"5d\", from {} to {}",
                super::units::duration_text(min),
                super::units::duration_text(max)
            ),
            Self::Size(min, max) => format!(
                "a size such as \"64KiB\" or \"50MiB\", from {} to {}",
                super::units::size_text(min),
                super::units::size_text(max)
            ),
            Self::Text => "text".into(),
            Self::Path => "a path".into(),
            Self::Domain => "a domain name of two labels or more".into(),
            Self::Host => "a host name".into(),
            Self::Mailbox => "a mail address".into(),
            Self::Choice(now, _) => format!("one of {}", quoted(now)),
            Self::Socket => {
                "an address and port such as \"127.0.0.1:2525\" or \"[::1]:2525\"".into()
            }
            Self::Address => "an IP address".into(),
            Self::Network => "a network such as \"192.0.2.0/24\" or \"2001:db8::/32\"".into(),
            Self::Rate => "a number per time span such as \"60/1m\"".into(),
            Self::Relay => "\"host\", \"host:port\", \"[host]:port\" or \"[address]:port\"".into(),
            Self::DomainMatch => {
                "\"*\", a domain, or \"*.\" and a domain for all names below it".into()
            }
            Self::MxPattern => "a host name, or \"*.\" and a domain".into(),
            Self::Date => "a date such as \"2026-12-31\" or \"2026-12-31T18:00:00Z\"".into(),
            Self::DnsServer => "\"system\", or an address and port such as \"127.0.0.1:53\"".into(),
            Self::CertificateMatch => "\"sha256:\" and a fingerprint, \"dns:\" and a host name, or \"email:\" and an address".into(),
            Self::SenderMatch => "a mail address, a domain, or \"*.\" and a domain for all names below it".into(),
            Self::List(item) => format!("a list; each item {}", item.describe()),
            Self::WordOr(word, other) => format!("\"{word}\", or {}", other.describe()),
        }
    }
}

/// `"a", "b" or "c"`.
pub fn quoted(words: &[&str]) -> String {
    let all: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
    match all.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_kebab_case_and_documented() {
        let mut seen = std::collections::BTreeSet::new();
        for key in all() {
            assert!(seen.insert(key.name), "{} stands twice", key.name);
            assert!(
                key.name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'-' || b == b'.'),
                "{}",
                key.name
            );
            assert!(
                key.doc.ends_with('.'),
                "{}: the paragraph has no end",
                key.name
            );
            assert!(
                key.default.is_some() || key.example.is_some(),
                "{}: neither default nor example",
                key.name
            );
        }
    }

    #[test]
    fn what_weakens_sounds_dangerous() {
        // Words whose values or keys switch protection off must say so in their names.
        for key in all() {
            let (_, last) = key.name.rsplit_once('.').unwrap();
            assert!(
                !last.contains("insecure") && !last.contains("skip") && !last.contains("no-verify"),
                "{}",
                key.name
            );
        }
        assert!(find("tls.dangerous-extra-roots").is_some());
        assert!(find("admin.dangerous-plain-http").is_some());
    }
}
