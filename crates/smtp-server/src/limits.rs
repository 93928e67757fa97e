//! How many connections there may be, and how quickly they may come.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many connections there may be at once (row G5-07), and what they may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub connections: usize,
    /// From one IPv4 address or one IPv6 /64 network.
    pub connections_per_address: usize,
    /// New ones from one IPv4 address or one IPv6 /64 network.
    pub connection_rate: Option<ConnectionRate>,
    /// Octets that messages on their way in may take, over all connections.
    pub content_memory: u64,
}

/// So many new connections in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionRate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub period: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 5000,
            connections_per_address: 50,
            connection_rate: None,
            content_memory: 128 << 20,
        }
    }
}

/// Counts connections.
#[derive(Debug)]
pub(crate) struct Counter {
    limits: Mutex<Limits>,
    /// No more than [`FEW`] are let in.
    closed: AtomicBool,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, Address>,
    /// Entries after which those are looked for that say nothing any more.
    sweep_at: usize,
}

#[derive(Debug)]
struct Address {
    open: usize,
    /// When the time in which `opened` are counted began.
    since: Instant,
    opened: u32,
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    counter: Arc<Counter>,
    /// `None` while it is not known whose it is.
    key: Option<IpAddr>,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// [`Limits::connections`].
    Connections,
    /// [`Limits::connections_per_address`].
    PerAddress,
    /// Memory is short ([`crate::Reins::memory_is_scarce`]).
    Memory,
    /// [`Limits::connection_rate`].
    Rate {
        /// When the next one may come.
        retry_after: Duration,
    },
}

impl Limit {
    /// A stable label.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::PerAddress => "connections-per-client",
            Self::Memory => "memory",
            Self::Rate { .. } => "connection-rate-per-client",
        }
    }
}

impl Counter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits: Mutex::new(limits),
            closed: AtomicBool::new(false),
            counts: Mutex::default(),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        *self.limits.lock()
    }

    pub(crate) fn close(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// From now on; connections that are there stay, however many they are.
    pub(crate) fn limit_to(&self, limits: Limits) {
        *self.limits.lock() = limits;
    }

    /// A place for a connection of which it is not known yet whose it is.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Slot, Limit> {
        let most = self.limits().connections;
        let closed = self.closed.load(Ordering::Relaxed);
        let mut counts = self.counts.lock();
        if closed && counts.all >= FEW {
            return Err(Limit::Memory);
        }
        if counts.all >= most {
            return Err(Limit::Connections);
        }
        counts.all += 1;
        Ok(Slot {
            counter: Arc::clone(self),
            key: None,
        })
    }
}

impl Slot {
    /// Whether it is known whose it is.
    pub(crate) const fn is_assigned(&self) -> bool {
        self.key.is_some()
    }

    /// Counts it as one of this address; to be called once.
    pub(crate) fn assign(&mut self, address: IpAddr, now: Instant) -> Result<(), Limit> {
        let key = group(address);
        let limits = self.counter.limits();
        let mut counts = self.counter.counts.lock();
        counts.sweep(limits.connection_rate, now);
        let here = counts.by_address.entry(key).or_insert(Address {
            open: 0,
            since: now,
            opened: 0,
        });
        if here.open >= limits.connections_per_address {
            return Err(Limit::PerAddress);
        }
        if let Some(rate) = limits.connection_rate {
            let passed = now.saturating_duration_since(here.since);
            if passed >= rate.period {
                (here.since, here.opened) = (now, 0);
            } else if here.opened >= rate.count {
                let retry_after = rate.period.saturating_sub(passed);
                return Err(Limit::Rate { retry_after });
            }
            here.opened += 1;
        }
        here.open += 1;
        self.key = Some(key);
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let counted = self.counter.limits().connection_rate.is_some();
        let mut counts = self.counter.counts.lock();
        counts.all -= 1;
        let Some(key) = self.key else { return };
        if let Some(here) = counts.by_address.get_mut(&key) {
            here.open -= 1;
            // Where new ones are counted, the entry is what remembers them.
            if here.open == 0 && !counted {
                counts.by_address.remove(&key);
            }
        }
    }
}

impl Counts {
    /// Forgets addresses without a connection that may open as many as any other. Looked for only
    /// when twice as many are there as were left the last time, so that it costs little; what an
    /// address keeps is bounded by what may be opened in one period.
    fn sweep(&mut self, rate: Option<ConnectionRate>, now: Instant) {
        if self.by_address.len() < self.sweep_at.max(SWEEP_AT) {
            return;
        }
        let period = rate.map_or(Duration::ZERO, |rate| rate.period);
        self.by_address
            .retain(|_, here| here.open > 0 || now.saturating_duration_since(here.since) < period);
        self.sweep_at = self.by_address.len().saturating_mul(2);
    }
}

/// One customer has a whole IPv6 /64.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Connections that are served however short memory is: what was freed may still count as ours, and
/// nobody would ever be let in again.
const FEW: usize = 10;
const SWEEP_AT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(limits: Limits) -> Arc<Counter> {
        Arc::new(Counter::new(limits))
    }

    fn take(counter: &Arc<Counter>, address: &str, now: Instant) -> Result<Slot, Limit> {
        let mut slot = counter.take()?;
        slot.assign(address.parse().unwrap(), now)?;
        Ok(slot)
    }

    #[test]
    fn g5_07_limits_in_all_and_per_address() {
        let counter = counter(Limits {
            connections: 3,
            connections_per_address: 2,
            ..Limits::default()
        });
        let now = Instant::now();
        let take = |a: &str| take(&counter, a, now);
        let first = take("192.0.2.1").unwrap();
        let _second = take("::ffff:192.0.2.1").unwrap();
        assert_eq!(take("192.0.2.1").unwrap_err(), Limit::PerAddress);
        let third = take("2001:db8::1").unwrap();
        assert_eq!(take("192.0.2.2").unwrap_err(), Limit::Connections);
        drop(first);
        let _fourth = take("2001:db8::2").unwrap();
        drop(third);
        assert_eq!(counter.counts.lock().all, 2);
        assert!(take("2001:db8::ffff").is_ok(), "one of two in that /64");
    }

    #[test]
    fn a_rate_holds_for_one_address_and_one_period() {
        let counter = counter(Limits {
            connection_rate: Some(ConnectionRate {
                count: 2,
                period: Duration::from_secs(60),
            }),
            ..Limits::default()
        });
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        for _ in 0..2 {
            take(&counter, "192.0.2.1", at(0)).unwrap();
        }
        let refused = take(&counter, "192.0.2.1", at(20)).unwrap_err();
        let retry_after = Duration::from_secs(40);
        assert_eq!(refused, Limit::Rate { retry_after });
        assert!(take(&counter, "192.0.2.2", at(20)).is_ok(), "another one");
        assert!(take(&counter, "192.0.2.1", at(60)).is_ok());
        assert_eq!(counter.counts.lock().all, 0);
    }

    #[test]
    fn nothing_stays_behind() {
        let counter = counter(Limits::default());
        drop(take(&counter, "192.0.2.1", Instant::now()));
        let counts = counter.counts.lock();
        assert!(counts.all == 0 && counts.by_address.is_empty());
    }

    #[test]
    fn what_a_rate_remembers_is_forgotten() {
        let counter = counter(Limits {
            connection_rate: Some(ConnectionRate {
                count: 1,
                period: Duration::from_secs(60),
            }),
            ..Limits::default()
        });
        let start = Instant::now();
        for n in 0..10_000u32 {
            let address = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            let now = start + Duration::from_secs(u64::from(n));
            let mut slot = counter.take().unwrap();
            slot.assign(address, now).unwrap();
        }
        assert!(counter.counts.lock().by_address.len() <= SWEEP_AT);
    }
}
