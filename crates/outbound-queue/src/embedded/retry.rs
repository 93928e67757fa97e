//! `queue retry` of many messages, without reading them.

use std::sync::Arc;

use journal::{Group, Record, Urgency};
use mail_types::QueueId;
use tokio::sync::oneshot;

use super::operator::{blocking, edit_some};
use super::records::{Parent, ParentKind, Written};
use super::retried::Due;
use super::shared::{Shared, State};
use crate::disk::{DUE, encode_due};
use crate::schedule::Key;
use crate::{Destination, Edit, Edited, Filter, Now, QueueError};

/// What of a filter's messages is due how.
#[derive(Default)]
struct Found {
    /// Waits later, and nothing but the schedule has to know; [`AT_ONCE`] together.
    by_schedule: Vec<Entries>,
    /// To be edited one by one.
    one_by_one: Vec<QueueId>,
    /// Due already.
    due: u64,
}

/// Entries by destination.
type Entries = Vec<(Destination, Vec<Key>)>;

/// Makes everything due that a filter of destinations selects. False: which mail that is, messages
/// have to be asked, and nothing was done.
pub(super) async fn retry(
    shared: &Arc<Shared>,
    filter: &Filter,
    dry_run: bool,
    now: Now,
    edited: &mut Edited,
) -> Result<bool, QueueError> {
    let (given, asked) = (Arc::clone(shared), filter.clone());
    let Some(found) = blocking(move || find(&given, &asked, now)).await?? else {
        return Ok(false);
    };
    edited.matched += found.due;
    let mut one_by_one = found.one_by_one;
    for some in found.by_schedule {
        let moved = match dry_run {
            true => some.iter().map(|(_, keys)| keys.len() as u64).sum(),
            false => make_due(shared, &some, now, &mut one_by_one).await?,
        };
        edited.matched += moved;
        edited.changed += moved;
    }
    one_by_one.sort_unstable();
    one_by_one.dedup();
    for some in one_by_one.chunks(AT_ONCE) {
        // What is gone by now was finished in between.
        let before = edited.unknown.len();
        edit_some(shared, some, Edit::Retry, dry_run, now, edited).await?;
        edited.unknown.truncate(before);
    }
    Ok(true)
}

fn find(shared: &Shared, filter: &Filter, now: Now) -> Result<Option<Found>, QueueError> {
    let state = shared.lock();
    shared.check(&state)?;
    if state.recovering {
        return Err(QueueError::Rebuilding);
    }
    let core = &state.core;
    let leased = core.leases.messages().filter(|id| {
        let hot = core.hot.get(id).filter(|_| core.is_live(*id));
        hot.is_some_and(|hot| core.matches(filter, *id, &hot.message, now))
    });
    let mut found = Found {
        one_by_one: leased.collect(),
        ..Found::default()
    };
    let mut room = 0;
    for (destination, waiting) in core.schedule.about(filter) {
        if !filter.takes_all(destination) {
            return Ok(None);
        }
        let mut keys = Vec::new();
        for (key, is_plain, is_due) in waiting.for_retry(now.wall) {
            match (is_plain, is_due) {
                (false, _) => found.one_by_one.push(key.1),
                (true, true) => found.due += 1,
                (true, false) if core.hot.contains_key(&key.1) => found.one_by_one.push(key.1),
                (true, false) => keys.push(key),
            }
        }
        for some in keys.chunks(AT_ONCE) {
            if room < some.len() {
                found.by_schedule.push(Entries::new());
                room = AT_ONCE;
            }
            room -= some.len();
            let last = found.by_schedule.last_mut().into_iter();
            last.for_each(|last| last.push((destination.clone(), some.to_vec())));
        }
    }
    Ok(Some(found))
}

/// Makes some messages due, durably; answers how many. Those that came into memory meanwhile go to
/// `rest`.
async fn make_due(
    shared: &Arc<Shared>,
    some: &Entries,
    now: Now,
    rest: &mut Vec<QueueId>,
) -> Result<u64, QueueError> {
    loop {
        let waiting = {
            let mut state = shared.lock();
            shared.check(&state)?;
            state.check_recorded()?;
            let (cold, hot) = still_waiting(&state, some);
            let moved: u64 = cold.iter().map(|(_, keys)| keys.len() as u64).sum();
            record(shared, &mut state, &cold, now).map(|waiting| {
                rest.extend(hot);
                (waiting, moved)
            })
        };
        match waiting {
            Ok((waiting, moved)) => {
                settled(waiting).await?;
                return Ok(moved);
            }
            Err(NoRoom) => {
                let (room, has_room) = oneshot::channel();
                shared.journal.on_room(move || {
                    let _ = room.send(());
                });
                // An error means that the journal is closing: the next round says so.
                let _ = has_room.await;
            }
        }
    }
}

/// What still waits: that which is not in memory, and the ids of the rest.
fn still_waiting(state: &State, some: &Entries) -> (Entries, Vec<QueueId>) {
    let mut hot = Vec::new();
    let mut cold = Vec::with_capacity(some.len());
    for (destination, keys) in some {
        let waiting = keys
            .iter()
            .filter(|key| state.core.schedule.has(destination, **key));
        let (known, unknown): (Vec<Key>, Vec<Key>) =
            waiting.partition(|key| state.core.hot.contains_key(&key.1));
        hot.extend(known.into_iter().map(|key| key.1));
        cold.push((destination.clone(), unknown));
    }
    (cold, hot)
}

/// The journal's writer has no room at the moment; nothing was done.
struct NoRoom;

type Waiting = oneshot::Receiver<Result<(), QueueError>>;

/// One record for all, handed to the journal under the mutex as all records are; then the schedule.
fn record(shared: &Shared, state: &mut State, some: &Entries, now: Now) -> Result<Waiting, NoRoom> {
    let (waiter, waiting) = oneshot::channel();
    let keys = some.iter().flat_map(|(_, keys)| keys);
    let ids: Vec<QueueId> = keys.map(|key| key.1).collect();
    if ids.is_empty() {
        let _ = waiter.send(Ok(()));
        return Ok(waiting);
    }
    let due = Due {
        stamp: state.core.allocate(now.wall),
        at: now.wall,
    };
    let record = Record::new(DUE, due.stamp.raw(), encode_due(due.at, &ids));
    let group = Group::new(record.clone());
    let written = Written {
        // What a full disk refuses is kept, as outcomes are: it takes effect here.
        parent: Some(Parent {
            id: due.stamp,
            bytes: 0,
            kind: ParentKind::Due(record),
        }),
        messages: Vec::new(),
        waiter: Some(waiter),
    };
    let sent = shared.done.append(
        &shared.journal,
        state.refusals,
        group,
        written,
        Urgency::Now,
    );
    sent.map_err(|_| NoRoom)?;
    for (destination, keys) in some {
        state.core.make_due(destination, keys, due.at);
    }
    state.retried.add(due, ids);
    Ok(waiting)
}

async fn settled(waiting: Waiting) -> Result<(), QueueError> {
    let answer = waiting.await;
    answer.unwrap_or_else(|_| Err(QueueError::Failed("the journal stopped".into())))
}

/// Messages of one record, or edited together.
const AT_ONCE: usize = 4_096;
