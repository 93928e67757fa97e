//! Traces: for a while, everything about one domain, one mail host or one message goes to the log.
//!
//! Each session's dialogue and the plan of each attempt are events of their own
//! (`trace.plan`, `trace.session`). Nothing secret is in them: contents and
//! credentials never reach a transcript. A trace ends by itself, by time or by number of events, and
//! there are [`MOST`] at most, so that a forgotten one does no harm. While there is none, all this
//! costs a look at one flag.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mail_types::Timestamp;
use parking_lot::Mutex;

/// The traces that run.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    any: AtomicBool,
    list: Mutex<Vec<Trace>>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// A domain or host in lower case, or a queue id as it is.
    pub(crate) subject: String,
    pub(crate) until: Timestamp,
    /// Events that it may still write.
    pub(crate) left: u32,
}

/// What an event is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) queue_id: &'a str,
    pub(crate) domain: &'a str,
    pub(crate) mx: &'a str,
}

impl Traces {
    /// Whether anything is traced: the look that every attempt takes.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Begins one, or gives one that runs another end. `None` if there are too many.
    pub(crate) fn begin(&self, subject: &str, span: Duration, now: Timestamp) -> Option<Trace> {
        let mut list = self.list.lock();
        list.retain(|t| t.until > now);
        let trace = Trace {
            subject: subject.to_owned(),
            until: now + span,
            left: EVENTS,
        };
        let full = list.len() >= MOST;
        match list.iter_mut().find(|t| t.subject == subject) {
            Some(running) => *running = trace.clone(),
            None if full => return None,
            None => list.push(trace.clone()),
        }
        self.any.store(true, Ordering::Relaxed);
        Some(trace)
    }

    /// Ends one. False if there is none.
    pub(crate) fn end(&self, subject: &str) -> bool {
        let mut list = self.list.lock();
        let before = list.len();
        list.retain(|t| t.subject != subject);
        self.any.store(!list.is_empty(), Ordering::Relaxed);
        list.len() < before
    }

    /// The one that an event belongs to; it is counted.
    pub(crate) fn wanting(&self, about: About<'_>, now: Timestamp) -> Option<String> {
        let mut list = self.list.lock();
        let trace = list.iter_mut().find(|t| {
            t.until > now
                && t.left > 0
                && [about.queue_id, about.domain, about.mx].contains(&t.subject.as_str())
        })?;
        trace.left -= 1;
        Some(trace.subject.clone())
    }

    /// Takes out those that have ended, by time or by number.
    pub(crate) fn ended(&self, now: Timestamp) -> Vec<Trace> {
        if !self.any() {
            return Vec::new();
        }
        let mut list = self.list.lock();
        let (running, ended) = list.drain(..).partition(|t| t.until > now && t.left > 0);
        *list = running;
        self.any.store(!list.is_empty(), Ordering::Relaxed);
        ended
    }

    /// Those that run.
    pub(crate) fn list(&self) -> Vec<Trace> {
        self.list.lock().clone()
    }
}

/// Traces at the same time.
const MOST: usize = 10;
/// Events of one trace.
const EVENTS: u32 = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About<'_> = About {
        queue_id: "0XwzjNXdUeW",
        domain: "d.test",
        mx: "mx.d.test",
    };

    #[test]
    fn a_trace_ends_by_time_and_by_number() {
        let traces = Traces::default();
        let now = Timestamp::from_secs(1000);
        assert!(!traces.any());
        for subject in ["d.test", "mx.d.test", "0XwzjNXdUeW"] {
            traces.begin(subject, Duration::from_secs(60), now).unwrap();
            assert_eq!(traces.wanting(ABOUT, now).as_deref(), Some(subject));
            assert!(traces.end(subject) && !traces.any());
        }
        traces
            .begin("other.test", Duration::from_secs(60), now)
            .unwrap();
        assert_eq!(traces.wanting(ABOUT, now), None);
        let later = Timestamp::from_secs(1061);
        assert_eq!(traces.ended(later).len(), 1);
        assert!(!traces.any());
        traces
            .begin("d.test", Duration::from_secs(60), now)
            .unwrap();
        let written = (0..EVENTS + 5).filter(|_| traces.wanting(ABOUT, now).is_some());
        assert_eq!(written.count(), EVENTS as usize);
        assert_eq!(traces.ended(now).len(), 1);
    }

    #[test]
    fn there_are_only_so_many() {
        let traces = Traces::default();
        let now = Timestamp::from_secs(1000);
        let begin = |n: usize| traces.begin(&format!("d{n}.test"), Duration::from_secs(60), now);
        assert!((0..MOST).all(|n| begin(n).is_some()));
        assert_eq!(begin(MOST), None);
        assert!(begin(0).is_some(), "one that runs can be renewed");
    }
}
