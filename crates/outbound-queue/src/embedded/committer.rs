//! The one thread that writes the index, and retries what a full disk kept from being recorded.

use std::sync::Arc;

use journal::{AppendError, Group, Position, Record};
use mail_types::QueueId;

use super::index::{Index, RowChange};
use super::records::{Completed, Waiter, Written, explain};
use super::shared::{Shared, State};
use crate::QueueError;
use crate::disk::encode_row;
use crate::state::Stored;

/// Runs until the store stops.
pub(super) fn run(shared: &Shared) {
    while pause(shared) {
        let written = step(shared);
        shared.caught_up.notify_waiters();
        if let Err(error) = written {
            tracing::error!(%error, "the queue's index was not written");
            return;
        }
    }
}

/// Waits for the next batch; `false` when the store stops.
pub(super) fn pause(shared: &Shared) -> bool {
    let mut stop = shared.control.stop.lock();
    if !*stop {
        let interval = shared.options.index_interval;
        shared.control.changed.wait_for(&mut stop, interval);
    }
    !*stop
}

/// What a batch takes along.
pub(super) struct Batch {
    rows: Vec<(QueueId, Arc<Stored>, bool)>,
    removed: Vec<QueueId>,
    /// The index contains everything before this once the batch is in it.
    applied: Position,
    last_id: QueueId,
    complete: bool,
}

/// Takes what changed to the index, and a checkpoint to the journal.
pub(super) fn step(shared: &Shared) -> Result<(), QueueError> {
    let _alone = shared.writing.lock();
    retry_unrecorded(shared)?;
    unlink_bodies(shared);
    let Some(index) = &shared.index else {
        return Ok(());
    };
    // sled does not survive a full disk. Everything is in the journal; until there is room it stays in memory as well.
    let Some(room) = shared.free_above(INDEX_ROOM) else {
        return Ok(());
    };
    super::retried::bring_some(shared)?;
    let Some(batch) = take_batch(shared, room)? else {
        // What was only looked at must not stay: commits wait while too much is in memory.
        shared.lock().evict();
        return shrink(shared, index);
    };
    // The index must never be ahead of the journal: a row without its record would be mail without content,
    // a removed row without its "gone" would be a DSN that nobody made.
    shared.journal.sync().map_err(|error| explain(&error))?;
    let Some(rows) = encode(shared, &batch) else {
        return Ok(());
    };
    let applied = batch.complete.then_some(batch.applied);
    if let Err(error) = index.apply(&rows, applied) {
        return Err(shared.fail_index(&mut shared.lock(), &error.to_string()));
    }
    if batch.complete {
        let payload = batch.last_id.raw().to_be_bytes().to_vec();
        shared.journal.checkpoint(batch.applied, payload, None);
    }
    let mut state = shared.lock();
    if batch.complete {
        state.checkpoint = batch.applied;
    }
    state.evict();
    drop(state);
    shrink(shared, index)
}

/// Gives room back that the index of a queue which was long takes too much. While it is not whole it stays.
fn shrink(shared: &Shared, index: &Index) -> Result<(), QueueError> {
    let state = shared.lock();
    let messages = state.core.live_count();
    let whole = !state.recovering;
    drop(state);
    match if whole {
        index.shrink(messages)
    } else {
        Ok(false)
    } {
        Ok(true) => tracing::debug!("the queue's index was written anew, to give room back"),
        Ok(false) => {}
        Err(error) => return Err(shared.fail_index(&mut shared.lock(), &error.to_string())),
    }
    Ok(())
}

/// Takes no more than there is `room` for, in bytes; the rest stays for the next one.
pub(super) fn take_batch(shared: &Shared, mut room: u64) -> Result<Option<Batch>, QueueError> {
    let mut state = shared.lock();
    shared.check(&state)?;
    // Outcomes that are not on disk must not reach the index first.
    if state.is_behind() {
        return Ok(None);
    }
    let State {
        core,
        removed,
        recovering,
        durable_end,
        checkpoint,
        retried,
        ..
    } = &mut *state;
    let mut rows = Vec::new();
    let mut is_all = true;
    for (id, hot) in core.hot.iter_mut().filter(|(_, hot)| hot.dirty) {
        let Some(left) = room.checked_sub(row_room(&hot.message)) else {
            is_all = false;
            break;
        };
        room = left;
        rows.push((*id, Arc::clone(&hot.message), hot.indexed));
        // From here on a row may exist, whatever happens next: whoever removes the message removes that too.
        hot.indexed = true;
    }
    let mut gone = std::mem::take(removed);
    let most = usize::try_from(room / ROW_ROOM).unwrap_or(usize::MAX);
    if gone.len() > most
        && let Some(first_left) = gone.iter().nth(most).copied()
    {
        *removed = gone.split_off(&first_left);
        is_all = false;
    }
    let complete = is_all && !*recovering && retried.is_empty();
    if rows.is_empty() && gone.is_empty() && (*durable_end == *checkpoint || !complete) {
        return Ok(None);
    }
    Ok(Some(Batch {
        rows,
        removed: gone.into_iter().collect(),
        applied: *durable_end,
        last_id: core.last_id(),
        complete,
    }))
}

/// The rows as of now; `None` if the disk has refused a record since the batch was taken: what is not in
/// the journal must not be in the index. What is clean from here on changes only by what marks it again: a copy that
/// moves a message while its row is on the way to the index must not be taken for written with it.
pub(super) fn encode(shared: &Shared, batch: &Batch) -> Option<Vec<RowChange>> {
    let mut state = shared.lock();
    if state.is_behind() {
        state.removed.extend(&batch.removed);
        return None;
    }
    let mut rows = Vec::with_capacity(batch.rows.len() + batch.removed.len());
    for (id, message, existed) in &batch.rows {
        // Gone since: its removal comes with the next batch.
        let Some(hot) = state.core.hot.get_mut(id) else {
            continue;
        };
        let Some(place) = &hot.place else {
            continue;
        };
        rows.push(RowChange {
            id: *id,
            row: Some(encode_row(message, place)),
            existed: *existed,
        });
        if Arc::ptr_eq(&hot.message, message) && hot.in_flight == 0 {
            hot.dirty = false;
        }
    }
    rows.extend(batch.removed.iter().map(|id| RowChange {
        id: *id,
        row: None,
        existed: true,
    }));
    Some(rows)
}

/// Records what could not be recorded, in order, as long as there is room.
fn retry_unrecorded(shared: &Shared) -> Result<(), QueueError> {
    if shared.lock().unrecorded.is_empty() {
        return Ok(());
    }
    // What is still on its way is refused as well, and has its place among the others then.
    shared.journal.sync().map_err(|error| explain(&error))?;
    loop {
        let (kept, group, parent) = {
            let mut state = shared.lock();
            let Some(kept) = state.next_unrecorded() else {
                return Ok(());
            };
            let (record, parent) = state.record_anew(&kept).unzip();
            // Without a state of its own (it has been finished since) its notifications are left.
            let records: Vec<Record> = record.into_iter().chain(kept.records()).collect();
            let mut records = records.into_iter();
            let Some(group) = records.next().map(Group::new) else {
                answer(kept.waiters);
                continue;
            };
            state.retrying = true;
            (kept, records.fold(group, Group::and), parent)
        };
        let result = shared.journal.append_and_wait(group);
        let mut state = shared.lock();
        state.retrying = false;
        match result {
            Ok(appended) => {
                shared.done.push(Completed {
                    group: Written {
                        parent,
                        messages: kept.messages,
                        waiter: None,
                    },
                    result: Ok(appended),
                });
                answer(kept.waiters);
            }
            Err(error) => {
                if let Some(hot) = state
                    .core
                    .hot
                    .get_mut(&kept.id)
                    .filter(|_| kept.gone.is_none())
                {
                    hot.in_flight = hot.in_flight.saturating_sub(1);
                }
                state.unrecorded.push_front(kept);
                return match error {
                    AppendError::Full(failure) => {
                        state.lack = failure.lack();
                        Ok(())
                    }
                    other => Err(explain(&other)),
                };
            }
        }
    }
}

/// Tells those who wait for an outcome that it is on disk.
fn answer(waiters: Vec<Waiter>) {
    for waiter in waiters {
        let _ = waiter.send(Ok(()));
    }
}

/// Removes the files of messages that are durably gone.
fn unlink_bodies(shared: &Shared) {
    let unlink = std::mem::take(&mut shared.lock().unlink);
    for id in unlink {
        if let Err(error) = shared.bodies.remove(&id.short()) {
            // The next start sweeps it.
            tracing::warn!(%id, %error, "the content of a finished message could not be removed");
        }
    }
}

/// Free space that a message's row may need.
fn row_room(message: &Stored) -> u64 {
    ROW_ROOM + message.envelope.recipients.len() as u64 * RECIPIENT_ROOM
}

/// Free space that a batch of the index may need beside its rows: with less it waits.
const INDEX_ROOM: u64 = 2 << 20;
/// What a row or its removal takes, with all that sled writes anew for it.
const ROW_ROOM: u64 = 4096;
/// What each recipient adds to a row.
const RECIPIENT_ROOM: u64 = 512;
