//! Idle connections, kept for the next message to the same host.
//!
//! Invariant: a connection is only handed out for a key equal to the one it was opened under: MX
//! name, port, route, source, account, posture, TLSA records and generation of trust anchors. Addresses
//! are no part of it. The pool decides nothing: before each MAIL FROM the caller evaluates the facts
//! again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dane::HostRecords;
use mail_types::HostName;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{AccountKey, Connection, Posture, SessionFacts};

/// Idle connections. Cloning shares.
#[derive(Clone)]
pub struct Pool {
    limits: PoolLimits,
    idle: Arc<Mutex<Idle>>,
}

/// What a verdict on a connection depends on (connections are shared by MX name, never by address).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// The MX name.
    pub mx: HostName,
    /// The name that the certificate had to be for.
    pub tls_name: HostName,
    /// The port.
    pub port: u16,
    /// The route's name, if it is for an explicit route.
    pub route: Option<Arc<str>>,
    /// The configured source address.
    pub source: Option<IpAddr>,
    /// As whom we are logged in.
    pub account: Option<AccountKey>,
    /// What was asked of the connection.
    pub posture: Posture,
    /// The TLSA records that its certificate was held against.
    pub dane: Option<Arc<HostRecords>>,
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
            transactions: 1_000,
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
        loop {
            let mut parked = self.idle.lock().pop(key)?;
            if self.limits.allow(&parked) && parked.connection.is_quiet() {
                return Some(parked.connection);
            }
            self.retire(parked.connection);
        }
    }

    /// Whether a connection may carry another message: not if it is used up, or was open for too
    /// long, also if it never lay idle.
    #[must_use]
    pub fn allows(&self, connection: &Connection) -> bool {
        connection.is_usable()
            && connection.transactions() < self.limits.transactions
            && connection.since().elapsed() < self.limits.lifetime
    }

    /// How many idle connections are of this kind.
    pub fn count(&self, wanted: impl Fn(&SessionFacts) -> bool) -> usize {
        let idle = self.idle.lock();
        let all = idle.by_key.values().flatten();
        all.filter(|p| wanted(p.connection.facts())).count()
    }

    /// Takes an idle connection of this kind out, to close it in favour of another one: the one
    /// that has lain longest.
    pub fn evict(&self, wanted: impl Fn(&SessionFacts) -> bool) -> Option<Connection> {
        let mut idle = self.idle.lock();
        let all = idle.by_key.iter();
        let (key, at, _) = all
            .flat_map(|(key, list)| list.iter().enumerate().map(move |(at, p)| (key, at, p)))
            .filter(|(_, _, p)| wanted(p.connection.facts()))
            .min_by_key(|(_, _, p)| p.since)?;
        let key = key.clone();
        idle.take_at(&key, at).map(|parked| parked.connection)
    }

    /// Keeps a connection for later under the key that it was opened with, or closes it politely
    /// in a task of its own: if it is used up, or there are too many. Needs a tokio runtime.
    pub fn put(&self, connection: Connection) {
        let parked = Parked {
            connection,
            since: Instant::now(),
        };
        if !self.allows(&parked.connection) || !self.limits.allow(&parked) {
            return self.retire(parked.connection);
        }
        let refused = self.idle.lock().push(parked, &self.limits);
        if let Some(refused) = refused {
            self.retire(refused.connection);
        }
    }

    /// Closes what is past its time, politely; returns how many. To be called every few seconds.
    pub async fn sweep(&self) -> usize {
        let expired = self.idle.lock().remove(|parked| !self.limits.allow(parked));
        close_all(expired).await
    }

    /// Closes all idle connections, politely: at shutdown.
    pub async fn close(&self) -> usize {
        let all = self.idle.lock().remove(|_| true);
        close_all(all).await
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

    /// QUIT costs a round trip that nobody has to wait for.
    fn retire(&self, connection: Connection) {
        tokio::spawn(connection.quit());
    }
}

impl PoolLimits {
    fn allow(&self, parked: &Parked) -> bool {
        parked.since.elapsed() < self.idle && parked.connection.since().elapsed() < self.lifetime
    }
}

impl Idle {
    fn pop(&mut self, key: &PoolKey) -> Option<Parked> {
        let last = self.by_key.get(key)?.len().checked_sub(1)?;
        self.take_at(key, last)
    }

    fn take_at(&mut self, key: &PoolKey, at: usize) -> Option<Parked> {
        let list = self.by_key.get_mut(key)?;
        let parked = (at < list.len()).then(|| list.remove(at));
        if self.by_key.get(key).is_some_and(Vec::is_empty) {
            self.by_key.remove(key);
        }
        self.count = self.count.saturating_sub(usize::from(parked.is_some()));
        parked
    }

    /// Gives it back if there is no room.
    fn push(&mut self, parked: Parked, limits: &PoolLimits) -> Option<Parked> {
        let of_key = self.by_key.get(parked.connection.key()).map_or(0, Vec::len);
        if self.count >= limits.total || of_key >= limits.per_key {
            return Some(parked);
        }
        let key = parked.connection.key().clone();
        self.by_key.entry(key).or_default().push(parked);
        self.count += 1;
        None
    }

    fn remove(&mut self, mut unwanted: impl FnMut(&Parked) -> bool) -> Vec<Parked> {
        let mut removed = Vec::new();
        self.by_key.retain(|_, parked| {
            removed.extend(parked.extract_if(.., |p| unwanted(p)));
            !parked.is_empty()
        });
        self.count = self.count.saturating_sub(removed.len());
        removed
    }
}

async fn close_all(connections: Vec<Parked>) -> usize {
    let mut closing = tokio::task::JoinSet::new();
    for parked in connections {
        closing.spawn(parked.connection.quit());
    }
    let count = closing.len();
    closing.join_all().await;
    count
}
