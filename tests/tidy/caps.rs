//! Whatever grows has a cap, which is a gauge and a key: the table of caps in `docs/metrics.md` (made
//! from the gauges' own names) names keys that exist. That the relay shows each gauge, the scenario
//! `metrics` holds.

use crate::repository::read;

#[test]
fn every_cap_is_a_key_of_the_configuration() {
    let metrics = read("docs/metrics.md");
    let (_, table) = metrics.split_once("| `resource` | cap |").unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let sample = read("config/sealpost.toml");
    let mut keys = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, resource, cap, _] = cells[..] else {
            panic!("{row}")
        };
        let Some(key) = cap.strip_prefix('`').and_then(|cap| cap.strip_suffix('`')) else {
            // In words: what sets it, or what happens beyond it.
            assert!(cap.contains(' '), "{resource} has no cap");
            continue;
        };
        let (section, name) = key.rsplit_once('.').unwrap();
        let header = format!("[{section}]\n");
        let (_, rest) = sample
            .split_once(&header)
            .unwrap_or_else(|| panic!("{key}"));
        let section = rest.split("\n[").next().unwrap();
        let is_key = |line: &str| {
            line.trim_start_matches('#')
                .starts_with(&format!("{name} = "))
        };
        assert!(
            section.lines().any(is_key),
            "{resource}: {key} is not a key"
        );
        keys += 1;
    }
    assert!(keys >= 7, "{table}");
}
