//! Mail that an operator keeps back with its destination: what is to be said of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use delivery::{Delivery, Pause};
use mail_types::{Host, Timestamp};
use outbound_queue::{MessageState, MessageView, QueueStore, RecipientState};

/// Which mail an operator keeps back with its destination.
pub(crate) struct KeptBack {
    paused: Arc<BTreeMap<Host, Pause>>,
    /// Whether mail that is kept back is given up all the same.
    expires: bool,
}

impl KeptBack {
    pub(crate) fn of<S: QueueStore>(delivery: &Delivery<S>) -> Self {
        Self {
            paused: delivery.paused(),
            expires: delivery.settings().expire_held,
        }
    }

    /// The pause of a recipient's host.
    pub(crate) fn pause(&self, host: &Host) -> Option<(&Host, &Pause)> {
        self.paused.get_key_value(host)
    }

    /// The paused hosts of recipients.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.paused.keys()
    }

    /// Whether one of its recipients that are left is kept back.
    pub(crate) fn concerns(&self, view: &MessageView) -> bool {
        pending(view).any(|(host, _)| self.pause(host).is_some())
    }

    /// Whether no attempt is made on any of its recipients that are left. What is returned to its
    /// sender goes all the same.
    pub(crate) fn keeps(&self, view: &MessageView) -> bool {
        let mut left = pending(view).peekable();
        left.peek().is_some() && !view.bounce && left.all(|(host, _)| self.pause(host).is_some())
    }

    /// The next attempt on recipients for whom one is made.
    pub(crate) fn next_attempt(&self, view: &MessageView) -> Option<Timestamp> {
        if view.bounce || !self.concerns(view) {
            return view.next_attempt;
        }
        let tried = pending(view).filter(|(host, _)| self.pause(host).is_none());
        view.next_attempt?;
        tried.map(|(_, at)| at).min()
    }

    /// When it is given up if nothing changes: at the end of its life, or with the first attempt after
    /// that, which was planned before the configuration shortened its life.
    pub(crate) fn gives_up(&self, view: &MessageView) -> Option<Timestamp> {
        let is_kept = view.state == MessageState::Held || self.keeps(view);
        let next = self.next_attempt(view).unwrap_or_default();
        (self.expires || !is_kept).then(|| view.expires.max(next))
    }
}

/// Hosts and times of the recipients that are left.
fn pending(view: &MessageView) -> impl Iterator<Item = (&Host, Timestamp)> {
    let all = view.recipients.iter().zip(&view.envelope.recipients);
    all.filter_map(|(state, recipient)| match state.state {
        RecipientState::Pending(at) => Some((recipient.mailbox.host(), at)),
        RecipientState::Done(_) => None,
    })
}
