//! What is done from time to time: counts are written, days closed, old ones forgotten.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mail_types::Timestamp;
use tls_rpt::{Day, Tally};

use crate::book::Book;
use crate::disk::Disk;
use crate::outcome::{Line, Outcome};
use crate::reports::{Reports, submitter};

impl Book {
    /// Adds counts to those of their day.
    pub(crate) fn add(&mut self, day: Day, tally: Tally) {
        *self.unwritten.entry(day).or_default() += 1;
        match self.open.get_mut(&day) {
            Some(known) => known.merge(tally),
            None => {
                self.open.insert(day, tally);
            }
        }
    }
}

impl Reports {
    /// Writes what was counted, and closes days that are over. [`Reports::run`] does so from time to time. Blocks.
    ///
    /// # Errors
    /// The disk does not take it; that is told, and tried again with the next turn.
    pub fn turn(&self, now: Timestamp) -> io::Result<()> {
        let disk = self.disk.lock();
        let at_once = self.close_now.swap(false, Ordering::Relaxed);
        let over = self.begin_closing(now, at_once);
        self.take_fresh();
        let result = self
            .write(&disk)
            .and_then(|()| self.write_outcomes(&disk))
            .and_then(|()| over.iter().try_for_each(|day| self.close(&disk, *day, now)));
        match &result {
            Ok(()) => self.told.store(false, Ordering::Relaxed),
            Err(error) => self.tell(&disk, error),
        }
        self.forget(&disk, now);
        result
    }

    fn tell(&self, disk: &Disk, error: &io::Error) {
        if !self.told.swap(true, Ordering::Relaxed) {
            let directory = disk.dir().display();
            tracing::error!(%error, "the TLS reports in {directory} cannot be written; it is tried again every minute, and what was counted since the last write is lost if the relay ends before");
        }
    }

    /// The days that are to be closed; what is counted from here on goes to others.
    fn begin_closing(&self, now: Timestamp, at_once: bool) -> Vec<Day> {
        let grace = if at_once { Duration::ZERO } else { GRACE };
        let book = self.book.lock();
        let mut fresh = self.fresh.lock();
        let days: BTreeSet<Day> = book.open.keys().chain(fresh.days.keys()).copied().collect();
        let is_over = |day: &Day| day.end() + grace <= now;
        let over: Vec<Day> = days.into_iter().filter(is_over).collect();
        fresh.closed.extend(&over);
        over
    }

    /// Writes the counts that have changed.
    fn write(&self, disk: &Disk) -> io::Result<()> {
        let files: Vec<(Day, u64, Vec<u8>)> = {
            let book = self.book.lock();
            let changed = book.unwritten.iter();
            let files = changed.filter_map(|(day, changes)| {
                let tally = book.open.get(day)?;
                Some(serde_json::to_vec(tally).map(|json| (*day, *changes, json)))
            });
            files.collect::<Result<_, _>>()?
        };
        if files.is_empty() {
            return Ok(());
        }
        disk.make()?;
        if !self.node_is_written.load(Ordering::Relaxed) {
            disk.write_node(self.node)?;
            self.node_is_written.store(true, Ordering::Relaxed);
        }
        for (day, changes, json) in files {
            disk.write_counts(day, &json)?;
            let mut book = self.book.lock();
            // Whoever looked at them meanwhile may have added more.
            if book.unwritten.get(&day) == Some(&changes) {
                book.unwritten.remove(&day);
            }
        }
        Ok(())
    }

    /// Closes a day whose counts are on disk.
    fn close(&self, disk: &Disk, day: Day, now: Timestamp) -> io::Result<()> {
        if self.book.lock().unwritten.contains_key(&day) {
            return Ok(()); // The next turn does.
        }
        let closed = Line::Closed {
            at: now.as_millis(),
        };
        disk.append(day, std::slice::from_ref(&closed))?;
        let options = self.options.load();
        let submitter = submitter(options.identity.as_ref());
        let mut book = self.book.lock();
        if let Some(tally) = book.open.remove(&day) {
            book.close(tally, &[closed], (self.node, &submitter));
        }
        Ok(())
    }

    /// Puts on disk what became of a report, before anything else is done about it. Blocks.
    pub(crate) fn record(&self, day: Day, outcome: Outcome) {
        let disk = self.disk.lock();
        self.unwritten.lock().push((day, outcome));
        if let Err(error) = self.write_outcomes(&disk) {
            self.tell(&disk, &error);
        }
    }

    /// Whether there are outcomes that the disk has not taken.
    pub(crate) fn is_behind(&self) -> bool {
        !self.unwritten.lock().is_empty()
    }

    fn write_outcomes(&self, disk: &Disk) -> io::Result<()> {
        loop {
            let Some((day, outcome)) = self.unwritten.lock().first().cloned() else {
                return Ok(());
            };
            disk.append(day, &[Line::Report(outcome)])?;
            self.unwritten.lock().remove(0);
        }
    }
}

impl Reports {
    /// Removes days that are older than anybody asks about, and the oldest ones of too much.
    fn forget(&self, disk: &Disk, now: Timestamp) {
        let Ok(days) = disk.days() else {
            return;
        };
        let mut bytes: u64 = 0;
        for (day, sizes) in days.into_iter().rev() {
            bytes = bytes.saturating_add(sizes.counts.unwrap_or(0) + sizes.outcomes.unwrap_or(0));
            let is_old = day.end() + KEPT < now || bytes > MAX_BYTES;
            if !is_old || sizes.outcomes.is_none() || self.book.lock().holds(day) {
                continue;
            }
            match disk.remove(day) {
                Ok(()) => {
                    self.fresh.lock().closed.remove(&day);
                }
                Err(error) => {
                    tracing::warn!(%error, %day, "the TLS reports of an old day cannot be removed");
                }
            }
        }
    }
}

/// How long sessions that began before midnight are waited for.
const GRACE: Duration = Duration::from_mins(10);
const KEPT: Duration = Duration::from_hours(24 * 30);
const MAX_BYTES: u64 = 512 << 20;
