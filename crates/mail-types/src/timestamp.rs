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
        self.to_string()
    }

    /// The date-time of RFC 5322 section 3.3 in UTC, for instance `Sun, 01 Mar 2026 12:00:00 +0000`.
    #[must_use]
    pub fn rfc5322(self) -> String {
        let t = self.civil();
        let day = DAYS[usize::from(t.weekday().to_sunday_zero_offset().unsigned_abs() % 7)];
        let month = MONTHS[usize::from(t.month().unsigned_abs() % 13)];
        let mut text = *b"xxx, 00 xxx 0000 00:00:00 +0000";
        text[..3].copy_from_slice(day);
        digits(&mut text[5..7], t.day().into());
        text[8..11].copy_from_slice(month);
        digits(&mut text[12..16], t.year());
        time(&mut text[17..25], t);
        ascii(&text).to_owned()
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
    /// As [`Timestamp::rfc3339`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.civil();
        let mut text = *b"0000-00-00T00:00:00.000Z";
        digits(&mut text[..4], t.year());
        digits(&mut text[5..7], t.month().into());
        digits(&mut text[8..10], t.day().into());
        time(&mut text[11..19], t);
        digits(&mut text[20..23], t.millisecond());
        f.write_str(ascii(&text))
    }
}

/// `00:00:00`.
fn time(slot: &mut [u8], t: jiff::civil::DateTime) {
    digits(&mut slot[..2], t.hour().into());
    digits(&mut slot[3..5], t.minute().into());
    digits(&mut slot[6..8], t.second().into());
}

/// A number with zeros before it. Log lines and headers have many of them: `format!` costs ten times as much.
fn digits(slot: &mut [u8], number: i16) {
    let mut rest = number.unsigned_abs();
    for digit in slot.iter_mut().rev() {
        *digit = b"0123456789"[usize::from(rest % 10)];
        rest /= 10;
    }
}

/// All that is written here is ASCII.
fn ascii(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}

const DAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
/// By their numbers.
const MONTHS: [&[u8; 3]; 13] = [
    b"xxx", b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
    b"Dec",
];

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
    fn dates_are_those_of_a_calendar() {
        // Every day of 60 years, and more than every second of a day.
        for n in 0..22_000u64 {
            let t = Timestamp::from_millis(n * 86_400_000 + n * 4_001 % 86_400_000);
            let civil = t.civil();
            let long = civil.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string();
            assert_eq!(t.rfc5322(), long);
            let short = civil.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
            assert_eq!(t.to_string(), short);
        }
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
