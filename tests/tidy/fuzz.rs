//! Each fuzz target has its file, its seeds and its check, and the corpus stays small.

use std::collections::BTreeSet;

use cargo_metadata::DependencyKind;

use crate::edges::{members, metadata};
use crate::repository::{files, read, root};

#[test]
fn targets_files_seeds_and_checks_are_the_same_list() {
    let manifest = read("tests/fuzz/Cargo.toml");
    let named: BTreeSet<String> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"targets/"))
        .filter_map(|rest| rest.strip_suffix(".rs\""))
        .map(str::to_owned)
        .collect();
    assert!(named.len() >= 14, "{named:?}");
    let under = |folder: &str, end: &str| -> BTreeSet<String> {
        files()
            .iter()
            .filter_map(|path| path.strip_prefix(folder)?.strip_suffix(end))
            .filter_map(|rest| rest.split('/').next())
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(under("tests/fuzz/targets/", ".rs"), named);
    assert_eq!(under("tests/fuzz/corpus/", ""), named);
    let listed = read("tests/fuzz/checks/mod.rs");
    let checks = listed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\""));
    let checks = checks
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned);
    assert_eq!(checks.collect::<BTreeSet<_>>(), named);
    for name in &named {
        let target = read(&format!("tests/fuzz/targets/{name}.rs"));
        assert!(
            target.contains(&format!("run(\"{name}\", input)")),
            "{name} runs another check"
        );
    }
}

#[test]
fn the_corpus_is_small() {
    let octets: u64 = files()
        .iter()
        .filter(|path| path.starts_with("tests/fuzz/corpus/"))
        .filter_map(|path| std::fs::metadata(root().join(path)).ok())
        .map(|metadata| metadata.len())
        .sum();
    assert!(octets < 1 << 20, "{octets} octets: cargo fuzz cmin");
}

/// It is a workspace of its own, which nobody builds daily: what a crate depends on is noted there
/// too, or the first to fuzz finds a changed file.
#[test]
fn the_lock_file_knows_what_our_crates_depend_on() {
    let lock = read("tests/fuzz/Cargo.lock");
    let metadata = metadata();
    for package in members(&metadata) {
        let head = format!("[[package]]\nname = \"{}\"\n", package.name);
        let Some((_, noted)) = lock.split_once(&head) else {
            continue;
        };
        let noted = noted.split("[[package]]").next().unwrap_or_default();
        let normal = package.dependencies.iter();
        for dependency in normal.filter(|d| d.kind == DependencyKind::Normal && !d.optional) {
            // With a version behind the name where there are several.
            let entry = format!("\n \"{}", dependency.name);
            let next = |at: usize| noted[at + entry.len()..].starts_with(['"', ' ']);
            assert!(
                noted.match_indices(&entry).any(|(at, _)| next(at)),
                "{} depends on {}: cd tests/fuzz && cargo update --workspace",
                package.name,
                dependency.name
            );
        }
    }
}
