//! What sources say of requirements: names of tests, comments.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::repository::{is_test, root, without_tests};

/// A requirement (`E1-20`) or, without a section, a decision (`AMB-04`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    group: String,
    section: Option<u32>,
    number: u32,
}

impl Row {
    pub(super) fn parse(word: &str) -> Option<Self> {
        let (left, number) = word.split_once('-')?;
        let group = left.trim_end_matches(|c: char| c.is_ascii_digit());
        let section = left.get(group.len()..)?;
        let is_letter = group.len() == 1 && ("A"..="I").contains(&group);
        let is_row = is_letter && (1..=2).contains(&section.len());
        let is_decision = group == "AMB" && section.is_empty();
        let has_number = number.len() == 2 && number.bytes().all(|c| c.is_ascii_digit());
        ((is_row || is_decision) && has_number).then_some(Self {
            group: group.to_owned(),
            section: section.parse().ok(),
            number: number.parse().ok()?,
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let section = self.section.map(|n| n.to_string()).unwrap_or_default();
        write!(f, "{}{section}-{:02}", self.group, self.number)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Tested,
    /// Implemented, no test of its own.
    NoTest,
    NotYet,
}

/// Where a row is named.
#[derive(Clone, Default)]
pub(super) struct Use {
    pub(super) code: BTreeSet<String>,
    /// Path and name.
    pub(super) tests: BTreeSet<(String, String)>,
}

impl Use {
    /// The files that name the row; else those whose tests show it.
    pub(super) fn places(&self) -> BTreeSet<String> {
        let of_tests = || self.tests.iter().filter_map(|(path, _)| subject(path));
        if self.code.is_empty() {
            of_tests().collect()
        } else {
            self.code.clone()
        }
    }

    pub(super) fn status(&self) -> Status {
        match (self.tests.is_empty(), self.code.is_empty()) {
            (false, _) => Status::Tested,
            (true, false) => Status::NoTest,
            (true, true) => Status::NotYet,
        }
    }
}

pub(super) type Uses = BTreeMap<Row, Use>;

pub(super) fn scan(path: &str, text: &str, uses: &mut Uses) {
    let is_tool = path.starts_with("crates/testkit/") || path.starts_with("crates/xtask/");
    let production = if is_test(path) {
        0
    } else {
        without_tests(text).lines().count()
    };
    let mut test: Option<(String, usize)> = None;
    let (mut is_marked, mut block) = (false, None);
    let mut above: Vec<Row> = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if n < production {
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            for row in named(comment).filter(|_| !is_tool) {
                uses.entry(row).or_default().code.insert(path.to_owned());
            }
            continue;
        }
        if code.starts_with("net_test!") || code.starts_with("testkit::net_test!") {
            block = Some(indent);
        }
        is_marked |= code.starts_with("#[") && code.contains("test") && !code.contains("cfg(");
        let mut rows: Vec<Row> = named(code).collect();
        let nested = test.as_ref().is_some_and(|(_, begin)| indent > *begin);
        if let Some(name) = function(code).filter(|_| !nested) {
            let is_test = is_marked || block.is_some_and(|block| indent == block + 4);
            test = is_test.then(|| (name.to_owned(), indent));
            rows.extend(named(&spelled(name)));
            rows.append(&mut above);
            is_marked = false;
        } else if test.is_none() && code.starts_with("//") {
            above.append(&mut rows);
        }
        if let Some((name, _)) = &test {
            for row in rows {
                let shown = (path.to_owned(), name.clone());
                uses.entry(row).or_default().tests.insert(shown);
            }
        }
        if code == "}" {
            test = test.filter(|(_, begin)| *begin != indent);
            block = block.filter(|begin| *begin != indent);
        }
    }
}

/// The name, if the line begins a function.
fn function(code: &str) -> Option<&str> {
    let code = code.strip_prefix("pub(crate) ").unwrap_or(code);
    let code = code.strip_prefix("async ").unwrap_or(code);
    code.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// A function's name with its rows as comments would have them.
fn spelled(name: &str) -> String {
    let mut text = String::new();
    for word in name.split('_') {
        let is_number = word.len() == 2 && word.bytes().all(|c| c.is_ascii_digit());
        text.push(if is_number { '-' } else { ' ' });
        let is_row = word == "amb" || word.bytes().skip(1).all(|c| c.is_ascii_digit());
        text.push_str(&if is_row {
            word.to_uppercase()
        } else {
            word.to_owned()
        });
    }
    text
}

/// The rows that a text names; "A1-01 to A1-03" are three.
pub(super) fn named(text: &str) -> impl Iterator<Item = Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut before = "";
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        if let Some(row) = Row::parse(word) {
            let begin = rows.last().filter(|_| before == "to").cloned();
            let begin = begin.filter(|b| (&b.group, b.section) == (&row.group, row.section));
            let first = begin.map_or(row.number, |begin| begin.number + 1);
            rows.extend((first..=row.number).map(|number| Row {
                number,
                ..row.clone()
            }));
        }
        if !word.is_empty() {
            before = word;
        }
    }
    rows.into_iter()
}

/// What the tests of a file are about: the module that they stand beside, or the crate.
fn subject(path: &str) -> Option<String> {
    let krate: Vec<&str> = path.split('/').take(2).collect();
    let krate = (krate.first() == Some(&"crates")).then(|| krate.join("/"))?;
    let module = path.split("/tests").next()?.trim_end_matches(".rs");
    let module = format!("{module}.rs");
    let is_file = module.contains("/src/") && root().join(&module).is_file();
    Some(if is_file { module } else { krate })
}

#[test]
fn rows_are_found_in_names_and_comments() {
    let shown = |text: &str| -> Vec<String> { named(text).map(|row| row.to_string()).collect() };
    for (name, rows) in [
        ("a2_04_id_is_required", vec!["A2-04"]),
        ("h4_01_h10_03_two", vec!["H4-01", "H10-03"]),
        (
            "a5_08_h4_01_to_h4_03",
            vec!["A5-08", "H4-01", "H4-02", "H4-03"],
        ),
        ("row_8_e3_09_amb_27_lines", vec!["E3-09", "AMB-27"]),
        ("sha_256_of_x1_10_names", vec![]),
    ] {
        assert_eq!(shown(&spelled(name)), rows, "{name}");
    }
    let comment = "rows H1-19 to H1-21, E1-20; decision AMB-04's; xn--a1-02, E2-001";
    let rows = ["H1-19", "H1-20", "H1-21", "E1-20", "AMB-04"];
    assert_eq!(shown(comment), rows);
}

/// What a file says of rows: in its production part by comments, in tests by names and by what
/// stands in a test or above it.
#[test]
fn uses_are_told_apart() {
    let text = "// Row A1-01\nfn a1_02() {}\n\n#[cfg(test)]\nmod tests {\n    /// Row A1-03\n    \
        #[test]\n    fn a1_04_x() {\n        // A1-05\n    }\n    // A1-06\n    fn a1_07() {}\n}\n";
    let mut uses = Uses::new();
    scan("crates/x/src/y.rs", text, &mut uses);
    let shown = |is: fn(&Use) -> bool| -> Vec<String> {
        let found = uses.iter().filter(|(_, found)| is(found));
        found.map(|(row, _)| row.to_string()).collect()
    };
    assert_eq!(shown(|found| !found.code.is_empty()), ["A1-01"]);
    assert_eq!(
        shown(|found| !found.tests.is_empty()),
        ["A1-03", "A1-04", "A1-05"]
    );
}
