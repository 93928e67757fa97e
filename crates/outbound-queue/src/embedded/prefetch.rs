//! What a batch of leases needs from the disk, read in one go.
//!
//! A message that waited is not in memory. Read one by one, off the runtime's own threads, row and
//! content would cost each message several switches of threads; a batch costs one.

use journal::Position;
use mail_types::QueueId;

use super::shared::{Shared, State};
use crate::HeldBody;
use crate::disk::Place;
use crate::schedule::Key;
use crate::state::Stored;

/// What is to be read for messages that are about to be leased.
pub(super) struct Wanted {
    /// Messages whose rows are not in memory.
    rows: Vec<QueueId>,
    /// Messages in memory whose content is not.
    bodies: Vec<(QueueId, Position)>,
}

/// A message's row as it was read.
pub(super) type Row = (QueueId, Result<(Stored, Place), String>);

impl Wanted {
    pub(super) fn of(state: &State, keys: &[Key]) -> Self {
        let (mut rows, mut bodies) = (Vec::new(), Vec::new());
        for (_, id) in keys {
            match state.core.hot.get(id) {
                None => rows.push(*id),
                Some(hot) if hot.body.is_none() => {
                    bodies.extend(hot.place.as_ref().and_then(content).map(|at| (*id, at)));
                }
                Some(_) => {}
            }
        }
        Self { rows, bodies }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.bodies.is_empty()
    }

    /// Reads it. Blocks. Content that cannot be had this way, or for which there is no room, is
    /// left out: whoever needs it opens it and learns why. For `bare` leases all is.
    pub(super) fn read(self, shared: &Shared, bare: bool) -> (Vec<Row>, Vec<(QueueId, HeldBody)>) {
        let mut bodies = self.bodies;
        let rows: Vec<Row> = self
            .rows
            .into_iter()
            .map(|id| (id, shared.load(id)))
            .collect();
        for (id, row) in &rows {
            let place = row.as_ref().ok().and_then(|(_, place)| content(place));
            bodies.extend(place.map(|at| (*id, at)));
        }
        // Half of the room is left to mail that comes in.
        let room = || !bare && shared.budget.used() < shared.options.body_memory / 2;
        let held = bodies
            .into_iter()
            .filter(|_| room())
            .filter_map(|(id, at)| {
                let body = shared
                    .journal
                    .read_body(at)
                    .ok()
                    .filter(|body| !body.is_empty())?;
                Some((id, HeldBody::new(vec![body], &shared.budget)?))
            });
        let held = held.collect();
        (rows, held)
    }
}

/// Where content stands that is in the journal.
fn content(place: &Place) -> Option<Position> {
    place.large.is_none().then_some(place.position)
}
