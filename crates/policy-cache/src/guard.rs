//! Guards expiry against a wall clock that jumps: a policy must not lapse because somebody forged
//! an NTP answer. Pure.

use std::time::Duration;

use mail_types::Timestamp;

/// The time that expiry is judged by.
#[derive(Debug, Default)]
pub(crate) struct ClockGuard {
    /// Wall and monotonic time that belong together.
    base: Option<(Timestamp, Duration)>,
    /// Since when the wall clock runs steadily beside the base, and by how much.
    apart: Option<Apart>,
}

#[derive(Clone, Copy, Debug)]
struct Apart {
    base: (Timestamp, Duration),
    since: Duration,
}

impl ClockGuard {
    /// The time to judge by: the wall clock, unless it has come apart from the monotonic clock by
    /// more than 10 minutes; then the old time goes on until the new one has been steady for two
    /// hours. The second value is the size of a jump, when it is seen first.
    pub(crate) fn now(&mut self, wall: Timestamp, mono: Duration) -> (Timestamp, Option<Duration>) {
        let Some(base) = self.base else {
            self.base = Some((wall, mono));
            return (wall, None);
        };
        let expected = base.0 + mono.saturating_sub(base.1);
        if distance(expected, wall) <= TOLERANCE {
            // Small corrections are followed.
            self.base = Some((wall, mono));
            self.apart = None;
            return (wall, None);
        }
        let mut seen = None;
        let apart = match self.apart {
            Some(a) if distance(a.base.0 + mono.saturating_sub(a.base.1), wall) <= TOLERANCE => a,
            Some(_) | None => {
                seen = Some(distance(expected, wall));
                Apart {
                    base: (wall, mono),
                    since: mono,
                }
            }
        };
        if mono.saturating_sub(apart.since) >= STEADY {
            self.base = Some((wall, mono));
            self.apart = None;
            return (wall, None);
        }
        self.apart = Some(apart);
        (expected, seen)
    }
}

fn distance(a: Timestamp, b: Timestamp) -> Duration {
    a.since(b).max(b.since(a))
}

const TOLERANCE: Duration = Duration::from_mins(10);
const STEADY: Duration = Duration::from_hours(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_holds_expiry_for_two_steady_hours() {
        let mut guard = ClockGuard::default();
        let t = Timestamp::from_secs;
        let s = Duration::from_secs;
        assert_eq!(guard.now(t(1_000_000), s(0)), (t(1_000_000), None));
        assert_eq!(
            guard.now(t(1_000_070), s(60)),
            (t(1_000_070), None),
            "drift is followed"
        );
        let year = 31_536_000;
        let (now, jump) = guard.now(t(1_000_080 + year), s(70));
        assert_eq!(now, t(1_000_080), "a year ahead: the old time goes on");
        assert_eq!(jump, Some(s(year)));
        let (now, jump) = guard.now(t(1_003_680 + year), s(3670));
        assert_eq!((now, jump), (t(1_003_680), None), "told once");
        let (now, _) = guard.now(t(1_007_290 + year), s(7280));
        assert_eq!(now, t(1_007_290 + year), "steady for two hours: believed");
    }

    #[test]
    fn a_jump_that_is_taken_back_leaves_no_trace() {
        let mut guard = ClockGuard::default();
        let t = Timestamp::from_secs;
        let s = Duration::from_secs;
        let _ = guard.now(t(1_000_000), s(0));
        let _ = guard.now(t(9_000_000), s(10));
        assert_eq!(guard.now(t(1_000_020), s(20)), (t(1_000_020), None));
    }
}
