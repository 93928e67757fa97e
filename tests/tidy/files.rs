//! What no tracked file may say.

use mail_types::harmless;

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

/// The page has a list of its own, since it shows what a character was; line ends and tabs stay in it.
#[test]
fn h3_32_the_page_knows_the_same_characters() {
    let script = read("crates/web/page/dom.js");
    let (_, rest) = script.split_once("const harmful = /[").expect("the list");
    let (list, _) = rest.split_once("]/gu;").expect("its end");
    let of_page: Vec<_> = list.split("\\u").skip(1).map(code_point).collect();
    let mut ranges = Vec::new();
    for (first, goes_on) in of_page.iter().copied() {
        match ranges.last_mut() {
            Some((_, last @ None)) => *last = Some(first),
            _ => ranges.push((first, if goes_on { None } else { Some(first) })),
        }
    }
    let on_page = |c: u32| {
        ranges
            .iter()
            .any(|(a, b)| *a <= c && b.is_some_and(|b| c <= b))
    };
    for c in '\0'..=char::MAX {
        let is_replaced = harmless(c) != c && !matches!(c, '\t' | '\n');
        assert_eq!(on_page(u32::from(c)), is_replaced, "{c:?}");
    }
}

/// `200b-` or `{e007f}`: the number, and whether a range begins with it.
fn code_point(part: &str) -> (u32, bool) {
    let digits = part.trim_end_matches('-').trim_matches(['{', '}']);
    let number = u32::from_str_radix(digits, 16).unwrap_or_else(|e| panic!("{part}: {e}"));
    (number, part.ends_with('-'))
}
