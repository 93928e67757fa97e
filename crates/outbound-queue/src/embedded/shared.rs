//! What all parts of an open store share: the state under its mutex, journal, index, bodies.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::{
    Damage, FreeSpace, Group, Journal, Lack, LargeFiles, Position, Record, Shortage, Urgency,
};
use mail_types::QueueId;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;

use super::index::Index;
use super::lost::Lost;
use super::options::EmbeddedOptions;
use super::records::{
    Done, GoneFrom, NewRecord, Parent, Usage, Waiter, Written, gone_of, gone_record, record_of,
};
use super::retried::Retried;
use super::unrecorded::Unrecorded;
use crate::QueueError;
use crate::body::Budget;
use crate::core::{Core, Hot, Step};
use crate::disk::{Place, decode_row};
use crate::state::Stored;

pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) done: Arc<Done>,
    pub(super) journal: Journal,
    /// `None` if none could be opened: then everything stays in memory.
    pub(super) index: Option<Index>,
    pub(super) bodies: LargeFiles,
    pub(super) budget: Arc<Budget>,
    pub(super) wake: Arc<Notify>,
    /// The index was written, or will not be any more: commits that wait for it look again.
    pub(super) caught_up: Arc<Notify>,
    pub(super) options: EmbeddedOptions,
    pub(super) control: Control,
    /// Held while a batch goes to the index: batches must not overtake each other.
    pub(super) writing: Mutex<()>,
    /// What was free when that was last asked.
    free: Mutex<Option<(Instant, FreeSpace)>>,
}

pub(super) struct State {
    pub(super) core: Core,
    pub(super) usage: Usage,
    /// Messages whose rows are to be deleted.
    pub(super) removed: BTreeSet<QueueId>,
    /// Raised whenever messages leave memory for the index.
    pub(super) generation: u64,
    /// How many that the index has stayed then, because somebody works on them.
    pub(super) kept: usize,
    /// Everything before this is durable and in `core`.
    pub(super) durable_end: Position,
    /// Everything before this is in the index.
    pub(super) checkpoint: Position,
    /// Outcomes that a full disk, or want of descriptors, kept from being recorded.
    pub(super) unrecorded: VecDeque<Unrecorded>,
    /// For want of what: of the last time that was tried.
    pub(super) lack: Lack,
    /// The journal's refusals that are known here: what is handed to it in ignorance of one must not be
    /// written behind what was refused.
    pub(super) refusals: u64,
    /// One of them is being tried again.
    pub(super) retrying: bool,
    /// Segments, or the index, have not been read to their end yet.
    pub(super) recovering: bool,
    /// From which message on the index has not been read.
    pub(super) unread: Option<QueueId>,
    pub(super) damaged: u64,
    /// Damage that was told already: segment and first byte.
    pub(super) told: BTreeSet<(u32, u64)>,
    /// What is missing of what the index knows.
    pub(super) lost: Lost,
    pub(super) index_rebuilt: Option<String>,
    pub(super) index_failed: Option<String>,
    /// Files of content whose messages are durably gone.
    pub(super) unlink: Vec<QueueId>,
    /// What is due by a record that the index does not have yet.
    pub(super) retried: Retried,
}

/// Starts and stops the store's threads.
#[derive(Default)]
pub(super) struct Control {
    pub(super) stop: Mutex<bool>,
    pub(super) changed: Condvar,
}

impl Shared {
    pub(super) fn new(
        state: State,
        journal: Journal,
        index: Option<Index>,
        bodies: LargeFiles,
        options: EmbeddedOptions,
    ) -> Self {
        let wake = Arc::clone(&state.core.wake);
        Self {
            state: Mutex::new(state),
            done: Done::new(Arc::clone(&wake)),
            journal,
            index,
            bodies,
            budget: Budget::new(options.body_memory),
            wake,
            caught_up: Arc::default(),
            options,
            control: Control::default(),
            writing: Mutex::new(()),
            free: Mutex::new(None),
        }
    }

    /// The state, up to date with what the journal has finished.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        // Before what is done is looked at: these refusals are among it.
        state.refusals = self.journal.refusals();
        let mut copied = Vec::new();
        for completed in self.done.take() {
            copied.extend(state.settle(completed));
        }
        // After all of it: what was refused is kept by now, and goes to disk together with this.
        for (id, from) in copied {
            self.submit_gone(&mut state, id, from);
        }
        state
    }

    /// Whether the store may work at all.
    pub(super) fn check(&self, state: &State) -> Result<(), QueueError> {
        self.journal
            .health()
            .map_err(|failure| QueueError::Failed(failure.to_string()))?;
        match &state.index_failed {
            Some(cause) => Err(QueueError::Failed(cause.clone())),
            None => Ok(()),
        }
    }

    /// Whether so many messages are in memory that new ones wait for the index. Without one all are; what
    /// it had already when it was last written, and somebody works on, does not count.
    pub(super) fn is_crowded(&self, state: &State) -> bool {
        let ahead = state.core.hot.len().saturating_sub(state.kept);
        ahead >= self.options.messages_in_memory && self.index.is_some()
    }

    /// Whether there is room in memory for work on a message right after it has come. With less it
    /// waits its turn: slow destinations must not fill the memory with what they have in hand.
    pub(super) fn may_claim(&self, state: &State) -> bool {
        state.core.hot.len() <= self.options.messages_in_memory / 2
    }

    /// Whether nothing is written any more.
    pub(super) fn is_stopping(&self) -> bool {
        *self.control.stop.lock()
    }

    /// Whether there is room for `more` bytes above the floor.
    pub(super) fn check_room(&self, more: u64) -> Result<(), QueueError> {
        match self.shortage(more) {
            Some(shortage) => Err(shortage.into()),
            None => Ok(()),
        }
    }

    /// What `more` bytes would lack.
    pub(super) fn shortage(&self, more: u64) -> Option<Shortage> {
        let floor = self.options.free_space_floor;
        // Unknown is not full: the journal itself notices a full disk.
        let free = self.free_space(floor.saturating_add(more).saturating_add(PLENTY))?;
        let inodes = free.inodes.filter(|&n| n < FEW_INODES);
        if free.bytes < floor.saturating_add(more) {
            let free = free.bytes;
            return Some(Shortage::Space { free, floor });
        }
        inodes.map(|free| Shortage::Inodes { free })
    }

    /// What is free. With more than `plenty` an answer is good for a moment: three system calls a
    /// message would cost more than they tell.
    fn free_space(&self, plenty: u64) -> Option<FreeSpace> {
        let mut known = self.free.lock();
        if let Some((asked, free)) = &*known
            && free.bytes >= plenty
            && free.inodes.is_none_or(|n| n >= MANY_INODES)
            && asked.elapsed() < BELIEVED
        {
            return Some(*free);
        }
        let free = (self.options.free_space)(&self.options.directory).ok()?;
        *known = Some((Instant::now(), free));
        Some(free)
    }

    /// What is free above `bytes` (or above the floor, where that is lower); `None` if not even that is.
    /// Unknown is plenty, and so is all without a floor.
    pub(super) fn free_above(&self, bytes: u64) -> Option<u64> {
        let least = bytes.min(self.options.free_space_floor);
        match self.free_space(least.saturating_add(PLENTY)) {
            Some(free) if least > 0 => free.bytes.checked_sub(least),
            _ => Some(u64::MAX),
        }
    }

    /// Hands a step to the journal, in the order of steps. Never waits and never fails: what cannot be
    /// recorded now is kept.
    pub(super) fn submit(
        &self,
        state: &mut State,
        step: &Step,
        messages: Vec<(QueueId, u32, Record)>,
        waiter: Option<Waiter>,
        urgency: Urgency,
    ) {
        let existing = self.segments_for(step);
        let (record, parent) = record_of(state, step, &existing);
        let records = messages.iter().map(|(_, _, record)| record.clone());
        let records = records.fold(Group::new(record), Group::and);
        let messages: Vec<_> = messages
            .into_iter()
            .map(|(id, bytes, record)| NewRecord {
                id,
                bytes,
                kept: Some(record),
            })
            .collect();
        if !state.unrecorded.is_empty() || state.retrying {
            let gone = gone_of(parent.kind);
            state.keep(step.id, gone, messages, waiter);
            return;
        }
        if let Some(hot) = state.core.hot.get_mut(&step.id) {
            hot.in_flight += 1;
        }
        let written = Written {
            parent: Some(parent),
            messages,
            waiter,
        };
        self.append_or_refuse(state, records, written, urgency);
    }

    /// Hands a group to the journal. No room before its writer is as good as a disk that is full for a moment.
    fn append_or_refuse(&self, state: &State, records: Group, group: Written, urgency: Urgency) {
        let sent = self
            .done
            .append(&self.journal, state.refusals, records, group, urgency);
        if let Err(back) = sent
            && let Some(completion) = back.completion
        {
            completion(Err(journal::AppendError::Full(no_room(&self.options))));
        }
    }

    /// A message that is visible, in memory. `Ok(false)`: there is none.
    pub(super) fn ensure_hot(&self, state: &mut State, id: QueueId) -> Result<bool, QueueError> {
        if !state.core.is_live(id) {
            return Ok(false);
        }
        if state.core.hot.contains_key(&id) {
            return Ok(true);
        }
        match self.load(id) {
            Ok((message, place)) => {
                state.bring(id, message, place);
                Ok(true)
            }
            Err(cause) => Err(self.fail_index(state, &cause)),
        }
    }

    /// A message that is visible, as it is; it does not come into memory for that.
    pub(super) fn look_at(
        &self,
        state: &mut State,
        id: QueueId,
    ) -> Result<Option<Arc<Stored>>, QueueError> {
        if let Some(hot) = state.core.hot.get(&id).filter(|_| state.core.is_live(id)) {
            return Ok(Some(Arc::clone(&hot.message)));
        }
        if !state.core.is_live(id) {
            return Ok(None);
        }
        match self.load(id) {
            Ok((mut message, _)) => {
                state.retried.apply(id, &mut message);
                Ok(Some(Arc::new(message)))
            }
            Err(cause) => Err(self.fail_index(state, &cause)),
        }
    }

    /// A message's row.
    pub(super) fn load(&self, id: QueueId) -> Result<(Stored, Place), String> {
        let index = self.index.as_ref().ok_or("there is no index")?;
        let row = index.get(id).map_err(|error| error.to_string())?;
        let row = row.ok_or_else(|| format!("the row of {id} is missing"))?;
        decode_row(&row).map_err(|error| error.to_string())
    }

    /// The index failed in use: nothing can be done before a restart, which rebuilds it.
    pub(super) fn fail_index(&self, state: &mut State, cause: &str) -> QueueError {
        tracing::error!(
            cause,
            "the queue's index failed; restart to have it rebuilt from the journal"
        );
        if let Some(index) = &self.index {
            index.distrust();
        }
        let cause = state.index_failed.get_or_insert_with(|| cause.to_owned());
        QueueError::Failed(cause.clone())
    }

    /// The segments that exist, if the step needs to know.
    fn segments_for(&self, step: &Step) -> Vec<u32> {
        let place = step.gone.as_ref().and_then(|gone| gone.place.as_ref());
        if place.is_some_and(|place| !place.copies.is_empty()) {
            return self.journal.segments().iter().map(|s| s.number).collect();
        }
        Vec::new()
    }

    /// Records anew that a message is gone.
    pub(super) fn submit_gone(&self, state: &mut State, id: QueueId, from: GoneFrom) {
        if !state.unrecorded.is_empty() || state.retrying {
            state.keep(id, Some(from), Vec::new(), None);
            return;
        }
        let (kind, record) = gone_record(id, from);
        let written = Written {
            parent: Some(Parent { id, bytes: 0, kind }),
            messages: Vec::new(),
            waiter: None,
        };
        self.append_or_refuse(state, Group::new(record), written, Urgency::Rides);
    }
}

impl State {
    pub(super) fn new(core: Core, durable_end: Position) -> Self {
        Self {
            core,
            usage: Usage::default(),
            removed: BTreeSet::new(),
            generation: 0,
            kept: 0,
            durable_end,
            checkpoint: Position::START,
            unrecorded: VecDeque::new(),
            lack: Lack::Space,
            refusals: 0,
            retrying: false,
            recovering: false,
            unread: None,
            damaged: 0,
            told: BTreeSet::new(),
            lost: Lost::default(),
            index_rebuilt: None,
            index_failed: None,
            unlink: Vec::new(),
            retried: Retried::default(),
        }
    }

    /// Says what is damaged, one line each and once, and counts it.
    pub(super) fn tell(&mut self, damage: &[Damage]) {
        for one in damage {
            if !self.told.insert((one.segment, one.range.start)) {
                continue;
            }
            self.damaged += 1;
            let id = one.key.map(|key| QueueId::from_raw(key).to_string());
            let perhaps_unacknowledged = one.possibly_unacknowledged;
            tracing::error!(
                queue_id = id.as_deref(),
                perhaps_unacknowledged,
                "the queue's journal is damaged: {one}"
            );
        }
    }

    /// Says what the journal has lost of what the index knew, and counts it.
    pub(super) fn tell_lost(&mut self) {
        self.damaged += self.lost.tell();
    }

    /// Lets go of messages that the index has and nobody works on.
    pub(super) fn evict(&mut self) {
        let before = self.core.hot.len();
        let leases = &self.core.leases;
        let mut kept = 0;
        self.core.hot.retain(|id, hot: &mut Hot| {
            let is_ahead = hot.dirty || !hot.indexed;
            let stays = is_ahead || hot.in_flight > 0 || hot.awaited || leases.is_leased(*id);
            kept += usize::from(stays && !is_ahead);
            stays
        });
        self.kept = kept;
        let hot = &mut self.core.hot;
        if hot.len() < before {
            self.generation += 1;
        }
        // A burst must not keep its memory for good.
        if hot.capacity() > ROOMY && hot.len() < hot.capacity() / 8 {
            hot.shrink_to(hot.len() * 2);
        }
    }
}

impl Place {
    pub(super) const fn at(position: Position) -> Self {
        Self {
            position,
            stored: 0,
            large: None,
            copies: Vec::new(),
            states: Vec::new(),
        }
    }
}

fn no_room(options: &EmbeddedOptions) -> journal::Failure {
    journal::Failure::new(
        journal::FailedOperation::Write,
        &options.directory,
        std::io::Error::other("there is no room before the journal's writer"),
    )
}

/// Messages that may be in memory at once without a look at what their table takes.
const ROOMY: usize = 8192;
const FEW_INODES: u64 = 16;
/// Above the floor and what is asked for: more than is written within [`BELIEVED`].
const PLENTY: u64 = 256 << 20;
const MANY_INODES: u64 = 10_000;
const BELIEVED: Duration = Duration::from_millis(100);
