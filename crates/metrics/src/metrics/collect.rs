//! Writes a snapshot at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::families::{self, Family, Kind};
use super::labels::{Label, PolicyMode, Verified};
use super::{HistogramSnapshot, Snapshot, seconds};

/// Asks for a snapshot and encodes it.
pub(super) struct Collect {
    snapshot: Box<dyn Fn() -> Snapshot + Send + Sync>,
}

impl Collect {
    pub(super) fn new(snapshot: impl Fn() -> Snapshot + Send + Sync + 'static) -> Self {
        Self {
            snapshot: Box::new(snapshot),
        }
    }
}

impl fmt::Debug for Collect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collect")
    }
}

impl Collector for Collect {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let s = (self.snapshot)();
        let mut out = Writer(encoder);
        out.by_label(&families::QUEUE_MESSAGES, &s.queue)?;
        let age = s.oldest_message_age.map_or(0.0, seconds);
        out.gauge(&families::OLDEST_MESSAGE_AGE, Some(age))?;
        out.policies(&s)?;
        out.dns(&s)?;
        out.by_key(
            &families::DNSSEC_AVAILABLE,
            &[("", u64::from(s.dnssec_available))],
        )?;
        out.by_key(&families::DNS_DOUBTED, &[("", u64::from(s.dns_doubted))])?;
        out.histogram(&families::FSYNC_SECONDS, &s.fsync)?;
        out.histogram(&families::GROUP_COMMIT_SIZE, &s.group_commit)?;
        out.by_label(&families::STORE_BYTES, &s.stores)?;
        out.by_key(
            &families::QUEUE_HEALTHY,
            &[("", u64::from(s.queue_healthy))],
        )?;
        out.counter(&families::DAMAGED_RECORDS, s.damaged_records)?;
        let in_use: Vec<_> = s.usage.iter().map(|u| (u.resource, u.in_use)).collect();
        out.by_label(&families::IN_USE, &in_use)?;
        let limits: Vec<_> = s
            .usage
            .iter()
            .filter_map(|u| Some((u.resource, u.limit?)))
            .collect();
        out.by_label(&families::LIMIT, &limits)?;
        out.certificates(&s.certificates)?;
        let successful = u64::from(!s.last_reload_failed);
        out.by_key(&families::LAST_RELOAD_SUCCESSFUL, &[("", successful)])?;
        out.by_key(&families::KEYS_NEED_RESTART, &[("", s.keys_need_restart)])?;
        out.by_key(&families::START_TIME, &[("", s.started_at)])
    }
}

struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn policies(&mut self, s: &Snapshot) -> fmt::Result {
        let modes = [
            (PolicyMode::Enforce, s.policies.enforce),
            (PolicyMode::Testing, s.policies.testing),
            (PolicyMode::None, s.policies.none),
        ];
        self.by_label(&families::POLICIES, &modes)?;
        self.by_label(&families::POLICY_LOOKUPS, &s.policy_lookups)?;
        let soonest = s.soonest_unrefreshed_expiry.map(seconds);
        self.gauge(&families::POLICY_SOONEST_EXPIRY, soonest)?;
        self.by_key(&families::POLICIES_AT_RISK, &[("", s.policies_at_risk)])?;
        self.counter(&families::POLICIES_EXPIRED, s.policies_expired)?;
        self.counter(
            &families::POLICY_REFRESH_FAILURES,
            s.policy_refresh_failures,
        )?;
        let contacts = [
            (Verified::Yes, s.first_contacts),
            (Verified::No, s.unverified_first_contacts),
        ];
        self.by_label(&families::POLICY_FIRST_CONTACTS, &contacts)
    }

    fn dns(&mut self, s: &Snapshot) -> fmt::Result {
        let family = &families::DNS_LOOKUP_SECONDS;
        let unit = unit(family);
        let mut metric = self.0.encode_descriptor(
            family.name,
            family.meaning,
            unit.as_ref(),
            MetricType::Histogram,
        )?;
        for series in &s.dns {
            let labels = [
                (family.label(0), series.kind.key()),
                (family.label(1), series.result.key()),
            ];
            buckets(&mut metric.encode_family(&labels)?, &series.seconds)?;
        }
        Ok(())
    }

    fn certificates(&mut self, ends: &[(String, u64)]) -> fmt::Result {
        let family = &families::CERTIFICATE_EXPIRY;
        let unit = unit(family);
        let mut metric = self.0.encode_descriptor(
            family.name,
            family.meaning,
            unit.as_ref(),
            MetricType::Gauge,
        )?;
        for (listener, end) in ends {
            let labels = [(family.label(0), listener.as_str())];
            number(&mut metric.encode_family(&labels)?, family.kind, *end)?;
        }
        Ok(())
    }

    fn by_label<L: Label>(&mut self, family: &Family, values: &[(L, u64)]) -> fmt::Result {
        let values: Vec<_> = values.iter().map(|(l, n)| (l.key(), *n)).collect();
        self.by_key(family, &values)
    }

    fn counter(&mut self, family: &Family, value: u64) -> fmt::Result {
        self.by_key(family, &[("", value)])
    }

    /// Whole numbers; a key of "" stands for no label.
    fn by_key(&mut self, family: &Family, values: &[(&'static str, u64)]) -> fmt::Result {
        let kind = match family.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge | Kind::Histogram => MetricType::Gauge,
        };
        let unit = unit(family);
        let mut metric =
            self.0
                .encode_descriptor(family.name, family.meaning, unit.as_ref(), kind)?;
        for &(key, value) in values {
            if key.is_empty() {
                number(&mut metric, family.kind, value)?;
            } else {
                let labels = [(family.label(0), key)];
                number(&mut metric.encode_family(&labels)?, family.kind, value)?;
            }
        }
        Ok(())
    }

    /// One number, or none.
    fn gauge(&mut self, family: &Family, value: Option<f64>) -> fmt::Result {
        let unit = unit(family);
        let mut metric = self.0.encode_descriptor(
            family.name,
            family.meaning,
            unit.as_ref(),
            MetricType::Gauge,
        )?;
        value.map_or(Ok(()), |v| metric.encode_gauge(&v))
    }

    fn histogram(&mut self, family: &Family, h: &HistogramSnapshot) -> fmt::Result {
        let unit = unit(family);
        let mut metric = self.0.encode_descriptor(
            family.name,
            family.meaning,
            unit.as_ref(),
            MetricType::Histogram,
        )?;
        buckets(&mut metric, h)
    }
}

fn number(metric: &mut MetricEncoder<'_>, kind: Kind, value: u64) -> fmt::Result {
    match kind {
        Kind::Counter => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
        Kind::Gauge | Kind::Histogram => metric.encode_gauge(&value),
    }
}

fn buckets(metric: &mut MetricEncoder<'_>, h: &HistogramSnapshot) -> fmt::Result {
    // A histogram has a bucket for infinity even before anybody filled it.
    let all: &[_] = if h.buckets.is_empty() {
        &[(f64::INFINITY, h.count)]
    } else {
        &h.buckets
    };
    metric.encode_histogram::<NoLabelSet>(h.sum, h.count, all, None)
}

fn unit(family: &Family) -> Option<Unit> {
    family.unit.map(|u| Unit::Other(u.into()))
}
