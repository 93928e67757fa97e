//! The days in memory: those that are open, and closed ones of which a report is still to be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mail_types::Timestamp;
use tls_rpt::{Counts, Day, TRIED_FOR, Tally, first_sending, report_id};

use crate::outcome::{Line, Outcome};
use crate::view::{ListFilter, ReportView, State};

/// All days that are in memory, and when which report is due.
#[derive(Default)]
pub(crate) struct Book {
    /// What was counted, up to the last write.
    pub(crate) open: BTreeMap<Day, Tally>,
    /// Open days with counts that are not on disk, and how often they have changed since.
    pub(crate) unwritten: BTreeMap<Day, u64>,
    pub(crate) closed: BTreeMap<Day, Closed>,
    /// Reports that nobody has in hand.
    due: BTreeSet<(Timestamp, Day, Arc<str>)>,
}

/// A closed day.
pub(crate) struct Closed {
    pub(crate) tally: Tally,
    reports: BTreeMap<Arc<str>, Fate>,
    /// How many of them are not final.
    left: usize,
}

/// What is known of one report.
pub(crate) struct Fate {
    pub(crate) outcome: Outcome,
    /// When it may be sent first.
    first: Timestamp,
    /// When it is to be tried next.
    next: Timestamp,
    in_hand: bool,
    /// Its record was looked at by this process.
    seen: bool,
}

/// A report that is to be sent now.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) day: Day,
    pub(crate) domain: Arc<str>,
    pub(crate) outcome: Outcome,
    /// From then on a failure is the last one (RFC 8460 section 5.5).
    pub(crate) deadline: Timestamp,
    /// Nothing was told of its record yet.
    pub(crate) first_look: bool,
    /// Differs between reports, and is the same after a restart.
    pub(crate) spread: u64,
}

impl Book {
    /// Takes in a day that is closed, with what is known of its reports.
    pub(crate) fn close(
        &mut self,
        tally: Tally,
        lines: &[Line],
        (node, submitter): ([u8; 16], &str),
    ) {
        let day = tally.day();
        let at = closed_at(day, lines);
        let mut known = BTreeMap::new();
        for line in lines {
            if let Line::Report(outcome) = line {
                known.insert(outcome.domain.as_str(), outcome);
            }
        }
        let mut closed = Closed {
            reports: BTreeMap::new(),
            left: 0,
            tally,
        };
        for domain in closed.tally.domains() {
            let Some(counts) = closed.tally.of(domain) else {
                continue;
            };
            let first = first(day, at, domain, spread(node, day, domain));
            let outcome = known.get(domain).map_or_else(
                || fresh(domain, counts, report_id(day, domain, &node, submitter)),
                |outcome| Outcome::clone(outcome),
            );
            let next = outcome.next.map_or(first, Timestamp::from_millis);
            let domain: Arc<str> = domain.into();
            if !outcome.state.is_final() {
                closed.left += 1;
                self.due.insert((next, day, Arc::clone(&domain)));
            }
            let fate = Fate {
                outcome,
                first,
                next,
                in_hand: false,
                seen: false,
            };
            closed.reports.insert(domain, fate);
        }
        // Without one that is to be sent the files say it all.
        if closed.left > 0 {
            self.closed.insert(day, closed);
        }
    }

    /// Takes reports in hand that are due, the longest due first.
    pub(crate) fn take_due(&mut self, now: Timestamp, room: usize, node: [u8; 16]) -> Vec<Job> {
        let mut jobs = Vec::new();
        while jobs.len() < room
            && let Some((_, day, domain)) = self.due.pop_first_if_due(now)
        {
            let fate = self.closed.get_mut(&day);
            let Some(fate) = fate.and_then(|closed| closed.reports.get_mut(&domain)) else {
                continue;
            };
            fate.in_hand = true;
            jobs.push(Job {
                first_look: !std::mem::replace(&mut fate.seen, true),
                deadline: fate.first + TRIED_FOR,
                spread: spread(node, day, &domain),
                outcome: fate.outcome.clone(),
                day,
                domain,
            });
        }
        jobs
    }

    /// When the next report is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _, _)| *at)
    }

    /// Gives a report back: with what became of it, or as it was, to be looked at again then.
    pub(crate) fn give_back(&mut self, job: &Job, outcome: Outcome, next: Timestamp) {
        let Some(closed) = self.closed.get_mut(&job.day) else {
            return;
        };
        let Some(fate) = closed.reports.get_mut(&job.domain) else {
            return;
        };
        fate.in_hand = false;
        fate.outcome = outcome;
        fate.next = next;
        if fate.outcome.state.is_final() {
            closed.left = closed.left.saturating_sub(1);
            if closed.left == 0 {
                self.closed.remove(&job.day);
            }
        } else {
            self.due.insert((next, job.day, Arc::clone(&job.domain)));
        }
    }

    /// Makes pending reports due at once; returns how many.
    pub(crate) fn hurry(&mut self, filter: &ListFilter<'_>, now: Timestamp) -> usize {
        let mut count = 0;
        let wanted = filter.state.is_none_or(|state| state == State::Pending);
        for (day, closed) in &mut self.closed {
            for (domain, fate) in &mut closed.reports {
                let is_meant = wanted && filter.is_of(*day) && filter.names(domain);
                if !is_meant || fate.outcome.state.is_final() {
                    continue;
                }
                count += 1;
                if !fate.in_hand {
                    self.due.remove(&(fate.next, *day, Arc::clone(domain)));
                    fate.next = fate.next.min(now);
                    self.due.insert((fate.next, *day, Arc::clone(domain)));
                }
            }
        }
        count
    }

    /// The reports of the days in memory.
    pub(crate) fn views(&self, filter: &ListFilter<'_>, views: &mut Vec<ReportView>) {
        for (day, tally) in self.open.iter().filter(|(day, _)| filter.is_of(**day)) {
            for domain in tally.domains().filter(|domain| filter.names(domain)) {
                if let Some(counts) = tally.of(domain) {
                    views.push(collecting(*day, domain, counts));
                }
            }
        }
        for (day, closed) in self.closed.iter().filter(|(day, _)| filter.is_of(**day)) {
            for (_, fate) in closed.reports.iter().filter(|(d, _)| filter.names(d)) {
                let mut view = view(*day, &fate.outcome);
                if !view.state.is_final() {
                    view.next_attempt = Some(fate.next);
                }
                views.push(view);
            }
        }
    }

    /// The counts of a report of a day in memory, and its id once the day is closed.
    pub(crate) fn counts(&self, day: Day, domain: &str) -> Option<(&Counts, Option<&str>)> {
        if let Some(tally) = self.open.get(&day) {
            return Some((tally.of(domain)?, None));
        }
        let closed = self.closed.get(&day)?;
        let id = closed.reports.get(domain)?.outcome.report_id.as_str();
        Some((closed.tally.of(domain)?, Some(id)))
    }

    pub(crate) fn holds(&self, day: Day) -> bool {
        self.open.contains_key(&day) || self.closed.contains_key(&day)
    }
}

trait PopDue {
    fn pop_first_if_due(&mut self, now: Timestamp) -> Option<(Timestamp, Day, Arc<str>)>;
}

impl PopDue for BTreeSet<(Timestamp, Day, Arc<str>)> {
    fn pop_first_if_due(&mut self, now: Timestamp) -> Option<(Timestamp, Day, Arc<str>)> {
        self.first().filter(|(at, _, _)| *at <= now)?;
        self.pop_first()
    }
}

/// When a day was closed.
pub(crate) fn closed_at(day: Day, lines: &[Line]) -> Timestamp {
    let at = lines.iter().find_map(|line| match line {
        Line::Closed { at } => Some(Timestamp::from_millis(*at)),
        Line::Report(_) => None,
    });
    at.unwrap_or_else(|| day.end())
}

/// A report of which nothing is known but its counts.
fn fresh(domain: &str, counts: &Counts, report_id: String) -> Outcome {
    Outcome {
        domain: domain.to_owned(),
        state: State::Pending,
        report_id,
        at: 0,
        attempts: 0,
        next: None,
        to: None,
        detail: None,
        successes: counts.successes(),
        failures: counts.failures(),
    }
}

fn collecting(day: Day, domain: &str, counts: &Counts) -> ReportView {
    let outcome = fresh(domain, counts, String::new());
    ReportView {
        state: State::Collecting,
        report_id: None,
        ..view(day, &outcome)
    }
}

/// A report of a closed day.
pub(crate) fn view(day: Day, outcome: &Outcome) -> ReportView {
    let is_final = outcome.state.is_final();
    ReportView {
        day,
        domain: outcome.domain.clone(),
        state: outcome.state,
        successes: outcome.successes,
        failures: outcome.failures,
        report_id: Some(outcome.report_id.clone()),
        next_attempt: outcome.next.map(Timestamp::from_millis),
        attempts: outcome.attempts,
        to: outcome.to.clone(),
        detail: outcome.detail.clone(),
        at: is_final.then(|| Timestamp::from_millis(outcome.at)),
    }
}

/// When a report may be sent first: within the four hours after the day. Of a day that was closed much later, since
/// the relay did not run, within as long after that.
fn first(day: Day, closed_at: Timestamp, domain: &str, spread: u64) -> Timestamp {
    let first = first_sending(day, domain, spread);
    if closed_at <= day.end() + SOON {
        first.max(closed_at)
    } else {
        closed_at + first.since(day.end())
    }
}

/// From what stays the same: a restart sends nothing earlier or later.
fn spread(node: [u8; 16], day: Day, domain: &str) -> u64 {
    // FNV-1a.
    let day = day.begin().as_secs().to_be_bytes();
    let all = node.iter().chain(&day).chain(domain.as_bytes());
    all.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A day that is closed so soon was closed in time.
const SOON: Duration = Duration::from_hours(1);
