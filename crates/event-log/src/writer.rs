//! The one writer of the event log: a buffer that everybody appends to, and a thread that empties it.
//!
//! Whoever has an event formats it into the buffer under a lock of a few microseconds and goes on.
//! After each write the thread lets lines gather for [`GATHER`]: under load a wake-up and a write
//! per line would cost more than the lines themselves.
//! A sink that blocks (a full pipe, a slow disk) never stops delivery: beyond [`CAP`] octets
//! events are dropped and counted, and so is each that a write loses; the count is told on standard error, by
//! `status` while it lasts, and by `log.resumed` once the sink takes events again. Of a
//! line that was torn by a full disk the next begins anew. Nor does such a sink keep the process from ending.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use attempt::{Fields, Formatter, Level, LogEvent, PostfixEvent};
use mail_types::Timestamp;
use parking_lot::{Condvar, Mutex};

use crate::journald::{self, Journal};
use crate::sink::{Batch, Lines, Lost, Sink, append};

/// The event log. Cloning shares.
#[derive(Clone)]
pub struct EventLog {
    shared: Arc<Shared>,
}

struct Shared {
    /// Whoever watches live.
    watcher: Box<Watcher>,
    state: Mutex<State>,
    more: Condvar,
    /// The writer has ended.
    over: Condvar,
    dropped: AtomicU64,
    /// Whether Postfix's format is written.
    postfix: AtomicBool,
}

type Watcher = dyn Fn(&dyn LogEvent) + Send + Sync;

struct State {
    formatter: Formatter,
    buffer: Batch,
    /// When the last event happened: what the writer says of its own doings goes by the same clock.
    last: Timestamp,
    unsaid: u64,
    losing: Option<Losing>,
    /// What is still to be written where it was meant to go, and where the rest goes.
    switches: Vec<(Batch, Sink)>,
    closing: bool,
    ended: bool,
    /// The writer sleeps until there is something to write: nobody else needs to wake it.
    asleep: bool,
}

/// Events are being lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Losing {
    /// When the first of them happened.
    pub since: Timestamp,
    /// How many so far.
    pub events: u64,
    /// Why the last of them was.
    pub cause: String,
}

/// How events are written, and where: opened, so that nothing can go wrong any more.
pub struct Outlet {
    formatter: Formatter,
    sink: Sink,
}

/// Where events go.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// Standard output.
    Stdout,
    /// This file, behind what it has.
    File(&'a Path),
    /// The systemd journal, with `log.syslog-name`.
    Journal(&'a str),
}

/// Ends the log when it is dropped: everything that was said is written first, if the sink takes it in time.
pub struct Guard {
    log: EventLog,
}

impl EventLog {
    /// Starts the writer. Each event is shown to `watcher` as well, whether or not it can be written.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(
        outlet: Outlet,
        watcher: impl Fn(&dyn LogEvent) + Send + Sync + 'static,
    ) -> io::Result<(Self, Guard)> {
        let Outlet { formatter, sink } = outlet;
        let log = Self::idle(formatter, Box::new(watcher));
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

    /// Without its writer.
    fn idle(formatter: Formatter, watcher: Box<Watcher>) -> Self {
        let shared = Shared {
            watcher,
            postfix: AtomicBool::new(formatter.is_postfix()),
            state: Mutex::new(State {
                formatter,
                buffer: Batch::default(),
                last: Timestamp::default(),
                unsaid: 0,
                losing: None,
                switches: Vec::new(),
                closing: false,
                ended: false,
                asleep: false,
            }),
            more: Condvar::new(),
            over: Condvar::new(),
            dropped: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Says that something happened.
    pub fn write(&self, event: &dyn LogEvent) {
        (self.shared.watcher)(event);
        self.add(event.at(), |formatter, buffer| buffer.add(formatter, event));
    }

    /// Says what only Postfix says; in other formats nothing, at no cost.
    pub fn write_postfix(&self, event: &dyn PostfixEvent) {
        if self.shared.postfix.load(Ordering::Relaxed) {
            self.add(event.at(), |formatter, buffer| {
                // The format may have changed since.
                if formatter.is_postfix() {
                    buffer.add_postfix(formatter, event);
                }
            });
        }
    }

    fn add(&self, at: Timestamp, write: impl FnOnce(&Formatter, &mut Batch)) {
        let mut state = self.shared.state.lock();
        state.last = at;
        if state.buffer.len() > CAP {
            state.unsaid += 1;
            state.lose(at, 1, BLOCKED);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let State {
            formatter, buffer, ..
        } = &mut *state;
        write(formatter, buffer);
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.shared.more.notify_one();
        }
    }

    /// Events from now on are written in another way or elsewhere, or to a file of the same name
    /// after it was rotated. What was said before goes where it was meant to go.
    pub fn switch(&self, outlet: Outlet) {
        let mut state = self.shared.state.lock();
        let before = std::mem::take(&mut state.buffer);
        state.switches.push((before, outlet.sink));
        let postfix = outlet.formatter.is_postfix();
        self.shared.postfix.store(postfix, Ordering::Relaxed);
        state.formatter = outlet.formatter;
        drop(state);
        self.shared.more.notify_one();
    }

    /// Octets that wait to be written, and how many may.
    pub fn waiting(&self) -> (usize, usize) {
        (self.shared.state.lock().buffer.len(), CAP)
    }

    /// Events that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// What is being lost just now, if anything is.
    pub fn losing(&self) -> Option<Losing> {
        self.shared.state.lock().losing.clone()
    }

    fn write_all(&self, mut sink: Sink) {
        let mut full = Batch::default();
        let mut wrote = false;
        loop {
            let (switches, closing, unsaid, lost) = {
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
                    state.lost(),
                )
            };
            for (before, next) in switches {
                self.pass_on(&mut sink, &before);
                sink = next;
            }
            if self.pass_on(&mut sink, &full) {
                self.resume(lost);
            }
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
    /// Whether something was written, and all of it.
    fn pass_on(&self, sink: &mut Sink, batch: &Batch) -> bool {
        let Err(Lost { events, error }) = sink.write(batch) else {
            return !batch.is_empty();
        };
        tracing::error!(%error, events, "the event log cannot be written; events are lost");
        let mut state = self.shared.state.lock();
        let last = state.last;
        match batch.untold(events) {
            // The disk was full again before it was told that it had been: that is one loss, and counted as one.
            Some(before) => {
                state.lose(last, events - 1 + before.events, &error.to_string());
                if let Some(losing) = &mut state.losing {
                    losing.since = before.since;
                }
            }
            None => state.lose(last, events, &error.to_string()),
        }
        drop(state);
        self.shared.dropped.fetch_add(events, Ordering::Relaxed);
        false
    }

    /// The sink has taken everything: tells what was lost before, unless more has been since there were `lost`.
    fn resume(&self, lost: u64) {
        let mut state = self.shared.state.lock();
        if lost == 0 || state.lost() != lost {
            return;
        }
        let Some(over) = state.losing.take() else {
            return;
        };
        let resumed = Resumed {
            at: state.last,
            over,
        };
        let State {
            formatter, buffer, ..
        } = &mut *state;
        buffer.add_told(formatter, &resumed, &resumed.over);
        drop(state);
        (self.shared.watcher)(&resumed);
        let Losing { events, since, .. } = resumed.over;
        tracing::warn!(events, %since, "the event log is written again");
    }
}

/// The log takes events again.
struct Resumed {
    at: Timestamp,
    over: Losing,
}

impl LogEvent for Resumed {
    fn event(&self) -> &'static str {
        "log.resumed"
    }

    fn level(&self) -> Level {
        Level::Warn
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn fields(&self, fields: &mut Fields<'_>) {
        fields
            .add("lost", &self.over.events)
            .time("since", self.over.since)
            .add("cause", self.over.cause.as_str());
    }
}

impl State {
    fn lose(&mut self, at: Timestamp, events: u64, cause: &str) {
        let losing = self.losing.get_or_insert_with(|| Losing {
            since: at,
            events: 0,
            cause: String::new(),
        });
        losing.events += events;
        if losing.cause != cause {
            losing.cause = cause.to_owned();
        }
    }

    /// Events lost since it began.
    fn lost(&self) -> u64 {
        self.losing.as_ref().map_or(0, |losing| losing.events)
    }
}

impl Outlet {
    /// Opens where events are to go.
    ///
    /// # Errors
    /// The system's words.
    pub fn open(formatter: Formatter, target: Target<'_>) -> io::Result<Self> {
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

/// How long lines gather after a write before the next.
const GATHER: Duration = Duration::from_millis(10);
/// How long an orderly end waits for what is still to be written.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Where whoever reads the log has stopped, or is slower than what happens.
const BLOCKED: &str = "nobody takes the events as fast as they come";
/// Octets that may wait to be written.
const CAP: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use attempt::Format;

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
    fn h6_03_a_reader_that_has_stopped_keeps_nobody_from_ending() {
        let (reader, writer) = io::pipe().unwrap();
        let outlet = Outlet {
            formatter: Formatter::new(Format::Json, "h.test", "sealpost", 1),
            sink: Sink::Lines(Lines::new(File::from(std::os::fd::OwnedFd::from(writer)))),
        };
        let (log, guard) = EventLog::start(outlet, |_| ()).unwrap();
        // More than a pipe holds.
        for n in 0..10_000 {
            log.write(&Said(n));
        }
        drop(guard);
        drop(reader);
    }

    /// A pipe that nobody reads, until somebody does.
    #[test]
    fn h9_07_it_is_told_that_events_are_lost_and_that_it_goes_on() {
        let (reader, writer) = io::pipe().unwrap();
        let outlet = Outlet {
            formatter: Formatter::new(Format::Json, "h.test", "sealpost", 1),
            sink: Sink::Lines(Lines::new(File::from(std::os::fd::OwnedFd::from(writer)))),
        };
        let (log, guard) = EventLog::start(outlet, |_| ()).unwrap();
        log.write(&Said(0));
        assert_eq!(log.losing(), None);
        let mut said: u64 = 1;
        while log.dropped() < 5 {
            log.write(&Said(0));
            said += 1;
        }
        let losing = log.losing().unwrap();
        assert_eq!((losing.events, losing.since), (5, Timestamp::from_secs(1)));
        let lines = io::BufRead::lines(io::BufReader::new(reader)).map(Result::unwrap);
        let mut read = 0;
        let mut lines = lines.inspect(|_| read += 1);
        let resumed = lines.find(|line| line.contains("log.resumed")).unwrap();
        assert!(
            resumed
                .contains(r#""lost":5,"since":"1970-01-01T00:00:01.000Z","cause":"nobody takes"#),
            "{resumed}"
        );
        drop(lines);
        assert_eq!(read, said - 5 + 1, "each that was kept, and this");
        assert_eq!(log.losing(), None);
        drop(guard);
    }

    /// What is lost twice in a row is one loss: its count goes on.
    #[test]
    fn h9_07_a_disk_that_is_full_again_before_that_was_told_restarts_no_count() {
        let formatter = Formatter::new(Format::Json, "h.test", "sealpost", 1);
        let log = EventLog::idle(formatter, Box::new(|_| ()));
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut full = Sink::Lines(Lines::new(full));
        let since = Timestamp::from_secs(7);
        log.shared.state.lock().lose(since, 5, "full");
        log.resume(5);
        assert_eq!(log.losing(), None);
        log.write(&Said(0));
        let batch = std::mem::take(&mut log.shared.state.lock().buffer);
        assert!(!log.pass_on(&mut full, &batch));
        let losing = log.losing().unwrap();
        // `log.resumed` itself is told again.
        assert_eq!((losing.events, losing.since), (6, since));
        log.resume(6);
        log.write(&Said(1));
        let batch = std::mem::take(&mut log.shared.state.lock().buffer);
        let text = tempfile::NamedTempFile::new().unwrap();
        let mut file = Sink::Lines(append(text.path()).unwrap());
        assert!(log.pass_on(&mut file, &batch));
        assert!(
            std::fs::read_to_string(text.path())
                .unwrap()
                .contains(r#""lost":6"#)
        );
        assert_eq!(log.losing(), None);
    }

    #[test]
    fn everything_is_written_before_the_end_and_files_can_be_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
        let outlet = |format| {
            let formatter = Formatter::new(format, "h.test", "sealpost", 1);
            Outlet::open(formatter, Target::File(&path)).unwrap()
        };
        let (log, guard) = EventLog::start(outlet(Format::Json), |_| ()).unwrap();
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
