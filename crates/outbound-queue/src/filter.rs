//! Selecting messages, and what can be done to them.

use std::sync::Arc;

use attempt::{Reason, Side};
use mail_types::{Host, QueueId, Timestamp};

use crate::moves::{Blame, side_as_told};
use crate::state::{RecipientEntry, Stored};
use crate::{Addresses, Destination, Keyed, MessageState, MessageView, SuspendedSides};

/// Which messages are meant. All parts that are given must match; the empty filter matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The recipient domain (normal form) of a pending recipient.
    pub domain: Option<Box<str>>,
    /// The destination of a pending recipient.
    pub destination: Option<Destination>,
    /// The reverse-path.
    pub sender: Option<Addresses>,
    /// A pending recipient's address.
    pub recipient: Option<Addresses>,
    /// Why a pending recipient was deferred last.
    pub reason: Option<Keyed<Reason>>,
    /// Whose move it is for a pending recipient.
    pub side: Option<WantedSide>,
    /// What the message waits for.
    pub state: Option<MessageState>,
    /// Arrived before this time.
    pub arrived_before: Option<Timestamp>,
    /// A pending recipient had more attempts than this.
    pub attempts_over: Option<u32>,
}

/// Whose move is asked for, as it is told now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedSide {
    /// Whose move.
    pub side: Side,
    /// Where destinations are left alone, what that began with says whose move it is.
    pub suspended: Arc<SuspendedSides>,
}

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(crate) next_attempt: u64,
    pub(crate) id: u64,
}

/// A part of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// By next attempt, held ones last.
    pub messages: Vec<MessageView>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// Whom an edit concerns.
#[derive(Clone, Debug)]
pub enum Target {
    /// These messages.
    Ids(Vec<QueueId>),
    /// Those that match (the empty filter: all).
    Filter(Filter),
}

/// What an operator does to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Due now. Ends the hold of a message that was parked, but not an operator's.
    Retry,
    /// No attempts until released.
    Hold,
    /// Ends a hold; due as before it.
    Release,
    /// Removed at once, without a DSN. A delivery under way may still succeed.
    Cancel,
    /// Due now, to be finished with a DSN instead of an attempt.
    Bounce,
    /// Held, with the reason `parked`: the relay has ended several times while it was being delivered
    /// (row H7-08).
    Park,
    /// Asks the [`Placement`](crate::Placement) anew, after routes changed.
    Regroup,
}

/// What an edit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// Messages that matched.
    pub matched: u64,
    /// Of these, how many were changed, as the disk has confirmed (or would be).
    pub changed: u64,
    /// Ids that are not in the queue.
    pub unknown: Vec<QueueId>,
    /// Messages that left the queue by it, as the disk has confirmed.
    pub cancelled: Vec<Cancelled>,
}

/// A message that an operator has removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// Its id.
    pub id: QueueId,
    /// Its id at the upstream server.
    pub upstream_id: Option<Box<str>>,
    /// When it came.
    pub arrived: Timestamp,
    /// The hosts of the recipients that it still had to reach, each once.
    pub hosts: Vec<Host>,
    /// It was being delivered at that moment, and may still arrive.
    pub under_way: bool,
}

impl WantedSide {
    pub(crate) fn is_of(
        &self,
        recipient: &RecipientEntry,
        held: bool,
        usual: Option<Blame>,
    ) -> bool {
        let suspended = self.suspended.get(&recipient.destination).copied();
        let (reason, usual) = (recipient.reason.as_ref(), usual.map(Blame::side));
        side_as_told(reason, held, usual, suspended) == Some(self.side)
    }
}

impl Filter {
    /// Whether a destination can have recipients that match: its name ends with their domain.
    pub(crate) fn is_about(&self, destination: &Destination) -> bool {
        let name = destination.as_str();
        let ends_with = |domain: &str| {
            let start = name.len().saturating_sub(domain.len());
            name.get(start..)
                .is_some_and(|end| end.eq_ignore_ascii_case(domain))
        };
        self.domain.as_deref().is_none_or(ends_with)
            && self.destination.as_ref().is_none_or(|d| d == destination)
    }
}

impl Filter {
    /// Whether destinations decide what matches: all recipients at those whose name is the domain, or
    /// that are named, or at any.
    pub(crate) fn is_by_destination(&self) -> bool {
        let Self {
            domain,
            destination,
            ..
        } = self;
        *self
            == Self {
                domain: domain.clone(),
                destination: destination.clone(),
                ..Self::default()
            }
    }

    /// Whether all that waits at a destination, which it [is about](Self::is_about), matches.
    pub(crate) fn takes_all(&self, destination: &Destination) -> bool {
        let domain = self.domain.as_deref();
        domain.is_none_or(|domain| destination.as_str().eq_ignore_ascii_case(domain))
    }
}

impl Edited {
    /// Notes that a message was changed, which was `before`, and whether it was being delivered.
    pub(crate) fn note(&mut self, edit: Edit, id: QueueId, before: &Stored, under_way: bool) {
        self.changed += 1;
        if edit == Edit::Cancel {
            self.cancelled.push(Cancelled::new(id, before, under_way));
        }
    }
}

impl Cancelled {
    fn new(id: QueueId, before: &Stored, under_way: bool) -> Self {
        let envelope = &before.envelope;
        let each = before.recipients.iter().zip(&envelope.recipients);
        let pending = each.filter(|(entry, _)| entry.done.is_none());
        let mut hosts: Vec<Host> = pending.map(|(_, r)| r.mailbox.host().clone()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        Self {
            id,
            upstream_id: envelope.arrival.upstream_id.as_deref().map(Into::into),
            arrived: envelope.arrival.at,
            hosts,
            under_way,
        }
    }
}

impl Cursor {
    /// As text, for a page's URL or a command's argument.
    #[must_use]
    pub fn to_text(self) -> String {
        format!("{:x}-{:x}", self.next_attempt, self.id)
    }

    /// Reads [`Cursor::to_text`].
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let (time, id) = text.split_once('-')?;
        Some(Self {
            next_attempt: u64::from_str_radix(time, 16).ok()?,
            id: u64::from_str_radix(id, 16).ok()?,
        })
    }

    pub(crate) const fn at(key: (Timestamp, QueueId)) -> Self {
        Self {
            next_attempt: key.0.as_millis(),
            id: key.1.raw(),
        }
    }

    /// Where a listing begins.
    pub(crate) fn key(cursor: Option<&Self>) -> (Timestamp, QueueId) {
        let (time, id) = cursor.map_or((0, 0), |c| (c.next_attempt, c.id));
        (Timestamp::from_millis(time), QueueId::from_raw(id))
    }

    /// Just behind a key.
    pub(crate) const fn after(key: (Timestamp, QueueId)) -> (Timestamp, QueueId) {
        (key.0, QueueId::from_raw(key.1.raw().saturating_add(1)))
    }
}
