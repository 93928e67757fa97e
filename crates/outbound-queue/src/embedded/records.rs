//! From changes to journal records, and back from completions to places.

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::{
    AppendError, Appended, Backlogged, Completion, Group, Journal, Lack, Position, Record, Urgency,
};
use mail_types::QueueId;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::shared::State;
use crate::QueueError;
use crate::core::Step;
use crate::disk::{CHANGE, GONE, MESSAGE, Place, STATE, encode_change, encode_gone, encode_state};

/// What the journal has finished with, in its order. Filled on the journal's thread, which must not
/// wait for the queue's mutex; emptied by whoever takes that mutex next.
pub(super) struct Done {
    items: Mutex<Vec<Completed>>,
    wake: Arc<Notify>,
}

/// A group that was appended, or was not.
pub(super) struct Completed {
    pub(super) group: Written,
    pub(super) result: Result<Appended, AppendError>,
}

/// What a group consists of, in the order of its records.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) parent: Option<Parent>,
    pub(super) messages: Vec<NewRecord>,
    pub(super) waiter: Option<Waiter>,
}

/// The record of a new message.
#[derive(Debug)]
pub(super) struct NewRecord {
    pub(super) id: QueueId,
    /// In the journal.
    pub(super) bytes: u32,
    /// For another try, beside an outcome. Of mail that comes nothing is kept: its client tries again.
    pub(super) kept: Option<Record>,
}

/// A record about a message that exists.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) id: QueueId,
    pub(super) bytes: u32,
    pub(super) kind: ParentKind,
}

#[derive(Debug)]
pub(super) enum ParentKind {
    Change,
    Whole,
    Gone(GoneFrom),
    /// A copy of the message, instead of the one at this position.
    Copy(Position),
    /// Not about one message: many are due. With its record, should that have to be kept for another try.
    Due(Record),
}

/// A message that is gone, and what is left of it.
#[derive(Clone, Debug, Default)]
pub(super) struct GoneFrom {
    /// Segments with its record.
    pub(super) segments: Vec<u32>,
    /// It has a file of its own.
    pub(super) large: bool,
}

impl GoneFrom {
    /// Adds where else it stood.
    pub(super) fn join(&mut self, other: Self) {
        for segment in other.segments {
            if !self.segments.contains(&segment) {
                self.segments.push(segment);
            }
        }
        self.large |= other.large;
    }
}

pub(super) type Waiter = oneshot::Sender<Result<(), QueueError>>;

/// Bytes that are still needed.
#[derive(Default)]
pub(super) struct Usage {
    /// In each segment.
    segments: BTreeMap<u32, u64>,
    /// In files of their own.
    pub(super) large: u64,
}

impl Done {
    pub(super) fn new(wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            items: Mutex::new(Vec::new()),
            wake,
        })
    }

    pub(super) fn push(&self, completed: Completed) {
        self.items.lock().push(completed);
    }

    pub(super) fn take(&self) -> Vec<Completed> {
        std::mem::take(&mut *self.items.lock())
    }

    /// Hands a group to the journal without waiting; gives it back with its completion if there is no room. It is
    /// refused if the disk has refused more than is known here.
    pub(super) fn append(
        self: &Arc<Self>,
        journal: &Journal,
        refusals: u64,
        records: Group,
        group: Written,
        urgency: Urgency,
    ) -> Result<(), Backlogged> {
        let done = Arc::clone(self);
        let completion: Completion = Box::new(move |result| {
            let mut group = group;
            let kept = matches!(&result, Err(AppendError::Full(_))) && group.parent.is_some();
            let waiter = if kept { None } else { group.waiter.take() };
            let answer = result.as_ref().map(|_| ()).map_err(explain);
            // Messages beside an outcome, and new ones that nobody hears of, wait for whoever looks next. That
            // an outcome alone is on disk makes nothing due: it need not be looked at before something else is.
            let is_outcome = group.parent.is_some();
            let is_news = result.is_err() || is_outcome && !group.messages.is_empty();
            done.push(Completed { group, result });
            let is_heard = waiter.is_some_and(|waiter| waiter.send(answer).is_ok());
            if is_news || !is_outcome && !is_heard {
                done.wake.notify_one();
            }
        });
        journal.try_append_knowing(refusals, records, urgency, Some(completion))
    }
}

/// What an append's failure means to the one who asked.
pub(super) fn explain(error: &AppendError) -> QueueError {
    match error {
        AppendError::Full(failure) if failure.lack() == Lack::Space => {
            QueueError::DiskFull(failure.to_string())
        }
        AppendError::Full(_) => QueueError::Unwritable(error.to_string()),
        other => QueueError::Failed(other.to_string()),
    }
}

/// The record of a step, and what it is.
pub(super) fn record_of(state: &mut State, step: &Step, existing: &[u32]) -> (Record, Parent) {
    let (kind, record) = match &step.gone {
        Some(gone) => {
            if gone.indexed {
                state.removed.insert(step.id);
            }
            let from = gone.place.as_ref().map(|place| {
                state.usage.forget_all(place);
                gone_from(place, existing)
            });
            gone_record(step.id, from.unwrap_or_default())
        }
        None => {
            let hot = state.core.hot.get(&step.id);
            let spread = hot.and_then(|hot| hot.place.as_ref().map(|p| p.states.len()));
            match hot.filter(|_| spread.is_some_and(|n| n >= MOST_SEGMENTS)) {
                Some(hot) => (
                    ParentKind::Whole,
                    Record::new(STATE, step.id.raw(), encode_state(&hot.message)),
                ),
                None => (
                    ParentKind::Change,
                    Record::new(CHANGE, step.id.raw(), encode_change(&step.change)),
                ),
            }
        }
    };
    let bytes = u32::try_from(record.stored_len()).unwrap_or(u32::MAX);
    let parent = Parent {
        id: step.id,
        bytes,
        kind,
    };
    (record, parent)
}

/// What a message was gone from, if the record says that it is gone.
pub(super) fn gone_of(kind: ParentKind) -> Option<GoneFrom> {
    match kind {
        ParentKind::Gone(from) => Some(from),
        ParentKind::Change | ParentKind::Whole | ParentKind::Copy(_) | ParentKind::Due(_) => None,
    }
}

pub(super) fn gone_record(id: QueueId, from: GoneFrom) -> (ParentKind, Record) {
    let record = Record::new(GONE, id.raw(), encode_gone(&from.segments));
    (ParentKind::Gone(from), record)
}

/// Where a message's record stands, copies that a power cut may bring back included.
pub(super) fn gone_from(place: &Place, existing: &[u32]) -> GoneFrom {
    let copies = place.copies.iter().filter(|s| existing.contains(s));
    GoneFrom {
        segments: copies.copied().chain([place.position.segment]).collect(),
        large: place.large.is_some(),
    }
}

/// A message record.
pub(super) fn message_record(id: QueueId, meta: Vec<u8>, body: Vec<bytes::Bytes>) -> (Record, u32) {
    let record = Record::new(MESSAGE, id.raw(), meta).with_body(body);
    let bytes = u32::try_from(record.stored_len()).unwrap_or(u32::MAX);
    (record, bytes)
}

impl Usage {
    pub(super) fn add(&mut self, segment: u32, bytes: u32) {
        *self.segments.entry(segment).or_default() += u64::from(bytes);
    }

    pub(super) fn sub(&mut self, segment: u32, bytes: u32) {
        if let Some(used) = self.segments.get_mut(&segment) {
            *used = used.saturating_sub(u64::from(bytes));
        }
    }

    pub(super) fn of(&self, segment: u32) -> u64 {
        self.segments.get(&segment).copied().unwrap_or(0)
    }

    pub(super) fn drop_segment(&mut self, segment: u32) {
        self.segments.remove(&segment);
    }

    /// A message was found or came.
    pub(super) fn remember(&mut self, place: &Place) {
        self.large += place.large.map_or(0, |large| large.len);
        self.add(place.position.segment, place.stored);
        place
            .states
            .iter()
            .for_each(|(s, bytes)| self.add(*s, *bytes));
    }

    /// A message is gone.
    pub(super) fn forget_all(&mut self, place: &Place) {
        let large = place.large.map_or(0, |large| large.len);
        self.large = self.large.saturating_sub(large);
        self.forget(place);
    }

    /// A message's records do not matter any more.
    pub(super) fn forget(&mut self, place: &Place) {
        self.sub(place.position.segment, place.stored);
        place
            .states
            .iter()
            .for_each(|(s, bytes)| self.sub(*s, *bytes));
    }
}

/// Adds a state record to a place.
pub(super) fn note_state(states: &mut Vec<(u32, u32)>, segment: u32, bytes: u32) {
    match states.iter_mut().find(|(s, _)| *s == segment) {
        Some((_, sum)) => *sum = sum.saturating_add(bytes),
        None => states.push((segment, bytes)),
    }
}

/// A message whose changes stand in this many segments writes its whole state next.
const MOST_SEGMENTS: usize = 8;
