//! Queue ids: short, sortable by time, never reused.

use std::fmt;
use std::str::FromStr;

/// Names one message in the queue. Prints as 12 characters `[0-9A-Za-z]` that sort (as ASCII)
/// in order of arrival; patterns for Postfix's long ids want as many. The first is a zero, and an id is
/// read without it, too.
///
/// The number is microseconds since 1970 in the upper 56 bits and a node's tag in the lower 8,
/// so that several relays that share a log do not collide. The queue makes each id larger than
/// the one before, also across restarts and clock steps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(u64);

/// The text is not a queue id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a queue id (12 letters and digits, as printed by `queue list`)")]
pub struct QueueIdError;

impl QueueId {
    /// From its number.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// Its number.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Without the zero in front: so the files are named that belong to a message, since the first version.
    #[must_use]
    pub fn short(self) -> String {
        self.to_string().split_off(1)
    }

    /// The id for a message that arrives at `micros` (since 1970), given the highest id so far.
    #[must_use]
    pub const fn next(micros: u64, tag: u8, last: Self) -> Self {
        let fresh = (micros << 8) | tag as u64;
        if fresh > last.0 {
            Self(fresh)
        } else {
            Self(((last.0 >> 8) + 1) << 8 | tag as u64)
        }
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'0'; LEN];
        let mut rest = self.0;
        for slot in text.iter_mut().rev() {
            *slot = DIGITS[(rest % 62) as usize];
            rest /= 62;
        }
        // The digits are ASCII, so this is always valid.
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for QueueId {
    type Err = QueueIdError;

    fn from_str(s: &str) -> Result<Self, QueueIdError> {
        if s.len() != LEN && s.len() != LEN - 1 {
            return Err(QueueIdError);
        }
        let mut raw = 0u64;
        for b in s.bytes() {
            let digit = DIGITS.iter().position(|d| *d == b).ok_or(QueueIdError)?;
            raw = raw
                .checked_mul(62)
                .and_then(|r| r.checked_add(digit as u64))
                .ok_or(QueueIdError)?;
        }
        Ok(Self(raw))
    }
}

/// One more than the number needs: 62^11 > 2^64.
const LEN: usize = 12;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_only_grow() {
        let first = QueueId::next(1_000, 7, QueueId::from_raw(0));
        let same_time = QueueId::next(1_000, 7, first);
        let clock_back = QueueId::next(10, 7, same_time);
        assert!(first < same_time && same_time < clock_back);
    }

    proptest! {
        #[test]
        fn text_and_number_agree(a: u64, b: u64) {
            let (x, y) = (QueueId::from_raw(a), QueueId::from_raw(b));
            prop_assert_eq!(x.to_string().parse(), Ok(x));
            prop_assert_eq!(x.to_string().len(), 12);
            prop_assert_eq!(x.short().parse(), Ok(x));
            prop_assert_eq!(x.to_string()[2..].parse::<QueueId>(), Err(QueueIdError));
            prop_assert_eq!(format!("0{x}").parse::<QueueId>(), Err(QueueIdError));
            prop_assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
        }

        #[test]
        fn never_panics(s in "\\PC{0,20}") {
            let _ = s.parse::<QueueId>();
        }
    }
}
