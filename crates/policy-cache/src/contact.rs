//! First contact when DNS does not answer (decision AMB-01; RFC 8461 is silent): mail waits until
//! at least three uncached look-ups have failed and 30 minutes have passed since the first (24 h if
//! the domain had a policy within the last 90 days). Then it goes out unprotected for an hour at
//! most, while look-ups go on; after that the waiting starts anew.

use std::time::Duration;

use mail_types::Timestamp;

/// A series of failed look-ups. Wall-clock times, since it survives a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) since: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) failures: u32,
    /// When both conditions were met.
    pub(crate) opened: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum ContactVerdict {
    /// Look again at this time.
    Wait(Timestamp),
    /// Let mail through until this time.
    Open(Timestamp),
}

impl Contact {
    /// The series with one more failure.
    pub(crate) fn after_failure(previous: Option<Self>, hold: Duration, now: Timestamp) -> Self {
        let fresh = Self {
            since: now,
            last: now,
            failures: 1,
            opened: None,
        };
        let Some(mut c) = previous.filter(|c| !c.is_over(now)) else {
            return fresh;
        };
        c.failures = c.failures.saturating_add(1);
        c.last = now;
        if c.opened.is_none() && c.failures >= MIN_FAILURES && now >= c.since + hold {
            c.opened = Some(now);
        }
        c
    }

    pub(crate) fn verdict(&self, hold: Duration, now: Timestamp) -> ContactVerdict {
        match self.opened {
            Some(opened) => ContactVerdict::Open(opened + OPEN_FOR),
            None if self.failures < MIN_FAILURES => {
                ContactVerdict::Wait(now + hold.min(LOOK_EVERY))
            }
            None => ContactVerdict::Wait((self.since + hold).min(now + LOOK_SELDOM).max(now)),
        }
    }

    /// Its hour has passed, or nobody has looked for so long that it means nothing any more.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.opened.is_some_and(|opened| now >= opened + OPEN_FOR)
            || now >= self.last + FORGET_AFTER
    }
}

/// How long mail waits: longer where a policy is known to have been.
pub(crate) const fn hold(had_policy_recently: bool) -> Duration {
    if had_policy_recently {
        Duration::from_hours(24)
    } else {
        Duration::from_mins(30)
    }
}

const MIN_FAILURES: u32 = 3;
const OPEN_FOR: Duration = Duration::from_hours(1);
/// As the first delay of the retry table: delivery makes no attempt before the next look is due.
const LOOK_EVERY: Duration = Duration::from_mins(5);
const LOOK_SELDOM: Duration = Duration::from_mins(30);
const FORGET_AFTER: Duration = Duration::from_hours(48);

#[cfg(test)]
mod tests {
    use super::*;

    fn t(minutes: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + minutes * 60)
    }

    /// Feeds failures at these minutes; the verdict after the last.
    fn after(minutes: &[u64], hold: Duration) -> ContactVerdict {
        let mut c = None;
        for m in minutes {
            c = Some(Contact::after_failure(c, hold, t(*m)));
        }
        let now = t(*minutes.last().unwrap());
        c.unwrap().verdict(hold, now)
    }

    #[test]
    fn h1_04_when_mail_waits_and_when_it_goes() {
        let (short, long) = (hold(false), hold(true));
        for (failures, hold, want, reason) in [
            (&[0][..], short, ContactVerdict::Wait(t(5)), "first failure"),
            (&[0, 10], short, ContactVerdict::Wait(t(15)), "second"),
            (
                &[0, 40],
                short,
                ContactVerdict::Wait(t(45)),
                "30 minutes, but only two failures",
            ),
            (
                &[0, 1, 2],
                short,
                ContactVerdict::Wait(t(30)),
                "three failures, but 2 minutes",
            ),
            (
                &[0, 10, 30],
                short,
                ContactVerdict::Open(t(90)),
                "both: for an hour",
            ),
            (
                &[0, 10, 30, 60],
                short,
                ContactVerdict::Open(t(90)),
                "failing on does not prolong it",
            ),
            (
                &[0, 10, 30, 90],
                short,
                ContactVerdict::Wait(t(95)),
                "after the hour it starts anew",
            ),
            (
                &[0, 10, 30],
                long,
                ContactVerdict::Wait(t(60)),
                "a policy was known: 24 h",
            ),
            (
                &[0, 600, 1440],
                long,
                ContactVerdict::Open(t(1500)),
                "after 24 h",
            ),
            (
                &[0, 1, 4000],
                short,
                ContactVerdict::Wait(t(4005)),
                "an old series is forgotten",
            ),
        ] {
            assert_eq!(after(failures, hold), want, "{reason}");
        }
    }
}
