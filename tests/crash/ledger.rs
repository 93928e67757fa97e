//! What was handed over and how it was answered, and what of it arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use testkit::ReceivedMessage;

/// All messages of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    sent: BTreeMap<String, Sent>,
    /// When processes were killed.
    kills: Vec<Instant>,
}

#[derive(Clone, Debug)]
struct Sent {
    /// What was going on, for reports.
    when: String,
    kind: Kind,
    size: usize,
    answer: Answer,
}

/// What becomes of a message at its recipient's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Taken at once.
    Taken,
    /// Taken at the second attempt.
    Later,
    /// Refused for good: a DSN goes to the sender.
    Refused,
}

/// What the relay said to the final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing: it may have arrived or not.
    None,
    /// 250.
    Accepted,
    /// Something else: not its responsibility.
    Declined,
}

/// The result of comparing.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) accepted: usize,
    pub(crate) unanswered: usize,
    pub(crate) delivered: usize,
    pub(crate) duplicates: usize,
    /// The longest time between the first copy of a message that came twice and the kill behind it.
    pub(crate) window: Duration,
}

impl Ledger {
    /// Before the final dot goes out.
    pub(crate) fn sending(&self, marker: &str, when: &str, kind: Kind, size: usize) {
        let sent = Sent {
            when: when.to_owned(),
            kind,
            size,
            answer: Answer::None,
        };
        self.with(|book| book.sent.insert(marker.to_owned(), sent));
    }

    pub(crate) fn answered(&self, marker: &str, code: u16) {
        self.with(|book| {
            if let Some(sent) = book.sent.get_mut(marker) {
                sent.answer = if code == 250 {
                    Answer::Accepted
                } else {
                    Answer::Declined
                };
            }
        });
    }

    pub(crate) fn killed(&self) {
        self.with(|book| book.kills.push(Instant::now()));
    }

    pub(crate) fn accepted(&self) -> usize {
        self.with(|book| book.count(&Answer::Accepted))
    }

    /// Compares with what arrived at all peers, DSNs included.
    ///
    /// # Panics
    /// If an accepted message is missing, one came that was never handed over whole or was altered,
    /// or there are two DSNs for one failure.
    pub(crate) fn compare(&self, arrived: &[ReceivedMessage]) -> Tally {
        self.with(|book| book.compare(arrived))
    }

    fn with<T>(&self, f: impl FnOnce(&mut Book) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Book {
    fn count(&self, answer: &Answer) -> usize {
        let all = self.sent.values();
        all.filter(|sent| sent.answer == *answer).count()
    }

    fn compare(&self, arrived: &[ReceivedMessage]) -> Tally {
        let mut copies: BTreeMap<&str, Vec<Instant>> = BTreeMap::new();
        let mut notices: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let mut wrong = String::new();
        for message in arrived {
            let to = message.recipients().first().copied().unwrap_or_default();
            let marker = to.split('@').next().unwrap_or_default();
            let Some((marker, sent)) = self.sent.get_key_value(marker) else {
                let _ = writeln!(wrong, "{to} came from nowhere:\n{}", message.text());
                continue;
            };
            if message.from.is_empty() {
                let id = header(&message.data, "message-id:");
                notices.entry(marker).or_default().insert(id);
            } else if message.without_trace() != content(marker, sent.size) {
                let _ = writeln!(wrong, "{to} was altered or cut ({})", sent.when);
            }
            copies.entry(marker).or_default().push(message.at);
        }
        for (marker, sent) in &self.sent {
            let came = copies.contains_key(marker.as_str());
            if sent.answer == Answer::Accepted && !came {
                let (kind, when) = (sent.kind, &sent.when);
                let _ = writeln!(wrong, "LOST: {marker} ({kind:?}), accepted {when}");
            }
            let ids = notices.get(marker.as_str());
            if let Some(ids) = ids.filter(|ids| ids.len() > 1) {
                let _ = writeln!(wrong, "{marker} has several DSNs: {ids:?} ({})", sent.when);
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
        let mut tally = Tally {
            accepted: self.count(&Answer::Accepted),
            unanswered: self.count(&Answer::None),
            delivered: copies.len(),
            ..Tally::default()
        };
        for times in copies.values_mut() {
            times.sort_unstable();
            tally.duplicates += times.len() - 1;
            for first in times.iter().take(times.len() - 1) {
                // A peer may read the last of what was sent a moment after the kill.
                let kill = self.kills.iter().find(|kill| **kill + READ_LATE >= *first);
                // A copy without a kill behind it is no duplicate that a crash explains.
                let window =
                    kill.map_or(Duration::MAX, |kill| kill.saturating_duration_since(*first));
                tally.window = tally.window.max(window);
            }
        }
        tally
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} accepted, 0 lost, {} unanswered, {} delivered, {} twice (the first copy at most {} ms before the kill)",
            self.accepted,
            self.unanswered,
            self.delivered,
            self.duplicates,
            self.window.as_millis()
        )
    }
}

/// The message of a marker: what it should be can be told from its name and size alone.
pub(crate) fn content(marker: &str, size: usize) -> Vec<u8> {
    let mut text = format!(
        "From: {marker}@org.test\r\nTo: {marker}@d.test\r\nSubject: {marker}\r\n\
         Message-ID: <{marker}@org.test>\r\nDate: Sun, 1 Mar 2026 00:00:00 +0000\r\n\r\n"
    );
    let mut n = 0;
    while text.len() < size {
        let _ = write!(text, "line {n} of {marker}, which nothing may change\r\n");
        n += 1;
    }
    text.into_bytes()
}

fn header(data: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(data);
    let line = text
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with(name));
    line.unwrap_or_default().to_owned()
}

const READ_LATE: Duration = Duration::from_millis(500);
