//! The one writer of the event log: a buffer that everybody appends to, and a thread that empties it.
//!
//! Whoever has an event formats it into the buffer under a lock of a few microseconds and goes on.
//! After each write the thread lets lines gather for [`GATHER`]: under load a wake-up and a write
//! per line would cost more than the lines themselves.
//! A sink that blocks (a full pipe, a slow disk) never stops delivery: beyond [`CAP`] octets
//! events are dropped and counted, and so is each that a write loses; the count is told on standard error. Of a
//! line that was torn by a full disk the next begins anew. Nor does such a sink keep the process from ending.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use attempt::{Formatter, LogEvent};
use parking_lot::{Condvar, Mutex};

use super::journald::{self, Journal};

/// The event log. Cloning shares.
#[derive(Clone)]
pub(crate) struct EventLog {
    shared: Arc<Shared>,
}

struct Shared {
    /// Whoever watches live.
    feed: Arc<web::Feed>,
    state: Mutex<State>,
    more: Condvar,
    /// The writer has ended.
    over: Condvar,
    dropped: AtomicU64,
}

struct State {
    formatter: Formatter,
    buffer: Vec<u8>,
    unsaid: u64,
    /// What is still to be written where it was meant to go, and where the rest goes.
    switches: Vec<(Vec<u8>, Sink)>,
    closing: bool,
    ended: bool,
    /// The writer sleeps until there is something to write: nobody else needs to wake it.
    asleep: bool,
}

/// How events are written, and where: opened, so that nothing can go wrong any more.
pub(crate) struct Outlet {
    formatter: Formatter,
    sink: Sink,
}

/// Where events go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    Stdout,
    File(&'a Path),
    /// The systemd journal, with `log.syslog-name`.
    Journal(&'a str),
}

/// Ends the log when it is dropped: everything that was said is written first, if the sink takes it in time.
pub(crate) struct Guard {
    log: EventLog,
}

impl EventLog {
    /// Starts the writer.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(outlet: Outlet) -> io::Result<(Self, Guard)> {
        let Outlet { formatter, sink } = outlet;
        let shared = Shared {
            feed: Arc::default(),
            state: Mutex::new(State {
                formatter,
                buffer: Vec::new(),
                unsaid: 0,
                switches: Vec::new(),
                closing: false,
                ended: false,
                asleep: false,
            }),
            more: Condvar::new(),
            over: Condvar::new(),
            dropped: AtomicU64::new(0),
        };
        let log = Self {
            shared: Arc::new(shared),
        };
        let writer = log.clone();
        std::thread::Builder::new()
            .name("event-log".to_owned())
            .spawn(move || {
                writer.write_all(sink);
                writer.shared.state.lock().ended = true;
                writer.shared.over.notify_all();
            })?;
        Ok((log.clone(), Guard { log }))
    }

    /// Says that something happened.
    pub(crate) fn write(&self, event: &dyn LogEvent) {
        self.shared.feed.offer(event);
        let mut state = self.shared.state.lock();
        if state.buffer.len() > CAP {
            state.unsaid += 1;
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let State {
            formatter, buffer, ..
        } = &mut *state;
        formatter.write(event, buffer);
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.shared.more.notify_one();
        }
    }

    /// Events from now on are written in another way or elsewhere, or to a file of the same name
    /// after it was rotated. What was said before goes where it was meant to go.
    pub(crate) fn switch(&self, outlet: Outlet) {
        let mut state = self.shared.state.lock();
        let before = std::mem::take(&mut state.buffer);
        state.switches.push((before, outlet.sink));
        state.formatter = outlet.formatter;
        drop(state);
        self.shared.more.notify_one();
    }

    /// Where live events come from.
    pub(crate) fn feed(&self) -> &Arc<web::Feed> {
        &self.shared.feed
    }

    /// Octets that wait to be written, and how many may.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.shared.state.lock().buffer.len(), CAP)
    }

    /// Events that were dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    fn write_all(&self, mut sink: Sink) {
        let mut full = Vec::new();
        let mut wrote = false;
        loop {
            let (switches, closing, unsaid) = {
                let mut state = self.shared.state.lock();
                if wrote && !state.closing && state.switches.is_empty() {
                    self.shared.more.wait_for(&mut state, GATHER);
                }
                while state.buffer.is_empty() && state.switches.is_empty() && !state.closing {
                    state.asleep = true;
                    self.shared.more.wait(&mut state);
                    state.asleep = false;
                }
                wrote = !state.buffer.is_empty();
                std::mem::swap(&mut state.buffer, &mut full);
                (
                    std::mem::take(&mut state.switches),
                    state.closing,
                    std::mem::take(&mut state.unsaid),
                )
            };
            for (before, next) in switches {
                self.pass_on(&mut sink, &before);
                sink = next;
            }
            self.pass_on(&mut sink, &full);
            full.clear();
            if unsaid > 0 {
                tracing::error!(
                    unsaid,
                    "the event log was blocked; so many events were dropped"
                );
            }
            if closing && self.shared.state.lock().buffer.is_empty() {
                return;
            }
        }
    }
}

impl EventLog {
    fn pass_on(&self, sink: &mut Sink, lines: &[u8]) {
        if let Err(Lost { events, error }) = sink.write(lines) {
            tracing::error!(%error, events, "the event log cannot be written; events are lost");
            self.shared.dropped.fetch_add(events, Ordering::Relaxed);
        }
    }
}

impl Outlet {
    /// Opens where events are to go.
    ///
    /// # Errors
    /// The system's words.
    pub(crate) fn open(formatter: Formatter, target: Target<'_>) -> io::Result<Self> {
        let sink = match target {
            Target::Stdout => Sink::Lines(Lines::new(File::from(
                io::stdout().as_fd().try_clone_to_owned()?,
            ))),
            Target::File(path) => Sink::Lines(append(path)?),
            Target::Journal(identifier) => {
                Sink::Journal(Journal::connect(Path::new(journald::SOCKET), identifier)?)
            }
        };
        Ok(Self { formatter, sink })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let shared = &self.log.shared;
        let mut state = shared.state.lock();
        state.closing = true;
        shared.more.notify_one();
        let end = Instant::now() + LAST_WORDS;
        while !state.ended {
            if shared.over.wait_until(&mut state, end).timed_out() {
                let octets = state.buffer.len();
                drop(state);
                // Standard error may go where nobody reads, too.
                let said = std::thread::spawn(move || {
                    tracing::error!(
                        octets,
                        "the event log takes nothing; what waits there is lost"
                    );
                });
                let end = Instant::now() + Duration::from_millis(500);
                while !said.is_finished() && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(10));
                }
                return;
            }
        }
    }
}

enum Sink {
    Lines(Lines<File>),
    Journal(Journal),
}

/// What a write has lost.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) events: u64,
    pub(super) error: io::Error,
}

impl Sink {
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        match self {
            Self::Lines(out) => out.write(lines),
            Self::Journal(journal) => journal.write(lines),
        }
    }
}

/// A file or a pipe that takes lines.
struct Lines<W> {
    out: W,
    /// The last line was not written to its end.
    torn: bool,
}

impl<W: Write> Lines<W> {
    const fn new(out: W) -> Self {
        Self { out, torn: false }
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let mut left = lines;
        while !left.is_empty() {
            let next: &[u8] = if self.torn { b"\n" } else { left };
            match self.out.write(next) {
                Ok(0) => return Err(self.lost(left, io::ErrorKind::WriteZero.into())),
                Ok(_) if self.torn => self.torn = false,
                Ok(n) => left = &left[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let begun = lines.len() - left.len();
                    self.torn |= begun > 0 && lines[begun - 1] != b'\n';
                    return Err(self.lost(left, error));
                }
            }
        }
        Ok(())
    }

    fn lost(&self, left: &[u8], error: io::Error) -> Lost {
        let events = left.iter().filter(|b| **b == b'\n').count() as u64;
        Lost { events, error }
    }
}

/// A line that an earlier process, or this one before a reload, could not end is ended first.
fn append(path: &Path) -> io::Result<Lines<File>> {
    let out = OpenOptions::new().create(true).append(true).open(path)?;
    let kind = out.metadata()?;
    let mut last = [b'\n'];
    // What may only be written counts as whole.
    if let (true, Some(end), Ok(file)) =
        (kind.is_file(), kind.len().checked_sub(1), File::open(path))
    {
        let _ = file.read_at(&mut last, end);
    }
    let torn = last != [b'\n'];
    Ok(Lines { out, torn })
}

/// How long lines gather after a write before the next.
const GATHER: Duration = Duration::from_millis(10);
/// How long an orderly end waits for what is still to be written.
const LAST_WORDS: Duration = Duration::from_secs(5);
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

    /// A disk that is full for a while.
    struct Full {
        written: Vec<u8>,
        room: usize,
    }

    impl Write for Full {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let n = octets.len().min(self.room);
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= n;
            self.written.extend_from_slice(&octets[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn h9_07_each_event_that_a_full_disk_takes_is_counted_and_spoils_no_other() {
        let disk = |room| Full {
            written: Vec::new(),
            room,
        };
        let mut lines = Lines::new(disk(7));
        let lost = lines.write(b"one\ntwo\nthree\n").unwrap_err();
        assert_eq!(
            (lost.events, lost.error.kind()),
            (2, io::ErrorKind::StorageFull)
        );
        assert_eq!(lines.write(b"four\n").unwrap_err().events, 1);
        lines.out.room = 100;
        lines.write(b"five\n").unwrap();
        lines.write(b"six\n").unwrap();
        assert_eq!(lines.out.written, b"one\ntwo\nfive\nsix\n");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"one\ntw").unwrap();
        append(file.path()).unwrap().write(b"three\n").unwrap();
        append(file.path()).unwrap().write(b"four\n").unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, "one\ntw\nthree\nfour\n");
        // Between two lines nothing is torn.
        let mut lines = Lines::new(disk(4));
        assert_eq!(lines.write(b"one\ntwo\n").unwrap_err().events, 1);
        lines.out.room = 100;
        lines.write(b"three\n").unwrap();
        assert_eq!(lines.out.written, b"one\nthree\n");
    }

    #[test]
    fn h6_03_a_reader_that_has_stopped_keeps_nobody_from_ending() {
        let (reader, writer) = io::pipe().unwrap();
        let outlet = Outlet {
            formatter: Formatter::new(Format::Json, "h.test", "sealpost", 1),
            sink: Sink::Lines(Lines::new(File::from(std::os::fd::OwnedFd::from(writer)))),
        };
        let (log, guard) = EventLog::start(outlet).unwrap();
        // More than a pipe holds.
        for n in 0..10_000 {
            log.write(&Said(n));
        }
        drop(guard);
        drop(reader);
    }

    #[test]
    fn everything_is_written_before_the_end_and_files_can_be_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
        let outlet = |format| {
            let formatter = Formatter::new(format, "h.test", "sealpost", 1);
            Outlet::open(formatter, Target::File(&path)).unwrap()
        };
        let (log, guard) = EventLog::start(outlet(Format::Json)).unwrap();
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
        log.write(&Said(1000));
        log.switch(outlet(Format::Text { colour: false }));
        log.write(&Said(1001));
        drop(guard);
        let (old, new) = (
            std::fs::read_to_string(&rotated).unwrap(),
            std::fs::read_to_string(&path).unwrap(),
        );
        assert_eq!((old.lines().count(), new.lines().count()), (1001, 1));
        assert!(
            old.ends_with("\"n\":1000}\n") && new.ends_with("test.said          n=1001\n"),
            "{new}"
        );
        assert_eq!(log.dropped(), 0);
    }
}
