//! Which servers are asked, and for how long.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::system_conf::read_system_conf;

/// How names are looked up.
#[derive(Clone, Debug)]
pub struct Config {
    /// `dns.servers`.
    pub servers: Servers,
    /// `dns.dnssec`.
    pub dnssec: Dnssec,
    /// Waiting for one server's answer to one try.
    pub timeout: Duration,
    /// Tries after the first, over all servers.
    pub retries: usize,
    /// The end of a look-up, whatever it takes: CNAMEs, retries and TCP included.
    pub limit: Duration,
    /// Answers kept in memory; 0 keeps none.
    pub cache_size: u64,
    /// `dns.trust-anchors`: files of DNSKEY records; none means the root's keys as built in.
    pub trust_anchors: Vec<PathBuf>,
    /// Whether DNSSEC has ever reached us here. If so, a path that does not carry it any more is a
    /// fault, and no reason to go on without.
    pub dnssec_worked: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Servers::System,
            dnssec: Dnssec::Off,
            timeout: Duration::from_secs(3),
            retries: 2,
            limit: Duration::from_secs(10),
            cache_size: 65_536,
            trust_anchors: Vec::new(),
            dnssec_worked: false,
        }
    }
}

/// The name servers to ask. They are resolvers: recursion is theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// The `nameserver` lines of `/etc/resolv.conf`, read once.
    System,
    /// These, each over UDP and TCP.
    List(Vec<SocketAddr>),
}

/// Who validates DNSSEC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dnssec {
    /// We do, from the root's key down.
    Validate,
    /// A resolver on loopback, which says so in the AD bit.
    TrustAd,
    /// Nobody: every answer is [`mail_types::Security::Unchecked`].
    Off,
}

/// Why no resolver could be made: the configuration is at fault.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file of `dns.trust-anchors` is of no use.
    #[error("the trust anchor {} cannot be used: {why}", file.display())]
    TrustAnchor {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
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
        if let (Dnssec::TrustAd, Some(server)) = (self.dnssec, elsewhere) {
            return Err(BuildError::NotLoopback(server.ip));
        }
        Ok(servers)
    }

    pub(crate) fn options(&self) -> ResolverOpts {
        let mut options = ResolverOpts::default();
        options.timeout = self.timeout;
        options.attempts = self.retries;
        options.cache_size = self.cache_size;
        options.server_ordering_strategy = ServerOrderingStrategy::QueryStatistics;
        options.max_active_requests = MAX_ACTIVE;
        // A forged answer must not be believed for as long as it says: what bounces protected mail
        // has to be seen by look-ups half an hour apart (decision AMB-04), not by one kept for a day.
        options.positive_max_ttl = Some(LONGEST_POSITIVE);
        options.negative_max_ttl = Some(LONGEST_NEGATIVE);
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
const LONGEST_POSITIVE: Duration = Duration::from_secs(60 * 60);
const LONGEST_NEGATIVE: Duration = Duration::from_secs(10 * 60);
