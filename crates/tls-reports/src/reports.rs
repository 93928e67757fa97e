//! The handle that everybody shares.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use clocks::Clock;
use journal::{RealDisk, Storage};
use mail_types::{Mailbox, Timestamp};
use parking_lot::Mutex;
use tls_rpt::{Counts, Day, Finding, Identity, Report, Tally, report_id};
use tokio::sync::Notify;

use crate::book::{self, Book};
use crate::disk::Disk;
use crate::hosts::Hosts;
use crate::options::Options;
use crate::outcome::{Line, Outcome};
use crate::view::{ListFilter, NotNow, OpenError, ReportView, State, Trouble};

/// The TLS reports of this relay: what is counted, what is to be sent, and what became of it.
pub struct Reports {
    /// What was counted since the last write. Workers take no other lock.
    pub(crate) fresh: Mutex<Fresh>,
    /// Never taken while a file is read or written.
    pub(crate) book: Mutex<Book>,
    /// Held by whoever writes.
    pub(crate) disk: Mutex<Disk>,
    pub(crate) options: ArcSwap<Options>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) node: [u8; 16],
    pub(crate) node_is_written: AtomicBool,
    /// Something is due earlier than was thought.
    pub(crate) wake: Notify,
    /// Days that are over are closed at once, whoever may still be at their sessions.
    pub(crate) close_now: AtomicBool,
    /// Outcomes that the disk did not take.
    pub(crate) unwritten: Mutex<Vec<(Day, Outcome)>>,
    /// A failure to write was told, and has not ended since.
    pub(crate) told: AtomicBool,
    /// Once it runs.
    pub(crate) clock: OnceLock<Arc<dyn Clock>>,
}

/// What was counted since the last write.
#[derive(Default)]
pub(crate) struct Fresh {
    pub(crate) days: BTreeMap<Day, Tally>,
    /// These take no more. Each by itself: a clock that was wrong once must not close the days before it.
    pub(crate) closed: BTreeSet<Day>,
}

impl Fresh {
    fn note(&mut self, finding: &Finding<'_>) {
        let mut day = Day::of(finding.at);
        // A session longer than its day was waited for: it counts once all the same. The last day has no next one.
        while self.closed.contains(&day) && day.next() != day {
            day = day.next();
        }
        if let Some(tally) = self.days.get_mut(&day) {
            return tally.note(finding);
        }
        // More than two days in a minute, only a clock that jumps has.
        if self.days.len() >= MOST_DAYS
            && let Some(mut last) = self.days.last_entry()
        {
            return last.get_mut().note(finding);
        }
        let mut tally = Tally::new(day);
        tally.note(finding);
        self.days.insert(day, tally);
    }
}

impl Reports {
    /// Opens what is on disk below `dir`, which is made when there is something to write. Blocks.
    ///
    /// # Errors
    /// The directory is there and cannot be read. Damaged files are moved aside and told instead.
    pub fn open(
        dir: &Path,
        options: Options,
        now: Timestamp,
    ) -> Result<(Arc<Self>, Vec<Trouble>), OpenError> {
        Self::open_on(Arc::new(RealDisk), dir, options, now)
    }

    pub(crate) fn open_on(
        storage: Arc<dyn Storage>,
        dir: &Path,
        options: Options,
        now: Timestamp,
    ) -> Result<(Arc<Self>, Vec<Trouble>), OpenError> {
        let disk = Disk::new(storage, dir);
        let fail = |error| OpenError {
            directory: dir.to_owned(),
            error,
        };
        let mut troubles = Vec::new();
        let days = disk.days().map_err(fail)?;
        let known = disk.node(&mut troubles).map_err(fail)?;
        let node = match known {
            Some(node) => node,
            None => random_node(dir)?,
        };
        let submitter = submitter(options.identity.as_ref());
        let (mut book, mut fresh) = (Book::default(), Fresh::default());
        for (day, sizes) in days {
            let lines = match sizes.outcomes {
                Some(_) => disk.outcomes(day, &mut troubles).map_err(fail)?,
                None => None,
            };
            let has_not_come = day > Day::of(now).next();
            if has_not_come {
                troubles.push(disk.of_the_future(day));
            }
            if lines.is_some() {
                fresh.closed.insert(day);
                if has_not_come {
                    continue;
                }
            }
            // Nobody waits for what was to be sent so long ago.
            let is_stale = |lines: &Vec<Line>| book::closed_at(day, lines) + STALE < now;
            if lines.as_ref().is_some_and(is_stale) {
                continue;
            }
            let Some(tally) = disk.counts(day, &mut troubles).map_err(fail)? else {
                continue;
            };
            match lines {
                Some(lines) => book.close(tally, &lines, (node, &submitter)),
                None => {
                    book.open.insert(day, tally);
                }
            }
        }
        let reports = Self {
            fresh: Mutex::new(fresh),
            book: Mutex::new(book),
            disk: Mutex::new(disk),
            options: ArcSwap::from_pointee(options),
            hosts: Arc::default(),
            node,
            node_is_written: AtomicBool::new(known.is_some()),
            wake: Notify::new(),
            close_now: AtomicBool::new(false),
            unwritten: Mutex::default(),
            told: AtomicBool::new(false),
            clock: OnceLock::new(),
        };
        Ok((Arc::new(reports), troubles))
    }

    /// Another configuration counts from now on.
    pub fn reconfigure(&self, options: Options) {
        self.options.store(Arc::new(options));
        self.wake.notify_one();
    }

    /// Whether anything is counted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.options.load().identity.is_some()
    }

    /// Counts what a session or a fetch has shown: one short lock, nothing that waits for a disk.
    pub fn note(&self, finding: &Finding<'_>) {
        let options = self.options.load();
        if options.identity.is_none() {
            return;
        }
        let from = finding.failure.as_ref().and_then(|f| f.sending_ip);
        let seen = from.map(|from| options.addresses.seen(from));
        if seen == from {
            return self.fresh.lock().note(finding);
        }
        let mut finding = finding.clone();
        if let Some(failure) = &mut finding.failure {
            failure.sending_ip = seen;
        }
        self.fresh.lock().note(&finding);
    }

    /// Reports, the oldest day first, each day's by domain. Reads files of days of which every report is done: blocks.
    #[must_use]
    pub fn list(&self, filter: &ListFilter<'_>) -> Vec<ReportView> {
        self.take_fresh();
        let mut views = Vec::new();
        let in_memory: HashSet<Day> = {
            let book = self.book.lock();
            book.views(filter, &mut views);
            book.open
                .keys()
                .chain(book.closed.keys())
                .copied()
                .collect()
        };
        let is_final = filter.state.is_none_or(State::is_final);
        if is_final {
            let disk = self.disk.lock();
            let days = disk.days().unwrap_or_default();
            for day in days.into_keys().filter(|day| filter.is_of(*day)) {
                if in_memory.contains(&day) {
                    continue;
                }
                let mut last: BTreeMap<String, Outcome> = BTreeMap::new();
                for line in disk.look_at_outcomes(day) {
                    if let Line::Report(outcome) = line
                        && filter.names(&outcome.domain)
                    {
                        last.insert(outcome.domain.clone(), outcome);
                    }
                }
                views.extend(last.values().map(|outcome| book::view(day, outcome)));
            }
        }
        views.retain(|view| filter.matches(view));
        views.sort_by(|a, b| (a.day, &a.domain).cmp(&(b.day, &b.domain)));
        views
    }

    /// A report as it was sent, or would be sent now. Blocks, for days of which every report is done.
    #[must_use]
    pub fn show(&self, day: Day, domain: &str) -> Option<serde_json::Value> {
        let domain = domain.to_ascii_lowercase();
        self.take_fresh();
        let options = self.options.load();
        // While nothing is sent there is nobody to name; the counts are shown all the same.
        let identity = options.identity.clone().or_else(nobody)?;
        let bytes = {
            let book = self.book.lock();
            if book.holds(day) {
                let (counts, id) = book.counts(day, &domain)?;
                self.report(day, &domain, counts, id, &identity)
            } else {
                drop(book);
                let disk = self.disk.lock();
                let tally = disk.look_at_counts(day)?;
                let lines = disk.look_at_outcomes(day);
                let id = lines.iter().rev().find_map(|line| match line {
                    Line::Report(outcome) if outcome.domain == domain => {
                        Some(outcome.report_id.as_str())
                    }
                    _ => None,
                });
                self.report(day, &domain, tally.of(&domain)?, id, &identity)
            }
        };
        serde_json::from_slice(&bytes).ok()
    }

    fn report(
        &self,
        day: Day,
        domain: &str,
        counts: &Counts,
        id: Option<&str>,
        identity: &Identity,
    ) -> Vec<u8> {
        let id = id.map_or_else(
            || report_id(day, domain, &self.node, &submitter(Some(identity))),
            str::to_owned,
        );
        Report::new(counts, domain, day, identity, &id).to_json(MAX_SIZE)
    }

    /// Makes reports of days that are over due at once; returns how many.
    ///
    /// # Errors
    /// It does not run yet, or the disk does not take what must be on it first.
    pub fn send_now(&self, filter: &ListFilter<'_>) -> Result<usize, NotNow> {
        let clock = self.clock.get().ok_or(NotNow::Starting)?;
        let now = clock.wall();
        self.close_now.store(true, Ordering::Relaxed);
        self.turn(now)?;
        let count = self.book.lock().hurry(filter, now);
        self.wake.notify_one();
        Ok(count)
    }

    /// Puts what was counted since the last write to the rest.
    pub(crate) fn take_fresh(&self) {
        // In this order everywhere.
        let mut book = self.book.lock();
        let days = std::mem::take(&mut self.fresh.lock().days);
        for (day, tally) in days {
            book.add(day, tally);
        }
    }
}

/// The domain that reports are from.
pub(crate) fn submitter(identity: Option<&Identity>) -> String {
    let domain = identity.and_then(|identity| identity.contact_info.domain());
    domain.map_or_else(|| "unknown.invalid".to_owned(), |d| d.as_str().to_owned())
}

/// For who looks at counts while nothing is sent.
fn nobody() -> Option<Identity> {
    let contact: Mailbox = "unknown@unknown.invalid".parse().ok()?;
    Some(Identity {
        organization_name: "unknown".to_owned(),
        contact_info: contact,
        gzip: false,
    })
}

fn random_node(dir: &Path) -> Result<[u8; 16], OpenError> {
    let mut node = [0; 16];
    getrandom::fill(&mut node).map_err(|e| OpenError {
        directory: dir.to_owned(),
        error: std::io::Error::other(format!("the system has no random numbers: {e}")),
    })?;
    Ok(node)
}

const MOST_DAYS: usize = 3;
/// RFC 8460 section 5.2 leaves it to us: what receivers usually take.
pub(crate) const MAX_SIZE: usize = 10 << 20;
/// How long after its end a day is sent that was closed while the relay then did not run.
const STALE: std::time::Duration = std::time::Duration::from_hours(24 * 7);
