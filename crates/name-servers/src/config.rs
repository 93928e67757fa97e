//! Which servers are asked, and for how long.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::system_conf::read_system_conf;

/// How questions are put.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whom to ask.
    pub servers: Servers,
    /// Whether their AD bit is believed.
    pub believe_ad: bool,
    /// Waiting for one server's answer to one try.
    pub timeout: Duration,
    /// Tries after the first, over all servers.
    pub retries: usize,
}

/// The name servers to ask. They are resolvers: recursion is theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// The `nameserver` lines of `/etc/resolv.conf`, as they were when it was last read.
    System,
    /// These, each over UDP and TCP.
    List(Vec<SocketAddr>),
}

/// Why there is nobody to ask: the configuration is at fault.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The system's list cannot be read.
    #[error("cannot read the name servers of /etc/resolv.conf: {0}; name them in dns.servers")]
    System(String),
    /// The AD bit of a resolver elsewhere can be forged on the way (RFC 7672 section 2.1.3).
    #[error(
        "dns.dnssec = \"trust-ad\" believes a resolver on this host only, and {0} is not on loopback: \
         name one such as 127.0.0.1:53 in dns.servers, or use dns.dnssec = \"validate\""
    )]
    NotLoopback(IpAddr),
    /// Nobody to ask.
    #[error("no name server is configured: name one in dns.servers")]
    NoServers,
}

impl Config {
    pub(crate) fn name_servers(&self) -> Result<Vec<NameServerConfig>, BuildError> {
        let servers = match &self.servers {
            Servers::System => {
                let (system, _options) =
                    read_system_conf().map_err(|e| BuildError::System(e.to_string()))?;
                let mut servers = system.name_servers;
                for server in &mut servers {
                    server.trust_negative_responses = true;
                }
                servers
            }
            Servers::List(list) => list.iter().map(|a| name_server(*a)).collect(),
        };
        if servers.is_empty() {
            return Err(BuildError::NoServers);
        }
        let elsewhere = servers.iter().find(|s| !s.ip.to_canonical().is_loopback());
        if let (true, Some(server)) = (self.believe_ad, elsewhere) {
            return Err(BuildError::NotLoopback(server.ip));
        }
        Ok(servers)
    }

    pub(crate) fn options(&self) -> ResolverOpts {
        let mut options = ResolverOpts::default();
        options.timeout = self.timeout;
        options.attempts = self.retries;
        options.server_ordering_strategy = ServerOrderingStrategy::QueryStatistics;
        options.max_active_requests = MAX_ACTIVE;
        options
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .to_vec();
    NameServerConfig::new(address.ip(), true, connections)
}

/// Queries in flight on one TCP connection; hickory's 32 would answer "busy" on a loaded relay.
const MAX_ACTIVE: usize = 1024;
