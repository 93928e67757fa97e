//! Counters for whoever serves metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters since the journal was opened.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Groups appended and synced.
    pub groups: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written to segments.
    pub bytes_written: u64,
    /// Gathered writes.
    pub writes: u64,
    /// Seconds per `fdatasync` of a segment.
    pub sync_seconds: Histogram,
    /// Groups per sync (the size of a group commit).
    pub groups_per_sync: Histogram,
    /// Bytes per sync.
    pub bytes_per_sync: Histogram,
    /// Bytes that wait for the writer now.
    pub waiting_bytes: u64,
    /// Groups that wait for the writer now.
    pub waiting_groups: u64,
    /// Bytes in all segments now.
    pub segment_bytes: u64,
    /// Segments now.
    pub segments: u64,
    /// Segments begun since opening.
    pub segments_created: u64,
    /// Segments removed since opening.
    pub segments_removed: u64,
    /// Groups refused because the disk was full.
    pub refused_full: u64,
    /// Records or bodies found damaged when read.
    pub damaged_bodies: u64,
}

/// A histogram with fixed bounds, as Prometheus has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bound of each bucket and how many observations are at or below it (cumulative), smallest first.
    pub buckets: Vec<(f64, u64)>,
    /// All observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

/// The live counters.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) groups: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) sync_seconds: Buckets,
    pub(crate) groups_per_sync: Buckets,
    pub(crate) bytes_per_sync: Buckets,
    pub(crate) segments_created: AtomicU64,
    pub(crate) segments_removed: AtomicU64,
    pub(crate) refused_full: AtomicU64,
    pub(crate) damaged_bodies: AtomicU64,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            groups: AtomicU64::new(0),
            records: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            sync_seconds: Buckets::new(SYNC_BOUNDS),
            groups_per_sync: Buckets::new(GROUP_BOUNDS),
            bytes_per_sync: Buckets::new(BYTE_BOUNDS),
            segments_created: AtomicU64::new(0),
            segments_removed: AtomicU64::new(0),
            refused_full: AtomicU64::new(0),
            damaged_bodies: AtomicU64::new(0),
        }
    }

    /// Everything that is counted here; what waits and what is stored the caller fills in.
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            groups: self.groups.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            bytes_written: self.bytes_written.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            sync_seconds: self.sync_seconds.snapshot(1e9),
            groups_per_sync: self.groups_per_sync.snapshot(1.0),
            bytes_per_sync: self.bytes_per_sync.snapshot(1.0),
            segments_created: self.segments_created.load(Ordering::Relaxed),
            segments_removed: self.segments_removed.load(Ordering::Relaxed),
            refused_full: self.refused_full.load(Ordering::Relaxed),
            damaged_bodies: self.damaged_bodies.load(Ordering::Relaxed),
            ..Stats::default()
        }
    }
}

/// The live form of a histogram over whole numbers (nanoseconds, groups, bytes).
#[derive(Debug)]
pub(crate) struct Buckets {
    bounds: &'static [u64],
    counts: Vec<AtomicU64>,
    above: AtomicU64,
    sum: AtomicU64,
}

impl Buckets {
    pub(crate) fn new(bounds: &'static [u64]) -> Self {
        let counts = bounds.iter().map(|_| AtomicU64::new(0)).collect();
        Self {
            bounds,
            counts,
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    pub(crate) fn observe(&self, value: u64) {
        let bucket = self
            .bounds
            .iter()
            .position(|&bound| value <= bound)
            .and_then(|i| self.counts.get(i));
        bucket
            .unwrap_or(&self.above)
            .fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(crate) fn observe_duration(&self, value: Duration) {
        self.observe(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX));
    }

    /// `unit` is how many of the whole numbers make one of the histogram's.
    pub(crate) fn snapshot(&self, unit: f64) -> Histogram {
        let mut so_far = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for (&bound, count) in self.bounds.iter().zip(&self.counts) {
            so_far += count.load(Ordering::Relaxed);
            buckets.push((bound as f64 / unit, so_far));
        }
        let count = so_far + self.above.load(Ordering::Relaxed);
        Histogram {
            buckets,
            count,
            sum: self.sum.load(Ordering::Relaxed) as f64 / unit,
        }
    }
}

/// 100 µs to 10 s, in nanoseconds.
const SYNC_BOUNDS: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
const GROUP_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096];
const BYTE_BOUNDS: &[u64] = &[
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    16 << 20,
    64 << 20,
];

#[cfg(test)]
mod tests {
    use super::Buckets;

    #[test]
    fn buckets_are_cumulative_and_what_is_above_counts() {
        let buckets = Buckets::new(&[10, 20]);
        for value in [10, 11, 20, 21] {
            buckets.observe(value);
        }
        let histogram = buckets.snapshot(10.0);
        assert_eq!(histogram.buckets, [(1.0, 1), (2.0, 3)]);
        assert_eq!((histogram.count, histogram.sum), (4, 6.2));
    }
}
