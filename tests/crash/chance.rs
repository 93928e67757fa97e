//! Chance that can be repeated.

use std::time::{SystemTime, UNIX_EPOCH};

/// A small generator (splitmix64): what it gives depends on the seed alone.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// From `SEED`, or from the clock; says which, so that a failure can be repeated.
    pub(crate) fn seeded(what: &str) -> Self {
        let given = std::env::var("SEED").ok();
        let seed = given.map_or_else(from_clock, |text| {
            text.parse().expect("SEED is a number of 64 bits")
        });
        println!("{what}: repeat with SEED={seed}");
        Self(seed)
    }

    /// Another one, independent of what this one gives from now on.
    pub(crate) fn from(other: &mut Self) -> Self {
        Self(other.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A number from the environment.
pub(crate) fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text:?}"))
    })
}

fn from_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |now| now.as_nanos() as u64 & 0xFFFF_FFFF)
}
