//! What became of the reports of a closed day, as lines of a file that only grows.
//!
//! ```text
//! JSON TAB checksum (CRC-32 of the JSON, eight hexadecimal digits)
//! ```
//!
//! The first line says that the day is closed. Of several lines on one domain the last one counts. A line that a crash
//! has left half written is the last one, and is forgiven: what it says is done again.

use serde::{Deserialize, Serialize};

use crate::view::State;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub(crate) enum Line {
    /// The day is closed.
    Closed {
        /// When, in milliseconds since 1970.
        at: u64,
    },
    /// What is known of one report.
    Report(Outcome),
}

/// What is known of one report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) domain: String,
    pub(crate) state: State,
    pub(crate) report_id: String,
    /// When that was, in milliseconds since 1970.
    pub(crate) at: u64,
    #[serde(default)]
    pub(crate) attempts: u32,
    /// When it is tried next, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    pub(crate) successes: u64,
    pub(crate) failures: u64,
}

/// What a file of lines holds.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) lines: Vec<Line>,
    /// The last line was not written to its end.
    pub(crate) torn: bool,
    /// Lines that cannot be read.
    pub(crate) damaged: usize,
}

/// The bytes of a line.
pub(crate) fn write(line: &Line) -> Vec<u8> {
    // Strings and numbers only: that cannot fail.
    let json = serde_json::to_string(line).unwrap_or_default();
    let sum = crc32fast::hash(json.as_bytes());
    format!("{json}\t{sum:08x}\n").into_bytes()
}

/// Reads all lines.
pub(crate) fn read(bytes: &[u8]) -> Read {
    let mut found = Read::default();
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        match line.strip_suffix(b"\n") {
            None => found.torn = true,
            Some(line) => match parse(line) {
                Some(line) => found.lines.push(line),
                None => found.damaged += 1,
            },
        }
    }
    found
}

fn parse(line: &[u8]) -> Option<Line> {
    let at = line.iter().rposition(|b| *b == b'\t')?;
    let (json, sum) = line.split_at_checked(at)?;
    let sum = std::str::from_utf8(sum.get(1..)?).ok()?;
    let is_right = u32::from_str_radix(sum, 16) == Ok(crc32fast::hash(json));
    is_right.then(|| serde_json::from_slice(json).ok())?
}
