//! Mail that the index knows and the journal has not any more: a segment is gone, or ends before what stood in it.
//! The journal cannot see that, and nobody else would say it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use journal::{Journal, Position};
use mail_types::QueueId;

use super::index::INDEX;
use crate::disk::Place;
use crate::state::Stored;

/// What is missing, as it is found out. The default one finds nothing.
#[derive(Default)]
pub(super) struct Lost {
    /// Where the segments ended when the journal was opened.
    ends: Option<BTreeMap<u32, u64>>,
    /// What the index has applied, where the journal does not reach as far.
    end: Option<Position>,
    /// How many messages.
    messages: u64,
    /// The first of them, each with its sender.
    named: Vec<(QueueId, String)>,
    /// Those whose content has a file of its own, which is there.
    large: Vec<QueueId>,
}

impl Lost {
    /// For an index that is as old as this journal, to which nothing has been appended yet.
    pub(super) fn of(journal: &Journal) -> Self {
        let segments = journal.segments();
        Self {
            ends: Some(segments.iter().map(|s| (s.number, s.bytes)).collect()),
            ..Self::default()
        }
    }

    /// The index contains all of the journal before `applied`.
    pub(super) fn applied(&mut self, applied: Position) {
        // A segment to which nothing was appended is removed by the next start.
        if !applied.is_segment_start() && !self.has(applied) {
            self.end = Some(applied);
        }
    }

    /// Whether the journal has lost its end.
    pub(super) const fn is_cut(&self) -> bool {
        self.end.is_some()
    }

    /// Looks at a row, or at a message as it was replayed.
    pub(super) fn look_at(&mut self, id: QueueId, message: &Stored, place: &Place) {
        let end = Position {
            offset: place.position.offset.saturating_add(place.stored.max(1)),
            ..place.position
        };
        if self.has(end) {
            return;
        }
        self.messages += 1;
        if self.named.len() < NAMED {
            let sender = message.envelope.reverse_path.to_string();
            self.named.push((id, sender));
        }
        if place.large.is_some() {
            self.large.push(id);
        }
    }

    fn has(&self, end: Position) -> bool {
        self.ends.as_ref().is_none_or(|ends| {
            let len = ends.get(&end.segment).copied().unwrap_or(0);
            u64::from(end.offset) <= len
        })
    }

    /// Says what was found since the last time, and how much that is.
    pub(super) fn tell(&mut self) -> u64 {
        if let Some(until) = self.end.take() {
            tracing::error!(%until, "the end of the queue's journal is lost: up to here it was on disk once; look at the disk. Mail that was finished since may be sent again");
            // At least this, should no message be concerned.
            self.messages = self.messages.max(1);
        }
        for (id, sender) in self.named.drain(..) {
            tracing::error!(queue_id = %id, sender, "the queue's journal has lost this message: ask its sender for it again");
        }
        let messages = std::mem::take(&mut self.messages);
        if messages > 0 {
            tracing::error!(
                messages,
                "records of so many messages are gone from the queue's journal; at most {NAMED} of them are named above"
            );
        }
        messages
    }

    /// Keeps an index whose messages are lost, with the files of their content, under a name that nothing removes. `None` if
    /// there are none.
    pub(super) fn keep(&mut self, directory: &Path) -> io::Result<Option<PathBuf>> {
        if self.messages == 0 {
            return Ok(None);
        }
        let names = (1u32..).map(|n| directory.join(format!("index.lost-{n}")));
        let free = names.into_iter().find(|name| !name.exists());
        let kept = free.ok_or(io::ErrorKind::AlreadyExists)?;
        fs::rename(directory.join(INDEX), &kept)?;
        let bodies = kept.join("bodies");
        for id in self.large.drain(..) {
            fs::create_dir_all(&bodies)?;
            let file = directory.join("bodies").join(id.short());
            let beside = bodies.join(id.short());
            // It stays where it was as well: an older copy of its record may still be found, and with it the message.
            match fs::hard_link(&file, &beside).or_else(|_| fs::copy(&file, &beside).map(|_| ())) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(Some(kept))
    }
}

/// Messages that have a line each.
const NAMED: usize = 100;
