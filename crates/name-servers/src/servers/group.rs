//! The servers that are asked at a time, all together and each by itself.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_resolver::config::NameServerConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::proto::op::DnsRequest;
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};

use super::Replied;
use super::replies::{better, has_reply, told_from_denial};
use super::transport::Transport;
use crate::config::{BuildError, Config};
use crate::trouble::Trouble;

/// The servers.
pub(super) struct Group {
    pub(super) all: Pool,
    /// Each server by itself; empty if there is but one.
    pub(super) each: Vec<Pool>,
    /// For a reader: `192.0.2.1 and 192.0.2.2`.
    pub(super) names: String,
    pub(super) addresses: Vec<SocketAddr>,
}

/// A pool with what its sockets have met.
pub(super) struct Pool {
    pool: NameServerPool<Transport>,
    trouble: Trouble,
}

impl Group {
    /// Those that the configuration names now.
    pub(super) fn new(config: &Config) -> Result<Self, BuildError> {
        Self::of(config.name_servers()?, config)
    }

    /// The same, if they are others than so far.
    pub(super) fn renewed(&self, config: &Config) -> Result<Option<Self>, BuildError> {
        let servers = config.name_servers()?;
        if servers
            .iter()
            .map(address)
            .eq(self.addresses.iter().copied())
        {
            return Ok(None);
        }
        Self::of(servers, config).map(Some)
    }

    fn of(servers: Vec<NameServerConfig>, config: &Config) -> Result<Self, BuildError> {
        let tls = TlsConfig::new().map_err(|e| BuildError::System(e.to_string()))?;
        let context = Arc::new(PoolContext::new(config.options(), tls));
        let pool = |servers: Vec<NameServerConfig>| {
            let trouble = Trouble::default();
            let transport = Transport {
                runtime: TokioRuntimeProvider::default(),
                believe_ad: config.believe_ad,
                trouble: trouble.clone(),
            };
            let pool = NameServerPool::from_config(servers, Arc::clone(&context), transport);
            Pool { pool, trouble }
        };
        let names = names(&servers);
        let addresses = servers.iter().map(address).collect();
        let each = match servers.len() {
            1 => Vec::new(),
            _ => servers.iter().map(|s| pool(vec![s.clone()])).collect(),
        };
        Ok(Self {
            all: pool(servers),
            each,
            names,
            addresses,
        })
    }

    /// Each by itself, in the order of the addresses.
    pub(super) fn servers(&self) -> &[Pool] {
        match self.each.as_slice() {
            [] => std::slice::from_ref(&self.all),
            each => each,
        }
    }

    /// All at once: one that is silent must not use up the time of a look-up. Records or their denial are enough.
    pub(super) async fn put_to_each(
        &self,
        so_far: Replied,
        request: &DnsRequest,
        limit: Option<Duration>,
    ) -> Replied {
        let asked = self.each.iter().map(|server| async move {
            match limit {
                Some(limit) => server.within(limit, request).await,
                None => server.send(request).await,
            }
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut result = so_far;
        while let Some(other) = asked.next().await {
            let is_reply = has_reply(&other);
            result = better(result, other);
            if is_reply {
                break;
            }
        }
        result
    }
}

impl Pool {
    pub(super) async fn within(&self, limit: Duration, request: &DnsRequest) -> Replied {
        let reply = tokio::time::timeout(limit, self.send(request)).await;
        reply.unwrap_or(Err(NetError::Timeout))
    }

    pub(super) async fn send(&self, request: &DnsRequest) -> Replied {
        let since = Instant::now();
        let reply = self.pool.send(request.clone()).first_answer().await;
        let question = request.queries.first();
        reply.map_err(|error| (self.trouble).explain(told_from_denial(error), since, question))
    }
}

fn address(server: &NameServerConfig) -> SocketAddr {
    let port = server.connections.first().map_or(53, |c| c.port);
    SocketAddr::new(server.ip, port)
}

fn names(servers: &[NameServerConfig]) -> String {
    let mut text = String::new();
    for (i, server) in servers.iter().enumerate() {
        let address = address(server);
        let and = match i {
            0 => "",
            _ if i + 1 == servers.len() => " and ",
            _ => ", ",
        };
        // Writing to a String does not fail.
        let _ = match address.port() {
            53 => write!(text, "{and}{}", server.ip),
            _ => write!(text, "{and}{address}"),
        };
    }
    text
}
