//! The files.
//!
//! Counts are a first line, `sealpost-report-counts 1 TAB checksum` (CRC-32 of the rest, eight hexadecimal digits), and
//! JSON. They are replaced as a whole, so that a crash leaves the old ones or the new ones. What cannot be read is moved
//! aside (`….damaged`) and told: counts are no mail, and no damage to them keeps the relay from starting.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{Storage, replace_file};
use tls_rpt::{Day, Tally};

use crate::outcome::{self, Line, Read};
use crate::view::Trouble;

/// The directory of the reports.
pub(crate) struct Disk {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
}

/// Bytes of a day's files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    pub(crate) counts: Option<u64>,
    pub(crate) outcomes: Option<u64>,
}

impl Disk {
    pub(crate) fn new(storage: Arc<dyn Storage>, dir: &Path) -> Self {
        Self {
            storage,
            dir: dir.to_owned(),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn make(&self) -> io::Result<()> {
        self.storage.create_dir_all(&self.dir)
    }

    /// The days of which there are files.
    pub(crate) fn days(&self) -> io::Result<BTreeMap<Day, Sizes>> {
        let entries = match self.storage.list(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            other => other?,
        };
        let mut days: BTreeMap<Day, Sizes> = BTreeMap::new();
        for entry in entries {
            let Some((day, kind)) = entry.name.split_once('.') else {
                continue;
            };
            let Ok(day) = day.parse::<Day>() else {
                continue;
            };
            match kind {
                COUNTS => days.entry(day).or_default().counts = Some(entry.len),
                OUTCOMES => days.entry(day).or_default().outcomes = Some(entry.len),
                _ => {}
            }
        }
        Ok(days)
    }

    /// Sixteen octets that no other relay has.
    pub(crate) fn node(&self, troubles: &mut Vec<Trouble>) -> io::Result<Option<[u8; 16]>> {
        let Some(bytes) = self.read(&self.dir.join(NODE))? else {
            return Ok(None);
        };
        let node = from_hex(bytes.trim_ascii());
        if node.is_none() {
            let what = "it is no number of this relay; a new one was made, and reports of closed days that are sent \
                        again have another report-id";
            self.set_aside(NODE, what, troubles);
        }
        Ok(node)
    }

    pub(crate) fn write_node(&self, node: [u8; 16]) -> io::Result<()> {
        let text: String = node.iter().map(|b| format!("{b:02x}")).collect();
        self.replace(NODE, format!("{text}\n").as_bytes())
    }

    pub(crate) fn write_counts(&self, day: Day, json: &[u8]) -> io::Result<()> {
        let sum = crc32fast::hash(json);
        let mut bytes = format!("{HEADING}\t{sum:08x}\n").into_bytes();
        bytes.extend_from_slice(json);
        self.replace(&format!("{day}.{COUNTS}"), &bytes)
    }

    /// What was counted on a day. What cannot be read is moved aside and told.
    pub(crate) fn counts(
        &self,
        day: Day,
        troubles: &mut Vec<Trouble>,
    ) -> io::Result<Option<Tally>> {
        let name = format!("{day}.{COUNTS}");
        let Some(bytes) = self.read(&self.dir.join(&name))? else {
            return Ok(None);
        };
        let tally = tally(&bytes).filter(|tally| tally.day() == day);
        if tally.is_none() {
            let what = format!(
                "the counts of {day} cannot be read; what that day showed until then is not reported"
            );
            self.set_aside(&name, &what, troubles);
        }
        Ok(tally)
    }

    /// As [`Disk::counts`], for whoever only looks.
    pub(crate) fn look_at_counts(&self, day: Day) -> Option<Tally> {
        let bytes = self
            .read(&self.dir.join(format!("{day}.{COUNTS}")))
            .ok()??;
        tally(&bytes)
    }

    /// Adds lines to what became of a day's reports.
    pub(crate) fn append(&self, day: Day, lines: &[Line]) -> io::Result<()> {
        let path = self.dir.join(format!("{day}.{OUTCOMES}"));
        let bytes: Vec<u8> = lines.iter().flat_map(outcome::write).collect();
        let file = match self.storage.open_writable(&path) {
            Ok(file) => file,
            // With its first line, or not at all.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return replace_file(&*self.storage, &path, &bytes);
            }
            Err(e) => return Err(e),
        };
        let end = file.len()?;
        let (mut rest, mut at) = (bytes.as_slice(), end);
        while !rest.is_empty() {
            match file.write_vectored_at(&[IoSlice::new(rest)], at) {
                Ok(0) => return self.cut(&*file, end, io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    at += written as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return self.cut(&*file, end, e),
            }
        }
        file.sync_data()
    }

    /// What was written in part must not stand before the next line.
    fn cut(&self, file: &dyn journal::StorageFile, end: u64, error: io::Error) -> io::Result<()> {
        file.set_len(end).and(Err(error))
    }

    /// What became of a day's reports; a line that was not written to its end is taken away, others that cannot be
    /// read are told.
    pub(crate) fn outcomes(
        &self,
        day: Day,
        troubles: &mut Vec<Trouble>,
    ) -> io::Result<Option<Vec<Line>>> {
        let name = format!("{day}.{OUTCOMES}");
        let path = self.dir.join(&name);
        let Some(bytes) = self.read(&path)? else {
            return Ok(None);
        };
        let Read {
            mut lines,
            torn,
            damaged,
        } = outcome::read(&bytes);
        if damaged > 0 {
            let what = format!(
                "{damaged} lines on what became of reports of {day} cannot be read; those reports may be sent again"
            );
            self.set_aside(&name, &what, troubles);
        }
        if !lines.iter().any(|line| matches!(line, Line::Closed { .. })) {
            // It was the damaged one: nothing but a closed day has this file.
            lines.insert(
                0,
                Line::Closed {
                    at: day.end().as_millis(),
                },
            );
        }
        if torn || damaged > 0 {
            let bytes: Vec<u8> = lines.iter().flat_map(outcome::write).collect();
            replace_file(&*self.storage, &path, &bytes)?;
        }
        Ok(Some(lines))
    }

    /// As [`Disk::outcomes`], for whoever only looks.
    pub(crate) fn look_at_outcomes(&self, day: Day) -> Vec<Line> {
        let bytes = self.read(&self.dir.join(format!("{day}.{OUTCOMES}")));
        let bytes = bytes.ok().flatten().unwrap_or_default();
        outcome::read(&bytes).lines
    }

    /// Forgets a day.
    pub(crate) fn remove(&self, day: Day) -> io::Result<()> {
        // The counts first: without them what became of them tells nothing that is sent again.
        for kind in [COUNTS, OUTCOMES] {
            match self.storage.unlink(&self.dir.join(format!("{day}.{kind}"))) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// A day that the clock says is still to come: a clock was wrong, then or now.
    pub(crate) fn of_the_future(&self, day: Day) -> Trouble {
        let detail = format!(
            "by the clock {day} is still to come: the clock is wrong now, or was when this was counted; nothing of \
             that day is sent for the time being, and if the clock is right now the files {day}.* can be deleted"
        );
        Trouble {
            file: self.dir.join(format!("{day}.{COUNTS}")),
            detail,
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        replace_file(&*self.storage, &self.dir.join(name), bytes)
    }

    fn set_aside(&self, name: &str, what: &str, troubles: &mut Vec<Trouble>) {
        let path = self.dir.join(name);
        let aside = self.dir.join(format!("{name}.damaged"));
        let moved = self.storage.rename(&path, &aside);
        let done = match moved.and_then(|()| self.storage.sync_dir(&self.dir)) {
            Ok(()) => format!("the file was moved to {}", aside.display()),
            Err(e) => format!("the file could not be moved aside: {e}"),
        };
        troubles.push(Trouble {
            file: path,
            detail: format!("{what}; {done}"),
        });
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let file = match self.storage.open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        bytes.truncate(filled);
        Ok(Some(bytes))
    }
}

fn tally(bytes: &[u8]) -> Option<Tally> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let (head, json) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    let sum = std::str::from_utf8(head).ok()?.strip_prefix(HEADING)?;
    let sum = u32::from_str_radix(sum.strip_prefix('\t')?, 16).ok()?;
    (sum == crc32fast::hash(json)).then(|| serde_json::from_slice(json).ok())?
}

fn from_hex(text: &[u8]) -> Option<[u8; 16]> {
    let text = std::str::from_utf8(text).ok().filter(|t| t.len() == 32)?;
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

const NODE: &str = "node";
const COUNTS: &str = "counts";
const OUTCOMES: &str = "outcomes";
const HEADING: &str = "sealpost-report-counts 1";
