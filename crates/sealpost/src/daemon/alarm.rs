//! An alarm for certificates that are refused everywhere at once (row H4-18).
//!
//! One domain with a bad certificate is that domain's trouble. Many within minutes are ours: an
//! authority went missing from the roots, or the clock is wrong. Nothing is bounced for it; the
//! mail waits, and somebody has to be told.

use std::collections::HashSet;

use attempt::{Outcome, Reason, Record};
use mail_types::Timestamp;
use parking_lot::Mutex;

/// Watches which domains' certificates are refused.
#[derive(Debug, Default)]
pub(crate) struct CertificateAlarm {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    since: Timestamp,
    domains: HashSet<Box<str>>,
    told: Option<Timestamp>,
}

impl CertificateAlarm {
    /// Notes an attempt; how many domains are concerned, if that is cause for an alarm.
    pub(crate) fn note(&self, record: &Record<'_>) -> Option<usize> {
        let refused = matches!(
            record.reason,
            Some(Reason::CertExpired | Reason::CertHostMismatch | Reason::CertNotTrusted)
        );
        if !refused || record.outcome != Outcome::Deferred {
            return None;
        }
        self.refused(record.domain, record.at)
    }

    fn refused(&self, domain: &str, now: Timestamp) -> Option<usize> {
        let mut state = self.state.lock();
        if now.since(state.since).as_secs() >= WINDOW {
            state.since = now;
            state.domains.clear();
        }
        if state.domains.len() < MANY {
            state.domains.insert(domain.into());
        }
        let quiet = state.told.is_none_or(|at| now.since(at).as_secs() >= PAUSE);
        if state.domains.len() < MANY || !quiet {
            return None;
        }
        state.told = Some(now);
        Some(state.domains.len())
    }
}

/// Domains within [`WINDOW`] seconds.
const MANY: usize = 10;
const WINDOW: u64 = 600;
/// Seconds between two alarms.
const PAUSE: u64 = 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h4_18_ten_domains_within_ten_minutes_and_once_an_hour() {
        let alarm = CertificateAlarm::default();
        let at = |secs: u64| Timestamp::from_secs(1_800_000_000 + secs);
        for n in 0..9 {
            assert_eq!(alarm.refused(&format!("d{n}.test"), at(n)), None);
            assert_eq!(alarm.refused("d0.test", at(n)), None, "the same one again");
        }
        assert_eq!(
            alarm.refused("d9.test", at(700)),
            None,
            "the others were long ago"
        );
        for n in 0..8 {
            assert_eq!(alarm.refused(&format!("d{n}.test"), at(701)), None);
        }
        assert_eq!(alarm.refused("d8.test", at(702)), Some(10));
        assert_eq!(alarm.refused("d10.test", at(703)), None, "told");
    }
}
