//! docs/events.md has every event that the code can write, and no other: whoever reads the log by a program
//! finds its names there.
//!
//! Events are found in the sources by how their names are written: as text before a level, or in the body of
//! `fn event`; and whatever text begins as one of those does, and is no key of the configuration.

use std::collections::BTreeSet;

use crate::repository::{is_test, read, sources, without_tests};

const PAGE: &str = "docs/events.md";

#[test]
fn every_event_is_documented_and_nothing_else_is() {
    let written = events();
    assert!(written.len() > 80, "only {written:?}");
    let documented = first_cells("event");
    let missing: Vec<_> = written.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&written).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "{PAGE} lacks {missing:?}; nobody writes {unknown:?}"
    );
}

#[test]
fn every_diagnostic_with_a_name_is_documented() {
    let mut written = BTreeSet::new();
    for (_, text) in production() {
        for call in text.split("tracing::").skip(1) {
            let call = call.split(");").next().unwrap_or_default();
            for (_, said) in literals(call) {
                let name = said.split_once(": ").map(|(name, _)| name);
                written.extend(name.filter(|n| is_name(n)).map(str::to_owned));
            }
        }
    }
    assert_eq!(written, first_cells("line"), "{PAGE}");
}

#[test]
fn the_fields_of_an_attempt_and_of_a_message_are_documented_and_no_others() {
    let text =
        read("crates/attempt/src/record/log.rs") + &read("crates/attempt/src/message/log.rs");
    let mut seen = 0;
    for event in text.split("impl LogEvent for ").skip(1) {
        let name = literals(body(event, "fn event("))
            .map(|(_, name)| name)
            .find(|name| is_name(name));
        let written: BTreeSet<String> = literals(body(event, "fn fields("))
            .filter(|(before, key)| before.ends_with('(') && is_key(key))
            .map(|(_, key)| key.to_owned())
            .collect();
        // Of the five events of an attempt the outcome has the name.
        let head = name.map_or_else(|| "field".to_owned(), |name| format!("`{name}`"));
        let documented = first_cells(&head)
            .into_iter()
            .filter(|name| !name.contains('.'));
        assert_eq!(written, documented.collect(), "{PAGE}: {head}");
        seen += written.len();
    }
    assert!(seen > 50, "only {seen} fields were found");
}

#[test]
fn every_field_that_a_table_of_events_names_is_written_somewhere() {
    let sources: String = production().map(|(_, text)| text).collect();
    let mut seen = 0;
    for cells in rows("event") {
        // Where there is such a column. What stands behind a name, in parentheses or after a colon, says what it holds.
        let [_, _, _, fields, _] = cells.as_slice() else {
            continue;
        };
        for part in fields.split([',', ';']) {
            let Some(name) = part
                .trim()
                .strip_prefix('`')
                .and_then(|p| p.split('`').next())
            else {
                continue;
            };
            if is_key(name) {
                seen += 1;
                assert!(sources.contains(&format!("\"{name}\"")), "{PAGE}: {name}");
            }
        }
    }
    assert!(seen > 100, "only {seen} fields were found");
}

/// Each event that the code can write.
fn events() -> BTreeSet<String> {
    let (mut sure, mut likely, mut keys) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (path, text) in production() {
        for (before, literal) in literals(&text).filter(|(_, literal)| is_name(literal)) {
            let name = literal.to_owned();
            let after = text
                .get(before.len() + literal.len() + 2..)
                .unwrap_or_default();
            if path.starts_with("crates/setting") {
                keys.insert(name);
            } else if is_before_a_level(after) || is_in_fn_event(before) {
                sure.insert(name);
            } else {
                likely.insert(name);
            }
        }
    }
    let families: BTreeSet<_> = sure.iter().map(|name| family(name).to_owned()).collect();
    for name in likely {
        if families.contains(family(&name)) && !keys.contains(&name) && !OTHERS.contains(&&*name) {
            sure.insert(name);
        }
    }
    sure
}

fn is_before_a_level(after: &str) -> bool {
    let next = after.trim_start().strip_prefix(',').map(str::trim_start);
    next.is_some_and(|next| next.starts_with("Level::"))
}

/// By the indentation that rustfmt gives to a method.
fn is_in_fn_event(before: &str) -> bool {
    let body = before.rfind("fn event(").and_then(|at| before.get(at..));
    body.is_some_and(|body| !body.contains("\n    }\n"))
}

fn family(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// `word.word` and more, in lower case.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    text.contains('.')
        && text
            .split('.')
            .all(|w| !w.is_empty() && w.chars().all(plain))
}

/// The name of a field.
fn is_key(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !text.is_empty() && text.chars().all(plain)
}

/// What stands in a method, by the indentation that rustfmt gives it.
fn body<'t>(text: &'t str, head: &str) -> &'t str {
    let (_, rest) = text.split_once(head).unwrap_or_default();
    rest.split("\n    }\n").next().unwrap_or_default()
}

/// Path and text of what runs, without tests and comments.
fn production() -> impl Iterator<Item = (String, String)> {
    let runs = |path: &String| {
        path.starts_with("crates/")
            && path.contains("/src/")
            && !is_test(path)
            && !path.starts_with("crates/xtask/")
            && !path.starts_with("crates/testkit/")
    };
    sources().into_iter().filter(runs).map(|path| {
        let text = read(&path);
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let code: Vec<_> = without_tests(&text).lines().filter(is_code).collect();
        (path, code.join("\n"))
    })
}

/// What stands between a quotation mark and the next, with all that comes before. What stands between two texts
/// is among it, and is told by its looks.
fn literals(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices('"').filter_map(|(at, _)| {
        let inner = text.get(at + 1..)?.split('"').next()?;
        Some((text.get(..at)?, inner))
    })
}

/// Names in the first cells of the tables whose head begins with this word.
fn first_cells(head: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for cells in rows(head) {
        let cell = cells.first().map(String::as_str).unwrap_or_default();
        for name in cell.split('`').skip(1).step_by(2) {
            assert!(names.insert(name.to_owned()), "{PAGE} has {name} twice");
        }
    }
    names
}

/// The cells of the rows of those tables.
fn rows(head: &str) -> Vec<Vec<String>> {
    let (mut rows, mut inside) = (Vec::new(), false);
    for line in read(PAGE).lines() {
        let Some(row) = line.strip_prefix("| ") else {
            inside &= line.starts_with("|---");
            continue;
        };
        let cells: Vec<_> = row.trim_end_matches(" |").split(" | ").collect();
        if cells.first() == Some(&head) {
            inside = true;
        } else if inside {
            rows.push(cells.into_iter().map(str::to_owned).collect());
        }
    }
    rows
}

/// Names that look like events and are none.
const OTHERS: [&str; 4] = [
    "clock.new",            // a file
    "message.js",           // of the page
    "queue.js",             // of the page
    "tls.protocol.version", // an attribute of spans
];
