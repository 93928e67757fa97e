//! When each stored policy is fetched again in the background (RFC 8461 sections 3.3 and 10.2):
//! about daily, spread, and always well before expiry. Pure: time and chance come in by argument.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use mail_types::{Domain, Timestamp};
use mta_sts::Mode;

use policy_fetch::FetchError;

/// The due times of all policies.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    queue: BTreeSet<(Timestamp, Domain)>,
    refreshes: HashMap<Domain, Refresh>,
}

/// The refresh state of one policy.
#[derive(Clone, Debug)]
pub(crate) struct Refresh {
    pub(crate) next: Timestamp,
    pub(crate) failures: u32,
    /// Of any fetch since the last that succeeded.
    pub(crate) last_failure: Option<FetchError>,
    pub(crate) at_risk: bool,
}

/// What a schedule has to know of a policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) mode: Mode,
    pub(crate) fetched_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl Life {
    /// Whether its end is a loss: what lives for some minutes is meant to end by itself, and one failure to
    /// refresh it is enough for that.
    pub(crate) fn is_lasting(&self) -> bool {
        self.length() >= LASTING
    }

    /// From a fetch to the next: the interval, or half of the life if that is less. What a domain
    /// publishes makes us ask no more often than [`HALF_LIFE_MIN`]; none if it is over before.
    fn pause(&self, interval: Duration) -> Option<Duration> {
        let pause = interval.min((self.length() / 2).max(HALF_LIFE_MIN));
        (pause < self.length()).then_some(pause)
    }

    fn length(&self) -> Duration {
        self.expires_at.since(self.fetched_at)
    }
}

impl Schedule {
    /// A policy was fetched: the next refresh comes after the interval or half of its lifetime,
    /// whichever is less, and up to a quarter of that earlier. Policies that live for some seconds are
    /// fetched when mail asks for them.
    pub(crate) fn fetched(&mut self, domain: &Domain, life: Life, interval: Duration, jitter: f64) {
        self.remove(domain);
        let Some(pause) = life.pause(interval) else {
            return;
        };
        // What a domain publishes never makes us ask sooner; what the operator says may.
        let least = match pause < interval {
            true => HALF_LIFE_MIN,
            false => Duration::ZERO,
        };
        let at = life.fetched_at + early(pause, jitter).max(least);
        self.insert(domain, at, Refresh::new());
    }

    /// A policy was loaded at start: due when it would have been, and if that has passed, within
    /// the next hour, a quarter of what is left of its life or the interval if that is sooner, so that a
    /// restart after a long stop does not ask all policy hosts in the same second.
    pub(crate) fn loaded(
        &mut self,
        domain: &Domain,
        life: Life,
        interval: Duration,
        now: Timestamp,
        jitter: f64,
    ) {
        if now >= life.expires_at {
            return;
        }
        self.fetched(domain, life, interval, jitter);
        if self.refreshes.get(domain).is_some_and(|r| r.next <= now) {
            let left = life.expires_at.since(now);
            let within = (left / 4).min(SPREAD_AT_START).min(interval);
            self.reschedule(domain, now + within.mul_f64(jitter));
        }
    }

    /// A refresh failed: again within the hour, sooner if the policy runs out. Returns whether
    /// somebody has to be told (rows A4-20, A7-01, A7-02).
    pub(crate) fn failed(
        &mut self,
        domain: &Domain,
        life: Life,
        cause: &FetchError,
        now: Timestamp,
        jitter: f64,
    ) -> Option<(u32, bool)> {
        let left = life.expires_at.since(now);
        let refresh = self.refreshes.get_mut(domain)?;
        refresh.failures = refresh.failures.saturating_add(1);
        refresh.last_failure = Some(cause.clone());
        let short = left < life.length() / 2;
        let is_loss = life.mode != Mode::None && life.is_lasting();
        let at_risk = is_loss && (refresh.failures >= ALERT_AFTER || short);
        refresh.at_risk = at_risk;
        let failures = refresh.failures;
        let pause = (left / 4).clamp(RETRY_MIN, RETRY_MAX);
        self.reschedule(domain, now + early(pause, jitter).max(RETRY_MIN));
        Some((failures, at_risk))
    }

    /// A fetch for a message, or for an operator, failed: the schedule of refreshes is as before. Returns how
    /// many of these have failed, and whether somebody had to be told.
    pub(crate) fn could_not_fetch(&mut self, domain: &Domain, cause: &FetchError) -> (u32, bool) {
        let Some(refresh) = self.refreshes.get_mut(domain) else {
            return (0, false);
        };
        refresh.last_failure = Some(cause.clone());
        (refresh.failures, refresh.at_risk)
    }

    /// Takes the domains that are due; they come back through `fetched`, `failed` or `later`.
    pub(crate) fn take_due(&mut self, now: Timestamp, most: usize) -> Vec<Domain> {
        let mut due = Vec::new();
        while due.len() < most {
            match self.queue.first() {
                Some((at, _)) if *at <= now => {}
                Some(_) | None => break,
            }
            if let Some((_, domain)) = self.queue.pop_first() {
                due.push(domain);
            }
        }
        due
    }

    /// Puts back a domain that was taken and neither fetched nor failed.
    pub(crate) fn later(&mut self, domain: &Domain, now: Timestamp) {
        self.reschedule(domain, now + RETRY_MIN);
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, _)| *at)
    }

    pub(crate) fn get(&self, domain: &Domain) -> Option<&Refresh> {
        self.refreshes.get(domain)
    }

    /// Whether it was not refreshed when it should have been. One that has just become due is being fetched.
    pub(crate) fn is_unrefreshed(&self, domain: &Domain, now: Timestamp) -> bool {
        let refresh = self.refreshes.get(domain);
        refresh.is_some_and(|r| r.failures > 0 || r.next + RETRY_MIN <= now)
    }

    pub(crate) fn at_risk(&self) -> usize {
        self.refreshes.values().filter(|r| r.at_risk).count()
    }

    pub(crate) fn remove(&mut self, domain: &Domain) {
        if let Some(old) = self.refreshes.remove(domain) {
            self.queue.remove(&(old.next, domain.clone()));
        }
    }

    fn insert(&mut self, domain: &Domain, at: Timestamp, mut refresh: Refresh) {
        refresh.next = at;
        self.queue.insert((at, domain.clone()));
        self.refreshes.insert(domain.clone(), refresh);
    }

    fn reschedule(&mut self, domain: &Domain, at: Timestamp) {
        if let Some(refresh) = self.refreshes.get_mut(domain) {
            self.queue.remove(&(refresh.next, domain.clone()));
            refresh.next = at;
            self.queue.insert((at, domain.clone()));
        }
    }
}

impl Refresh {
    const fn new() -> Self {
        Self {
            next: Timestamp::from_millis(0),
            failures: 0,
            last_failure: None,
            at_risk: false,
        }
    }
}

/// Between three quarters of the pause and all of it.
fn early(pause: Duration, jitter: f64) -> Duration {
    pause.mul_f64(0.75 + 0.25 * jitter)
}

const LASTING: Duration = Duration::from_mins(20);
const HALF_LIFE_MIN: Duration = Duration::from_secs(10);
/// The back-off of RFC 8461 section 3.3.
const RETRY_MIN: Duration = Duration::from_mins(5);
const RETRY_MAX: Duration = Duration::from_hours(1);
const SPREAD_AT_START: Duration = Duration::from_hours(1);
const ALERT_AFTER: u32 = 3;

#[cfg(test)]
mod tests;
