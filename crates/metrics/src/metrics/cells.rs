//! Metrics in arrays indexed by enums.

use std::marker::PhantomData;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as PromFamily;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::families::Family;
use super::labels::Label;

/// One metric for each value of a label.
#[derive(Debug)]
pub(super) struct Cells<L, M> {
    cells: Vec<M>,
    /// Counted where a label's table has a hole, which a test excludes.
    none: M,
    label: PhantomData<L>,
}

impl<L: Label, M: Default> Cells<L, M> {
    pub(super) fn from_fn(make: impl Fn(L) -> M) -> Self
    where
        M: Default,
    {
        Self::with(make, M::default())
    }
}

impl<L: Label, M> Cells<L, M> {
    fn with(make: impl Fn(L) -> M, none: M) -> Self {
        Self {
            cells: L::ALL.iter().map(|l| make(*l)).collect(),
            none,
            label: PhantomData,
        }
    }

    pub(super) fn at(&self, label: L) -> &M {
        self.cells.get(label.index()).unwrap_or(&self.none)
    }
}

/// Label sets of one and two labels.
type One = [(&'static str, &'static str); 1];
type Two = [(&'static str, &'static str); 2];

/// A counter without labels.
pub(super) fn counter(registry: &mut Registry, family: &Family) -> Counter {
    let counter = Counter::default();
    add(registry, family, counter.clone());
    counter
}

/// A counter for each value of the family's one label.
pub(super) fn register<L: Label>(registry: &mut Registry, family: &Family) -> Cells<L, Counter> {
    let metrics = PromFamily::<One, Counter>::default();
    add(registry, family, metrics.clone());
    let name = family.label(0);
    Cells::from_fn(|l: L| metrics.get_or_create_owned(&[(name, l.key())]))
}

/// A histogram of seconds for each value of the family's one label.
pub(super) fn histograms<L: Label>(
    registry: &mut Registry,
    family: &Family,
) -> Cells<L, Histogram> {
    let metrics: PromFamily<One, Histogram, fn() -> Histogram> =
        PromFamily::new_with_constructor(delivery_histogram);
    add(registry, family, metrics.clone());
    let name = family.label(0);
    Cells::with(
        |l: L| metrics.get_or_create_owned(&[(name, l.key())]),
        delivery_histogram(),
    )
}

/// A family of counters with two labels, filled by the caller.
pub(super) fn family2(registry: &mut Registry, family: &Family) -> PromFamily<Two, Counter> {
    let metrics = PromFamily::<Two, Counter>::default();
    add(registry, family, metrics.clone());
    metrics
}

fn add(registry: &mut Registry, family: &Family, metric: impl Metric) {
    // The registry ends the help text with a full stop of its own.
    let help = family.meaning.trim_end_matches('.');
    match family.unit {
        Some(unit) => {
            registry.register_with_unit(family.name, help, Unit::Other(unit.into()), metric);
        }
        None => registry.register(family.name, help, metric),
    }
}

fn delivery_histogram() -> Histogram {
    Histogram::new(SECONDS)
}

/// From a quick connection to a message that waited for days.
const SECONDS: [f64; 16] = [
    0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0,
    86_400.0, 432_000.0,
];
