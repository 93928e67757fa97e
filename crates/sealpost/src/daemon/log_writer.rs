//! The one writer of the event log: a buffer that everybody appends to, and a thread that empties it.
//!
//! Whoever has an event formats it into the buffer under a lock of a few microseconds and goes on.
//! After each write the thread lets lines gather for [`GATHER`]: under load a wake-up and a write
//! per line would cost more than the lines themselves.
//! A sink that blocks (a full pipe, a slow disk) never stops delivery: beyond [`CAP`] octets
//! events are dropped, counted, and the count is written as soon as the sink takes lines again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use attempt::{Formatter, LogEvent};
use parking_lot::{Condvar, Mutex};

/// The event log. Cloning shares.
#[derive(Clone)]
pub(crate) struct EventLog {
    shared: Arc<Shared>,
}

struct Shared {
    formatter: Formatter,
    state: Mutex<State>,
    more: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    unsaid: u64,
    reopen: bool,
    closing: bool,
    /// The writer sleeps until there is something to write: nobody else needs to wake it.
    asleep: bool,
}

/// Ends the log when it is dropped: everything that was said is written first.
pub(crate) struct Guard {
    log: EventLog,
    thread: Option<JoinHandle<()>>,
}

impl EventLog {
    /// Opens the sink (`path`, or standard output) and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread to be had.
    pub(crate) fn start(formatter: Formatter, path: Option<&Path>) -> io::Result<(Self, Guard)> {
        let sink = Sink::open(path)?;
        let shared = Shared {
            formatter,
            state: Mutex::default(),
            more: Condvar::new(),
            dropped: AtomicU64::new(0),
        };
        let log = Self {
            shared: Arc::new(shared),
        };
        let writer = log.clone();
        let thread = std::thread::Builder::new()
            .name("event-log".to_owned())
            .spawn(move || writer.write_all(sink))?;
        Ok((
            log.clone(),
            Guard {
                log,
                thread: Some(thread),
            },
        ))
    }

    /// Says that something happened.
    pub(crate) fn write(&self, event: &dyn LogEvent) {
        let mut state = self.shared.state.lock();
        if state.buffer.len() > CAP {
            state.unsaid += 1;
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.shared.formatter.write(event, &mut state.buffer);
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.shared.more.notify_one();
        }
    }

    /// The file was rotated: open it anew.
    pub(crate) fn reopen(&self) {
        self.shared.state.lock().reopen = true;
        self.shared.more.notify_one();
    }

    /// Events that were dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    fn write_all(&self, mut sink: Sink) {
        let mut full = Vec::new();
        let mut wrote = false;
        loop {
            let (reopen, closing, unsaid) = {
                let mut state = self.shared.state.lock();
                if wrote && !state.closing && !state.reopen {
                    self.shared.more.wait_for(&mut state, GATHER);
                }
                while state.buffer.is_empty() && !state.reopen && !state.closing {
                    state.asleep = true;
                    self.shared.more.wait(&mut state);
                    state.asleep = false;
                }
                wrote = !state.buffer.is_empty();
                std::mem::swap(&mut state.buffer, &mut full);
                (
                    std::mem::take(&mut state.reopen),
                    state.closing,
                    std::mem::take(&mut state.unsaid),
                )
            };
            if let Err(error) = sink.write(&full) {
                tracing::error!(%error, "the event log cannot be written; events are lost");
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
            full.clear();
            if unsaid > 0 {
                tracing::error!(
                    unsaid,
                    "the event log was blocked; so many events were dropped"
                );
            }
            if reopen && let Err(error) = sink.reopen() {
                tracing::error!(%error, "the event log cannot be opened anew; the old file stays in use");
            }
            if closing && self.shared.state.lock().buffer.is_empty() {
                return;
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.log.shared.state.lock().closing = true;
        self.log.shared.more.notify_one();
        if let Some(thread) = self.thread.take() {
            // The writer does not panic; if it did, there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

enum Sink {
    Stdout(io::Stdout),
    File(PathBuf, File),
}

impl Sink {
    fn open(path: Option<&Path>) -> io::Result<Self> {
        match path {
            None => Ok(Self::Stdout(io::stdout())),
            Some(path) => Ok(Self::File(path.to_owned(), append(path)?)),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File(path, file) = self {
            *file = append(path)?;
        }
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(out) => {
                out.write_all(lines)?;
                out.flush()
            }
            Self::File(_, file) => file.write_all(lines),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// How long lines gather after a write before the next.
const GATHER: Duration = Duration::from_millis(10);
/// Octets that may wait to be written.
const CAP: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use attempt::{Fields, Format, Level};
    use mail_types::Timestamp;

    struct Said(u32);

    impl LogEvent for Said {
        fn event(&self) -> &'static str {
            "test.said"
        }
        fn level(&self) -> Level {
            Level::Info
        }
        fn at(&self) -> Timestamp {
            Timestamp::from_secs(1)
        }
        fn fields(&self, fields: &mut Fields<'_>) {
            fields.add("n", &self.0);
        }
    }

    #[test]
    fn everything_is_written_before_the_end_and_files_can_be_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
        let (log, guard) = EventLog::start(
            Formatter::new(Format::Json, "h.test", "sealpost", 1),
            Some(&path),
        )
        .unwrap();
        for n in 0..1000 {
            log.write(&Said(n));
        }
        while !std::fs::read_to_string(&path)
            .unwrap()
            .contains("\"n\":999")
        {
            std::thread::yield_now();
        }
        std::fs::rename(&path, &rotated).unwrap();
        log.reopen();
        while !path.exists() {
            std::thread::yield_now();
        }
        log.write(&Said(1000));
        drop(guard);
        let (old, new) = (
            std::fs::read_to_string(&rotated).unwrap(),
            std::fs::read_to_string(&path).unwrap(),
        );
        assert_eq!((old.lines().count(), new.lines().count()), (1000, 1));
        assert_eq!(log.dropped(), 0);
    }
}
