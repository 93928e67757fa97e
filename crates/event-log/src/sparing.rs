//! Log lines that a flood of connections would repeat: one a second of each kind.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

/// Remembers what was written when.
#[derive(Debug, Default)]
pub struct Sparing {
    /// By event, of which there are few.
    kinds: Mutex<HashMap<&'static str, Kind>>,
}

#[derive(Debug)]
struct Kind {
    written: Duration,
    left_out: u64,
}

impl Sparing {
    /// At `now` (monotonic) the event happened: how often it was left out since it was last
    /// written, if it is to be written now.
    pub fn note(&self, event: &'static str, now: Duration) -> Option<u64> {
        let mut kinds = self.kinds.lock();
        let Some(kind) = kinds.get_mut(event) else {
            kinds.insert(
                event,
                Kind {
                    written: now,
                    left_out: 0,
                },
            );
            return Some(0);
        };
        if now.saturating_sub(kind.written) < PAUSE {
            kind.left_out += 1;
            return None;
        }
        kind.written = now;
        Some(std::mem::take(&mut kind.left_out))
    }
}

const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_of_each_kind_and_none_is_forgotten() {
        let sparing = Sparing::default();
        let at = Duration::from_millis;
        assert_eq!(sparing.note("a", at(0)), Some(0));
        assert_eq!(sparing.note("a", at(10)), None);
        assert_eq!(sparing.note("b", at(10)), Some(0));
        assert_eq!(sparing.note("a", at(999)), None);
        assert_eq!(sparing.note("a", at(1000)), Some(2));
        assert_eq!(sparing.note("a", at(2000)), Some(0));
    }
}
