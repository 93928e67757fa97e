//! Doubts a resolver that says of nearly every domain that it does not exist (row H1-30).
//!
//! A captive portal, a hijacked or a broken resolver may answer NXDOMAIN to everything. Believed, that
//! would return all mail within minutes. Where more than nine tenths of the domains that were asked
//! for lately are said not to exist, mail waits instead.

use std::collections::HashMap;
use std::time::Duration;

use mail_types::Domain;
use parking_lot::Mutex;

/// What DNS said of domains lately.
#[derive(Debug, Default)]
pub(crate) struct NxdomainGuard {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When each was last asked for, and whether it was said not to exist; monotonic.
    domains: HashMap<Domain, (Duration, bool)>,
    told: Option<Duration>,
}

/// Why NXDOMAIN is not believed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// Domains that are said not to exist.
    pub(crate) absent: usize,
    /// Of so many that were asked for.
    pub(crate) asked: usize,
    /// Nobody has been told within the last [`WINDOW`].
    pub(crate) news: bool,
}

impl NxdomainGuard {
    /// DNS has given a definite answer about a domain.
    pub(crate) fn note(&self, domain: &Domain, absent: bool, now: Duration) {
        let mut state = self.state.lock();
        if state.domains.len() >= MOST {
            state.forget(now);
        }
        if state.domains.len() < MOST || state.domains.contains_key(domain) {
            state.domains.insert(domain.clone(), (now, absent));
        }
    }

    /// Whether an NXDOMAIN is to be doubted now.
    pub(crate) fn doubt(&self, now: Duration) -> Option<Doubt> {
        let mut state = self.state.lock();
        state.forget(now);
        let asked = state.domains.len();
        let absent = state.domains.values().filter(|(_, absent)| *absent).count();
        if asked < LEAST || absent * 10 <= asked * 9 {
            return None;
        }
        let news = state.told.is_none_or(|told| told + WINDOW <= now);
        if news {
            state.told = Some(now);
        }
        Some(Doubt {
            absent,
            asked,
            news,
        })
    }
}

impl State {
    fn forget(&mut self, now: Duration) {
        self.domains.retain(|_, (at, _)| *at + WINDOW > now);
    }
}

/// How far back it looks.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// A few mistyped domains are no sign of anything.
const LEAST: usize = 10;
/// Domains that are remembered.
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ask(guard: &NxdomainGuard, range: std::ops::Range<usize>, absent: bool, now: Duration) {
        for n in range {
            guard.note(&Domain::parse(&format!("d{n}.test")).unwrap(), absent, now);
        }
    }

    #[test]
    fn h1_30_nxdomain_is_doubted_only_if_nearly_everything_is_gone() {
        let guard = NxdomainGuard::default();
        ask(&guard, 0..9, true, at(1));
        assert_eq!(guard.doubt(at(1)), None, "a few mistyped domains");
        ask(&guard, 0..9, true, at(2));
        assert_eq!(guard.doubt(at(2)), None, "the same ones again");
        ask(&guard, 9..19, true, at(3));
        let doubt = |absent, asked, news| {
            Some(Doubt {
                absent,
                asked,
                news,
            })
        };
        assert_eq!(guard.doubt(at(3)), doubt(19, 19, true));
        assert_eq!(guard.doubt(at(4)), doubt(19, 19, false), "told once");
        ask(&guard, 19..21, false, at(4));
        assert_eq!(guard.doubt(at(4)), doubt(19, 21, false));
        ask(&guard, 21..22, false, at(4));
        assert_eq!(guard.doubt(at(4)), None, "19 of 22 are under nine tenths");
        ask(&guard, 19..22, true, at(5));
        assert_eq!(guard.doubt(at(5)), doubt(22, 22, false));
        assert_eq!(guard.doubt(at(305)), None, "five minutes later");
        ask(&guard, 0..10, true, at(306));
        assert_eq!(guard.doubt(at(306)), doubt(10, 10, true));
    }

    #[test]
    fn h1_30_memory_is_bounded() {
        let guard = NxdomainGuard::default();
        ask(&guard, 0..MOST + 10, true, at(1));
        assert_eq!(guard.state.lock().domains.len(), MOST);
        ask(&guard, MOST + 10..MOST + 11, false, at(400));
        assert_eq!(guard.state.lock().domains.len(), 1);
    }
}
