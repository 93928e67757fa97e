//! Points in time as values: no clock is read here.

use std::fmt;
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z, wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the Unix epoch.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// From the system's clock value; times before 1970 become 1970.
    #[must_use]
    pub fn from_system(time: std::time::SystemTime) -> Self {
        let since = time
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC with milliseconds, for instance `2026-03-01T12:00:00.250Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let t = self.civil();
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            t.year(),
            t.month(),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            self.0 % 1000
        )
    }

    /// The date-time of RFC 5322 section 3.3 in UTC, for instance `Sun, 01 Mar 2026 12:00:00 +0000`.
    #[must_use]
    pub fn rfc5322(self) -> String {
        self.civil()
            .strftime("%a, %d %b %Y %H:%M:%S +0000")
            .to_string()
    }

    /// The date of traditional syslog lines, for instance `Mar  1 12:00:00` (UTC).
    #[must_use]
    pub fn syslog(self) -> String {
        self.civil().strftime("%b %e %H:%M:%S").to_string()
    }

    fn civil(self) -> jiff::civil::DateTime {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        // Beyond the year 9999 nothing is printable: show the last instant that is.
        let t = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
        jiff::tz::Offset::UTC.to_datetime(t)
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_three_formats_in_utc() {
        let t = Timestamp::from_millis(1_772_366_400_250);
        assert_eq!(t.rfc3339(), "2026-03-01T12:00:00.250Z");
        assert_eq!(t.rfc5322(), "Sun, 01 Mar 2026 12:00:00 +0000");
        assert_eq!(t.syslog(), "Mar  1 12:00:00");
    }

    #[test]
    fn arithmetic_saturates() {
        let t = Timestamp::from_secs(10);
        assert_eq!((t - Duration::from_secs(20)).as_millis(), 0);
        assert_eq!(t.since(t + Duration::from_secs(5)), Duration::ZERO);
        assert_eq!(
            Timestamp::from_millis(u64::MAX) + Duration::from_secs(1),
            Timestamp::from_millis(u64::MAX)
        );
        assert!(!Timestamp::from_millis(u64::MAX).rfc3339().is_empty());
    }
}
