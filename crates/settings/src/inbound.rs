//! Settings of the listeners beyond their addresses: certificates by name, limits on clients.

use std::time::Duration;

use super::settings::{KeyPair, Rate};

/// `[[certificate]]`: for clients that ask for a server of these names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCertificate {
    /// Host names, or `*.` and a domain; none: those in the certificate.
    pub server_names: Vec<String>,
    /// Its files.
    pub key_pair: KeyPair,
}

/// `access.*`: what one client may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// New connections of one address; `None`: any number.
    pub connection_rate: Option<Rate>,
    /// Messages of one connection; over it 421 4.7.0.
    pub messages_per_connection: u64,
    /// Refused commands of one connection; over it 421 4.7.0.
    pub errors_per_connection: u32,
    /// Octets of content each second, in the long run; 0: none are asked for.
    pub min_data_rate: u32,
    /// Time for a message besides what the rate gives.
    pub data_grace: Duration,
    /// Octets of all messages that are on their way in; over it 452 4.3.2.
    pub content_memory: u64,
    /// How long those wait for the greeting who may not relay by their network.
    pub greeting_delay: Duration,
    /// Who talks before the greeting is greeted with 554.
    pub refuse_early_talkers: bool,
}
