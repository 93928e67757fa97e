//! Whose mail it is, where the client is a server in front of us.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

/// The client that a server in front of us took a message from, by its word (XFORWARD). No control
/// characters. Shows itself as Postfix logs it: `name[address]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrigClient {
    /// Its host name, in lower case.
    pub name: Option<Box<str>>,
    /// Its address; IPv4 never in IPv6-mapped form.
    pub ip: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// What it called itself.
    pub helo: Option<Box<str>>,
    /// How it gave the message, for instance `ESMTP`.
    pub proto: Option<Box<str>>,
}

impl OrigClient {
    /// Whether anything was said of it.
    #[must_use]
    pub fn is_known(&self) -> bool {
        *self != Self::default()
    }

    /// Text for a line of a log: what leads up to it, and the client; nothing without one.
    #[must_use]
    pub fn led_by(client: Option<&Self>, lead: &str) -> String {
        client.map_or_else(String::new, |client| format!("{lead}{client}"))
    }
}

impl fmt::Display for OrigClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or("unknown"))?;
        match self.ip {
            Some(ip) => write!(f, "[{ip}]"),
            None => f.write_str("[unknown]"),
        }
    }
}
