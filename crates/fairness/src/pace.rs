//! How far ahead mail is taken from the queue for one destination.
//!
//! What is in hand goes out in its order, whoever comes meanwhile; what waits in the queue goes by turns of the
//! senders (row E5-05). So no more is in hand than goes out within a moment, and a destination that takes much
//! still never waits for the queue.

use std::time::Duration;

/// How long one session took for a piece of work, of late.
#[derive(Clone, Copy, Default)]
pub struct Pace(Option<Duration>);

impl Pace {
    /// A piece of work took so long, whatever came of it.
    pub fn note(&mut self, took: Duration) {
        // The first of all had to look everything up and to connect: it is soon forgotten.
        self.0 = Some(self.0.map_or(took, |before| (before * 3 + took) / 4));
    }

    /// How much so many sessions get done in about a second.
    #[must_use]
    pub fn ahead(self, sessions: u32) -> usize {
        let Some(each) = self.0 else {
            return UNKNOWN;
        };
        let done = MOMENT.as_micros() * u128::from(sessions.max(1)) / each.as_micros().max(1);
        usize::try_from(done)
            .unwrap_or(usize::MAX)
            .clamp(LEAST, MOST)
    }
}

/// So much time's work is in hand.
const MOMENT: Duration = Duration::from_secs(1);
/// As long as nothing is known.
const UNKNOWN: usize = 60;
/// However slow it is.
const LEAST: usize = 10;
/// However fast it is.
const MOST: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e5_05_what_is_in_hand_is_done_in_about_a_second() {
        let mut pace = Pace::default();
        assert_eq!(pace.ahead(20), UNKNOWN);
        let millis = Duration::from_millis;
        pace.note(millis(800));
        assert_eq!(pace.ahead(20), 25);
        assert_eq!(pace.ahead(1), LEAST);
        // It was slow to begin with.
        (0..20).for_each(|_| pace.note(millis(10)));
        assert!(pace.ahead(5) > 300, "{}", pace.ahead(5));
        assert_eq!(pace.ahead(20), MOST);
        (0..20).for_each(|_| pace.note(Duration::ZERO));
        assert_eq!(pace.ahead(0), MOST);
        pace.note(Duration::MAX / 8);
        assert_eq!(pace.ahead(20), LEAST);
    }
}
