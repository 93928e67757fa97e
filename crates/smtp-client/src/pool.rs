//! Idle connections, kept for the next message to the same host.
//!
//! Invariant: a connection is only handed out for a key equal to the one it was opened under: MX
//! name, port, route, source, posture and generation of trust anchors. Addresses are no part of
//! it. The pool decides nothing: before each MAIL FROM the caller evaluates the facts again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mail_types::HostName;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Connection, Posture};

/// Idle connections. Cloning shares.
#[derive(Clone)]
pub struct Pool {
    limits: PoolLimits,
    idle: Arc<Mutex<Idle>>,
}

/// What a verdict on a connection depends on (design promise: shared by MX name, never by address).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// The MX name.
    pub mx: HostName,
    /// The port.
    pub port: u16,
    /// The route's name, if it is for an explicit route.
    pub route: Option<Arc<str>>,
    /// The configured source address.
    pub source: Option<IpAddr>,
    /// What was asked of the connection.
    pub posture: Posture,
    /// The trust anchors that were in force.
    pub roots_generation: u64,
}

/// How long and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Idle connections in all.
    pub total: usize,
    /// Idle connections under one key.
    pub per_key: usize,
    /// Time without use.
    pub idle: Duration,
    /// Time since it was opened.
    pub lifetime: Duration,
    /// Messages carried.
    pub transactions: u32,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            total: 1_000,
            per_key: 20,
            idle: Duration::from_secs(10),
            lifetime: Duration::from_secs(300),
            transactions: 100,
        }
    }
}

#[derive(Default)]
struct Idle {
    by_key: HashMap<PoolKey, Vec<Parked>>,
    count: usize,
}

struct Parked {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            idle: Arc::default(),
        }
    }

    /// A live connection that was opened under exactly this key, the one used last first.
    #[must_use]
    pub fn take(&self, key: &PoolKey) -> Option<Connection> {
        let _ = (&self.limits, &self.idle, key);
        unimplemented!()
    }

    /// Keeps a connection for later, or closes it politely in a task of its own if it is used up
    /// or there are too many.
    pub fn put(&self, connection: Connection) {
        let _ = connection;
        unimplemented!()
    }

    /// Closes what is past its time, politely; returns how many. To be called every few seconds.
    pub async fn sweep(&self) -> usize {
        unimplemented!()
    }

    /// Closes all idle connections, politely: at shutdown.
    pub async fn close(&self) {
        unimplemented!()
    }

    /// How many connections are idle.
    #[must_use]
    pub fn len(&self) -> usize {
        self.idle.lock().count
    }

    /// Whether no connection is idle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
