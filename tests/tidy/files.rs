//! What no tracked file may say.

use crate::repository::{files, read};

#[test]
fn nothing_is_left_undone_or_names_a_workshop() {
    // Written in halves, so that this file does not find itself.
    let words = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("FIX", "ME"),
        concat!("/wo", "rk/"),
        concat!("shared/", "design"),
        concat!("shared/", "spec"),
        concat!("danger_accept", "_invalid"),
    ];
    let mut found = Vec::new();
    for path in files() {
        // Lock files have hashes in which anything may stand.
        if path.ends_with(".lock") {
            continue;
        }
        for (n, line) in read(&path).lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{path}:{}: {word}", n + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What is marked so writes fixtures; it checks nothing, and nothing is skipped.
#[test]
fn tests_are_run_not_ignored() {
    let ignore = concat!("#[ign", "ore");
    let of_writers = concat!("#[ign", "ore = \"writes ");
    for path in files().iter().filter(|path| path.ends_with(".rs")) {
        for line in read(path).lines() {
            let is_ignored = line.contains(ignore) && !line.contains(of_writers);
            assert!(!is_ignored, "{path} ignores a test");
        }
    }
}
