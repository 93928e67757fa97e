//! Outcomes that a full disk kept from being recorded: they are true, and wait in memory until there is
//! room ([`super::committer`] tries them again).

use std::collections::BTreeSet;

use journal::{Record, Shortage};
use mail_types::QueueId;

use super::records::{GoneFrom, NewRecord, Parent, ParentKind, Waiter, gone_record};
use super::shared::State;
use crate::QueueError;
use crate::disk::{STATE, encode_state};

/// An outcome that is true but not on disk.
pub(super) struct Unrecorded {
    pub(super) id: QueueId,
    pub(super) gone: Option<GoneFrom>,
    /// Instead of an outcome: that many messages are due.
    pub(super) due: Option<Record>,
    pub(super) messages: Vec<NewRecord>,
    pub(super) waiters: Vec<Waiter>,
}

impl Unrecorded {
    /// The records of the messages that came with it.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        self.messages
            .iter()
            .filter_map(|message| message.kept.clone())
    }

    /// Takes a later one of the same message along: what it says goes to disk in one piece.
    fn absorb(&mut self, later: Self) {
        match (&mut self.gone, later.gone) {
            (Some(gone), Some(later)) => gone.join(later),
            (gone, later) => *gone = gone.take().or(later),
        }
        self.messages.extend(later.messages);
        self.waiters.extend(later.waiters);
    }
}

impl State {
    /// Whether outcomes wait for room on the disk.
    pub(super) fn is_behind(&self) -> bool {
        self.retrying || !self.unrecorded.is_empty()
    }

    /// Why outcomes wait to be recorded, if any do.
    pub(super) fn behind(&self) -> Option<Shortage> {
        self.is_behind().then_some(Shortage::Unrecorded(self.lack))
    }

    /// Whether all outcomes are with the journal.
    pub(super) fn check_recorded(&self) -> Result<(), QueueError> {
        match self.behind() {
            Some(shortage) => Err(shortage.into()),
            None => Ok(()),
        }
    }

    /// How many messages have outcomes that wait for room.
    pub(super) fn unrecorded_messages(&self) -> usize {
        let outcomes = self.unrecorded.iter().filter(|kept| kept.due.is_none());
        outcomes.map(|kept| kept.id).collect::<BTreeSet<_>>().len()
    }

    pub(super) fn keep(
        &mut self,
        id: QueueId,
        gone: Option<GoneFrom>,
        messages: Vec<NewRecord>,
        waiter: Option<Waiter>,
    ) {
        self.unrecorded.push_back(Unrecorded {
            id,
            gone,
            due: None,
            messages,
            waiters: waiter.into_iter().collect(),
        });
    }

    /// What is due is so in memory already: whoever asked for it hears of it once that is on disk.
    pub(super) fn keep_due(&mut self, stamp: QueueId, record: Record, waiter: Option<Waiter>) {
        self.unrecorded.push_back(Unrecorded {
            id: stamp,
            gone: None,
            due: Some(record),
            messages: Vec::new(),
            waiters: waiter.into_iter().collect(),
        });
    }

    /// The next outcome to be recorded, with all others of its message: that a message is gone must not
    /// be on disk before the notifications that it leaves behind.
    pub(super) fn next_unrecorded(&mut self) -> Option<Unrecorded> {
        let mut first = self.unrecorded.pop_front()?;
        while let Some(at) = self.unrecorded.iter().position(|k| k.id == first.id) {
            let Some(later) = self.unrecorded.remove(at) else {
                break;
            };
            first.absorb(later);
        }
        Some(first)
    }

    /// The record that says an unrecorded outcome in full, as of now.
    pub(super) fn record_anew(&mut self, kept: &Unrecorded) -> Option<(Record, Parent)> {
        let hot = self.core.hot.get_mut(&kept.id);
        let (kind, record) = match (&kept.gone, &kept.due, hot) {
            (Some(from), ..) => gone_record(kept.id, from.clone()),
            (None, Some(record), _) => (ParentKind::Due(record.clone()), record.clone()),
            (None, None, Some(hot)) => {
                hot.in_flight += 1;
                let meta = encode_state(&hot.message);
                (ParentKind::Whole, Record::new(STATE, kept.id.raw(), meta))
            }
            // Finished since: its own entry follows.
            (None, None, None) => return None,
        };
        let bytes = u32::try_from(record.stored_len()).unwrap_or(u32::MAX);
        let parent = Parent {
            id: kept.id,
            bytes,
            kind,
        };
        Some((record, parent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_called_gone_from_everywhere_it_stood() {
        let gone = |segments: &[u32], large| Unrecorded {
            id: QueueId::from_raw(7),
            gone: Some(GoneFrom {
                segments: segments.to_vec(),
                large,
            }),
            due: None,
            messages: Vec::new(),
            waiters: Vec::new(),
        };
        let mut kept = gone(&[1, 2], true);
        // The copy that was on its way, and is in another segment.
        kept.absorb(gone(&[2, 3], false));
        let from = kept.gone.unwrap();
        assert_eq!(
            (from.segments.as_slice(), from.large),
            (&[1, 2, 3][..], true)
        );
    }
}
