//! Failed logins: whoever fails often has to wait, longer each time.
//!
//! Counted by address, for IPv6 by /64, since one client can have all of that. While an address has to
//! wait, a right token from it is refused too: else guessing would go on at full speed.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;

/// Failures by address.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<IpAddr, Failures>>);

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    last: Duration,
}

impl Throttle {
    /// How long this address has to wait, if it has to. Times are of the monotonic clock.
    pub(crate) fn wait(&self, address: IpAddr, now: Duration) -> Option<Duration> {
        let table = self.0.lock();
        let failures = table.get(&block(address))?;
        let over = failures.count.checked_sub(FREE)?;
        let pause = Duration::from_secs(1 << over.min(10)).min(LONGEST);
        let left = (failures.last + pause).checked_sub(now)?;
        (!left.is_zero()).then_some(left)
    }

    /// It failed once more; how often now.
    pub(crate) fn failed(&self, address: IpAddr, now: Duration) -> u32 {
        let mut table = self.0.lock();
        if table.len() >= ADDRESSES {
            table.retain(|_, f| now.saturating_sub(f.last) < FORGOTTEN);
        }
        if table.len() >= ADDRESSES {
            let oldest = table.iter().min_by_key(|(_, f)| f.last).map(|(a, _)| *a);
            oldest.map(|address| table.remove(&address));
        }
        let failures = table.entry(block(address)).or_default();
        if now.saturating_sub(failures.last) >= FORGOTTEN {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        failures.count
    }

    /// It had a right token.
    pub(crate) fn succeeded(&self, address: IpAddr) {
        self.0.lock().remove(&block(address));
    }
}

fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Failures that cost nothing.
pub(crate) const FREE: u32 = 5;
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// After so long without a failure all are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);
/// Addresses that are remembered.
const ADDRESSES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(100_000 + seconds)
    }

    #[test]
    fn pauses_double_and_are_forgotten() {
        let throttle = Throttle::default();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        for n in 1..FREE {
            assert_eq!(throttle.failed(address, at(0)), n);
            assert_eq!(throttle.wait(address, at(0)), None);
        }
        for (n, pause) in [1, 2, 4, 8].into_iter().enumerate() {
            throttle.failed(address, at(n as u64 * 100));
            let since = at(n as u64 * 100);
            assert_eq!(
                throttle.wait(address, since),
                Some(Duration::from_secs(pause))
            );
            assert_eq!(
                throttle.wait(address, since + Duration::from_secs(pause)),
                None
            );
        }
        for n in 0..40 {
            throttle.failed(address, at(500 + n));
        }
        assert_eq!(throttle.wait(address, at(539)), Some(LONGEST));
        assert_eq!(throttle.wait("192.0.2.2".parse().unwrap(), at(539)), None);
        assert_eq!(throttle.failed(address, at(539 + 3600)), 1);
        throttle.succeeded(address);
        assert_eq!(throttle.wait(address, at(539 + 3600)), None);
    }

    #[test]
    fn one_network_is_one_client_and_the_table_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..10u16 {
            throttle.failed(
                IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, n)),
                at(0),
            );
        }
        assert!(
            throttle
                .wait("2001:db8:0:1::ffff".parse().unwrap(), at(0))
                .is_some()
        );
        assert!(
            throttle
                .wait("2001:db8:0:2::1".parse().unwrap(), at(0))
                .is_none()
        );
        for n in 0..10_000u32 {
            throttle.failed(IpAddr::from(n.to_be_bytes()), at(u64::from(n)));
        }
        assert!(throttle.0.lock().len() <= ADDRESSES);
    }
}
