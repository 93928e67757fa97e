//! Holds off those who guess, and nobody else.
//!
//! Failures are counted in three books: of an address, of a user (whether it exists or not), and of
//! both together. A few are free in each; then the next login has to wait, twice as long after
//! each further failure. A login that has to wait is refused without a look at the password, and
//! does not count.
//!
//! A lock-out does not hit others: whoever logged in from an address within the last week gets in
//! there with the right password whatever others do, from that address or to that user from
//! elsewhere. A wrong one is answered exactly as to everybody who is held off: otherwise all who
//! share the address could find out who else uses it. So nothing that only a user who exists can
//! have may change the three books: passwords that were looked at because the user is known here
//! count in a fourth, which nobody's replies depend on, and a success clears none of them: they age.
//!
//! Memory is bounded: in a full book the failure that is longest ago is forgotten.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Secret;
use crate::known::{Known, LARGEST};

/// Counts failed logins. The names of users are kept as hashes: a client may say anything.
#[derive(Debug)]
pub struct Throttle {
    hasher: RandomState,
    books: Mutex<Books>,
    /// When a user last logged in from an address.
    pub(crate) known: Known,
}

#[derive(Debug, Default)]
struct Books {
    addresses: Book<IpAddr>,
    users: Book<u64>,
    pairs: Book<u64>,
    /// Of both together: wrong passwords looked at although the login is held off.
    looked_at: Book<u64>,
}

/// Failures by what they are of.
#[derive(Debug)]
struct Book<K>(HashMap<K, Failures>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

/// Whether a login may be tried now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// It may.
    Free,
    /// It has to wait.
    HeldOff {
        /// How long.
        wait: Duration,
        /// The user is known at this address: a right password counts all the same. A wrong one is
        /// answered as if nobody had looked.
        known: bool,
    },
}

impl Throttle {
    /// Nobody has failed yet, and nobody is known. With the secret of this installation.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self {
            hasher: RandomState::default(),
            books: Mutex::default(),
            known: Known::new(secret),
        }
    }

    /// Whether this login has to wait.
    pub fn admit(&self, address: IpAddr, user: &str, now: Instant) -> Admission {
        let (address, hashed, pair) = self.keys(address, user);
        let books = self.books.lock();
        let waits = [
            books.addresses.wait(&address, FREE_OF_ADDRESS, now),
            books.users.wait(&hashed, FREE_OF_USER, now),
            books.pairs.wait(&pair, FREE_OF_PAIR, now),
        ];
        let Some(wait) = waits.into_iter().flatten().max() else {
            return Admission::Free;
        };
        let known = self.known.has(address, user, now)
            && books.looked_at.wait(&pair, FREE_OF_PAIR, now).is_none();
        Admission::HeldOff { wait, known }
    }

    /// Judges a login that is held off and known, and `right` or not: whether it may come in. Wrong
    /// ones count, and after a few of them nothing is looked at any more. Both at once: many at the
    /// same time are no way around the limit.
    pub fn look(&self, address: IpAddr, user: &str, right: bool, now: Instant) -> bool {
        let (.., pair) = self.keys(address, user);
        let looked_at = &mut self.books.lock().looked_at;
        if looked_at.wait(&pair, FREE_OF_PAIR, now).is_some() {
            return false;
        }
        if !right {
            looked_at.add(pair, now);
        }
        right
    }

    /// The same for a password whose judging takes a while: counts as wrong when it is dropped, unless
    /// it was found right. `None`: nothing is looked at any more.
    pub(crate) fn begin_look(&self, address: IpAddr, user: &str, now: Instant) -> Option<Look<'_>> {
        let (.., pair) = self.keys(address, user);
        let wait = self.books.lock().looked_at.wait(&pair, FREE_OF_PAIR, now);
        wait.is_none().then_some(Look {
            throttle: self,
            pair,
            right: false,
        })
    }

    /// A login failed; returns how long its reply is to be held back.
    pub fn failed(&self, address: IpAddr, user: &str, now: Instant) -> Duration {
        let (address, user, pair) = self.keys(address, user);
        let mut books = self.books.lock();
        books.addresses.add(address, now);
        books.users.add(user, now);
        let failures = books.pairs.add(pair, now);
        (FIRST_DELAY * failures).min(LONGEST_DELAY)
    }

    /// A login succeeded.
    pub fn succeeded(&self, address: IpAddr, user: &str, now: Instant) {
        // The books stay: somebody with an account could otherwise guess at others without
        // end, and whoever shares the address would see by them that this user exists.
        self.known.note(group(address), user, now);
    }

    fn keys(&self, address: IpAddr, user: &str) -> (IpAddr, u64, u64) {
        let address = group(address);
        let pair = self.hasher.hash_one((address, user));
        (address, self.hasher.hash_one(user), pair)
    }
}

/// A password is being judged although the login is held off.
pub(crate) struct Look<'t> {
    throttle: &'t Throttle,
    pair: u64,
    pub(crate) right: bool,
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        if !self.right {
            let mut books = self.throttle.books.lock();
            books.looked_at.add(self.pair, Instant::now());
        }
    }
}

impl<K: Hash + Eq + Copy> Book<K> {
    fn wait(&self, key: &K, free: u32, now: Instant) -> Option<Duration> {
        let failures = self.0.get(key)?;
        let beyond = failures.count.checked_sub(free)?;
        let pause = FIRST_PAUSE
            .saturating_mul(2u32.saturating_pow(beyond))
            .min(LONGEST_PAUSE);
        let passed = now.saturating_duration_since(failures.last);
        pause.checked_sub(passed).filter(|left| !left.is_zero())
    }

    /// Returns how many there are now.
    fn add(&mut self, key: K, now: Instant) -> u32 {
        if let Some(failures) = self.0.get_mut(&key) {
            let passed = now.saturating_duration_since(failures.last);
            failures.count = if passed > FORGOTTEN {
                1
            } else {
                failures.count.saturating_add(1)
            };
            failures.last = now;
            return failures.count;
        }
        if self.0.len() >= LARGEST {
            self.0
                .retain(|_, f| now.saturating_duration_since(f.last) <= FORGOTTEN);
        }
        if self.0.len() >= LARGEST {
            let oldest = self.0.iter().min_by_key(|(_, f)| f.last).map(|(k, _)| *k);
            if let Some(oldest) = oldest {
                self.0.remove(&oldest);
            }
        }
        let count = 1;
        self.0.insert(key, Failures { count, last: now });
        count
    }
}

impl<K> Default for Book<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// One customer has a whole IPv6 /64.
pub(crate) fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Failures without a pause after them.
const FREE_OF_PAIR: u32 = 5;
const FREE_OF_ADDRESS: u32 = 20;
const FREE_OF_USER: u32 = 20;
/// After the first failure beyond those; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(900);
/// After so long without a failure those before do not count any more.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// The reply to each failure of a user from an address is held back so much longer.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known::REMEMBERED;

    fn throttle() -> Throttle {
        Throttle::new(&Secret::random().unwrap())
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::V4((0xC000_0200 + n).into())
    }

    fn wait(t: &Throttle, a: u32, user: &str, now: Instant) -> Option<u64> {
        match t.admit(address(a), user, now) {
            Admission::Free => None,
            Admission::HeldOff { wait, .. } => Some(wait.as_secs()),
        }
    }

    fn gets_in(t: &Throttle, a: u32, user: &str, now: Instant) -> bool {
        match t.admit(address(a), user, now) {
            Admission::Free => true,
            Admission::HeldOff { known, .. } => known && t.look(address(a), user, true, now),
        }
    }

    #[tokio::test]
    async fn g2_11_pauses_grow_and_end() {
        let t = throttle();
        let now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..FREE_OF_PAIR {
            assert_eq!(wait(&t, 1, "ann", now), None);
            delays.push(t.failed(address(1), "ann", now).as_millis());
        }
        assert_eq!(delays, [500, 1000, 1500, 2000, 2500]);
        assert_eq!(wait(&t, 1, "ann", now), Some(2));
        assert_eq!(wait(&t, 1, "ann", now + Duration::from_secs(2)), None);
        t.failed(address(1), "ann", now);
        assert_eq!(wait(&t, 1, "ann", now), Some(4));
        for _ in 0..40 {
            t.failed(address(1), "ann", now);
        }
        assert_eq!(wait(&t, 1, "ann", now), Some(LONGEST_PAUSE.as_secs()));
        let later = now + FORGOTTEN + Duration::from_secs(1);
        t.failed(address(1), "ann", later);
        assert_eq!(wait(&t, 1, "ann", later), None);
    }

    #[tokio::test]
    async fn g2_11_a_lock_out_does_not_hit_other_users() {
        let t = throttle();
        let now = Instant::now();
        for _ in 0..10 {
            t.failed(address(1), "ann", now);
        }
        assert!(wait(&t, 1, "ann", now).is_some());
        assert_eq!(wait(&t, 1, "bob", now), None, "another user, same address");
        assert_eq!(wait(&t, 2, "ann", now), None, "the same user elsewhere");
        // From everywhere at ann: she gets in where she was before, nobody else does.
        t.succeeded(address(7), "ann", now);
        for n in 100..150 {
            t.failed(address(n), "ann", now);
        }
        assert!(!gets_in(&t, 2, "ann", now));
        assert!(gets_in(&t, 7, "ann", now));
        assert_eq!(wait(&t, 2, "bob", now), None);
        // From one address at everybody: whoever was there before gets in.
        for n in 0..50 {
            t.failed(address(7), &format!("guess{n}"), now);
        }
        assert!(!gets_in(&t, 7, "bob", now));
        assert!(gets_in(&t, 7, "ann", now));
        t.succeeded(address(7), "ann", now);
        // Being known is no licence to guess, and right passwords between the guesses neither count
        // nor forgive.
        for _ in 0..FREE_OF_PAIR {
            for _ in 0..10 {
                assert!(gets_in(&t, 7, "ann", now));
                t.succeeded(address(7), "ann", now);
            }
            assert!(!t.look(address(7), "ann", false, now));
        }
        assert!(!gets_in(&t, 7, "ann", now));
        assert!(!t.look(address(7), "ann", true, now), "nor all at once");
        let old = now + REMEMBERED;
        t.failed(address(9), "x", old);
        assert_eq!(wait(&t, 7, "ann", old), None);
        for _ in 0..FREE_OF_PAIR {
            t.failed(address(7), "ann", old);
        }
        assert!(!gets_in(&t, 7, "ann", old), "a week ago is forgotten");
    }

    #[tokio::test]
    async fn g2_08_g2_11_who_is_known_waits_as_long_as_who_does_not_exist() {
        let t = throttle();
        let now = Instant::now();
        t.succeeded(address(1), "ann", now);
        // The same guesses at both, in any state: held off by neither, by the pair, by the address.
        for n in 0..60u64 {
            let at = now + Duration::from_secs(n);
            let waits = ["ann", "nobody"].map(|user| wait(&t, 1, user, at));
            assert_eq!(waits[0], waits[1], "guess {n}");
            if waits[0].is_none() {
                let delays = ["ann", "nobody"].map(|user| t.failed(address(1), user, at));
                assert_eq!(delays[0], delays[1], "guess {n}");
            }
            if n % 7 == 0 {
                t.succeeded(address(1), "ann", at);
            }
            if n == 30 {
                for other in 0..30 {
                    t.failed(address(1), &format!("other{other}"), at);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_success_forgives_only_its_own_failures() {
        let t = throttle();
        let now = Instant::now();
        for n in 0..30 {
            t.failed(address(1), &format!("guess{n}"), now);
            t.succeeded(address(1), "mallory", now);
        }
        assert!(wait(&t, 1, "ann", now).is_some());
    }

    #[tokio::test]
    async fn the_books_are_bounded() {
        let t = throttle();
        let now = Instant::now();
        for n in 0..10_000u32 {
            let at = now + Duration::from_millis(u64::from(n));
            t.failed(IpAddr::V4((0x0A00_0000 + n).into()), &n.to_string(), at);
            t.succeeded(IpAddr::V4((0x0A00_0000 + n).into()), &n.to_string(), at);
            if n >= 8192 && n % 512 == 0 {
                let books = t.books.lock();
                for length in [
                    books.addresses.0.len(),
                    books.users.0.len(),
                    books.pairs.0.len(),
                    t.known.len(),
                ] {
                    assert!(length <= LARGEST, "{length}");
                }
            }
        }
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let a: IpAddr = "2001:db8::1".parse().unwrap();
        let b: IpAddr = "2001:db8::ffff:1".parse().unwrap();
        assert_eq!(group(a), group(b));
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(group(mapped), address(1));
    }
}
