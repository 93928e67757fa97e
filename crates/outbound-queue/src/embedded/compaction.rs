//! Giving space back: what still matters in a segment is appended anew, then the segment is removed.
//!
//! The order (the reasoning is in the module above): copies, states and "gone" records are appended;
//! all of it is synced; the segment is unlinked; the directory is synced; the segment counts as gone.
//! A crash at any step leaves either the old records, or both, and both count as one.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use journal::{
    Damage, DamageKind, Group, Position, ReadError, Record, RemoveError, ScannedRecord, Urgency,
};
use mail_types::QueueId;

use super::committer;
use super::records::{GoneFrom, Parent, ParentKind, Written, explain, message_record};
use super::retried::Due;
use super::shared::{Shared, State};
use crate::QueueError;
use crate::disk::Place;
use crate::disk::{
    CHANGE, DUE, GONE, MESSAGE, STATE, decode_due, decode_gone, encode_message, encode_state,
};
use crate::state::Stored;

/// Runs until the store stops: one segment at a time.
pub(super) fn run(shared: &Shared) {
    // Segments that gave nothing, as of how many had been removed.
    let mut futile = BTreeSet::new();
    let mut since = Instant::now();
    while committer::pause(shared) {
        if since.elapsed() > FUTILE_FOR {
            futile.clear();
            since = Instant::now();
        }
        while let Some(segment) = candidate(shared, &futile) {
            match compact(shared, segment) {
                Ok(true) => futile.clear(),
                Ok(false) => drop(futile.insert(segment)),
                Err(error) => {
                    tracing::error!(segment, %error, "a segment of the queue could not be compacted; it is tried again later");
                    futile.insert(segment);
                }
            }
            if *shared.control.stop.lock() {
                return;
            }
        }
    }
}

/// The next segment to remove: one without live bytes, else the one with the lowest part of them.
pub(super) fn candidate(shared: &Shared, futile: &BTreeSet<u32>) -> Option<u32> {
    let active = shared.journal.active();
    let segments = shared.journal.segments();
    let state = shared.lock();
    if state.recovering || state.is_behind() || shared.check(&state).is_err() {
        return None;
    }
    // Replay begins at the checkpoint: what is behind it has to stay.
    let end = active.min(state.checkpoint.segment);
    let sealed = segments
        .iter()
        .filter(|s| s.number < end && !futile.contains(&s.number));
    let by_part = sealed.map(|s| {
        let part = state.usage.of(s.number) as f64 / s.bytes.max(1) as f64;
        (part, s.number)
    });
    let (part, number) = by_part.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))?;
    if part == 0.0 {
        return Some(number);
    }
    // Copies must not take the last room: what is short of it is given back by segments that need none.
    let has_room = shared.check_room(state.usage.of(number)).is_ok();
    (has_room && part < shared.options.compact_below).then_some(number)
}

/// What a segment holds that may still matter.
#[derive(Default)]
struct Plan {
    messages: Vec<(QueueId, Position)>,
    states: BTreeSet<QueueId>,
    gone: Vec<(QueueId, GoneFrom)>,
    /// What is due by records here.
    due: Vec<(Due, Vec<QueueId>)>,
    /// Bytes of the "gone" records to be carried forward.
    gone_bytes: u64,
    bytes: u64,
}

/// Removes a segment; `false` if it is better kept.
pub(super) fn compact(shared: &Shared, segment: u32) -> Result<bool, QueueError> {
    let Some(plan) = plan(shared, segment)? else {
        return Ok(false);
    };
    // Nearly nothing but words about what is gone elsewhere: removing it now would only move them.
    if plan.gone_bytes * 2 > plan.bytes {
        return Ok(false);
    }
    // What is due by records takes a state each: nothing there counts as live, and yet it is written.
    let due: usize = plan.due.iter().map(|(_, ids)| ids.len()).sum();
    if due > 0 && shared.check_room(due as u64 * STATE_BYTES).is_err() {
        return Ok(false);
    }
    for (id, position) in &plan.messages {
        if !copy(shared, *id, *position)? {
            return Ok(false);
        }
    }
    for id in &plan.states {
        if !carry_state(shared, *id, |_, place| has_state_in(place, segment))? {
            return Ok(false);
        }
    }
    for (due, ids) in &plan.due {
        for id in ids {
            // Unless something else became of it since; and what is copied has all of its state with it.
            let is_here = |message: &Stored, place: &Place| {
                place.position.segment != segment && message.is_retried(due.stamp, due.at)
            };
            if !carry_state(shared, *id, is_here)? {
                return Ok(false);
            }
        }
    }
    for (id, from) in plan.gone {
        wait_for_room(shared);
        shared.submit_gone(&mut shared.lock(), id, from);
    }
    // Twice: what became known when the first sync was over may have added records of its own.
    for _ in 0..2 {
        shared.journal.sync().map_err(|error| explain(&error))?;
        let state = shared.lock();
        if state.is_behind() || state.usage.of(segment) > 0 {
            return Ok(false);
        }
    }
    match shared.journal.remove_segment(segment) {
        Ok(()) => {
            shared.lock().usage.drop_segment(segment);
            Ok(true)
        }
        Err(RemoveError::Failed(failure)) => Err(QueueError::Failed(failure.to_string())),
        Err(RemoveError::Active(_) | RemoveError::HoldsCheckpoint(_) | RemoveError::Unknown(_)) => {
            Ok(false)
        }
    }
}

fn plan(shared: &Shared, segment: u32) -> Result<Option<Plan>, QueueError> {
    let existing: BTreeSet<u32> = shared.journal.segments().iter().map(|s| s.number).collect();
    let mut plan = Plan::default();
    let mut unreadable = false;
    let visit = |record: ScannedRecord<'_>| {
        let id = QueueId::from_raw(record.key);
        plan.bytes += u64::from(record.end.offset.saturating_sub(record.position.offset));
        match record.kind {
            MESSAGE => plan.messages.push((id, record.position)),
            CHANGE | STATE => drop(plan.states.insert(id)),
            DUE => match decode_due(record.meta) {
                Ok((at, ids)) => plan.due.push((Due { stamp: id, at }, ids)),
                Err(_) => unreadable = true,
            },
            GONE => match decode_gone(record.meta) {
                Ok(mut segments) => {
                    segments.retain(|s| *s != segment && existing.contains(s));
                    if !segments.is_empty() {
                        plan.gone_bytes += record.meta.len() as u64 + RECORD_OVERHEAD;
                        let large = false;
                        plan.gone.push((id, GoneFrom { segments, large }));
                    }
                }
                Err(_) => unreadable = true,
            },
            _ => {}
        }
        ControlFlow::Continue(())
    };
    match shared.journal.scan_segment(segment, visit) {
        // A damaged segment stays as long as something in it matters, and live mail in it is served as far as it can be
        // read. After that an operator has the copies to look at; of bytes that the disk did not give there is none.
        Ok(report) => {
            let mut state = shared.lock();
            state.tell(&report.damage);
            let is_copied = |one: &Damage| one.copy.is_some() && one.kind != DamageKind::Unreadable;
            let may_go = report.damage.is_empty()
                || report.damage.iter().all(is_copied) && state.usage.of(segment) == 0;
            Ok((may_go && !unreadable).then_some(plan))
        }
        Err(ReadError::SegmentGone(_)) => Ok(None),
        Err(error) => Err(QueueError::Io {
            doing: format!("read segment {segment} of the queue"),
            cause: error.to_string(),
        }),
    }
}

/// Appends a live message anew, with all of its state. `false` if its content cannot be read, or the
/// journal's writer has no room after all, or outcomes wait to be recorded first.
pub(super) fn copy(shared: &Shared, id: QueueId, position: Position) -> Result<bool, QueueError> {
    if !stands_at(shared, &mut shared.lock(), id, position)? {
        return Ok(true);
    }
    let body = match shared.journal.read_body(position) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%id, %error, "the content of a message is damaged; its segment is kept");
            return Ok(false);
        }
    };
    wait_for_room(shared);
    let mut state = shared.lock();
    if !stands_at(shared, &mut state, id, position)? {
        return Ok(true);
    }
    let Some(hot) = state.core.hot.get_mut(&id) else {
        return Ok(true);
    };
    let Some(place) = &hot.place else {
        return Ok(true);
    };
    let mut copies = place.copies.clone();
    copies.push(position.segment);
    let meta = encode_message(&hot.message, place.large, &copies);
    let body = if body.is_empty() {
        Vec::new()
    } else {
        vec![body]
    };
    let (record, bytes) = message_record(id, meta, body);
    let kind = ParentKind::Copy(position);
    Ok(append(shared, &mut state, record, id, bytes, kind))
}

/// Appends the whole state of a live message whose record stands elsewhere, if it stands here. `false` if
/// the journal's writer has no room after all, or outcomes wait to be recorded first.
pub(super) fn carry_state(
    shared: &Shared,
    id: QueueId,
    is_here: impl Fn(&Stored, &Place) -> bool,
) -> Result<bool, QueueError> {
    wait_for_room(shared);
    let mut state = shared.lock();
    if !shared.ensure_hot(&mut state, id)? {
        return Ok(true);
    }
    let Some(hot) = state.core.hot.get_mut(&id) else {
        return Ok(true);
    };
    if !hot
        .place
        .as_ref()
        .is_some_and(|place| is_here(&hot.message, place))
    {
        return Ok(true);
    }
    let record = Record::new(STATE, id.raw(), encode_state(&hot.message));
    let bytes = u32::try_from(record.stored_len()).unwrap_or(u32::MAX);
    let kind = ParentKind::Whole;
    Ok(append(shared, &mut state, record, id, bytes, kind))
}

/// Whether a state record that counts stands in a segment, and the message itself does not.
fn has_state_in(place: &Place, segment: u32) -> bool {
    place.position.segment != segment && place.states.iter().any(|(s, _)| *s == segment)
}

/// `false` if the writer has no room, or outcomes wait for it: then the segment must not be removed now.
fn append(
    shared: &Shared,
    state: &mut State,
    record: Record,
    id: QueueId,
    bytes: u32,
    kind: ParentKind,
) -> bool {
    // The message as it is in memory knows of its outcomes already: on disk it must not say that somebody was
    // told of them before the notification is there.
    if state.is_behind() {
        return false;
    }
    let written = Written {
        parent: Some(Parent { id, bytes, kind }),
        messages: Vec::new(),
        waiter: None,
    };
    let sent = shared.done.append(
        &shared.journal,
        state.refusals,
        Group::new(record),
        written,
        Urgency::Rides,
    );
    if sent.is_err() {
        return false;
    }
    if let Some(hot) = state.core.hot.get_mut(&id) {
        hot.in_flight += 1;
        hot.dirty = true;
    }
    true
}

/// Whether a message is live and its record is the one at a position.
fn stands_at(
    shared: &Shared,
    state: &mut State,
    id: QueueId,
    position: Position,
) -> Result<bool, QueueError> {
    if !shared.ensure_hot(state, id)? {
        return Ok(false);
    }
    let place = state.core.hot.get(&id).and_then(|hot| hot.place.as_ref());
    Ok(place.is_some_and(|place| place.position == position))
}

/// Waits until the journal's writer has room; not under the mutex.
fn wait_for_room(shared: &Shared) {
    let (tell, told) = sync_channel(1);
    let tell = Arc::new(tell);
    shared.journal.on_room(move || {
        let _ = tell.try_send(());
    });
    // An error means that the journal is closing; the next append says so.
    let _ = told.recv();
}

/// What gave nothing may give something after that.
const FUTILE_FOR: Duration = Duration::from_mins(10);
/// About what a message's state takes.
const STATE_BYTES: u64 = 512;
/// About what a record takes besides its meta.
const RECORD_OVERHEAD: u64 = 40;
