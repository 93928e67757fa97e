//! Time comes in by argument, so that a simulated year runs in seconds.

use std::time::{Duration, Instant, SystemTime};

use mail_types::Timestamp;

/// The two clocks that everything needs.
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
