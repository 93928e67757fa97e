//! Counters of look-ups, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// MX records.
    Mx,
    /// A and AAAA records, as one look-up.
    Address,
    /// TXT records.
    Txt,
    /// TLSA records.
    Tlsa,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// With records.
    Answer,
    /// NXDOMAIN.
    NoSuchName,
    /// No records of the type.
    NoRecords,
    /// SERVFAIL, time-out and the like.
    Temporary,
    /// DNSSEC validation failed.
    Bogus,
}

/// The look-ups of one kind and outcome since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// What was asked for.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// Look-ups, cached ones included.
    pub count: u64,
    /// Time they took, in all.
    pub time: Duration,
    /// Look-ups that took at most the same entry of [`BUCKETS`]; not cumulative, the last entry
    /// counts those that took longer than all.
    pub buckets: [u64; BUCKETS.len() + 1],
}

/// A snapshot of all counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// One entry for each kind and outcome, in a fixed order.
    pub series: Vec<Series>,
    /// Questions answered from memory, without a query.
    pub cache_hits: u64,
    /// Questions put to a name server.
    pub queries: u64,
}

impl Stats {
    /// The look-ups of one kind that ended so.
    #[must_use]
    pub fn count(&self, kind: Kind, outcome: Outcome) -> u64 {
        self.series
            .iter()
            .filter(|s| s.kind == kind && s.outcome == outcome)
            .map(|s| s.count)
            .sum()
    }
}

/// Upper bounds of the time buckets.
pub const BUCKETS: [Duration; 8] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// The live counters.
#[derive(Debug, Default)]
pub struct Counters {
    cells: [[Cell; OUTCOMES.len()]; KINDS.len()],
    /// Questions answered from memory.
    pub cache_hits: AtomicU64,
    /// Questions put to a name server.
    pub queries: AtomicU64,
}

#[derive(Debug, Default)]
struct Cell {
    micros: AtomicU64,
    buckets: [AtomicU64; BUCKETS.len() + 1],
}

impl Counters {
    /// One look-up has ended.
    pub fn record(&self, kind: Kind, outcome: Outcome, took: Duration) {
        let cell = &self.cells[kind as usize][outcome as usize];
        let bucket = BUCKETS.partition_point(|bound| *bound < took);
        cell.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        cell.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// All of them at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Stats {
        let mut series = Vec::with_capacity(KINDS.len() * OUTCOMES.len());
        for kind in KINDS {
            for outcome in OUTCOMES {
                let cell = &self.cells[kind as usize][outcome as usize];
                let buckets = std::array::from_fn(|i| cell.buckets[i].load(Ordering::Relaxed));
                series.push(Series {
                    kind,
                    outcome,
                    count: buckets.iter().sum(),
                    time: Duration::from_micros(cell.micros.load(Ordering::Relaxed)),
                    buckets,
                });
            }
        }
        Stats {
            series,
            cache_hits: self.cache_hits.load(Ordering::Relaxed),
            queries: self.queries.load(Ordering::Relaxed),
        }
    }
}

const KINDS: [Kind; 4] = [Kind::Mx, Kind::Address, Kind::Txt, Kind::Tlsa];
const OUTCOMES: [Outcome; 5] = [
    Outcome::Answer,
    Outcome::NoSuchName,
    Outcome::NoRecords,
    Outcome::Temporary,
    Outcome::Bogus,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_kind_outcome_and_time() {
        let counters = Counters::default();
        counters.record(Kind::Mx, Outcome::Answer, Duration::from_millis(1));
        counters.record(Kind::Mx, Outcome::Answer, Duration::from_secs(60));
        counters.record(Kind::Txt, Outcome::Temporary, Duration::from_millis(2));
        let stats = counters.snapshot();
        assert_eq!(stats.count(Kind::Mx, Outcome::Answer), 2);
        assert_eq!(stats.count(Kind::Txt, Outcome::Temporary), 1);
        assert_eq!(stats.count(Kind::Txt, Outcome::Answer), 0);
        let mx = stats.series[0];
        assert_eq!((mx.buckets[0], mx.buckets[BUCKETS.len()]), (1, 1));
        assert_eq!(mx.time, Duration::from_millis(60_001));
    }
}
