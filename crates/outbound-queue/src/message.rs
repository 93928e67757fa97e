//! What is known of a message: state, recipients, attempts.

use std::net::IpAddr;
use std::sync::Arc;

use mail_types::{EnhancedStatus, Envelope, QueueId, Timestamp};

use crate::{Destination, Done};

/// A message as `queue show` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageView {
    /// Its id.
    pub id: QueueId,
    /// Its envelope.
    pub envelope: Arc<Envelope>,
    /// What it waits for.
    pub state: MessageState,
    /// One per recipient of the envelope, in its order.
    pub recipients: Vec<RecipientView>,
    /// The earliest next attempt; `None` if held.
    pub next_attempt: Option<Timestamp>,
    /// When the queue gives up on it.
    pub expires: Timestamp,
    /// The sender was told of the delay of one recipient at least.
    pub warned: bool,
    /// An operator asked for a bounce.
    pub bounce: bool,
    /// The first attempt and the last five, equal repeats counted.
    pub attempts: Vec<AttemptEntry>,
}

/// What a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageState {
    /// Being delivered at least in part.
    Active,
    /// Due, not yet taken up.
    Due,
    /// Waits for its next attempt.
    Deferred,
    /// Held by an operator.
    Held,
}

/// A recipient as `queue show` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientView {
    /// Where it is sent.
    pub destination: Destination,
    /// What became of it so far.
    pub state: RecipientState,
    /// Attempts so far.
    pub attempts: u32,
    /// The reason key of the last deferral.
    pub reason: Option<Arc<str>>,
    /// It waits for its destination, which is being left alone, and had no attempt for that.
    pub put_off: bool,
}

/// What became of a recipient so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientState {
    /// To be attempted at this time.
    Pending(Timestamp),
    /// Finished.
    Done(Done),
}

/// One entry of a message's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEntry {
    /// What happened.
    pub note: AttemptNote,
    /// Of which destination.
    pub destination: Destination,
    /// When first.
    pub first: Timestamp,
    /// When last.
    pub last: Timestamp,
    /// How often in a row.
    pub count: u32,
}

/// What is remembered of an attempt. Texts are for people; control characters in them are replaced.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AttemptNote {
    /// The reason key (`cert-expired`, `remote-4xx`, …).
    pub reason: Box<str>,
    /// The enhanced status.
    pub status: Option<EnhancedStatus>,
    /// The peer's reply, if any.
    pub reply: Option<Box<str>>,
    /// One sentence in plain words.
    pub detail: Box<str>,
    /// The last MX host tried.
    pub mx: Option<Box<str>>,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// TLS of the session, in one line.
    pub tls: Option<Box<str>>,
    /// The demands on the delivery and how they fared, in one line.
    pub policy: Option<Box<str>>,
}
