//! The health of a destination (pure): how many sessions at once, and when to leave it alone.
//!
//! The window grows by one with every success up to the limit and shrinks by half with every
//! failure that concerns the destination as a whole (no host could be used). After
//! [`TOLERATED`] such failures in a row the destination is suspended: one probe is let through when
//! the time is over, and everything else waits for its outcome (RFC 5321 section 4.5.4.1: "the
//! client … should maintain a list of hosts that cannot be reached"). Times are monotonic.

use std::time::Duration;

use attempt::{Case, Reason, Side};
use mail_types::EnhancedStatus;

/// What is remembered of a destination between attempts.
#[derive(Clone, Debug)]
pub struct Health {
    window: u32,
    limit: u32,
    failures: u32,
    suspended: Option<Suspension>,
    /// Until when it would be left alone, had an operator not wanted it tried before.
    resumed: Option<Duration>,
    probing: bool,
    /// So many sessions at most until then: one more was too many.
    ceiling: Option<(u32, Duration)>,
}

/// A destination that is being left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Until when; monotonic.
    pub until: Duration,
    /// What the last attempt failed with.
    pub cause: Cause,
}

/// Why the last attempt at a destination failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The reason key.
    pub reason: Reason,
    /// In which case of it.
    pub case: Case,
    /// Whose move it is.
    pub side: Side,
    /// Its status.
    pub status: EnhancedStatus,
    /// One sentence.
    pub detail: String,
}

/// May another session be started?
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Go,
    /// Not now: enough are running, or a probe is out. Whoever finishes, or finds that more may run,
    /// has the scheduler look again.
    Wait,
    /// Not before then.
    Suspended(Suspension),
}

/// What a success means for those that wait.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing was wrong, and no more sessions may run than before.
    None,
    /// Nothing was wrong; one session more may run.
    Grown,
    /// The destination answers again: its waiting mail is due.
    Recovered,
}

impl Health {
    /// A destination of which nothing is known; `limit` sessions at most.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self {
            window: INITIAL_WINDOW.min(limit.max(1)),
            limit: limit.max(1),
            failures: 0,
            suspended: None,
            resumed: None,
            probing: false,
            ceiling: None,
        }
    }

    /// So many sessions at most from now on; those that run go on.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit.max(1);
        self.window = self.window.min(self.limit);
    }

    /// Asks for a session, `active` being those that run.
    pub fn admit(&mut self, active: u32, now: Duration) -> Admission {
        if let Some(s) = &self.suspended {
            if now < s.until {
                return Admission::Suspended(s.clone());
            }
            if self.probing || active > 0 {
                return Admission::Wait;
            }
            self.probing = true;
            return Admission::Go;
        }
        if active < self.window {
            Admission::Go
        } else {
            Admission::Wait
        }
    }

    /// The suspension in force, if any.
    #[must_use]
    pub fn suspension(&self, now: Duration) -> Option<&Suspension> {
        self.suspended.as_ref().filter(|s| now < s.until)
    }

    /// What the destination is left alone for, also while a probe is out or due.
    #[must_use]
    pub fn left_alone_for(&self) -> Option<&Cause> {
        self.suspended.as_ref().map(|s| &s.cause)
    }

    /// Whether the last attempts failed.
    #[must_use]
    pub const fn is_doubtful(&self) -> bool {
        self.failures > 0
    }

    /// Some host could be used.
    pub fn succeeded(&mut self) -> Recovery {
        let recovered = self.suspended.take().is_some();
        self.resumed = None;
        self.failures = 0;
        self.probing = false;
        let before = self.window;
        let most = self
            .ceiling
            .map_or(self.limit, |(most, _)| most.min(self.limit));
        self.window = (before + 1).min(most.max(before));
        match (recovered, self.window > before) {
            (true, _) => Recovery::Recovered,
            (false, true) => Recovery::Grown,
            (false, false) => Recovery::None,
        }
    }

    /// No host could be used. True if it is left alone from now on, and was not before.
    pub fn failed(&mut self, cause: Cause, now: Duration) -> bool {
        if self.suspended.as_ref().is_some_and(|s| now < s.until) {
            // Sessions that were under way when it began: one outage counts once.
            return false;
        }
        self.probing = false;
        if let Some(until) = self.resumed.take().filter(|until| now < *until) {
            // An operator wanted to know: the destination is left alone no longer for that.
            self.suspended = Some(Suspension { until, cause });
            return true;
        }
        self.failures = self.failures.saturating_add(1);
        self.window = (self.window / 2).max(1);
        if self.failures >= TOLERATED {
            let doublings = (self.failures - TOLERATED).min(10);
            let pause = FIRST_PAUSE
                .saturating_mul(1 << doublings)
                .min(LONGEST_PAUSE);
            self.suspended = Some(Suspension {
                until: now + pause,
                cause,
            });
        }
        self.failures >= TOLERATED
    }

    /// A session was refused while others, `active` with it, go on: there may be no more than those for a while
    /// (RFC 5321 section 3.8: 421 is about the session, not about its mail). No failure of the destination.
    pub fn crowded(&mut self, active: u32, now: Duration) {
        let most = active.saturating_sub(1).clamp(1, self.limit);
        self.window = self.window.min(most);
        self.ceiling = Some((most, now + CEILING_HOLDS));
    }

    /// Forgets how many sessions were too many, when that is long ago: one more may try.
    pub fn lift(&mut self, now: Duration) {
        if let Some((most, _)) = self.ceiling.take_if(|(_, until)| now >= *until) {
            self.window = self.window.max(most + 1).min(self.limit);
        }
    }

    /// How many sessions there may be at most for now, if one more was too many.
    #[must_use]
    pub fn ceiling(&self, now: Duration) -> Option<u32> {
        let holds = self.ceiling.filter(|(_, until)| now < *until);
        holds.map(|(most, _)| most)
    }

    /// The probe ended without saying anything about the destination.
    pub fn inconclusive(&mut self) {
        self.probing = false;
    }

    /// An operator wants it tried now: the pause is over, and a probe that gets through still wakes
    /// what waits. One that does not get through brings the rest of the pause back.
    pub fn resume(&mut self) {
        if let Some(suspension) = &mut self.suspended {
            let until = std::mem::take(&mut suspension.until);
            self.resumed = self.resumed.max(Some(until));
        }
        self.probing = false;
    }

    /// Sessions allowed at once.
    #[must_use]
    pub const fn window(&self) -> u32 {
        self.window
    }
}

/// Failures in a row before a destination is suspended: a few messages get an attempt and a
/// reason of their own, a thousand do not.
pub const TOLERATED: u32 = 3;
const INITIAL_WINDOW: u32 = 5;
const CEILING_HOLDS: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn cause() -> Cause {
        Cause {
            reason: Reason::Connect,
            case: Case::Usual,
            side: Side::Wait,
            status: EnhancedStatus::transient(4, 1),
            detail: "refused".into(),
        }
    }

    fn suspended() -> Health {
        let mut h = Health::new(20);
        for _ in 0..TOLERATED {
            h.failed(cause(), NOW);
        }
        h
    }

    #[test]
    fn e5_04_one_outage_begins_one_suspension() {
        let mut h = Health::new(20);
        let begins: Vec<bool> = (0..=TOLERATED + 2)
            .map(|_| h.failed(cause(), NOW))
            .collect();
        assert_eq!(
            begins.iter().filter(|begins| **begins).count(),
            1,
            "{begins:?}"
        );
        assert!(
            h.failed(cause(), NOW + FIRST_PAUSE),
            "the probe failed: another one"
        );
    }

    #[test]
    fn e5_04_suspended_after_a_few_failures_then_one_probe() {
        let mut h = suspended();
        assert!(matches!(h.admit(0, NOW), Admission::Suspended(_)));
        let later = NOW + FIRST_PAUSE;
        assert_eq!(h.admit(0, later), Admission::Go);
        assert_eq!(
            h.admit(0, later),
            Admission::Wait,
            "one probe, not a thousand"
        );
        h.failed(cause(), later);
        let Admission::Suspended(s) = h.admit(0, later) else {
            panic!("still failing")
        };
        assert_eq!(s.until, later + FIRST_PAUSE * 2);
    }

    #[test]
    fn a_probe_that_says_nothing_makes_room_for_another() {
        let mut h = suspended();
        assert_eq!(h.admit(0, NOW + FIRST_PAUSE), Admission::Go);
        h.inconclusive();
        assert_eq!(h.admit(0, NOW + FIRST_PAUSE), Admission::Go);
    }

    #[test]
    fn one_outage_counts_once() {
        let mut h = suspended();
        for _ in 0..20 {
            h.failed(cause(), NOW);
        }
        assert_eq!(h.suspension(NOW).map(|s| s.until), Some(NOW + FIRST_PAUSE));
    }

    #[test]
    fn a_probe_that_an_operator_ordered_prolongs_nothing() {
        let mut h = suspended();
        let until = NOW + FIRST_PAUSE;
        for seconds in 1..5 {
            let now = NOW + Duration::from_secs(seconds);
            h.resume();
            h.resume();
            assert_eq!(h.admit(0, now), Admission::Go);
            assert!(h.failed(cause(), now), "left alone again");
            assert_eq!(h.suspension(now).map(|s| s.until), Some(until));
        }
        // The next one is due by itself, and its failure counts.
        assert_eq!(h.admit(0, until), Admission::Go);
        h.failed(cause(), until);
        let next = h.suspension(until).map(|s| s.until);
        assert_eq!(next, Some(until + FIRST_PAUSE * 2));
        // So does one that was ordered, and ended only after the pause would have.
        h.resume();
        let late = until + FIRST_PAUSE * 3;
        h.failed(cause(), late);
        let next = h.suspension(late).map(|s| s.until);
        assert_eq!(next, Some(late + FIRST_PAUSE * 4));
    }

    #[test]
    fn a_single_failure_is_nothing_to_recover_from() {
        let mut h = Health::new(20);
        h.failed(cause(), NOW);
        assert_eq!(h.succeeded(), Recovery::Grown);
    }

    #[test]
    fn recovery_is_told_once() {
        let mut h = suspended();
        assert_eq!(h.succeeded(), Recovery::Recovered);
        assert_eq!(h.succeeded(), Recovery::Grown);
        assert_eq!(h.admit(0, NOW), Admission::Go);
    }

    #[test]
    fn h3_23_the_window_shrinks_and_grows() {
        let mut h = Health::new(20);
        for window in INITIAL_WINDOW..20 {
            assert_eq!((h.window(), h.succeeded()), (window, Recovery::Grown));
        }
        assert_eq!((h.succeeded(), h.window()), (Recovery::None, 20));
        h.failed(cause(), NOW);
        assert_eq!(h.window(), 10);
        assert_eq!(h.admit(10, NOW), Admission::Wait);
        assert_eq!(h.admit(9, NOW), Admission::Go);
    }

    #[test]
    fn h3_23_a_host_that_takes_so_many_sessions_gets_no_more_for_a_while() {
        let mut h = Health::new(20);
        h.crowded(4, NOW);
        assert_eq!(h.window(), 3);
        let almost = NOW + CEILING_HOLDS - Duration::from_millis(1);
        h.lift(almost);
        assert_eq!((h.succeeded(), h.window()), (Recovery::None, 3));
        assert!(!h.is_doubtful() && h.suspension(NOW).is_none());
        assert_eq!(h.ceiling(almost), Some(3));
        h.lift(NOW + CEILING_HOLDS);
        assert_eq!((h.ceiling(NOW + CEILING_HOLDS), h.window()), (None, 4));
        assert_eq!((h.succeeded(), h.window()), (Recovery::Grown, 5));
        // The last one that goes on is never given up.
        h.crowded(1, NOW);
        assert_eq!(h.window(), 1);
    }

    #[test]
    fn the_pause_has_an_upper_bound() {
        let mut h = Health::new(1);
        let mut now = NOW;
        for _ in 0..100 {
            h.failed(cause(), now);
            now = h.suspension(now).map_or(now, |s| s.until);
        }
        h.failed(cause(), now);
        assert_eq!(
            h.suspension(now).map(|s| s.until),
            Some(now + LONGEST_PAUSE)
        );
    }
}
