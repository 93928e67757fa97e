//! When a policy host may be asked again (RFC 8461 section 3.3: after a failure wait 5 minutes).

use std::collections::VecDeque;
use std::time::Duration;

use mta_sts::PolicyId;

use crate::fetch::{FetchError, FetchFailure};

/// Back-off and rate cap of one domain. Times are monotonic.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    failed: Option<Failed>,
    /// Fetches of the last hour, oldest first; never more than [`PER_HOUR`].
    recent: VecDeque<Duration>,
    forced: Option<Duration>,
    /// The last fetch that has ended brought a policy of mode enforce.
    enforced: bool,
}

#[derive(Clone, Debug)]
struct Failed {
    id: Option<PolicyId>,
    cause: FetchError,
    until: Duration,
    /// The server's own wish holds for every id.
    for_all: bool,
}

impl Failed {
    const fn is_doubted(&self) -> bool {
        matches!(self.cause, FetchError::ClockDoubted(_))
    }

    /// Nothing spoke against the host.
    fn says_nothing(&self) -> bool {
        self.is_doubted() || self.cause.is_ours()
    }
}

/// Whether a fetch may begin.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Pass {
    /// Yes.
    Go,
    /// Not before `until`.
    HeldBack {
        /// When to ask again.
        until: Duration,
        /// The last failure, or that the rate is capped.
        cause: FetchError,
    },
}

impl Gate {
    /// May a fetch for this id begin now? If so it is counted.
    pub fn ask(&mut self, id: Option<&PolicyId>, now: Duration) -> Pass {
        if let Some(held_back) = self.after_failure(id, now) {
            return held_back;
        }
        // A changed id may be fetched at once, but not more often than this (row A4-11).
        while self.recent.front().is_some_and(|t| now >= *t + HOUR) {
            self.recent.pop_front();
        }
        match self.within_limits(now) {
            Some(until) => Pass::HeldBack {
                until,
                cause: FetchError::RateLimited { after: None },
            },
            None => {
                self.recent.push_back(now);
                Pass::Go
            }
        }
    }

    /// As [`Gate::ask`] for a refresh in the background: how often it comes is the operator's choice, so that
    /// only a failure holds it back, and it takes nothing of what mail may ask for.
    pub fn ask_refresh(&self, id: Option<&PolicyId>, now: Duration) -> Pass {
        self.after_failure(id, now).unwrap_or(Pass::Go)
    }

    fn after_failure(&self, id: Option<&PolicyId>, now: Duration) -> Option<Pass> {
        let failed = self.failed.as_ref()?;
        let holds = now < failed.until && (failed.for_all || failed.id.as_ref() == id);
        holds.then(|| Pass::HeldBack {
            until: failed.until,
            cause: failed.cause.clone(),
        })
    }

    /// As [`Gate::ask`] for a fetch that a failed delivery asks for, whatever the id: at most every
    /// 5 minutes (decision AMB-18).
    pub fn ask_forced(&mut self, id: Option<&PolicyId>, now: Duration) -> Pass {
        if let Some(until) = self.forced.map(|t| t + FORCED_EVERY)
            && now < until
        {
            return Pass::HeldBack {
                until,
                cause: FetchError::RateLimited { after: None },
            };
        }
        let pass = self.ask(id, now);
        if pass == Pass::Go {
            self.forced = Some(now);
        }
        pass
    }

    /// An operator need not wait; the fetch counts for everybody else.
    pub fn open(&mut self, now: Duration) -> Pass {
        if self.recent.len() >= PER_HOUR {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        Pass::Go
    }

    /// Who asks next need not wait for what a doubted clock said. That nothing else spoke against the host is
    /// still known: while our own limits hold the next fetch back it is owed, see [`Gate::owes`].
    pub fn forget_doubt(&mut self) {
        if let Some(failed) = self.failed.as_mut().filter(|f| f.is_doubted()) {
            failed.until = Duration::ZERO;
        }
    }

    /// How long the id of a failed fetch has to wait.
    #[must_use]
    pub fn wait_after(failure: &FetchFailure) -> Duration {
        match failure.cause.is_ours() {
            // The host need not be spared for it.
            true => PER_DOMAIN_EVERY,
            false => failure
                .retry_after
                .unwrap_or_default()
                .clamp(BACK_OFF, MAX_BACK_OFF),
        }
    }

    /// Notes a failure; returns how long this id has to wait, and no longer than `at_most`.
    pub fn failed(
        &mut self,
        id: Option<&PolicyId>,
        failure: &FetchFailure,
        at_most: Option<Duration>,
        now: Duration,
    ) -> Duration {
        let full = Self::wait_after(failure);
        let wait = at_most.map_or(full, |most| full.min(most));
        self.enforced = false;
        self.failed = Some(Failed {
            id: id.cloned(),
            cause: failure.cause.clone(),
            until: now + wait,
            for_all: full > BACK_OFF,
        });
        wait
    }

    /// Notes a policy that was had, and whether it is to be enforced.
    pub fn succeeded(&mut self, enforced: bool) {
        self.failed = None;
        self.enforced = enforced;
    }

    /// When our own limits let the next fetch begin, if all that keeps mail from being protected is that
    /// they do not now: the host answered the last time, and its policy was to be enforced, or all that spoke
    /// against it was a fault of ours or a clock that is doubted.
    #[must_use]
    pub fn owes(&self, now: Duration) -> Option<Duration> {
        let unheard = self.failed.as_ref().is_some_and(Failed::says_nothing);
        (self.enforced || unheard).then(|| self.within_limits(now).unwrap_or(now))
    }

    /// When a minute has passed since the last fetch and there are fewer than 20 within an hour, if that
    /// is not now.
    fn within_limits(&self, now: Duration) -> Option<Duration> {
        let minute = self.recent.back().map(|t| *t + PER_DOMAIN_EVERY);
        let nth = self.recent.len().checked_sub(PER_HOUR);
        let hour = nth
            .and_then(|n| self.recent.get(n))
            .map(|first| *first + HOUR);
        minute.max(hour).filter(|until| now < *until)
    }

    /// Nothing in it matters any more.
    #[must_use]
    pub fn is_idle(&self, now: Duration) -> bool {
        self.failed.as_ref().is_none_or(|f| now >= f.until)
            && self.recent.back().is_none_or(|t| now >= *t + HOUR)
    }
}

const HOUR: Duration = Duration::from_hours(1);
/// RFC 8461 section 3.3: "senders SHOULD wait […] five minutes".
pub const BACK_OFF: Duration = Duration::from_mins(5);
/// What Retry-After may lengthen it to (row H2-16).
const MAX_BACK_OFF: Duration = Duration::from_hours(24);
const PER_DOMAIN_EVERY: Duration = Duration::from_mins(1);
const PER_HOUR: usize = 20;
const FORCED_EVERY: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use mail_types::Timestamp;

    use super::*;
    use crate::PkixError;

    fn id(n: u32) -> PolicyId {
        PolicyId::parse(&format!("id{n}")).unwrap()
    }
    const fn s(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }
    fn busy() -> FetchFailure {
        FetchError::Oversize.into()
    }

    #[test]
    fn a4_10_five_minutes_after_a_failure() {
        let mut gate = Gate::default();
        assert_eq!(gate.ask(Some(&id(1)), s(0)), Pass::Go);
        assert_eq!(gate.failed(Some(&id(1)), &busy(), None, s(0)), s(300));
        for second in [1, 61, 299] {
            let held = Pass::HeldBack {
                until: s(300),
                cause: FetchError::Oversize,
            };
            assert_eq!(gate.ask(Some(&id(1)), s(second)), held, "{second}");
        }
        assert_eq!(gate.ask(Some(&id(1)), s(301)), Pass::Go);
    }

    #[test]
    fn a_refresh_waits_for_the_back_off_only_and_takes_nothing_from_mail() {
        let mut gate = Gate::default();
        for second in 0..100 {
            assert_eq!(gate.ask_refresh(Some(&id(1)), s(second)), Pass::Go);
        }
        assert_eq!(gate.ask(Some(&id(2)), s(100)), Pass::Go);
        gate.failed(Some(&id(1)), &busy(), None, s(100));
        let held = Pass::HeldBack {
            until: s(400),
            cause: FetchError::Oversize,
        };
        assert_eq!(gate.ask_refresh(Some(&id(1)), s(399)), held);
        assert_eq!(gate.ask_refresh(Some(&id(1)), s(400)), Pass::Go);
    }

    #[test]
    fn a4_11_h1_07_a_new_id_goes_at_once_but_within_the_cap() {
        let mut gate = Gate::default();
        let mut fetched = Vec::new();
        for second in 0..3600 {
            let id = id(u32::try_from(second).unwrap());
            if gate.ask(Some(&id), s(second)) == Pass::Go {
                fetched.push(second);
                gate.failed(Some(&id), &busy(), None, s(second));
            }
        }
        assert_eq!(fetched.len(), 20, "{fetched:?}");
        assert_eq!(fetched[..3], [0, 60, 120]);
        assert_eq!(
            gate.ask(Some(&id(9999)), s(3600)),
            Pass::Go,
            "the first has left the hour"
        );
    }

    #[test]
    fn h2_16_h2_28_retry_after_only_lengthens() {
        for (asked, want) in [(0, 300), (10, 300), (900, 900), (31_536_000, 86_400)] {
            let mut gate = Gate::default();
            let failure = FetchFailure {
                cause: FetchError::Status {
                    status: 429,
                    location: None,
                },
                retry_after: Some(s(asked)),
            };
            assert_eq!(gate.failed(Some(&id(1)), &failure, None, s(0)), s(want));
            let other = gate.ask(Some(&id(2)), s(61));
            assert_eq!(
                other == Pass::Go,
                want == 300,
                "a long wish holds for every id"
            );
        }
    }

    #[test]
    fn a6_21_forced_at_most_every_five_minutes() {
        let mut gate = Gate::default();
        assert_eq!(gate.ask_forced(None, s(0)), Pass::Go);
        assert!(matches!(
            gate.ask_forced(None, s(299)),
            Pass::HeldBack { .. }
        ));
        assert_eq!(gate.ask_forced(None, s(300)), Pass::Go);
    }

    #[test]
    fn a3_13_a_fetch_is_owed_only_after_a_policy_that_was_enforced() {
        let mut gate = Gate::default();
        assert_eq!(gate.ask(None, s(0)), Pass::Go);
        assert_eq!(gate.owes(s(1)), None, "nothing has come of it yet");
        gate.succeeded(true);
        assert_eq!(gate.owes(s(1)), Some(s(60)));
        for n in 1..20 {
            assert_eq!(gate.ask(None, s(60 * n)), Pass::Go);
        }
        assert_eq!(gate.owes(s(1200)), Some(s(3600)), "20 within the hour");
        gate.succeeded(false);
        assert_eq!(gate.owes(s(1200)), None);
        gate.succeeded(true);
        gate.failed(None, &busy(), None, s(1201));
        assert_eq!(gate.owes(s(1202)), None, "the host was asked");
    }

    #[test]
    fn h8_01_a_fetch_is_owed_though_the_doubt_that_ended_the_last_is_over() {
        let mut gate = Gate::default();
        assert_eq!(gate.ask(None, s(0)), Pass::Go);
        let fault = PkixError::Expired {
            not_after: Timestamp::from_secs(1),
            now: Timestamp::from_secs(2),
        };
        let _ = gate.failed(None, &FetchError::ClockDoubted(fault).into(), None, s(0));
        gate.forget_doubt();
        let held = gate.ask(None, s(1));
        let (until, cause) = (s(60), FetchError::RateLimited { after: None });
        assert_eq!(held, Pass::HeldBack { until, cause });
        assert_eq!(gate.owes(s(1)), Some(s(60)));
        assert_eq!(gate.ask(None, s(60)), Pass::Go);
        gate.failed(None, &busy(), None, s(60));
        gate.forget_doubt();
        assert_eq!(gate.owes(s(61)), None, "the host was asked, and it failed");
        assert!(!gate.is_idle(s(61)), "no other failure is forgotten");
    }

    #[test]
    fn an_idle_gate_may_be_dropped() {
        let mut gate = Gate::default();
        assert!(gate.is_idle(s(0)));
        assert_eq!(gate.ask(None, s(0)), Pass::Go);
        assert!(!gate.is_idle(s(10)));
        assert!(gate.is_idle(s(3600)));
    }
}
