//! Chance comes in by argument, so that a simulated year runs in seconds.

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
