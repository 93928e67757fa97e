//! When the next attempt comes, and when the queue gives up: a table, and pure functions on it.

use std::time::Duration;

use crate::{Envelope, MessageClass, Timestamp};

/// The retry table (RFC 5321 section 4.5.4.1; rows E5-01 to E5-03).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySchedule {
    /// Delay after the first attempt, the second, …; the last repeats. Never empty.
    delays: Vec<Duration>,
    lifetime: Duration,
    bounce_lifetime: Duration,
    delay_warning: Duration,
}

impl RetrySchedule {
    /// A table. Delays of zero become one second; an empty list becomes the default one.
    #[must_use]
    pub fn new(
        delays: Vec<Duration>,
        lifetime: Duration,
        bounce_lifetime: Duration,
        delay_warning: Duration,
    ) -> Self {
        let mut schedule = Self {
            delays,
            lifetime,
            bounce_lifetime,
            delay_warning,
        };
        if schedule.delays.is_empty() {
            schedule.delays = DEFAULT_DELAYS.to_vec();
        }
        for delay in &mut schedule.delays {
            *delay = (*delay).max(MIN_DELAY);
        }
        schedule
    }

    /// The time of the next attempt after the `attempt`th (from 1) ended at `now`.
    ///
    /// `unit_random` in `0.0..1.0` spreads it over the delay and a tenth more, never less than the
    /// delay (RFC 5321 section 4.5.4.1 asks for a minimum, row E5-01). Never later than the expiry
    /// of mail that `arrival` began, so that giving up is punctual; after it, one delay from now.
    #[must_use]
    pub fn next(
        &self,
        attempt: u32,
        now: Timestamp,
        expires: Timestamp,
        unit_random: f64,
    ) -> Timestamp {
        let index = (attempt.max(1) as usize - 1).min(self.delays.len() - 1);
        let delay = self.delays.get(index).copied().unwrap_or(MIN_DELAY);
        let jitter = delay.mul_f64(JITTER * unit_random.clamp(0.0, 1.0));
        let next = now + delay + jitter;
        if now < expires {
            next.min(expires)
        } else {
            next
        }
    }

    /// When the queue gives up on mail that arrived at `arrival`.
    #[must_use]
    pub fn expires(&self, arrival: Timestamp, null_reverse_path: bool) -> Timestamp {
        arrival + self.lifetime_of(null_reverse_path)
    }

    /// As [`RetrySchedule::expires`], from the envelope. A TLS report is of no use after a day (RFC 8460 section 5.5):
    /// the next one is on its way then.
    #[must_use]
    pub fn expires_envelope(&self, envelope: &Envelope) -> Timestamp {
        let at = envelope.arrival.at;
        let expires = self.expires(at, envelope.reverse_path.is_null());
        match envelope.class {
            MessageClass::Report => expires.min(at + LIFE_OF_REPORTS),
            MessageClass::Mail | MessageClass::Dsn => expires,
        }
    }

    /// Whether the sender should be told of the delay now (unless told before).
    #[must_use]
    pub fn is_warning_due(&self, now: Timestamp, arrival: Timestamp) -> bool {
        !self.delay_warning.is_zero() && now.since(arrival) >= self.delay_warning
    }

    /// When the sender of mail that came then should be told of the delay; `None` for never.
    #[must_use]
    pub fn warning_due(&self, arrival: Timestamp) -> Option<Timestamp> {
        (!self.delay_warning.is_zero()).then(|| arrival + self.delay_warning)
    }

    /// When mail that is put off without attempts has to be looked at in any case: to tell the sender of
    /// the delay (unless told before), and to give up.
    #[must_use]
    pub fn next_duty(
        &self,
        now: Timestamp,
        arrival: Timestamp,
        expires: Timestamp,
        warned: bool,
    ) -> Timestamp {
        let warning = arrival + self.delay_warning;
        let warns = !warned && !self.delay_warning.is_zero() && now < warning;
        let duty = if warns { warning.min(expires) } else { expires };
        duty.max(now + MIN_DELAY)
    }

    /// The delays, for the documentation and the DSN text.
    #[must_use]
    pub fn delays(&self) -> &[Duration] {
        &self.delays
    }

    /// How long mail is kept.
    #[must_use]
    pub const fn lifetime_of(&self, null_reverse_path: bool) -> Duration {
        if null_reverse_path {
            self.bounce_lifetime
        } else {
            self.lifetime
        }
    }
}

impl Default for RetrySchedule {
    fn default() -> Self {
        Self::new(
            DEFAULT_DELAYS.to_vec(),
            Duration::from_hours(5 * 24),
            Duration::from_hours(2 * 24),
            Duration::from_hours(4),
        )
    }
}

const DEFAULT_DELAYS: [Duration; 6] = [
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_mins(30),
    Duration::from_hours(1),
    Duration::from_hours(2),
    Duration::from_hours(4),
];
const LIFE_OF_REPORTS: Duration = Duration::from_hours(24);
const MIN_DELAY: Duration = Duration::from_secs(1);
/// At most this part of a delay is added to it.
const JITTER: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: u64 = 60;

    fn secs(n: u64) -> Timestamp {
        Timestamp::from_secs(n)
    }

    #[test]
    fn e5_02_the_defaults_back_off_and_repeat_the_last() {
        let schedule = RetrySchedule::default();
        let far = secs(u64::MAX / 2000);
        let (mut now, mut within_an_hour) = (secs(0), 0);
        for (attempt, minutes) in (1u32..).zip([5, 15, 30, 60, 120, 240, 240, 240]) {
            let next = schedule.next(attempt, now, far, 0.0);
            assert_eq!(
                next,
                now + Duration::from_secs(minutes * MINUTE),
                "{attempt}"
            );
            within_an_hour += u32::from(next <= secs(60 * MINUTE));
            now = next;
        }
        assert!(within_an_hour <= 3, "{within_an_hour}");
    }

    #[test]
    fn b4_23_a_report_by_mail_is_tried_for_a_day() {
        let schedule = RetrySchedule::default();
        let mut envelope = Envelope {
            reverse_path: crate::ReversePath::Mailbox("tls@report.test".parse().unwrap()),
            ..Envelope::default()
        };
        assert_eq!(schedule.expires_envelope(&envelope), secs(5 * 86_400));
        envelope.class = MessageClass::Report;
        assert_eq!(schedule.expires_envelope(&envelope), secs(86_400));
        let hour = Duration::from_hours(1);
        let shorter = RetrySchedule::new(vec![hour], hour, hour, hour);
        assert_eq!(shorter.expires_envelope(&envelope), secs(3600));
    }

    #[test]
    fn e5_03_giving_up_is_punctual() {
        let schedule = RetrySchedule::default();
        let expires = schedule.expires(secs(0), false);
        assert_eq!(expires, secs(5 * 86_400));
        assert_eq!(
            schedule.expires(secs(0), true),
            secs(2 * 86_400),
            "bounces live shorter"
        );
        let late = secs(5 * 86_400 - 60);
        assert_eq!(schedule.next(9, late, expires, 0.5), expires);
        assert!(
            schedule.next(9, expires, expires, 0.5) > expires,
            "after the end it goes on, held by nobody"
        );
    }

    #[test]
    fn the_delay_warning_is_due_once_the_mail_is_that_old() {
        let schedule = RetrySchedule::default();
        assert!(!schedule.is_warning_due(secs(4 * 3600 - 1), secs(0)));
        assert!(schedule.is_warning_due(secs(4 * 3600), secs(0)));
        let (life, none) = (Duration::from_secs(9), Duration::ZERO);
        let never = RetrySchedule::new(vec![], life, life, none);
        assert!(
            !never.is_warning_due(secs(1 << 40), secs(0)),
            "zero switches it off"
        );
        assert_eq!(
            never.delays(),
            RetrySchedule::default().delays(),
            "an empty table is the default"
        );
    }

    #[test]
    fn what_is_put_off_is_looked_at_for_the_warning_and_at_the_end() {
        let schedule = RetrySchedule::default();
        let (hour, end) = (3600, secs(5 * 86_400));
        let duty = |now, warned| schedule.next_duty(secs(now), secs(0), end, warned);
        assert_eq!(duty(hour, false), secs(4 * hour));
        assert_eq!(duty(hour, true), end);
        assert_eq!(duty(4 * hour, false), end, "the warning goes out now");
        assert_eq!(
            duty(5 * 86_400, true),
            secs(5 * 86_400 + 1),
            "never at once"
        );
        let short = schedule.next_duty(secs(1), secs(0), secs(60), false);
        assert_eq!(short, secs(60));
    }

    proptest! {
        #[test]
        fn e5_01_never_sooner_than_the_delay_nor_a_tenth_later(
            attempt in 0u32..50, now in 0u64..1 << 40, random in -1.0f64..2.0,
        ) {
            let schedule = RetrySchedule::default();
            let wait = schedule.next(attempt, secs(now), secs(1 << 50), random).since(secs(now));
            let index = (attempt.max(1) as usize - 1).min(5);
            let delay = schedule.delays()[index];
            prop_assert!(wait >= delay && wait <= delay.mul_f64(1.1) + Duration::from_millis(1));
        }
    }
}
