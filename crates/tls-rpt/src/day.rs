//! The days of reports.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use mail_types::Timestamp;
use serde::{Deserialize, Serialize};

/// A day in UTC, whatever the local zone is (RFC 8460 section 4.1; row B4-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(u32);

/// A text that is no day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a day of the form 2026-03-01")]
pub struct DayError;

impl Day {
    /// The day in which this is: a session belongs to the day in which it began (row B4-03).
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self(u32::try_from(at.as_secs() / SECONDS).unwrap_or(u32::MAX))
    }

    /// Its first instant.
    #[must_use]
    pub fn begin(self) -> Timestamp {
        Timestamp::from_secs(u64::from(self.0) * SECONDS)
    }

    /// The first instant that is no longer in it.
    #[must_use]
    pub fn end(self) -> Timestamp {
        self.begin() + Duration::from_secs(SECONDS)
    }

    /// Its last second, which is where reports say that it ends (decision AMB-21).
    #[must_use]
    pub fn last_second(self) -> Timestamp {
        self.begin() + Duration::from_secs(SECONDS - 1)
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Day {
    /// As in `2026-03-01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.begin().rfc3339();
        f.write_str(whole.split('T').next().unwrap_or_default())
    }
}

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        let shape = |(i, b): (usize, u8)| matches!((i, b), (4 | 7, b'-')) || b.is_ascii_digit();
        if text.len() != "2026-03-01".len() || !text.bytes().enumerate().all(shape) {
            return Err(DayError);
        }
        let date: jiff::civil::Date = text.parse().map_err(|_| DayError)?;
        let midnight = date.at(0, 0, 0, 0);
        let at = jiff::tz::Offset::UTC.to_timestamp(midnight);
        let seconds = at.map_err(|_| DayError)?.as_second();
        let seconds = u64::try_from(seconds).map_err(|_| DayError)?;
        Ok(Self::of(Timestamp::from_secs(seconds)))
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

impl TryFrom<String> for Day {
    type Error = DayError;

    fn try_from(text: String) -> Result<Self, DayError> {
        text.parse()
    }
}

const SECONDS: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn b4_01_b4_03_a_session_is_of_the_utc_day_in_which_it_began() {
        // 2026-03-01T00:00:00Z
        let midnight = Timestamp::from_secs(1_772_323_200);
        let day: Day = "2026-03-01".parse().unwrap();
        assert_eq!(Day::of(midnight), day);
        assert_eq!(
            Day::of(midnight - Duration::from_millis(1)).to_string(),
            "2026-02-28"
        );
        assert_eq!(
            (day.begin(), day.end()),
            (midnight, Timestamp::from_secs(1_772_409_600))
        );
        assert_eq!(day.next().begin(), day.end());
        assert_eq!(day.last_second().rfc3339(), "2026-03-01T23:59:59.000Z");
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "2026-02-29",
            "2026-13-01",
            "2026-3-1",
            "2026-03-01T00",
            "1969-12-31",
            "+026-03-01",
            "20260301",
            "2026/03/01",
            "२०२६",
        ] {
            assert_eq!(text.parse::<Day>(), Err(DayError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_day_is_read_as_it_is_written(secs in 0u64..200_000_000_000, text in "\\PC{0,12}") {
            let day = Day::of(Timestamp::from_secs(secs));
            prop_assert_eq!(day.to_string().parse::<Day>(), Ok(day));
            let _ = text.parse::<Day>();
        }
    }
}
