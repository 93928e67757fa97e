//! Whether the name servers answer at all: whoever runs the relay must not have to guess it from
//! what waits.

use std::time::Instant;

use tokio::sync::watch;

/// No name server has answered since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// When the first question without an answer ended.
    pub since: Instant,
    /// Who was asked and what came of it, for a reader.
    pub why: String,
}

/// Set by silence that is everybody's, not only that of one zone's servers; cleared by any answer.
pub(crate) struct Quiet(watch::Sender<Option<Silence>>);

impl Quiet {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Silence>> {
        self.0.subscribe()
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub(crate) fn answered(&self) {
        if self.is_set() {
            self.0.send_replace(None);
        }
    }

    /// The first reason stays: later ones say the same.
    pub(crate) fn nobody_answered(&self, since: Instant, why: String) {
        self.0.send_if_modified(|state| {
            let is_new = state.is_none();
            if is_new {
                *state = Some(Silence { since, why });
            }
            is_new
        });
    }
}
