//! Memory for messages on their way in: shared by all connections, with a cap.
//!
//! What a message takes is counted in steps, so that a large one asks now and then and not with
//! every read. Above the cap a message is refused for now; those that are stored or being stored
//! keep what they have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How much is in use, for whoever shows it.
#[derive(Clone, Debug)]
pub struct ContentMemory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: AtomicU64,
    /// The limit is [`TRICKLE`] at most.
    closed: AtomicBool,
    used: AtomicU64,
}

/// What one message takes, until this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: ContentMemory,
    held: u64,
}

/// The cap is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl ContentMemory {
    pub(crate) fn new(limit: u64) -> Self {
        Self(Arc::new(Shared {
            limit: AtomicU64::new(limit),
            closed: AtomicBool::new(false),
            used: AtomicU64::new(0),
        }))
    }

    /// Octets in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Octets that may be.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// From now on; what is held stays.
    pub(crate) fn limit_to(&self, limit: u64) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }

    fn limit_now(&self) -> u64 {
        let limit = self.limit();
        match self.0.closed.load(Ordering::Relaxed) {
            true => limit.min(TRICKLE),
            false => limit,
        }
    }

    pub(crate) fn close(&self, closed: bool) {
        self.0.closed.store(closed, Ordering::Relaxed);
    }

    /// Nothing, to begin with.
    pub(crate) fn share(&self) -> Share {
        Share {
            memory: self.clone(),
            held: 0,
        }
    }
}

impl Share {
    /// Takes so much, instead of what it had. On error it has what it had.
    pub(crate) fn hold(&mut self, octets: u64) -> Result<(), NoRoom> {
        let wanted = octets.div_ceil(STEP) * STEP;
        let shared = &self.memory.0;
        if wanted > self.held {
            let more = wanted - self.held;
            let before = shared.used.fetch_add(more, Ordering::Relaxed);
            if before.saturating_add(more) > self.memory.limit_now() {
                shared.used.fetch_sub(more, Ordering::Relaxed);
                return Err(NoRoom);
            }
        } else if wanted < self.held {
            let less = self.held - wanted;
            shared.used.fetch_sub(less, Ordering::Relaxed);
        }
        self.held = wanted;
        Ok(())
    }

    /// Gives all of it back.
    pub(crate) fn release(&mut self) {
        // Less is always to be had.
        let _ = self.hold(0);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

const STEP: u64 = 32 << 10;
/// What is taken however short memory is, as for connections.
const TRICKLE: u64 = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h9_04_little_is_given_when_memory_is_short() {
        let memory = ContentMemory::new(2 * TRICKLE);
        let (mut one, mut two) = (memory.share(), memory.share());
        one.hold(TRICKLE).unwrap();
        memory.close(true);
        assert_eq!(two.hold(1), Err(NoRoom));
        one.hold(TRICKLE).unwrap();
        one.hold(STEP).unwrap();
        two.hold(1).unwrap();
        memory.close(false);
        one.hold(TRICKLE).unwrap();
    }

    #[test]
    fn the_cap_holds_and_everything_comes_back() {
        let memory = ContentMemory::new(4 * STEP);
        let (mut one, mut two) = (memory.share(), memory.share());
        one.hold(3 * STEP).unwrap();
        two.hold(1).unwrap();
        assert_eq!(memory.used(), 4 * STEP);
        assert_eq!(two.hold(STEP + 1), Err(NoRoom));
        assert_eq!(memory.used(), 4 * STEP, "a refusal takes nothing");
        one.hold(STEP).unwrap();
        two.hold(3 * STEP).unwrap();
        two.release();
        drop((one, two));
        assert_eq!(memory.used(), 0);
    }
}
