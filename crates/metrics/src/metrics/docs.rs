//! The documentation of all metrics, made from the table that the code uses.

use std::fmt::Write;

use super::families::{ALL, Kind, LIMIT};
use super::labels::{Cap, Label, Resource};

/// The text of `docs/metrics.md`.
#[must_use]
pub fn metrics_markdown() -> String {
    let mut out = String::from(HEAD);
    for family in ALL {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = write!(out, "\n## {}\n\n{}\n\n", family.full_name(), family.meaning);
        let _ = match family.labels {
            [] => writeln!(out, "- A {kind} without labels"),
            labels => writeln!(out, "- A {kind}, labels: `{}`", labels.join("`, `")),
        };
        if !family.alert.is_empty() {
            let _ = writeln!(out, "- Alert on: {}", family.alert);
        }
        if family.full_name() == LIMIT.full_name() {
            out.push_str(&caps());
        }
    }
    out
}

/// What has a cap, and what sets it.
fn caps() -> String {
    let mut out = String::from("\n| `resource` | cap |\n|---|---|\n");
    for resource in Resource::ALL {
        let _ = match resource.cap() {
            Cap::Key(key) => writeln!(out, "| `{}` | `{key}` |", resource.key()),
            Cap::Fixed(what) => writeln!(out, "| `{}` | {what} |", resource.key()),
        };
    }
    out
}

const HEAD: &str = "\
# Metrics

Served at `/metrics` on `admin.http`, in the text format of OpenMetrics, which Prometheus reads. Times are in seconds,
sizes in octets. The values of labels come from fixed sets; there is never an address, a domain or an id among them: for
those, see the log and `sealpost queue summary`. The values of `reason` are explained in [reasons.md](reasons.md).

Counters begin at 0 when the process starts.

<!-- Made from crates/metrics/src/metrics/families.rs by its tests: UPDATE=1 cargo test -p metrics -->
";
