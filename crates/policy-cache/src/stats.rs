//! Numbers for metrics and the status screen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mail_types::Timestamp;

use crate::discovery::{NoPolicy, Origin, Outcome};

/// A snapshot. Counters count from the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Unexpired policies by mode.
    pub enforce: u64,
    /// Unexpired policies in mode testing.
    pub testing: u64,
    /// Unexpired policies in mode none.
    pub none: u64,
    /// Domains with a failing refresh that alerts (row A7-01).
    pub at_risk: u64,
    /// Domains that an operator has exempted from their policy for now.
    pub exempt: u64,
    /// When the last of these exemptions ends.
    pub exempt_until: Option<Timestamp>,
    /// Policies on record, not of mode none, that have run out.
    pub ran_out: u64,
    /// Time to the soonest expiry among the policies whose last refresh failed or is overdue.
    pub soonest_unrefreshed_expiry: Option<Duration>,
    /// Policies that were to be refreshed, are not of mode none, and ran out.
    pub expired: u64,
    /// Failed background refreshes.
    pub refresh_failures: u64,
    /// First contacts that found a policy.
    pub first_contacts: u64,
    /// First contacts that let mail through because DNS did not answer (row H1-04).
    pub unverified_first_contacts: u64,
    /// Look-ups by result.
    pub lookups: Lookups,
    /// Fetches begun.
    pub fetches: u64,
    /// Fetches that failed.
    pub fetch_failures: u64,
    /// Fetches running now, but for background refreshes (row H2-29).
    pub fetches_in_flight: u64,
    /// Background refreshes running now.
    pub refreshes_in_flight: u64,
    /// Answers "no policy" held in memory; these alone may be evicted.
    pub negative_entries: u64,
}

/// Look-ups of a policy domain by result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// A policy fetched in that look-up.
    pub live: u64,
    /// The cached policy, the record being as expected.
    pub cache: u64,
    /// The cached policy because record or fetch failed.
    pub fallback: u64,
    /// No record.
    pub none: u64,
    /// A record that cannot be used.
    pub unusable: u64,
    /// A record whose policy could not be fetched.
    pub fetch_failed: u64,
    /// DNS did not answer, or a policy that has run out may not be fetched again yet: wait.
    pub wait: u64,
    /// DNS did not answer for too long: let through.
    pub unknown: u64,
}

/// The live counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) fetches: AtomicU64,
    pub(crate) fetch_failures: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) refresh_failures: AtomicU64,
    pub(crate) first_contacts: AtomicU64,
    pub(crate) unverified: AtomicU64,
    in_flight: AtomicU64,
    refreshing: AtomicU64,
    live: AtomicU64,
    cache: AtomicU64,
    fallback: AtomicU64,
    none: AtomicU64,
    unusable: AtomicU64,
    fetch_failed: AtomicU64,
    wait: AtomicU64,
    unknown: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Policy(a) if a.fallback.is_some() => &self.fallback,
            Outcome::Policy(a) => match a.from {
                Origin::Live => &self.live,
                Origin::Cache => &self.cache,
            },
            Outcome::NoPolicy(NoPolicy::Record(why)) if why.is_of_a_record() => &self.unusable,
            Outcome::NoPolicy(NoPolicy::Record(_)) => &self.none,
            Outcome::NoPolicy(NoPolicy::Fetch { .. }) => &self.fetch_failed,
            Outcome::NoPolicy(NoPolicy::Unknown { .. }) => &self.unknown,
            Outcome::Wait { .. } => &self.wait,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a fetch as running until dropped.
    pub(crate) fn running(&self, in_background: bool) -> Running<'_> {
        let counter = if in_background {
            &self.refreshing
        } else {
            &self.in_flight
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Running(counter)
    }

    pub(crate) fn fill(&self, stats: &mut Stats) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        stats.fetches = get(&self.fetches);
        stats.fetch_failures = get(&self.fetch_failures);
        stats.fetches_in_flight = get(&self.in_flight);
        stats.refreshes_in_flight = get(&self.refreshing);
        stats.expired = get(&self.expired);
        stats.refresh_failures = get(&self.refresh_failures);
        stats.first_contacts = get(&self.first_contacts);
        stats.unverified_first_contacts = get(&self.unverified);
        stats.lookups = Lookups {
            live: get(&self.live),
            cache: get(&self.cache),
            fallback: get(&self.fallback),
            none: get(&self.none),
            unusable: get(&self.unusable),
            fetch_failed: get(&self.fetch_failed),
            wait: get(&self.wait),
            unknown: get(&self.unknown),
        };
    }
}

pub(crate) struct Running<'a>(&'a AtomicU64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
