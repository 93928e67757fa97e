//! The repository as the tests see it: the files that git tracks, or would.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of the repository.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// Paths of all tracked files and of new ones that are not ignored, relative to the top.
pub(crate) fn files() -> Vec<String> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "-z",
        ])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(output.status.success(), "git ls-files: {output:?}");
    let list = String::from_utf8(output.stdout).expect("paths are UTF-8");
    list.split('\0')
        .filter(|path| !path.is_empty() && root().join(path).is_file())
        .map(str::to_owned)
        .collect()
}

/// Rust sources among them.
pub(crate) fn sources() -> Vec<String> {
    let is_source = |path: &String| path.ends_with(".rs");
    files().into_iter().filter(is_source).collect()
}

/// The text of one; files that are not text are empty.
pub(crate) fn read(path: &str) -> String {
    let bytes = std::fs::read(root().join(path)).expect("a listed file can be read");
    String::from_utf8(bytes).unwrap_or_default()
}

/// The text up to the test module at its end, if it has one.
pub(crate) fn without_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod tests {")
        .map_or(text, |at| text.get(..at).unwrap_or(text))
}

/// Whether a source is tests as a whole.
pub(crate) fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || path.contains("/examples/")
        || path.contains("/benches/")
}
