//! What the parts keep count of, gathered at each scrape.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use delivery::Delivery;
use event_log::EventLog;
use metrics::{
    DnsResult, DnsSeries, DnsType, HistogramSnapshot, Metrics, PolicyLookup, PolicyModes,
    QueueState, Resource, Snapshot, Store, Usage,
};
use outbound_queue::{EmbeddedStore, Now, QueueStore};
use policy_cache::{Clock, PolicyCache};
use resolver::{BUCKETS, DnsResolver, Kind, Outcome};
use smtp_server::Reins;

use super::certificates::Certificates;
use super::descriptors;
use super::observe::Counts;

/// Everything that is asked. The policy cache and the engine are missing while the policy store is
/// lost.
pub(crate) struct Sources {
    pub(crate) queue: Arc<EmbeddedStore>,
    pub(crate) delivery: Option<(Delivery<EmbeddedStore>, PolicyCache)>,
    pub(crate) resolver: Arc<DnsResolver>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) log: EventLog,
    pub(crate) started_at: u64,
    pub(crate) inbound: Reins,
    pub(crate) limits: settings::Queue,
    pub(crate) certificates: Certificates,
}

/// Metrics whose sources are named once they exist: the parts need the metrics first.
pub(crate) fn metrics() -> (Arc<Metrics>, Arc<OnceLock<Sources>>) {
    let sources: Arc<OnceLock<Sources>> = Arc::default();
    let asked = Arc::clone(&sources);
    let metrics = Metrics::new(move || {
        asked
            .get()
            .map_or_else(Snapshot::default, Sources::snapshot)
    });
    (Arc::new(metrics), sources)
}

impl Sources {
    fn snapshot(&self) -> Snapshot {
        let now = Now {
            wall: self.clock.wall(),
            monotonic: self.clock.monotonic(),
        };
        let queue = self.queue.stats(now);
        let health = self.queue.health();
        let journal = self.queue.journal_stats();
        let (waiting, most) = self.log.waiting();
        let histogram =
            |h: &journal::Histogram| HistogramSnapshot::from_cumulative(&h.buckets, h.count, h.sum);
        let mut snapshot = Snapshot {
            queue: vec![
                (QueueState::Due, queue.due),
                (QueueState::Active, queue.active),
                (QueueState::Deferred, queue.deferred),
                (QueueState::Held, queue.held),
            ],
            oldest_message_age: queue.oldest.map(|(_, at)| now.wall.since(at)),
            dns: self.dns(),
            dnssec_available: *self.resolver.path().borrow() == resolver::Path::Carries,
            dns_doubted: self.counts.dns_doubted.load(Ordering::Relaxed),
            fsync: histogram(&journal.sync_seconds),
            group_commit: histogram(&journal.groups_per_sync),
            stores: vec![(Store::Queue, queue.disk_bytes)],
            queue_healthy: health.failed.is_none() && health.full.is_none(),
            damaged_records: health.damaged_records,
            started_at: self.started_at,
            certificates: self.certificates(),
            usage: vec![
                usage(
                    Resource::InboundConnections,
                    self.counts.clients.load(Ordering::Relaxed),
                    Some(self.inbound.limits().connections as u64),
                ),
                descriptors::usage(),
                usage(Resource::LogBytes, waiting as u64, Some(most as u64)),
                usage(
                    Resource::InboundContent,
                    self.inbound.content_memory().used(),
                    Some(self.inbound.content_memory().limit()),
                ),
                usage(
                    Resource::BodyBytes,
                    queue.memory_bytes,
                    Some(self.limits.body_memory),
                ),
                usage(
                    Resource::MessagesInMemory,
                    queue.messages_in_memory,
                    Some(self.limits.messages_in_memory as u64),
                ),
                usage(
                    Resource::JournalBytes,
                    journal.waiting_bytes,
                    Some(self.limits.journal_memory),
                ),
            ],
            ..Snapshot::default()
        };
        self.last_reload(&mut snapshot);
        if let Some((delivery, policies)) = &self.delivery {
            let active = delivery.active() as u64;
            let limit = Some(delivery.settings().connections as u64);
            for (resource, in_use) in [
                (Resource::OutboundConnections, active),
                (Resource::Attempts, active),
                (Resource::WaitingForHosts, delivery.aside() as u64),
            ] {
                snapshot.usage.push(usage(resource, in_use, limit));
            }
            let (senders, most) = delivery.notice_senders();
            let senders = usage(Resource::NoticeSenders, senders as u64, Some(most as u64));
            snapshot.usage.push(senders);
            let (lanes, most) = delivery.destinations();
            let lanes = usage(Resource::Destinations, lanes as u64, Some(most as u64));
            snapshot.usage.push(lanes);
            self.policies(policies, &mut snapshot);
        }
        snapshot
    }

    fn last_reload(&self, snapshot: &mut Snapshot) {
        let last = self.counts.reload.lock();
        snapshot.last_reload_failed = last.failed.is_some();
        snapshot.keys_need_restart = last.needs_restart.len() as u64;
    }

    fn certificates(&self) -> Vec<(String, u64)> {
        let soonest = self.certificates.soonest().into_iter();
        soonest.map(|(name, at)| (name, at.as_secs())).collect()
    }

    fn policies(&self, policies: &PolicyCache, snapshot: &mut Snapshot) {
        let p = policies.stats();
        snapshot.policies = PolicyModes {
            enforce: p.enforce,
            testing: p.testing,
            none: p.none,
        };
        snapshot.policy_lookups = vec![
            (PolicyLookup::Live, p.lookups.live),
            (PolicyLookup::Cache, p.lookups.cache),
            (PolicyLookup::Fallback, p.lookups.fallback),
            (PolicyLookup::None, p.lookups.none),
            (PolicyLookup::Unusable, p.lookups.unusable),
            (PolicyLookup::FetchFailed, p.lookups.fetch_failed),
            (PolicyLookup::Wait, p.lookups.wait),
            (PolicyLookup::Unknown, p.lookups.unknown),
        ];
        snapshot.soonest_unrefreshed_expiry = p.soonest_unrefreshed_expiry;
        snapshot.policies_at_risk = p.at_risk;
        snapshot.policies_expired = p.expired;
        snapshot.policy_refresh_failures = p.refresh_failures;
        snapshot.first_contacts = p.first_contacts;
        snapshot.unverified_first_contacts = p.unverified_first_contacts;
        let [mail, background] = policies.fetch_limits().map(|most| most as u64);
        snapshot.usage.extend([
            usage(Resource::PolicyFetches, p.fetches_in_flight, Some(mail)),
            usage(
                Resource::PolicyRefreshes,
                p.refreshes_in_flight,
                Some(background),
            ),
        ]);
    }

    fn dns(&self) -> Vec<DnsSeries> {
        let bounds = BUCKETS.map(|b| b.as_secs_f64());
        let series = self.resolver.stats().series;
        series
            .iter()
            .map(|s| DnsSeries {
                kind: match s.kind {
                    Kind::Mx => DnsType::Mx,
                    Kind::Address => DnsType::Address,
                    Kind::Txt => DnsType::Txt,
                    Kind::Tlsa => DnsType::Tlsa,
                },
                result: match s.outcome {
                    Outcome::Answer => DnsResult::Answer,
                    Outcome::NoSuchName => DnsResult::NoSuchName,
                    Outcome::NoRecords => DnsResult::NoRecords,
                    Outcome::Temporary => DnsResult::Temporary,
                    Outcome::Bogus => DnsResult::Bogus,
                },
                seconds: HistogramSnapshot::from_counts(&bounds, &s.buckets, s.time.as_secs_f64()),
            })
            .collect()
    }
}

const fn usage(resource: Resource, in_use: u64, limit: Option<u64>) -> Usage {
    Usage {
        resource,
        in_use,
        limit,
    }
}
