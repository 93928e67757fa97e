//! From journal records back to state: the same for the tail after a checkpoint and for everything.

use std::collections::HashSet;

use journal::ScannedRecord;
use mail_types::QueueId;

use super::index::{Index, IndexError};
use super::records::note_state;
use super::retried::Due;
use super::shared::State;
use crate::core::Hot;
use crate::disk::{
    CHANGE, DUE, GONE, MESSAGE, Place, STATE, Unreadable, decode_change, decode_due, decode_gone,
    decode_message, decode_row, decode_state,
};

/// Applies records in the journal's order. What it finds is not scheduled: see [`load`].
#[derive(Default)]
pub(super) struct Replay {
    /// Messages found to be gone. Records of them that come later are copies of no meaning.
    gone: HashSet<QueueId>,
    /// Records that could not be understood, or whose group is not whole.
    pub(super) damaged: u64,
}

impl Replay {
    /// Applies one record. An error is the index's, not the record's.
    pub(super) fn apply(
        &mut self,
        state: &mut State,
        index: Option<&Index>,
        record: &ScannedRecord<'_>,
    ) -> Result<(), IndexError> {
        let id = QueueId::from_raw(record.key);
        state.core.seen(id);
        if self.gone.contains(&id) {
            return Ok(());
        }
        // An outcome whose DSN is lost did not happen: rather once more than never.
        if !record.group_intact && record.kind != MESSAGE {
            self.damaged += 1;
            return Ok(());
        }
        let applied = match record.kind {
            MESSAGE => {
                bring(state, index, id)?;
                message(state, id, record)
            }
            CHANGE | STATE => {
                bring(state, index, id)?;
                change(state, id, record)
            }
            GONE => {
                // Whether there is a row is not worth a look: removing none does no harm.
                state.removed.insert(id);
                state.core.hot.remove(&id);
                state.retried.take(id, None);
                self.gone.insert(id);
                decode_gone(record.meta).map(|_| ())
            }
            DUE => self.due(state, record),
            _ => Ok(()),
        };
        if applied.is_err() {
            self.damaged += 1;
        }
        Ok(())
    }
}

impl Replay {
    /// Many messages are due: what is in memory now, the others when they are read.
    fn due(&self, state: &mut State, record: &ScannedRecord<'_>) -> Result<(), Unreadable> {
        let (at, mut ids) = decode_due(record.meta)?;
        let stamp = QueueId::from_raw(record.key);
        ids.retain(|id| {
            if let Some(hot) = state.core.hot.get_mut(id) {
                hot.dirty |= std::sync::Arc::make_mut(&mut hot.message).retry(stamp, at);
                return false;
            }
            !self.gone.contains(id)
        });
        state.retried.add(Due { stamp, at }, ids);
        Ok(())
    }
}

/// Schedules what memory has of messages up to `last`, and adds up what segments hold. Before rows are
/// looked at: what leaves memory from now on has its row already, and what is scheduled from here is not
/// scheduled again from there.
pub(super) fn load_hot(state: &mut State, last: QueueId) {
    let State {
        core, usage, lost, ..
    } = state;
    let hot = core
        .hot
        .iter()
        .filter(|(id, hot)| **id <= last && !hot.awaited && !core.is_live(**id));
    let known: Vec<_> = hot
        .filter_map(|(id, hot)| Some((*id, hot.message.clone(), hot.place.clone()?)))
        .collect();
    for (id, message, place) in known {
        lost.look_at(id, &message, &place);
        usage.remember(&place);
        core.schedule_found(id, &message);
    }
}

/// The same for rows, `limit` at most, from `from` on; answers where to go on. No batch may be on its way
/// to the index meanwhile: of a message that it removes a row would be found, and no word that it is gone.
/// `with` gives access to the state for one message.
pub(super) fn load(
    index: &Index,
    from: QueueId,
    last: QueueId,
    limit: usize,
    mut with: impl FnMut(&mut dyn FnMut(&mut State)),
) -> Result<Option<QueueId>, IndexError> {
    let mut found = |id: QueueId, row: &[u8]| {
        if id > last {
            return Ok(());
        }
        let (mut message, place) =
            decode_row(row).map_err(|error| IndexError(error.to_string()))?;
        with(&mut |state| {
            state.retried.apply(id, &mut message);
            if !state.core.is_live(id) && !state.removed.contains(&id) {
                state.lost.look_at(id, &message, &place);
                state.usage.remember(&place);
                state.core.schedule_found(id, &message);
            }
        });
        Ok(())
    };
    let next = index.for_each(from, limit, &mut found)?;
    Ok(next.filter(|next| *next <= last))
}

/// Brings a message from the index, if it has it.
fn bring(state: &mut State, index: Option<&Index>, id: QueueId) -> Result<(), IndexError> {
    if state.core.hot.contains_key(&id) {
        return Ok(());
    }
    let Some(row) = index.map(|index| index.get(id)).transpose()?.flatten() else {
        return Ok(());
    };
    let (message, place) = decode_row(&row).map_err(|error| IndexError(error.to_string()))?;
    state.bring(id, message, place);
    Ok(())
}

fn message(state: &mut State, id: QueueId, record: &ScannedRecord<'_>) -> Result<(), Unreadable> {
    let (message, large, copies) = decode_message(record.meta)?;
    let stored = record.end.offset.saturating_sub(record.position.offset);
    let mut place = Place {
        stored,
        large,
        copies,
        ..Place::at(record.position)
    };
    let Some(hot) = state.core.hot.get_mut(&id) else {
        state.core.add(id, message, false).place = Some(place);
        return Ok(());
    };
    if let Some(old) = &hot.place {
        if old.position >= place.position {
            return Ok(());
        }
        // A copy: where the earlier one stands has to be known until that segment is gone.
        let earlier = old.copies.iter().copied().chain([old.position.segment]);
        for segment in earlier.filter(|s| *s != place.position.segment) {
            if !place.copies.contains(&segment) {
                place.copies.push(segment);
            }
        }
        // Its state stands in it as of its revision; later records still count.
        if message.revision < hot.message.revision {
            place.states = old.states.clone();
        }
    }
    hot.place = Some(place);
    hot.dirty = true;
    if message.revision >= hot.message.revision {
        hot.message = std::sync::Arc::new(message);
    }
    Ok(())
}

fn change(state: &mut State, id: QueueId, record: &ScannedRecord<'_>) -> Result<(), Unreadable> {
    let Some(hot) = state.core.hot.get_mut(&id) else {
        // About a message whose record is damaged, or that went long ago.
        return Ok(());
    };
    let bytes = record.end.offset.saturating_sub(record.position.offset);
    let segment = record.position.segment;
    let Hot {
        message,
        place: Some(place),
        dirty,
        ..
    } = hot
    else {
        return Ok(());
    };
    if record.kind == CHANGE {
        let change = decode_change(record.meta)?;
        if std::sync::Arc::make_mut(message).apply(&change) {
            note_state(&mut place.states, segment, bytes);
            *dirty = true;
        }
    } else {
        let whole = decode_state(record.meta, message)?;
        if whole.revision >= message.revision {
            *message = std::sync::Arc::new(whole);
            place.states = vec![(segment, bytes)];
            *dirty = true;
        }
    }
    Ok(())
}
