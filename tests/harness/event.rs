//! Events as the relay writes them: one JSON object a line.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event(pub Value);

impl Event {
    /// Whether it is of this kind, for instance `delivery.sent`.
    pub fn is(&self, name: &str) -> bool {
        self.text("event") == name
    }

    /// A field's text; empty if there is none.
    pub fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or("")
    }

    /// What is at a JSON pointer, for instance `/tls/cert/issuer`; null if nothing is.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The log file, read as it grows.
#[derive(Debug)]
pub(crate) struct EventLog {
    path: PathBuf,
    position: u64,
    events: Vec<Event>,
}

impl EventLog {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            position: 0,
            events: Vec::new(),
        }
    }

    /// All events so far. Lines that are no JSON objects are kept as `{"line": …}`, since nothing
    /// else may be in that file and a test has to see it.
    pub(crate) fn read(&mut self) -> &[Event] {
        let mut bytes = Vec::new();
        if let Ok(mut file) = std::fs::File::open(&self.path) {
            let found = file.seek(SeekFrom::Start(self.position));
            let _ = found.and_then(|_| file.read_to_end(&mut bytes));
        }
        // The last line may be half written.
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        self.position += whole as u64;
        for line in bytes[..whole].split(|b| *b == b'\n') {
            if line.is_empty() {
                continue;
            }
            let value = serde_json::from_slice(line)
                .unwrap_or_else(|_| serde_json::json!({ "line": String::from_utf8_lossy(line) }));
            self.events.push(Event(value));
        }
        &self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn reads_whole_lines_as_they_come() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut log = EventLog::new(file.path());
        assert!(log.read().is_empty());
        file.write_all(b"{\"event\":\"delivery.sent\",\"tls\":{\"v\":1}}\n{\"event\":")
            .unwrap();
        let seen = log.read().to_vec();
        assert!(seen.len() == 1 && seen[0].is("delivery.sent"));
        assert_eq!(seen[0].at("/tls/v"), 1);
        file.write_all(b"\"x\"}\nno json\n").unwrap();
        let seen = log.read();
        assert_eq!(seen[1].text("event"), "x");
        assert_eq!(seen[2].text("line"), "no json");
    }
}
