//! Dashboard and alerts: whatever they name exists, and every alert says where to look.

use std::collections::BTreeSet;

use crate::repository::read;

const DASHBOARD: &str = "deploy/grafana/sealpost.json";
const RULES: &str = "deploy/prometheus/rules.yml";

#[test]
fn every_metric_in_dashboard_and_rules_exists() {
    let documented = headings("docs/metrics.md");
    for file in [DASHBOARD, RULES, "deploy/prometheus/rules_test.yml"] {
        let text = read(file);
        let named = metrics(&text);
        assert!(named.len() > 2, "{file}: {named:?}");
        for name in named {
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|part| name.strip_suffix(part))
                .unwrap_or(&name);
            assert!(
                documented.contains(family),
                "{file}: there is no metric {name}"
            );
        }
    }
}

#[test]
fn what_the_documentation_says_to_alert_on_is_on_the_dashboard_or_alerted_on() {
    let shown = metrics(&(read(DASHBOARD) + &read(RULES)));
    for family in headings("docs/metrics.md") {
        let seen = shown.iter().any(|name| name.starts_with(&family));
        assert!(
            seen,
            "{family} is neither on the dashboard nor in the rules"
        );
    }
}

#[test]
fn every_alert_has_a_runbook_that_leads_somewhere() {
    let text = read(RULES);
    let (metrics, reasons) = (headings("docs/metrics.md"), headings("docs/reasons.md"));
    let mut alerts = 0;
    for alert in text.split("- alert: ").skip(1) {
        alerts += 1;
        let runbook = alert
            .lines()
            .find(|l| l.trim_start().starts_with("runbook:"));
        let runbook = runbook.unwrap_or_else(|| panic!("no runbook:\n{alert}"));
        for (file, known) in [
            ("docs/metrics.md#", &metrics),
            ("docs/reasons.md#", &reasons),
        ] {
            for rest in runbook.split(file).skip(1) {
                let anchor: String = rest
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
                    .collect();
                let templated = rest.starts_with("{{ $labels.reason }}");
                assert!(
                    templated || known.contains(&anchor),
                    "{file}{anchor} is no heading"
                );
            }
        }
    }
    assert!(alerts > 10);
}

fn headings(file: &str) -> BTreeSet<String> {
    let text = read(file);
    text.lines()
        .filter_map(|l| l.strip_prefix("## "))
        .map(str::to_owned)
        .collect()
}

/// Words that begin with `sealpost_`.
fn metrics(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("sealpost_"))
        .map(str::to_owned)
        .collect()
}
