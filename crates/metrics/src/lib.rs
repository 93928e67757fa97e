//! What is counted, and how it is shown to Prometheus: one table of families, from which registration
//! and `docs/metrics.md` are made.

mod exposition;
mod metrics;

pub use exposition::negotiated;
pub use metrics::{
    Cap, ClientIncident, ConnectionLimit, DaneResult, DnsResult, DnsSeries, DnsType,
    HistogramSnapshot, Label, LoginResult, Metrics, PolicyLookup, PolicyMode, PolicyModes,
    QueueState, ReportResult, Resource, SessionResult, Snapshot, SpanResult, Stage, Store,
    TlsResult, TlsVersion, Usage, Verified, metrics_markdown,
};
