//! The last day in samples of a minute, in memory: a ring that never grows beyond it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use admin::{Problem, RecentView};
use attempt::Reason;
use axum::extract::{RawQuery, State};
use axum::response::Json;
use mail_types::Timestamp;
use outbound_queue::{Keyed, QueueStore};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use utoipa::ToSchema;

use crate::api::Api;

/// The ring.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Sample>>);

/// What was counted at one moment. Counters count from the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Seconds since 1970.
    pub at: u64,
    /// Messages that were active, due, deferred, held.
    pub states: [u64; 4],
    /// Waiting mail by reason; from a fixed set.
    pub reasons: Vec<(Keyed<Reason>, u64)>,
    /// Recipients delivered, deferred, bounced.
    pub outcomes: [u64; 3],
    /// Age of the oldest message in seconds.
    pub oldest: u64,
    /// Octets of the queue on disk.
    pub store: u64,
}

/// `GET /v1/history`: columns of equal length, oldest first.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct HistoryView {
    /// Seconds between samples.
    pub interval: u64,
    /// Seconds since 1970.
    pub at: Vec<u64>,
    /// Messages by state: `active`, `queued`, `deferred`, `held`.
    pub states: BTreeMap<String, Vec<u64>>,
    /// Waiting mail by reason.
    pub reasons: BTreeMap<String, Vec<u64>>,
    /// Recipients by outcome since the sample before: `delivered`, `deferred`, `bounced`.
    pub outcomes: BTreeMap<String, Vec<u64>>,
    /// Age of the oldest message in seconds.
    pub oldest: Vec<u64>,
    /// Octets of the queue on disk.
    pub store: Vec<u64>,
}

impl History {
    /// Adds a sample; beyond a day the oldest goes.
    pub fn push(&self, sample: Sample) {
        let mut ring = self.0.lock();
        if ring.len() >= SAMPLES {
            ring.pop_front();
        }
        ring.push_back(sample);
    }

    /// What became of recipients between the samples of the last minutes; none before there are two.
    #[must_use]
    pub fn recently(&self) -> Option<RecentView> {
        let ring = self.0.lock();
        let last = ring.back()?;
        let first = ring.get(ring.len().saturating_sub(RECENT))?;
        let seconds = last.at.checked_sub(first.at).filter(|s| *s > 0)?;
        let since = |k: usize| last.outcomes[k].saturating_sub(first.outcomes[k]);
        Some(RecentView {
            delivered: since(0),
            deferred: since(1),
            bounced: since(2),
            seconds,
            until: Timestamp::from_secs(last.at).rfc3339(),
        })
    }

    /// The last `minutes` in columns.
    #[must_use]
    pub fn view(&self, minutes: usize) -> HistoryView {
        let ring = self.0.lock();
        let skip = ring.len().saturating_sub(minutes);
        let mut view = HistoryView {
            interval: EVERY.as_secs(),
            ..HistoryView::default()
        };
        let mut before = skip.checked_sub(1).and_then(|n| ring.get(n));
        for (n, sample) in ring.iter().skip(skip).enumerate() {
            view.at.push(sample.at);
            view.oldest.push(sample.oldest);
            view.store.push(sample.store);
            for (name, count) in STATES.iter().zip(sample.states) {
                column(&mut view.states, name, n).push(count);
            }
            for (reason, count) in &sample.reasons {
                column(&mut view.reasons, reason.key(), n).push(*count);
            }
            for (k, name) in OUTCOMES.iter().enumerate() {
                let of = |s: &Sample| s.outcomes.get(k).copied().unwrap_or_default();
                let since = before.map_or(0, |before| of(sample).saturating_sub(of(before)));
                column(&mut view.outcomes, name, n).push(since);
            }
            before = Some(sample);
        }
        let length = view.at.len();
        for values in view.reasons.values_mut() {
            values.resize(length, 0);
        }
        view
    }
}

/// A column that has as many values as there were samples before this one.
fn column<'a>(
    columns: &'a mut BTreeMap<String, Vec<u64>>,
    name: &str,
    length: usize,
) -> &'a mut Vec<u64> {
    let column = columns.entry(name.to_owned()).or_default();
    column.resize(length, 0);
    column
}

impl<S: QueueStore> Api<S> {
    /// Takes a sample each minute, for ever.
    pub async fn keep_history(self) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tick.tick().await;
            self.history.push(self.sample());
        }
    }

    fn sample(&self) -> Sample {
        let now = self.control.now();
        let queue = self.control.queue.stats(now);
        let (delivered, deferred, bounced) = self.control.daemon.counts();
        Sample {
            at: now.wall.as_secs(),
            states: [queue.active, queue.due, queue.deferred, queue.held],
            reasons: queue.reasons,
            outcomes: [delivered, deferred, bounced],
            oldest: queue
                .oldest
                .map_or(0, |(_, at)| now.wall.since(at).as_secs()),
            store: queue.disk_bytes,
        }
    }
}

/// The last day, minute by minute; the last value is at most a minute old.
#[utoipa::path(get, path = "/v1/history", tag = "process", params(
    ("minutes" = Option<u64>, Query, description = "How far back: 1440 unless told, which is all there is."),
), responses(
    (status = 200, description = "Columns of equal length.", body = HistoryView),
    (status = 400, description = "Not a number.", body = admin::ProblemDetails),
))]
pub(crate) async fn show<S: QueueStore>(
    State(api): State<Api<S>>,
    RawQuery(query): RawQuery,
) -> Result<Json<HistoryView>, Problem> {
    let minutes = match query.as_deref().and_then(|query| query.split_once('=')) {
        None => SAMPLES,
        Some((name, value)) => value
            .parse()
            .map_err(|_| Problem::parameter(name, format!("{value:?} is no number")))?,
    };
    Ok(Json(api.history.view(minutes)))
}

/// A day.
const SAMPLES: usize = 1440;
/// Samples for what was lately.
const RECENT: usize = 5;
const EVERY: Duration = Duration::from_secs(60);
const STATES: [&str; 4] = ["active", "queued", "deferred", "held"];
const OUTCOMES: [&str; 3] = ["delivered", "deferred", "bounced"];

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(n: u64, reasons: &[(&str, u64)]) -> Sample {
        Sample {
            at: n * 60,
            states: [n, 0, 2 * n, 0],
            outcomes: [10 * n, n, 0],
            reasons: reasons
                .iter()
                .map(|(r, c)| (Keyed::from_key(r), *c))
                .collect(),
            ..Sample::default()
        }
    }

    #[test]
    fn columns_are_of_equal_length_and_counters_are_differences() {
        let history = History::default();
        history.push(sample(1, &[]));
        history.push(sample(2, &[("timeout", 5)]));
        history.push(sample(4, &[("connect", 1)]));
        let view = history.view(SAMPLES);
        assert_eq!(view.at, [60, 120, 240]);
        assert_eq!(view.states["deferred"], [2, 4, 8]);
        assert_eq!(view.reasons["timeout"], [0, 5, 0]);
        assert_eq!(view.reasons["connect"], [0, 0, 1]);
        assert_eq!(view.outcomes["delivered"], [0, 10, 20]);
        let last = history.view(1);
        assert_eq!(
            (last.at, &*last.outcomes["delivered"]),
            (vec![240], &[20][..])
        );
        assert!(!last.reasons.contains_key("timeout"));
    }

    #[test]
    fn what_was_lately_is_a_difference_over_five_samples_at_most() {
        let history = History::default();
        assert_eq!(history.recently(), None);
        history.push(sample(1, &[]));
        assert_eq!(history.recently(), None);
        for n in 2..=8 {
            history.push(sample(n, &[]));
        }
        let recent = history.recently().unwrap();
        let counts = (recent.delivered, recent.deferred, recent.bounced);
        assert_eq!((counts, recent.seconds), ((40, 4, 0), 240));
        assert_eq!(recent.until, "1970-01-01T00:08:00.000Z");
    }

    #[test]
    fn the_ring_holds_a_day() {
        let history = History::default();
        for n in 0..2000 {
            history.push(sample(n, &[]));
        }
        let view = history.view(usize::MAX);
        assert_eq!(
            (view.at.len(), view.at.last()),
            (SAMPLES, Some(&(1999 * 60)))
        );
    }
}
