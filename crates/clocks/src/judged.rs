//! The one time that everything goes by: policies, mail and what is said of them.

use std::sync::Arc;
use std::time::Duration;

use mail_types::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use crate::clock::Clock;
use crate::guard::ClockGuard;

/// A clock with its guard: while the wall clock is doubted, the old time goes on here.
///
/// Its readers tell nobody that the clock has jumped; the cache does, which asks it all the time.
pub struct JudgedClock {
    machine: Arc<dyn Clock>,
    guard: Mutex<ClockGuard>,
}

impl JudgedClock {
    /// With wall and monotonic time that belonged together when the last process looked, if known. A jump
    /// since then is one, too.
    #[must_use]
    pub fn new(machine: Arc<dyn Clock>, base: Option<(Timestamp, Duration)>) -> Self {
        Self {
            machine,
            guard: Mutex::new(ClockGuard::starting_from(base)),
        }
    }

    /// The wall clock as it is, and monotonic time.
    pub fn unjudged(&self) -> (Timestamp, Duration) {
        self.machine.both()
    }

    /// The guard, held.
    pub fn guard(&self) -> MutexGuard<'_, ClockGuard> {
        self.guard.lock()
    }
}

impl Clock for JudgedClock {
    fn wall(&self) -> Timestamp {
        self.both().0
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }

    fn both(&self) -> (Timestamp, Duration) {
        let (wall, mono) = self.machine.both();
        (self.guard().peek(wall, mono), mono)
    }
}
