//! What an operator has made due at once, while rows and messages do not know of it yet.
//!
//! `retry` of many messages that are not in memory is a change of the schedule and one record for
//! thousands of them ([`DUE`](crate::disk::DUE)); no row is read or written. Until a message comes into
//! memory, its part of that is kept here: eight octets. The index does not follow the journal past
//! such a record before all that it names came into memory or went; what has not after a while, the
//! thread that writes the index brings ([`bring_some`]). Messages remember the last such record that was
//! applied to them, so that replay applies each once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mail_types::{QueueId, Timestamp};

use super::shared::{Shared, State};
use crate::QueueError;
use crate::state::Stored;

/// The messages that are due by a record and not in memory.
#[derive(Default)]
pub(super) struct Retried {
    /// In the order of their records.
    rounds: Vec<Round>,
}

/// One record's.
struct Round {
    due: Due,
    /// Sorted; what has come or gone is marked in `over`.
    ids: Vec<QueueId>,
    over: Vec<bool>,
    left: usize,
    since: Instant,
}

/// That something is due at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The key of its record: higher than those of all records before it.
    pub(super) stamp: QueueId,
    pub(super) at: Timestamp,
}

impl Retried {
    /// Adds a record's messages, none of which is in memory.
    pub(super) fn add(&mut self, due: Due, mut ids: Vec<QueueId>) {
        ids.sort_unstable();
        ids.dedup();
        if !ids.is_empty() {
            self.rounds.push(Round {
                due,
                over: vec![false; ids.len()],
                left: ids.len(),
                ids,
                since: Instant::now(),
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }

    /// Applies to a message as it was read what it does not know.
    pub(super) fn apply(&self, id: QueueId, message: &mut Stored) {
        for round in &self.rounds {
            if round.find(id).is_some() {
                message.retry(round.due.stamp, round.due.at);
            }
        }
    }

    /// The same for a message that comes into memory, or is gone; says whether it was here.
    pub(super) fn take(&mut self, id: QueueId, mut message: Option<&mut Stored>) -> bool {
        let mut found = false;
        for round in &mut self.rounds {
            let Some(at) = round.find(id) else { continue };
            if let Some(message) = &mut message {
                message.retry(round.due.stamp, round.due.at);
            }
            if let Some(over) = round.over.get_mut(at) {
                *over = true;
            }
            round.left -= 1;
            found = true;
        }
        if found {
            self.rounds.retain(|round| round.left > 0);
        }
        found
    }

    /// Up to `max` messages of the oldest record, if that has waited so long.
    fn first(&self, max: usize, waited: Duration) -> Vec<QueueId> {
        let round = self.rounds.first();
        let Some(round) = round.filter(|round| round.since.elapsed() >= waited) else {
            return Vec::new();
        };
        let left = round.ids.iter().zip(&round.over);
        let left = left.filter(|(_, over)| !**over).map(|(id, _)| *id);
        left.take(max).collect()
    }
}

impl Round {
    fn find(&self, id: QueueId) -> Option<usize> {
        let at = self.ids.binary_search(&id).ok()?;
        self.over.get(at).is_some_and(|over| !over).then_some(at)
    }
}

/// Brings some of what has waited long into memory, so that their rows are written: the journal
/// cannot be compacted while the index lags behind it.
pub(super) fn bring_some(shared: &Shared) -> Result<(), QueueError> {
    let behind = {
        let state = shared.lock();
        // There has to be room for more in memory, and a way out of it.
        if state.retried.is_empty() || state.is_behind() || shared.is_crowded(&state) {
            return Ok(());
        }
        shared
            .journal
            .active()
            .saturating_sub(state.checkpoint.segment)
    };
    let waited = if behind > FAR_BEHIND {
        Duration::ZERO
    } else {
        PATIENCE
    };
    bring(shared, waited)
}

/// The same for what has waited so long.
pub(super) fn bring(shared: &Shared, waited: Duration) -> Result<(), QueueError> {
    let some = shared.lock().retried.first(AT_ONCE, waited);
    for id in some {
        let mut state = shared.lock();
        if state.recovering {
            return Ok(());
        }
        shared.ensure_hot(&mut state, id)?;
        state.strike_off(id);
    }
    Ok(())
}

impl State {
    /// A message that is in memory, or gone, waits for nobody any more.
    fn strike_off(&mut self, id: QueueId) {
        let hot = self.core.hot.get_mut(&id);
        match hot {
            Some(hot) => {
                hot.dirty |= self.retried.take(id, Some(Arc::make_mut(&mut hot.message)));
            }
            None => drop(self.retried.take(id, None)),
        }
    }

    /// Brings a message that was read into memory.
    pub(super) fn bring(&mut self, id: QueueId, mut message: Stored, place: crate::disk::Place) {
        let retried = self.retried.take(id, Some(&mut message));
        let hot = self.core.bring(id, message, place);
        hot.dirty |= retried;
    }
}

/// So long a message may take to get its attempt before its row is written for its own sake.
const PATIENCE: Duration = Duration::from_secs(30);
/// Segments that the index may lag behind meanwhile.
const FAR_BEHIND: u32 = 8;
/// Messages brought before a batch.
const AT_ONCE: usize = 5_000;
