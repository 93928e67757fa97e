//! Metrics as a scraper asks for them: OpenMetrics, or the text that was there before (Prometheus,
//! "Exposition formats"), which everything reads.

use std::collections::BTreeSet;

/// Content type and text for who accepts this; `text` is OpenMetrics.
#[must_use]
pub fn negotiated(accept: Option<&str>, text: String) -> (&'static str, String) {
    if accept.is_some_and(|types| types.contains("application/openmetrics-text")) {
        return (OPENMETRICS, text);
    }
    (PROMETHEUS, classic(&text))
}

/// There counters are described by the names of their samples, and nothing marks the end.
fn classic(openmetrics: &str) -> String {
    let counters: BTreeSet<&str> = openmetrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut out = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), _, _) => continue,
            (Some("#"), Some(kind), Some(name), Some(text)) if counters.contains(name) => {
                out.extend(["# ", kind, " ", name, "_total ", text]);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a Sent # so far.\n# TYPE a counter\na_total{x=\"# TYPE a\"} 1\n\
                        # HELP b_seconds Wait.\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\n\
                        b_seconds 2\n# EOF\n";

    #[test]
    fn who_does_not_ask_for_openmetrics_gets_what_everything_reads() {
        let old = "# HELP a_total Sent # so far.\n# TYPE a_total counter\n\
                   a_total{x=\"# TYPE a\"} 1\n# HELP b_seconds Wait.\n# TYPE b_seconds gauge\n\
                   b_seconds 2\n";
        for accept in [None, Some("*/*"), Some("text/plain;version=0.0.4")] {
            assert_eq!(negotiated(accept, TEXT.into()), (PROMETHEUS, old.into()));
        }
        let both = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
        assert_eq!(
            negotiated(Some(both), TEXT.into()),
            (OPENMETRICS, TEXT.into())
        );
    }
}
