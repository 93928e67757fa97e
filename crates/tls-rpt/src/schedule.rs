//! When reports are sent.

use std::time::Duration;

use mail_types::Timestamp;

use crate::Day;

/// When the report about a domain is sent at first: 1 second to 4 hours after the day, at random, so that
/// not everybody sends at midnight (RFC 8460 section 4.1; row B4-02). Domains are spread even where the
/// random number is the same.
#[must_use]
pub fn first_sending(day: Day, domain: &str, random: u64) -> Timestamp {
    day.end() + after_the_day(mix(random ^ fnv(domain.as_bytes())))
}

/// Any number, spread over the time for first sendings.
const fn after_the_day(number: u64) -> Duration {
    Duration::from_millis(FIRST + number % (LAST - FIRST + 1))
}

/// How long is waited after so many failures in a row: twice as long each time, up to four hours, and up to
/// a quarter more at random (RFC 8460 section 5.5; row B4-23).
#[must_use]
pub fn retry_delay(failures: u32, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let delay = (SHORTEST << doublings).min(LONGEST);
    Duration::from_millis(delay + mix(random) % (delay / 4))
}

/// For how long a report is tried after its first sending was due (RFC 8460 section 5.5).
pub const TRIED_FOR: Duration = Duration::from_hours(24);

/// Milliseconds.
const FIRST: u64 = 1_000;
const LAST: u64 = 4 * 3_600_000;
const SHORTEST: u64 = 5 * 60_000;
const LONGEST: u64 = 4 * 3_600_000;

/// FNV-1a.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| {
        (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The last step of SplitMix64: near numbers come out far from each other.
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day() -> Day {
        "2026-03-01".parse().unwrap()
    }

    #[test]
    fn b4_02_a_thousand_domains_are_spread_over_four_hours() {
        let mut quarters = [0; 16];
        for n in 0..1000 {
            let at = first_sending(day(), &format!("d{n}.test"), 7);
            let minutes = at.since(day().end()).as_secs() / 60;
            quarters[usize::try_from(minutes / 15).unwrap()] += 1;
        }
        assert!(
            quarters.iter().all(|n| (20..140).contains(n)),
            "{quarters:?}"
        );
    }

    #[test]
    fn b4_23_pauses_grow_and_all_of_a_day_is_used() {
        let delays: Vec<Duration> = (1..=7).map(|n| retry_delay(n, 42)).collect();
        assert!(delays.is_sorted_by(|a, b| a < b), "{delays:?}");
        let all: Duration = (1..=9).map(|n| retry_delay(n, 42)).sum();
        assert!(all < TRIED_FOR, "{all:?}");
        assert_eq!(TRIED_FOR, Duration::from_secs(86_400));
    }

    #[test]
    fn b4_02_the_bounds_are_one_second_and_four_hours() {
        assert_eq!(after_the_day(0), Duration::from_secs(1));
        let span = Duration::from_hours(4) - Duration::from_secs(1);
        let most = u64::try_from(span.as_millis()).unwrap();
        assert_eq!(after_the_day(most), Duration::from_hours(4));
        assert_eq!(after_the_day(most + 1), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn b4_02_the_first_sending_is_one_second_to_four_hours_after_the_day(
            domain in "[a-z]{1,20}\\.test", random: u64,
        ) {
            let after = first_sending(day(), &domain, random).since(day().end());
            prop_assert!(after >= Duration::from_secs(1));
            prop_assert!(after <= Duration::from_hours(4));
        }

        #[test]
        fn b4_23_a_pause_is_five_minutes_to_five_hours(failures: u32, random: u64) {
            let delay = retry_delay(failures, random);
            prop_assert!(delay >= Duration::from_mins(5) && delay <= Duration::from_hours(5));
        }
    }
}
