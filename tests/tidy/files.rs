//! What no tracked file may say.

use crate::repository::{files, is_test, read, sources, without_tests};

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

/// Row H3-32: one list says what no line may show of what strangers said, and nobody keeps a shorter one.
#[test]
fn h3_32_text_of_strangers_is_made_harmless_in_one_place() {
    // Written in halves, as above: a bidi override, and the shorter lists that look for controls only.
    let words = [concat!("202", "e"), concat!("is_control() {", " '")];
    for path in sources().iter().filter(|path| !is_test(path)) {
        if path == "crates/mail-types/src/clean.rs" {
            continue;
        }
        let text = read(path);
        for word in words {
            assert!(!without_tests(&text).contains(word), "{path}: {word}");
        }
    }
}
