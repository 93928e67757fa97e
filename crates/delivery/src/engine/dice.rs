//! Chance: spreads retries and the order of equal hosts. Not for secrets.

use std::sync::atomic::{AtomicU64, Ordering};

use mail_types::QueueId;

/// A splitmix64 generator that threads share; the same seed gives the same sequence.
#[derive(Debug)]
pub struct Dice {
    state: AtomicU64,
    seed: u64,
}

impl Dice {
    /// A generator of this seed.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
            seed,
        }
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        let before = self.state.fetch_add(STEP, Ordering::Relaxed);
        mixed(before.wrapping_add(STEP))
    }

    /// Below `n`; 0 if `n` is 0.
    pub fn below(&self, n: usize) -> usize {
        let n = n.max(1) as u64;
        usize::try_from(self.next() % n).unwrap_or(0)
    }

    /// Evenly from `[0, 1)`.
    pub fn unit(&self) -> f64 {
        unit(self.next())
    }

    /// The same for one message, however often it is asked for: its recipients stay together.
    pub fn unit_of(&self, id: QueueId) -> f64 {
        unit(mixed(self.seed ^ id.raw().wrapping_mul(STEP)))
    }
}

const fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn unit(number: u64) -> f64 {
    let bits = u32::try_from(number >> 32).unwrap_or(0);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
