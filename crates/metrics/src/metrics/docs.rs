//! The documentation of all metrics, made from the table that the code uses.

use std::fmt::Write;

use super::families::{ALL, Kind, LIMIT, Named, Values};
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
            labels => {
                let names: Vec<_> = labels.iter().map(|l| format!("`{}`", l.name)).collect();
                writeln!(out, "- A {kind}, labels: {}", names.join(", "))
            }
        };
        let (tables, lines): (Vec<_>, Vec<_>) = family
            .labels
            .iter()
            .map(values)
            .partition(|text| text.starts_with('\n'));
        out.extend(lines);
        if !family.alert.is_empty() {
            let _ = writeln!(out, "- Alert on: {}", family.alert);
        }
        if family.full_name() == LIMIT.full_name() {
            out.push_str(&caps());
        } else {
            out.extend(tables);
        }
    }
    out
}

/// The values of a label: a table if it says what they mean, else one line.
fn values(label: &Named) -> String {
    let name = label.name;
    let all = match label.values {
        Values::Elsewhere(words) => return format!("- `{name}`: {words}\n"),
        Values::Set(all) => all(),
    };
    if all.iter().any(|(_, meaning)| meaning.is_empty()) {
        let keys: Vec<_> = all.iter().map(|(key, _)| format!("`{key}`")).collect();
        return format!("- `{name}`: {}\n", keys.join(", "));
    }
    let mut out = format!("\n| `{name}` | meaning |\n|---|---|\n");
    for (key, meaning) in all {
        let _ = writeln!(out, "| `{key}` | {} |", meaning.trim_end_matches('.'));
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
those, see the log and `sealpost queue summary`. Each family names the values of its labels; the keys of `reason` are explained in
[reasons.md](reasons.md), those of `cause` in [events.md](events.md#messagerefused).

Counters begin at 0 when the process starts.

<!-- Made from crates/metrics/src/metrics/families.rs by its tests: UPDATE=1 cargo test -p metrics -->
";
