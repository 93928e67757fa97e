//! Which requirement is met where. The requirements stand in `docs/conformance/`, the decisions in
//! `docs/decisions.md`; tests carry rows in their names (`a2_04_id_is_required`), comments name
//! them (`row E1-20`, `rows H1-19 to H1-21`, `decision AMB-04`). From that come
//! `docs/conformance.md` and the "Where" lines of the decisions.

mod uses;

use std::collections::BTreeSet;

use crate::repository::{files, read, root, sources};

use uses::{Row, Status, Use, Uses, named, scan};

#[test]
fn the_documentation_says_which_requirement_is_met_where() {
    let groups = groups();
    let uses = uses(&groups);
    let known: BTreeSet<&Row> = groups.iter().flat_map(|group| &group.rows).collect();
    let stray: Vec<String> = uses
        .iter()
        .filter(|(row, _)| !known.contains(row))
        .map(|(row, found)| format!("{row}: {:?} {:?}", found.tests, found.code))
        .collect();
    assert!(stray.is_empty(), "no such row:\n{}", stray.join("\n"));

    assert_eq!(without_place(&read(DECISIONS)), [] as [&str; 0]);

    let overview = overview(&read(OVERVIEW), &groups, &uses);
    let decisions = with_places(&read(DECISIONS), &uses);
    for (path, new) in [(OVERVIEW, overview), (DECISIONS, decisions)] {
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(root().join(path), &new).expect("documentation can be written");
        }
        assert!(read(path) == new, "{path} is out of date: {REFRESH}");
    }
}

/// One file of rows.
struct Group {
    path: String,
    title: String,
    rows: Vec<Row>,
    /// Rows with the decisions that say what they mean.
    citations: Vec<(Row, Row)>,
}

fn groups() -> Vec<Group> {
    let is_group = |path: &String| path.starts_with("docs/conformance/") || path == DECISIONS;
    let mut groups: Vec<Group> = files().into_iter().filter(is_group).map(group).collect();
    groups.sort_by(|a, b| a.path.cmp(&b.path));
    groups
}

fn group(path: String) -> Group {
    let text = read(&path);
    let title = text.lines().next().unwrap_or_default();
    let title = title.trim_start_matches("# ").to_owned();
    let first_word = |line: &str| {
        let row = line
            .strip_prefix("| ")
            .or_else(|| line.strip_prefix("## "))?;
        Row::parse(row.split(' ').next()?)
    };
    let rows: Vec<Row> = text.lines().filter_map(first_word).collect();
    let is_sorted = rows.is_sorted_by(|a, b| a < b);
    assert!(is_sorted, "{path}: rows are out of order or repeated");
    let mut citations = Vec::new();
    for line in text.lines() {
        let ends = line.split('(').filter_map(|part| part.split_once(')'));
        let decisions = ends.filter_map(|(word, _)| Row::parse(word));
        let row = first_word(line);
        citations.extend(row.into_iter().cycle().zip(decisions));
    }
    Group {
        path,
        title,
        rows,
        citations,
    }
}

fn uses(groups: &[Group]) -> Uses {
    let mut uses = Uses::new();
    for path in sources() {
        // What these tests name are examples.
        if !path.starts_with("tests/tidy/conformance") {
            scan(&path, &read(&path), &mut uses);
        }
    }
    // What shows a row that ends in "(AMB-05)" shows that decision.
    for (row, decision) in groups.iter().flat_map(|group| &group.citations) {
        if let Some(found) = uses.get(row).cloned() {
            let of_decision = uses.entry(decision.clone()).or_default();
            of_decision.code.extend(found.code);
            of_decision.tests.extend(found.tests);
        }
    }
    uses
}

/// The overview with all behind its introduction made anew.
fn overview(text: &str, groups: &[Group], uses: &Uses) -> String {
    let introduction = text.split_inclusive(MADE).next().unwrap_or_default();
    let mut new = format!("{introduction}\n\n| rows | all | tested | no test | not yet |\n");
    new += "|---|---|---|---|---|\n";
    for group in groups {
        let count = |status| {
            let found = group.rows.iter().map(|row| used(uses, row).status());
            found.filter(|found| *found == status).count()
        };
        new += &format!(
            "| [{}]({}) | {} | {} | {} | {} |\n",
            group.title,
            group.path.trim_start_matches("docs/"),
            group.rows.len(),
            count(Status::Tested),
            count(Status::NoTest),
            count(Status::NotYet),
        );
    }
    for group in groups.iter().filter(|group| group.path != DECISIONS) {
        new += &format!("\n## {}\n\n", group.title);
        new += "| row    | status  | code | tests |\n|--------|---------|---|---|\n";
        for row in &group.rows {
            let found = used(uses, row);
            let status = match found.status() {
                Status::Tested => "tested",
                Status::NoTest => "no test",
                Status::NotYet => "not yet",
            };
            let (code, tests) = (code(found), tests(found));
            new += &format!(
                "| {:6} | {status:7} | {code} | {tests} |\n",
                row.to_string()
            );
        }
    }
    new
}

/// The decisions with their "Where" lines made anew.
fn with_places(text: &str, uses: &Uses) -> String {
    let mut found = &NOWHERE;
    let mut new = String::new();
    for line in text.lines() {
        if let Some(row) = line.strip_prefix("## ").and_then(|l| named(l).next()) {
            found = used(uses, &row);
        }
        let (code, tests) = (code(found), tests(found));
        new += &match found.status() {
            _ if !line.starts_with("Where:") => line.to_owned(),
            Status::Tested if code.is_empty() => format!("Where: tests {tests}"),
            Status::Tested => format!("Where: {code}; tests {tests}"),
            Status::NoTest => format!("Where: {code}; no test of its own"),
            Status::NotYet => "Where: not yet".to_owned(),
        };
        new.push('\n');
    }
    new
}

/// The decisions that have no "Where" line.
fn without_place(text: &str) -> Vec<&str> {
    let sections = text.split("\n## ").skip(1);
    let lacking = sections.filter(|s| !s.contains("\nWhere: "));
    lacking.filter_map(|s| s.lines().next()).collect()
}

fn used<'a>(uses: &'a Uses, row: &Row) -> &'a Use {
    uses.get(row).unwrap_or(&NOWHERE)
}

fn code(found: &Use) -> String {
    let link = |path: &String| {
        let short = path.trim_start_matches("crates/").replacen("/src/", "/", 1);
        format!("[{short}](../{path})")
    };
    let links: Vec<String> = found.places().iter().map(link).collect();
    links.join(", ")
}

fn tests(found: &Use) -> String {
    let link = |(path, name): &(String, String)| format!("[`{name}`](../{path})");
    let links: Vec<String> = found.tests.iter().map(link).collect();
    links.join(", ")
}

const OVERVIEW: &str = "docs/conformance.md";
const DECISIONS: &str = "docs/decisions.md";
/// Ends the part of the overview that people write.
const MADE: &str = "--test tidy conformance -->";
const REFRESH: &str = "UPDATE=1 cargo test -p sealpost-tests --test tidy conformance";

static NOWHERE: Use = Use {
    code: BTreeSet::new(),
    tests: BTreeSet::new(),
};
