//! What each report host is spared: whoever publishes a record decides to whom reports go, and may name somebody
//! else (RFC 8460 section 7).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mail_types::Timestamp;
use parking_lot::Mutex;
use tls_rpt::Day;

/// The hosts that reports went to today.
#[derive(Default)]
pub(crate) struct Hosts(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    day: Option<Day>,
    hosts: HashMap<String, Host>,
}

#[derive(Default)]
struct Host {
    /// Reports sent there today.
    sent: u32,
    busy: bool,
    /// Reports that were told to come back since it was free.
    waiting: u32,
    /// It failed a moment ago.
    down_until: Timestamp,
}

/// Whether a host may be sent a report.
pub(crate) enum Turn {
    /// Now.
    Now(InHand),
    /// Not before so long.
    Later(Duration),
    /// Not today any more.
    Full,
}

/// One report is on its way to a host.
pub(crate) struct InHand {
    hosts: Arc<Hosts>,
    host: String,
}

impl Hosts {
    /// One at a time, at most [`PER_DAY`] a day, and none while it has just failed.
    pub(crate) fn begin(self: &Arc<Self>, host: &str, now: Timestamp) -> Turn {
        let mut inner = self.0.lock();
        inner.turn_of(now);
        let entry = inner.hosts.entry(host.to_owned()).or_default();
        if entry.sent >= PER_DAY {
            return Turn::Full;
        }
        if entry.busy || entry.down_until > now {
            entry.waiting = entry.waiting.saturating_add(1).min(MOST_WAITING);
            let turn = PACE * entry.waiting;
            return Turn::Later(turn.max(entry.down_until.since(now)));
        }
        entry.busy = true;
        entry.waiting = entry.waiting.saturating_sub(1);
        Turn::Now(InHand {
            hosts: Arc::clone(self),
            host: host.to_owned(),
        })
    }

    /// Counts a report that goes by mail: the queue spares the host. False if it is one too many.
    pub(crate) fn mail(&self, host: &str, now: Timestamp) -> bool {
        let mut inner = self.0.lock();
        inner.turn_of(now);
        let entry = inner.hosts.entry(host.to_owned()).or_default();
        let fits = entry.sent < PER_DAY;
        entry.sent += u32::from(fits);
        fits
    }
}

impl Inner {
    fn turn_of(&mut self, now: Timestamp) {
        let today = Day::of(now);
        if self.day != Some(today) {
            self.day = Some(today);
            self.hosts.retain(|_, host| host.busy);
            self.hosts.values_mut().for_each(|host| host.sent = 0);
        }
    }
}

impl InHand {
    /// The host has taken it.
    pub(crate) fn taken(self) {
        self.with(|host| host.sent += 1);
    }

    /// It has not: others wait a while too.
    pub(crate) fn failed(self, now: Timestamp) {
        // What fails counts as well: the request has gone there.
        self.with(|host| {
            host.sent += 1;
            host.down_until = now + AFTER_FAILURE;
        });
    }

    fn with(&self, change: impl FnOnce(&mut Host)) {
        if let Some(host) = self.hosts.0.lock().hosts.get_mut(&self.host) {
            change(host);
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.with(|host| host.busy = false);
    }
}

/// Reports that one host gets in a day, from all domains that name it.
pub(crate) const PER_DAY: u32 = 2000;
const PACE: Duration = Duration::from_secs(2);
const MOST_WAITING: u32 = 900;
const AFTER_FAILURE: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(hosts: &Arc<Hosts>, now: Timestamp) -> Option<Duration> {
        match hosts.begin("r.test", now) {
            Turn::Later(pause) => Some(pause),
            Turn::Now(_) | Turn::Full => None,
        }
    }

    #[test]
    fn b4_25_one_at_a_time_and_who_waits_longer_the_more_wait() {
        let hosts: Arc<Hosts> = Arc::default();
        let now = Timestamp::from_secs(1_000_000);
        let Turn::Now(first) = hosts.begin("r.test", now) else {
            panic!("it is free");
        };
        assert!(matches!(hosts.begin("other.test", now), Turn::Now(_)));
        let (one, two) = (pause(&hosts, now), pause(&hosts, now));
        assert!(one.is_some() && one < two, "{one:?} {two:?}");
        first.failed(now);
        assert!(
            pause(&hosts, now) >= Some(AFTER_FAILURE),
            "it has just failed"
        );
        assert!(matches!(
            hosts.begin("r.test", now + AFTER_FAILURE),
            Turn::Now(_)
        ));
    }

    #[test]
    fn b4_25_what_is_full_is_so_until_the_day_is_over() {
        let hosts: Arc<Hosts> = Arc::default();
        let now = Timestamp::from_secs(1_000_000);
        assert!((0..PER_DAY).all(|_| hosts.mail("v.test", now)));
        assert!(!hosts.mail("v.test", now) && hosts.mail("w.test", now));
        assert!(matches!(hosts.begin("v.test", now), Turn::Full));
        assert!(hosts.mail("v.test", Day::of(now).end()));
    }
}
