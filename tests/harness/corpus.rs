//! Real mail, odd mail: the messages with which CPython tests its `email` package.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A message of the corpus.
#[derive(Clone, Debug)]
pub struct CorpusMessage {
    /// The name of its file, without the ending.
    pub name: String,
    /// Its octets; every line ends with CRLF, the last one too.
    pub content: Vec<u8>,
}

/// All messages, by name.
///
/// # Panics
/// If no Python of this machine has its test suite, with the remedy.
pub fn mail_corpus() -> Vec<CorpusMessage> {
    let Some(folder) = folder() else {
        panic!(
            "there is no python3 with test/test_email/data: \
             apt-get install --no-install-recommends '^libpython3[.][0-9]+-testsuite$'"
        );
    };
    let entries = std::fs::read_dir(&folder).expect("a readable folder");
    let mut messages: Vec<CorpusMessage> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .map(|path| CorpusMessage {
            name: name(&path),
            content: with_crlf(&std::fs::read(&path).expect("a readable file")),
        })
        .collect();
    messages.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(
        messages.len() >= FEWEST,
        "{} has only {} messages",
        folder.display(),
        messages.len()
    );
    messages
}

/// The python3 of the path may be the user's own build, or lack what Debian's has.
fn folder() -> Option<PathBuf> {
    ["python3", "/usr/bin/python3"].iter().find_map(|python| {
        let output = Command::new(python).args(["-c", WHERE]).output().ok()?;
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let folder = path.join("data");
        folder.is_dir().then_some(folder)
    })
}

fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// CR LF, CR and LF each end a line (RFC 5321 section 2.3.8 knows only the first).
fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    let mut before = 0;
    for byte in bytes {
        match byte {
            b'\n' if before == b'\r' => {}
            b'\r' | b'\n' => out.extend_from_slice(b"\r\n"),
            other => out.push(*other),
        }
        before = *byte;
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

const WHERE: &str = "import test.test_email, os; print(os.path.dirname(test.test_email.__file__))";
/// CPython 3.11 has 48.
const FEWEST: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_become_crlf() {
        for (bytes, want) in [
            ("", "\r\n"),
            ("a\nb\r\nc\rd", "a\r\nb\r\nc\r\nd\r\n"),
            ("\n\n", "\r\n\r\n"),
            ("a\r\r\n", "a\r\n\r\n"),
        ] {
            assert_eq!(with_crlf(bytes.as_bytes()), want.as_bytes(), "{bytes:?}");
        }
    }
}
