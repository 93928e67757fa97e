//! Guards expiry against a wall clock that jumps: neither a policy nor a message must run out because
//! somebody forged an NTP answer (rows H8-01 to H8-07). Pure.
//!
//! The monotonic clock has to count the time that the machine sleeps, so that waking up is no jump.

use std::time::Duration;

use mail_types::Timestamp;

/// The time that expiry is judged by.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockGuard {
    /// Wall and monotonic time that belong together.
    base: Option<(Timestamp, Duration)>,
    /// Where corrections began that have not been steady for two hours.
    anchor: Option<(Timestamp, Duration)>,
    /// Since when the wall clock runs steadily beside the base.
    apart: Option<Apart>,
    /// By how much the time was set back in all when new times were believed: what is stamped with
    /// earlier times has to follow.
    set_back: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Apart {
    base: (Timestamp, Duration),
    since: Duration,
    /// It began with one jump, not with small corrections that added up.
    is_one_jump: bool,
}

/// A wall clock that is not believed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockHeld {
    /// The time that is judged by.
    pub judged: Timestamp,
    /// What the wall clock says.
    pub wall: Timestamp,
    /// How long it has been steady; two hours make it believed.
    pub steady: Duration,
}

/// What the clock did that somebody should know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockNews {
    /// It has jumped, by so much; the old time goes on.
    Jumped {
        /// By how much.
        by: Duration,
        /// Into the past.
        back: bool,
    },
    /// It has jumped back to about where it was before.
    TakenBack,
    /// The new time is believed, since it has been steady or an operator says so.
    Believed {
        /// By how much it differs from the old time.
        by: Duration,
        /// It is behind it.
        back: bool,
    },
}

impl ClockNews {
    /// The wall clock is doubted no longer.
    pub const fn ends_doubt(&self) -> bool {
        match self {
            Self::TakenBack | Self::Believed { .. } => true,
            Self::Jumped { .. } => false,
        }
    }
}

impl ClockGuard {
    /// With wall and monotonic time that belonged together at some earlier moment, also in an earlier
    /// process.
    pub fn starting_from(base: Option<(Timestamp, Duration)>) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// The time to judge by: the wall clock, unless it has come apart from the monotonic clock by
    /// more than 10 minutes; then the old time goes on until the new one has been steady for two
    /// hours, or has come back to within nine minutes. News are told once.
    pub fn now(&mut self, wall: Timestamp, mono: Duration) -> (Timestamp, Option<ClockNews>) {
        let Some(base) = self.base else {
            self.base = Some((wall, mono));
            return (wall, None);
        };
        let expected = base.0 + mono.saturating_sub(base.1);
        // Small corrections are followed, as long as they add up to no large one: who forges time in many
        // small steps comes no further than with one.
        let anchor = *self.anchor.get_or_insert(base);
        let unmoved = anchor.0 + mono.saturating_sub(anchor.1);
        // A doubt begins at the one distance and ends at the other: at one and the same, a step of just so much
        // would be news with each small correction.
        let tolerance = match self.apart {
            Some(_) => BACK_AGAIN,
            None => TOLERANCE,
        };
        // A jump that is undone, though corrections before it had nearly added up to a doubt.
        let is_undone = self.apart.is_some_and(|apart| apart.is_one_jump)
            && distance(expected, wall) <= UNDONE
            && distance(unmoved, wall) <= TOLERANCE;
        let is_near = distance(expected, wall) <= tolerance && distance(unmoved, wall) <= tolerance;
        if is_near || is_undone {
            self.base = Some((wall, mono));
            if mono.saturating_sub(anchor.1) >= STEADY {
                self.anchor = self.base;
            }
            let news = self.apart.take().map(|_| ClockNews::TakenBack);
            return (wall, news);
        }
        let steady = self
            .apart
            .filter(|a| distance(a.base.0 + mono.saturating_sub(a.base.1), wall) <= TOLERANCE);
        let Some(apart) = steady else {
            let is_one_jump = distance(expected, wall) > TOLERANCE;
            self.apart = Some(Apart {
                base: (wall, mono),
                since: mono,
                is_one_jump,
            });
            // Where corrections add up to a jump, that is what is told, and not the last of them.
            let old = if is_one_jump { expected } else { unmoved };
            let (by, back) = (distance(old, wall), wall < old);
            return (expected, Some(ClockNews::Jumped { by, back }));
        };
        if mono.saturating_sub(apart.since) >= STEADY {
            return (wall, Some(self.believe(expected, wall, mono)));
        }
        // Small corrections of the new time are followed as well.
        self.apart = Some(Apart {
            base: (wall, mono),
            ..apart
        });
        (expected, None)
    }

    /// The time that [`ClockGuard::now`] would judge by; the news wait for whoever tells them.
    pub fn peek(&self, wall: Timestamp, mono: Duration) -> Timestamp {
        let mut copy = *self;
        copy.now(wall, mono).0
    }

    /// An operator says that the wall clock is right; `None` if nobody doubts it.
    pub fn accept(&mut self, wall: Timestamp, mono: Duration) -> Option<ClockNews> {
        let base = self.base?;
        self.apart?;
        let expected = base.0 + mono.saturating_sub(base.1);
        Some(self.believe(expected, wall, mono))
    }

    fn believe(&mut self, expected: Timestamp, wall: Timestamp, mono: Duration) -> ClockNews {
        self.base = Some((wall, mono));
        self.anchor = self.base;
        self.apart = None;
        let (by, back) = (distance(expected, wall), wall < expected);
        if back {
            self.set_back += by;
        }
        ClockNews::Believed { by, back }
    }

    /// Whether the wall clock is doubted.
    pub fn held(&self, wall: Timestamp, mono: Duration) -> Option<ClockHeld> {
        let (base, apart) = (self.base?, self.apart?);
        Some(ClockHeld {
            judged: base.0 + mono.saturating_sub(base.1),
            wall,
            steady: mono.saturating_sub(apart.since),
        })
    }

    /// See [`ClockGuard::set_back`](Self#structfield.set_back).
    pub const fn set_back(&self) -> Duration {
        self.set_back
    }
}

fn distance(a: Timestamp, b: Timestamp) -> Duration {
    a.since(b).max(b.since(a))
}

const TOLERANCE: Duration = Duration::from_mins(10);
/// A doubted clock that is no farther away than this is believed again at once.
const BACK_AGAIN: Duration = Duration::from_mins(9);
/// What clocks differ by after a jump was undone.
const UNDONE: Duration = Duration::from_secs(2);
const STEADY: Duration = Duration::from_hours(2);

#[cfg(test)]
mod tests {
    use super::*;

    const T: fn(u64) -> Timestamp = Timestamp::from_secs;
    const S: fn(u64) -> Duration = Duration::from_secs;
    const YEAR: u64 = 31_536_000;

    #[test]
    fn h8_01_a_jump_holds_expiry_for_two_steady_hours() {
        let mut guard = ClockGuard::default();
        assert_eq!(guard.now(T(1_000_000), S(0)), (T(1_000_000), None));
        assert_eq!(
            guard.now(T(1_000_070), S(60)),
            (T(1_000_070), None),
            "drift is followed"
        );
        let (now, news) = guard.now(T(1_000_080 + YEAR), S(70));
        assert_eq!(now, T(1_000_080), "a year ahead: the old time goes on");
        let ahead = S(YEAR);
        assert_eq!(
            news,
            Some(ClockNews::Jumped {
                by: ahead,
                back: false
            })
        );
        assert_eq!(
            guard.now(T(1_003_680 + YEAR), S(3670)),
            (T(1_003_680), None),
            "told once"
        );
        let (now, news) = guard.now(T(1_007_290 + YEAR), S(7280));
        assert_eq!(now, T(1_007_290 + YEAR), "steady for two hours: believed");
        assert_eq!(
            news,
            Some(ClockNews::Believed {
                by: ahead,
                back: false
            })
        );
        assert_eq!(guard.set_back(), S(0));
    }

    #[test]
    fn h8_02_a_year_back_is_held_and_then_all_stamps_have_to_follow() {
        let mut guard = ClockGuard::default();
        let _ = guard.now(T(2 * YEAR), S(0));
        let (now, news) = guard.now(T(YEAR), S(1));
        assert_eq!(now, T(2 * YEAR + 1), "time goes on, no retry freezes");
        assert!(matches!(news, Some(ClockNews::Jumped { back: true, .. })));
        let (now, news) = guard.now(T(YEAR + 7200), S(7201));
        assert_eq!(now, T(YEAR + 7200));
        assert!(matches!(news, Some(ClockNews::Believed { back: true, .. })));
        assert_eq!(guard.set_back(), S(YEAR + 1));
    }

    #[test]
    fn h8_01_an_operator_ends_the_hold() {
        let mut guard = ClockGuard::default();
        let _ = guard.now(T(1_000_000), S(0));
        assert_eq!(guard.accept(T(1_000_001), S(1)), None, "nothing to accept");
        let _ = guard.now(T(1_000_000 + YEAR), S(2));
        let held = guard.held(T(1_000_010 + YEAR), S(12)).unwrap();
        assert_eq!((held.judged, held.steady), (T(1_000_012), S(10)));
        assert!(guard.accept(T(1_000_010 + YEAR), S(12)).is_some());
        assert_eq!(
            guard.now(T(1_000_011 + YEAR), S(13)),
            (T(1_000_011 + YEAR), None)
        );
        assert_eq!(guard.held(T(1_000_011 + YEAR), S(13)), None);
    }

    #[test]
    fn h8_01_a_jump_that_is_taken_back_leaves_no_trace() {
        let mut guard = ClockGuard::default();
        let _ = guard.now(T(1_000_000), S(0));
        let _ = guard.now(T(9_000_000), S(10));
        let back = guard.now(T(1_000_020), S(20));
        assert_eq!(back, (T(1_000_020), Some(ClockNews::TakenBack)));
        assert_eq!(guard.now(T(1_000_030), S(30)), (T(1_000_030), None));
    }

    /// The news of three hours, looked at every second, after a step by so many milliseconds; the wall clock
    /// goes slower and faster by turns, and is read to the millisecond.
    fn news_after(step: i64) -> Vec<ClockNews> {
        let mut guard = ClockGuard::default();
        let start = 1_000_000_000;
        let _ = guard.now(Timestamp::from_millis(start), S(0));
        let looks = (1..3 * 3600_u64).filter_map(|second| {
            let jitter = [0, 1, 0, -1, 2, -2][second as usize % 6];
            let real = (start + second * 1000) as i64;
            let wall = Timestamp::from_millis((real + step + jitter) as u64);
            let (now, news) = guard.now(wall, S(second));
            let off = now.as_millis() as i64 - real;
            assert!(off.abs() <= step.abs() + 2, "{second}: {off}");
            news
        });
        looks.collect()
    }

    #[test]
    fn h8_01_a_step_by_about_the_tolerance_is_told_once() {
        let tolerance = i64::try_from(TOLERANCE.as_millis()).unwrap();
        for step in (-3..=3).flat_map(|n| [tolerance + n, -(tolerance + n)]) {
            let news = news_after(step);
            let ([] | [ClockNews::Jumped { .. }, ClockNews::Believed { .. }]) = &news[..] else {
                panic!("{step}: {} news, first {:?}", news.len(), news.get(..2));
            };
            let Some(ClockNews::Jumped { by, back }) = news.first() else {
                assert!(step.abs() <= tolerance - 2, "{step}");
                continue;
            };
            assert!(*by > TOLERANCE && *by < TOLERANCE + S(1), "{step}: {by:?}");
            assert_eq!(*back, step < 0);
        }
        assert_eq!(news_after(tolerance - 3), []);
    }

    #[test]
    fn h8_01_a_jump_that_is_undone_leaves_no_trace_after_corrections_either() {
        let mut guard = ClockGuard::default();
        let _ = guard.now(T(1_000_000), S(0));
        for (wall, mono) in [(1_000_300, 10), (1_000_570, 20)] {
            assert_eq!(guard.now(T(wall), S(mono)), (T(wall), None));
        }
        let (judged, news) = guard.now(T(1_004_180), S(30));
        assert_eq!(judged, T(1_000_580));
        assert!(matches!(news, Some(ClockNews::Jumped { .. })), "{news:?}");
        let undone = guard.now(T(1_000_590), S(40));
        assert_eq!(undone, (T(1_000_590), Some(ClockNews::TakenBack)));
    }

    #[test]
    fn h8_01_corrections_that_add_up_to_a_jump_are_told_as_that() {
        let mut guard = ClockGuard::default();
        let _ = guard.now(T(1_000_000), S(0));
        assert_eq!(guard.now(T(1_000_400), S(60)), (T(1_000_400), None));
        let (now, news) = guard.now(T(1_000_800), S(120));
        assert_eq!(now, T(1_000_460));
        let by = S(680);
        assert_eq!(news, Some(ClockNews::Jumped { by, back: false }));
        // Not far enough back to be believed.
        assert_eq!(guard.now(T(1_000_740), S(180)), (T(1_000_520), None));
        let back = guard.now(T(1_000_600), S(240));
        assert_eq!(back, (T(1_000_600), Some(ClockNews::TakenBack)));
    }

    #[test]
    fn h8_01_a_clock_that_jumps_again_and_again_is_never_believed() {
        let mut guard = ClockGuard::default();
        let _ = guard.now(T(1_000_000), S(0));
        for n in 1..100u64 {
            let (now, news) = guard.now(T(1_000_000 + n * YEAR), S(n * 3600));
            assert_eq!(now, T(1_000_000 + n * 3600));
            assert!(matches!(news, Some(ClockNews::Jumped { .. })));
        }
    }

    #[test]
    fn h8_01_many_small_steps_come_no_further_than_one() {
        let mut guard = ClockGuard::default();
        let start = 2 * YEAR;
        let mut judged = T(0);
        // Nine minutes ahead with each poll of a forged source, one a minute, for an hour.
        for poll in 0..60 {
            let (now, _) = guard.now(T(start + poll * (60 + 540)), S(poll * 60));
            judged = now;
        }
        let real = T(start + 59 * 60);
        assert!(
            distance(judged, real) <= TOLERANCE,
            "{judged:?} for {real:?}"
        );
        // What a clock drifts by is followed for years.
        let mut guard = ClockGuard::default();
        for hour in 0..9_000 {
            let drifted = T(start + hour * 3_601);
            assert_eq!(guard.now(drifted, S(hour * 3_600)), (drifted, None));
        }
    }

    #[test]
    fn h8_05_a_step_by_ntp_is_followed_at_once_and_is_no_news() {
        let mut guard = ClockGuard::default();
        let _ = guard.now(T(1_000_000), S(0));
        for (wall, mono) in [(1_000_300, 60), (999_900, 120), (1_000_200, 180)] {
            assert_eq!(guard.now(T(wall), S(mono)), (T(wall), None));
        }
    }

    #[test]
    fn h8_07_a_machine_that_slept_is_no_jump() {
        let mut guard = ClockGuard::default();
        let _ = guard.now(T(1_000_000), S(0));
        // Both clocks have counted the eight hours.
        assert_eq!(guard.now(T(1_028_800), S(28_800)), (T(1_028_800), None));
    }

    #[test]
    fn h8_01_h8_03_a_jump_between_two_processes_is_seen() {
        let mut guard = ClockGuard::starting_from(Some((T(1_000_000), S(500))));
        let (now, news) = guard.now(T(1_000_000 + YEAR), S(600));
        assert_eq!(now, T(1_000_100));
        assert!(matches!(news, Some(ClockNews::Jumped { back: false, .. })));
        // A machine that comes up in 1970 goes on from the last time that was known.
        let mut guard = ClockGuard::starting_from(Some((T(1_000_000), S(3))));
        assert_eq!(guard.now(T(20), S(4)).0, T(1_000_001));
    }
}
