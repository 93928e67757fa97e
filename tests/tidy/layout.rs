//! What stands at the top of the repository.

use std::collections::BTreeSet;

use crate::repository::{files, read, root};

#[test]
fn the_top_has_its_folders_and_standing_files_only() {
    let files = files();
    let top: BTreeSet<&str> = files
        .iter()
        .filter_map(|path| path.split('/').next())
        .collect();
    let expected: BTreeSet<&str> = TOP.into_iter().collect();
    assert_eq!(top, expected);
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    for path in files().iter().filter(|path| path.ends_with(".md")) {
        let text = read(path);
        let folder = root().join(path);
        let folder = folder.parent().expect("a file is in a folder");
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = target.split('#').next().unwrap_or_default();
            let is_local = !target.is_empty() && !target.contains(':');
            assert!(
                !is_local || folder.join(target).exists(),
                "{path}: {target} does not exist"
            );
        }
    }
}

#[test]
fn the_newest_change_has_a_place_in_the_changelog() {
    let changelog = read("CHANGELOG.md");
    let has_section = changelog
        .lines()
        .any(|line| line.starts_with("## [Unreleased]"));
    assert!(has_section, "CHANGELOG.md has no section [Unreleased]");
}

const TOP: [&str; 18] = [
    ".cargo",
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "config",
    "crates",
    "deny.toml",
    "deploy",
    "docs",
    "tests",
];
