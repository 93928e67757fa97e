//! Whether the name servers serve us, for all to see.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use dns_health::{Absence, Conduct, Presence, Silence, Witnesses};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use parking_lot::Mutex;
use tokio::sync::watch;

/// What is known, and what may be asked to learn more.
pub(crate) struct Board {
    presence: Mutex<Presence>,
    witnesses: Mutex<Witnesses<Name, Query>>,
    shown: watch::Sender<Option<Silence>>,
    /// How many absences have ended.
    ended: AtomicU64,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            presence: Mutex::default(),
            witnesses: Mutex::default(),
            shown: watch::Sender::new(None),
            ended: AtomicU64::new(0),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Silence>> {
        self.shown.subscribe()
    }

    pub(crate) fn silence(&self) -> Option<Silence> {
        self.shown.borrow().clone()
    }

    /// How many absences have ended. Read before the state, it counts one that ends meanwhile not yet.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Ordering::SeqCst)
    }

    pub(crate) fn explains(&self, reply: Conduct) -> bool {
        self.presence.lock().explains(reply)
    }

    pub(crate) fn has_answered_since(&self, then: Instant) -> bool {
        self.presence.lock().has_answered_since(then)
    }

    pub(crate) fn answered(&self) {
        self.update(|presence| presence.answered(Instant::now()));
    }

    pub(crate) fn nobody_answered(&self, began: Instant, how: Absence, why: String) {
        self.update(|presence| presence.nobody_answered(began, how, why));
    }

    /// Others are asked from now on: nothing is known of them, and what was concluded from those before does not hold.
    pub(crate) fn replaced(&self) {
        self.update(|presence| {
            presence.replaced(Instant::now());
            true
        });
    }

    /// Shown before anybody else can change it.
    fn update(&self, change: impl FnOnce(&mut Presence) -> bool) {
        let mut presence = self.presence.lock();
        if change(&mut presence) {
            self.ended.store(presence.ended(), Ordering::SeqCst);
            self.shown.send_replace(presence.silence().cloned());
        }
    }

    /// Who answers this serves us.
    pub(crate) fn has_answer(&self, question: &Query) {
        if let Some(zone) = zone(question) {
            self.witnesses.lock().answered(zone, question.clone());
        }
    }

    /// A name that is not asked for while nobody serves us: whoever knows something of it does.
    pub(crate) fn want(&self, name: &Name) {
        let question = Query::query(name.clone(), RecordType::SOA);
        if let Some(zone) = zone(&question) {
            self.witnesses.lock().wanted(zone, question);
        }
    }

    pub(crate) fn witnesses(&self) -> Vec<Query> {
        self.witnesses.lock().questions()
    }
}

/// What belongs together, about. The root is asked for anyway.
fn zone(question: &Query) -> Option<Name> {
    (!question.name().is_root()).then(|| question.name().trim_to(2).to_lowercase())
}
