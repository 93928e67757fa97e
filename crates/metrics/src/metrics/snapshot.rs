//! What other parts of the process know, asked for at each scrape.

use std::time::Duration;

use super::labels::{DnsResult, DnsType, PolicyLookup, QueueState, Resource, Store};

/// The state of everything that keeps count of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Messages by what they are doing.
    pub queue: Vec<(QueueState, u64)>,
    /// Age of the oldest message.
    pub oldest_message_age: Option<Duration>,
    /// Policies in force.
    pub policies: PolicyModes,
    /// Look-ups of policies since the start.
    pub policy_lookups: Vec<(PolicyLookup, u64)>,
    /// Until the first policy expires whose refresh failed or is overdue.
    pub soonest_unrefreshed_expiry: Option<Duration>,
    /// Policies whose failing refresh needs an operator.
    pub policies_at_risk: u64,
    /// Policies that ran out for want of a refresh, since the start.
    pub policies_expired: u64,
    /// Failed refreshes since the start.
    pub policy_refresh_failures: u64,
    /// Policies met for the first time since the start.
    pub first_contacts: u64,
    /// Domains that got mail although DNS did not say whether they have a policy.
    pub unverified_first_contacts: u64,
    /// DNS look-ups since the start.
    pub dns: Vec<DnsSeries>,
    /// Whether the path to DNS carries DNSSEC.
    pub dnssec_available: bool,
    /// Whether NXDOMAIN is not believed now.
    pub dns_doubted: bool,
    /// Seconds per fdatasync of the queue's journal.
    pub fsync: HistogramSnapshot,
    /// Appends per fdatasync.
    pub group_commit: HistogramSnapshot,
    /// Octets on disk.
    pub stores: Vec<(Store, u64)>,
    /// Whether the queue takes mail.
    pub queue_healthy: bool,
    /// Records found damaged since the start.
    pub damaged_records: u64,
    /// What has a cap.
    pub usage: Vec<Usage>,
    /// Listeners with TLS by name, and when the first of their certificates ends, in seconds since
    /// 1970. Names come from the configuration alone: there are as many as listeners.
    pub certificates: Vec<(String, u64)>,
    /// The configuration on disk was refused by the last reload.
    pub last_reload_failed: bool,
    /// Keys whose new values wait for a restart.
    pub keys_need_restart: u64,
    /// Seconds since 1970 at which the process started.
    pub started_at: u64,
}

/// Policies in force, by mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyModes {
    /// `enforce`.
    pub enforce: u64,
    /// `testing`.
    pub testing: u64,
    /// `none`.
    pub none: u64,
}

/// The DNS look-ups of one type and result.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsSeries {
    /// What was asked.
    pub kind: DnsType,
    /// How it ended.
    pub result: DnsResult,
    /// Seconds.
    pub seconds: HistogramSnapshot,
}

/// How much of something is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Of what.
    pub resource: Resource,
    /// How much.
    pub in_use: u64,
    /// The cap; `None` if there is none.
    pub limit: Option<u64>,
}

/// A histogram that was filled elsewhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bound of each bucket and the observations in that bucket alone, smallest first; the
    /// last bound is infinity.
    pub(super) buckets: Vec<(f64, u64)>,
    pub(super) count: u64,
    pub(super) sum: f64,
}

impl HistogramSnapshot {
    /// From observations per bucket: `counts` has one entry more than `bounds`, for what is above
    /// all bounds.
    #[must_use]
    pub fn from_counts(bounds: &[f64], counts: &[u64], sum: f64) -> Self {
        let ends = bounds.iter().copied().chain([f64::INFINITY]);
        Self {
            buckets: ends
                .zip(counts.iter().copied().chain(std::iter::repeat(0)))
                .collect(),
            count: counts.iter().take(bounds.len() + 1).sum(),
            sum,
        }
    }

    /// From cumulative buckets, as Prometheus shows them: each counts what is at or below its bound.
    #[must_use]
    pub fn from_cumulative(cumulative: &[(f64, u64)], count: u64, sum: f64) -> Self {
        let mut below = 0;
        let mut buckets = Vec::with_capacity(cumulative.len() + 1);
        for &(bound, so_far) in cumulative.iter().filter(|(b, _)| b.is_finite()) {
            buckets.push((bound, so_far.saturating_sub(below)));
            below = so_far.max(below);
        }
        buckets.push((f64::INFINITY, count.saturating_sub(below)));
        Self {
            buckets,
            count: count.max(below),
            sum,
        }
    }
}
