//! Work that is taken: leases and their tokens.

use std::sync::Arc;

use attempt::Reason;
use leases::LeaseToken;
use mail_types::{Envelope, QueueId, Timestamp};

use crate::moves::LastOf;
use crate::{AttemptEntry, Destination, HeldBody, Keyed};

/// One message, and those of its recipients that belong to one destination, in one worker's hands.
#[derive(Clone, Debug)]
pub struct Leased {
    /// To hand back with the outcome.
    pub token: LeaseToken,
    /// The message.
    pub id: QueueId,
    /// Whose recipients these are.
    pub destination: Destination,
    /// The whole envelope; [`Leased::recipients`] says which of its recipients to serve.
    pub envelope: Arc<Envelope>,
    /// The recipients that are still to be served at this destination, in the envelope's order.
    pub recipients: Vec<LeasedRecipient>,
    /// When it became due; later than now for mail that was put off and comes because its
    /// destination is not suspended any more.
    pub due: Timestamp,
    /// All of these recipients were put off before ([`Effort::PutOff`](crate::Effort::PutOff)).
    pub put_off: bool,
    /// When the queue gives up on it.
    pub expires: Timestamp,
    /// It has expired: no attempt, but the DSN that says so.
    pub expired: bool,
    /// An operator asked for a bounce: no attempt, but the DSN that says so.
    pub bounce: bool,
    /// The history: results of the first attempt and of the last ones, equal repeats counted.
    pub attempts: Vec<AttemptEntry>,
    /// The content, if it is still in memory.
    pub body: Option<HeldBody>,
}

impl Leased {
    /// The last attempt on this recipient, if it is known which that was. That an operator returned it is none.
    #[must_use]
    pub fn last_attempt(&self, recipient: &LeasedRecipient) -> Option<&AttemptEntry> {
        let reason = recipient.reason.map(Keyed::from);
        let of = LastOf {
            number: u32::try_from(recipient.index).ok()?,
            alone: self.envelope.recipients.len() == 1,
            destination: &self.destination,
            pending: true,
            reason: reason.as_ref(),
            or_return: false,
        };
        of.find(&self.attempts)
    }
}

/// A recipient in a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasedRecipient {
    /// Index in [`Envelope::recipients`].
    pub index: usize,
    /// Attempts so far, not counting this one.
    pub attempts: u32,
    /// What it waits for, if it is known.
    pub reason: Option<Reason>,
    /// The sender was told of its delay already.
    pub warned: bool,
}

/// A destination with due mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueDestination {
    /// Nothing is due there but notifications, which can wait where mail needs the places.
    pub notices_only: bool,
    /// Its name.
    pub destination: Destination,
    /// Since when its oldest due mail has been due.
    pub due: Timestamp,
}
