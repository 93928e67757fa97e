//! What takes the lines of the event log: a file, a pipe, the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use attempt::{Formatter, LogEvent, PostfixEvent};

use crate::journald::Journal;
use crate::writer::Losing;

/// Events that are written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    text: Vec<u8>,
    /// Where each event ends: one may have several lines.
    ends: Vec<usize>,
    /// Which of them tells of losses, and of which: told again if it is lost itself.
    tells: Option<(usize, Losing)>,
}

impl Batch {
    pub(super) fn add(&mut self, formatter: &Formatter, event: &dyn LogEvent) {
        formatter.write(event, &mut self.text);
        self.ends.push(self.text.len());
    }

    pub(super) fn add_postfix(&mut self, formatter: &Formatter, event: &dyn PostfixEvent) {
        formatter.write_postfix(event, &mut self.text);
        self.ends.push(self.text.len());
    }

    /// An event that tells of these losses.
    pub(super) fn add_told(&mut self, formatter: &Formatter, event: &dyn LogEvent, of: &Losing) {
        self.tells = Some((self.ends.len(), of.clone()));
        self.add(formatter, event);
    }

    /// What nobody has been told of, as so many of the last events are lost.
    pub(super) fn untold(&self, lost: u64) -> Option<&Losing> {
        let (at, losing) = self.tells.as_ref()?;
        let behind = (self.ends.len() - at) as u64;
        (lost >= behind).then_some(losing)
    }

    /// Octets.
    pub(super) const fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.tells = None;
    }

    /// The events that `left` has the end of.
    fn lost(&self, left: &[u8], error: io::Error) -> Lost {
        let written = self.text.len() - left.len();
        let whole = self.ends.partition_point(|end| *end <= written);
        let events = (self.ends.len() - whole) as u64;
        Lost { events, error }
    }
}

/// Where events go, opened.
pub(super) enum Sink {
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
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), Lost> {
        match self {
            Self::Lines(out) => out.write(batch),
            Self::Journal(journal) => journal.write(&batch.text),
        }
    }
}

/// A file or a pipe that takes lines.
pub(super) struct Lines<W> {
    out: W,
    /// The last line was not written to its end.
    torn: bool,
}

impl<W: Write> Lines<W> {
    pub(super) const fn new(out: W) -> Self {
        Self { out, torn: false }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Lost> {
        let lines = &*batch.text;
        let mut left = lines;
        while !left.is_empty() {
            let next: &[u8] = if self.torn { b"\n" } else { left };
            match self.out.write(next) {
                Ok(0) => return Err(batch.lost(left, io::ErrorKind::WriteZero.into())),
                Ok(_) if self.torn => self.torn = false,
                Ok(n) => left = &left[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let begun = lines.len() - left.len();
                    self.torn |= begun > 0 && lines[begun - 1] != b'\n';
                    return Err(batch.lost(left, error));
                }
            }
        }
        Ok(())
    }
}

/// A line that an earlier process, or this one before a reload, could not end is ended first.
pub(super) fn append(path: &Path) -> io::Result<Lines<File>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    use attempt::{Format, Received};
    use mail_types::{QueueId, ReversePath, Timestamp};

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

    /// An event of a line for each word.
    fn batch(lines: &[u8]) -> Batch {
        let ends = lines.iter().enumerate().filter(|(_, b)| **b == b'\n');
        Batch {
            text: lines.to_owned(),
            ends: ends.map(|(at, _)| at + 1).collect(),
            tells: None,
        }
    }

    #[test]
    fn an_event_of_two_lines_is_lost_once() {
        let event = Received {
            at: Timestamp::from_secs(1),
            queue_id: QueueId::from_raw(1),
            upstream_id: None,
            message_id: None,
            client: None,
            orig_client: None,
            helo: "c.test",
            listener: "relay",
            identity: None,
            from: &ReversePath::Null,
            nrcpt: 1,
            size: 1,
            tls: None,
            session: 23,
        };
        let formatter = Formatter::new(Format::Postfix, "h.test", "sealpost", 1);
        let mut all = Batch::default();
        for _ in 0..3 {
            all.add(&formatter, &event);
        }
        let lines = all.text.iter().filter(|b| **b == b'\n').count();
        assert_eq!(lines, 6);
        // One whole, and the first line of the next.
        let room = all.ends[0] + all.ends[0] / 2 + 10;
        let mut out = Lines::new(Full {
            written: Vec::new(),
            room,
        });
        assert_eq!(out.write(&all).unwrap_err().events, 2);
    }

    #[test]
    fn h9_07_each_event_that_a_full_disk_takes_is_counted_and_spoils_no_other() {
        let disk = |room| Full {
            written: Vec::new(),
            room,
        };
        let mut lines = Lines::new(disk(7));
        let lost = lines.write(&batch(b"one\ntwo\nthree\n")).unwrap_err();
        assert_eq!(
            (lost.events, lost.error.kind()),
            (2, io::ErrorKind::StorageFull)
        );
        assert_eq!(lines.write(&batch(b"four\n")).unwrap_err().events, 1);
        lines.out.room = 100;
        lines.write(&batch(b"five\n")).unwrap();
        lines.write(&batch(b"six\n")).unwrap();
        assert_eq!(lines.out.written, b"one\ntwo\nfive\nsix\n");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"one\ntw").unwrap();
        append(file.path())
            .unwrap()
            .write(&batch(b"three\n"))
            .unwrap();
        append(file.path())
            .unwrap()
            .write(&batch(b"four\n"))
            .unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, "one\ntw\nthree\nfour\n");
        // Between two lines nothing is torn.
        let mut lines = Lines::new(disk(4));
        assert_eq!(lines.write(&batch(b"one\ntwo\n")).unwrap_err().events, 1);
        lines.out.room = 100;
        lines.write(&batch(b"three\n")).unwrap();
        assert_eq!(lines.out.written, b"one\nthree\n");
    }
}
