//! What is known of a message: state, recipients, attempts.

use std::net::IpAddr;
use std::sync::Arc;

use attempt::{Case, DemandedBy, Reason, Side};
use mail_types::{EnhancedStatus, Envelope, QueueId, Timestamp};

use crate::moves::{LastOf, side_of};
use crate::{Demands, Destination, Done, Keyed};

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
    /// The history: results of the first attempt and of the last five, equal repeats counted.
    pub attempts: Vec<AttemptEntry>,
    /// Results that are not kept.
    pub left_out: u32,
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
    /// Why it was deferred last.
    pub reason: Option<Keyed<Reason>>,
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
    /// Whose attempt it was, by index in the envelope's recipients; `None` if it has one only, or
    /// an earlier version did not write it down.
    pub recipients: Option<Box<[u32]>>,
    /// When first.
    pub first: Timestamp,
    /// When last.
    pub last: Timestamp,
    /// How often in a row.
    pub count: u32,
}

impl MessageView {
    /// The last attempt on this recipient, by index in the envelope's, if it is known which that was.
    #[must_use]
    pub fn last_attempt(&self, recipient: usize) -> Option<&AttemptEntry> {
        let state = self.recipients.get(recipient)?;
        let of = LastOf {
            number: u32::try_from(recipient).ok()?,
            alone: self.recipients.len() == 1,
            destination: &state.destination,
            pending: matches!(state.state, RecipientState::Pending(_)),
            reason: state.reason.as_ref(),
            or_return: true,
        };
        of.find(&self.attempts)
    }

    /// No attempt is made until it is released; a delivery of one of its parts may still be under way.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.next_attempt.is_none()
    }

    /// Whose move it is for a recipient that waits, if there is a reason.
    #[must_use]
    pub fn side(&self, recipient: usize) -> Option<Side> {
        let reason = self.recipients.get(recipient)?.reason.as_ref()?;
        side_of(reason, self.last_attempt(recipient))
    }
}

/// What is remembered of an attempt. Texts are for people; control characters in them are replaced.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AttemptNote {
    /// What went wrong, if anything did.
    pub reason: Option<Keyed<Reason>>,
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
    /// The demands on the delivery and how they fared.
    pub policy: Option<Demands>,
    /// Which of the reason's cases it is.
    pub case: Keyed<Case>,
    /// Who demanded what was not met.
    pub by: Keyed<DemandedBy>,
    /// The hosts that were tried, where it is more than one; not all of many.
    pub tried: Box<[HostNote]>,
}

/// What is remembered of one host of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HostNote {
    /// Its name.
    pub mx: Box<str>,
    /// The address tried.
    pub ip: Option<IpAddr>,
    /// What went wrong there; `None` if it took the mail.
    pub reason: Option<Keyed<Reason>>,
    /// Which of the reason's cases it is.
    pub case: Keyed<Case>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(reason: Reason) -> AttemptEntry {
        AttemptEntry {
            note: AttemptNote {
                reason: Some(reason.into()),
                ..AttemptNote::default()
            },
            destination: Destination::new("d.test"),
            recipients: None,
            first: Timestamp::from_secs(1),
            last: Timestamp::from_secs(1),
            count: 1,
        }
    }

    #[test]
    fn who_was_put_off_has_the_last_failure_only_if_there_was_but_one_kind() {
        let recipient = RecipientView {
            destination: Destination::new("d.test"),
            state: RecipientState::Pending(Timestamp::from_secs(9)),
            attempts: 1,
            reason: Some(Reason::DestinationSuspended.into()),
            put_off: true,
        };
        let mut view = MessageView {
            id: QueueId::from_raw(1),
            envelope: Arc::new(crate::samples::envelope(
                "s@a.test",
                &["r@d.test", "q@d.test"],
            )),
            state: MessageState::Deferred,
            recipients: vec![recipient.clone(), recipient],
            next_attempt: None,
            expires: Timestamp::from_secs(99),
            warned: false,
            bounce: false,
            attempts: vec![entry(Reason::Timeout), entry(Reason::Timeout)],
            left_out: 0,
        };
        let last = view.last_attempt(1).and_then(|e| e.note.reason.as_ref());
        assert_eq!(last, Some(&Reason::Timeout.into()));
        view.attempts.push(entry(Reason::Remote4xx));
        assert_eq!(view.last_attempt(1), None, "whose it was is not known");
        // Elsewhere is another matter.
        view.attempts[2].destination = Destination::new("e.test");
        assert!(view.last_attempt(0).is_some());
    }
}
