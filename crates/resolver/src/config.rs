//! How names are looked up.

use std::path::PathBuf;
use std::time::Duration;

use hickory_resolver::TtlConfig;
use hickory_resolver::config::ResolverOpts;
use name_servers::Servers;

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
    /// There is nobody to ask, or nobody who may be.
    #[error(transparent)]
    NameServers(#[from] name_servers::BuildError),
}

impl Config {
    pub(crate) fn name_servers(&self) -> name_servers::Config {
        name_servers::Config {
            servers: self.servers.clone(),
            believe_ad: self.dnssec == Dnssec::TrustAd,
            timeout: self.timeout,
            retries: self.retries,
        }
    }

    pub(crate) fn ttls() -> TtlConfig {
        let mut options = ResolverOpts::default();
        // A forged answer must not be believed for as long as it says: what bounces protected mail
        // has to be seen by look-ups half an hour apart (decision AMB-04), not by one kept for a day.
        options.positive_max_ttl = Some(LONGEST_POSITIVE);
        options.negative_max_ttl = Some(LONGEST_NEGATIVE);
        TtlConfig::from_opts(&options)
    }
}

const LONGEST_POSITIVE: Duration = Duration::from_secs(60 * 60);
const LONGEST_NEGATIVE: Duration = Duration::from_secs(10 * 60);
