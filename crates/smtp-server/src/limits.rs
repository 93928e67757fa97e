//! How many connections there may be.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// How many connections there may be at once (row G5-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub connections: usize,
    /// From one IPv4 address or one IPv6 /64 network.
    pub connections_per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 5000,
            connections_per_address: 50,
        }
    }
}

/// Counts connections.
#[derive(Debug)]
pub(crate) struct Counter {
    limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    counter: Arc<Counter>,
    key: IpAddr,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    All,
    Address,
}

impl Counter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            counts: Mutex::default(),
        }
    }

    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Slot, Full> {
        let key = group(address);
        let mut counts = self.counts.lock();
        if counts.all >= self.limits.connections {
            return Err(Full::All);
        }
        let here = counts.by_address.get(&key).copied().unwrap_or_default();
        if here >= self.limits.connections_per_address {
            return Err(Full::Address);
        }
        counts.all += 1;
        counts.by_address.insert(key, here + 1);
        Ok(Slot {
            counter: Arc::clone(self),
            key,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.counter.counts.lock();
        counts.all -= 1;
        if let Some(here) = counts.by_address.get_mut(&self.key) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&self.key);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g5_07_limits_in_all_and_per_address() {
        let counter = Arc::new(Counter::new(Limits {
            connections: 3,
            connections_per_address: 2,
        }));
        let take = |a: &str| counter.take(a.parse().unwrap());
        let first = take("192.0.2.1").unwrap();
        let _second = take("::ffff:192.0.2.1").unwrap();
        assert_eq!(take("192.0.2.1").unwrap_err(), Full::Address);
        let third = take("2001:db8::1").unwrap();
        assert_eq!(take("192.0.2.2").unwrap_err(), Full::All);
        drop(first);
        let _fourth = take("2001:db8::2").unwrap();
        drop(third);
        assert_eq!(counter.counts.lock().all, 2);
        assert!(take("2001:db8::ffff").is_ok(), "one of two in that /64");
    }

    #[test]
    fn nothing_stays_behind() {
        let counter = Arc::new(Counter::new(Limits::default()));
        drop(counter.take(IpAddr::from([192, 0, 2, 1])));
        let counts = counter.counts.lock();
        assert!(counts.all == 0 && counts.by_address.is_empty());
    }
}
