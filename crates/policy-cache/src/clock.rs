//! Time and chance come in by argument, so that a simulated year runs in seconds.

use std::time::{Duration, Instant, SystemTime};

use mail_types::Timestamp;

/// The two clocks that a cache needs.
pub trait Clock: Send + Sync {
    /// Wall clock: what expiry is counted in, since it has to mean the same after a restart.
    fn wall(&self) -> Timestamp;

    /// Time since some fixed point of this process, never set back: what TTLs, back-off and rate
    /// limits are counted in.
    fn monotonic(&self) -> Duration;

    /// Both at one moment. Asked for many times for each message: worth few looks at the system's clocks.
    fn both(&self) -> (Timestamp, Duration) {
        (self.wall(), self.monotonic())
    }
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Monotonic time counts from here.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_system(SystemTime::now())
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Spreads refreshes: a small generator (splitmix64) that a test can seed. Not for secrets.
#[derive(Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// The same seed gives the same sequence.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Seeded by the operating system; if that has no randomness to give, by a constant: all that
    /// is lost is that several instances refresh at different times.
    #[must_use]
    pub fn from_system() -> Self {
        Self(getrandom::u64().unwrap_or(0x5EA1_9057))
    }

    /// Evenly from `[0, 1)`.
    pub(crate) fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let bits = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(0);
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }
}
