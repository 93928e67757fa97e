//! What decides has no hands: folders within a crate that are as pure as the pure crates.

use crate::repository::{is_test, read, sources, without_tests};

/// Folders that only compute. Clock, files and sockets of whole crates are clippy's to refuse (`edges.rs`).
const FOLDERS: [&str; 1] = ["crates/delivery/src/decide/"];

/// What nothing there may name: what waits, logs, keeps or is kept, and the modules that carry out.
const HANDS: [&str; 15] = [
    "tokio",
    "async ",
    ".await",
    "tracing",
    "parking_lot",
    "std::fs",
    "std::env",
    "std::thread",
    "atomic",
    "Mutex",
    "::now(",
    "QueueStore",
    "crate::engine",
    "crate::worker",
    "crate::books",
];

#[test]
fn what_decides_does_nothing_else() {
    for folder in FOLDERS {
        let inside = |path: &&String| path.starts_with(folder) && !is_test(path);
        let files: Vec<String> = sources().iter().filter(inside).cloned().collect();
        assert!(files.len() > 5, "{folder} has {} files", files.len());
        for path in files {
            let text = read(&path);
            for (n, line) in without_tests(&text).lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let hand = HANDS.iter().find(|hand| code.contains(**hand));
                assert_eq!(hand, None, "{path}:{}: {line}", n + 1);
            }
        }
    }
}
