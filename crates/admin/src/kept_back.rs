//! Mail that an operator keeps back with its destination: what is to be said of it, and when other mail is tried.

use std::collections::BTreeMap;
use std::sync::Arc;

use delivery::{Delivery, Pause, Settings};
use mail_types::{Host, Timestamp};
use outbound_queue::{Keyed, MessageState, MessageView, QueueStore, RecipientState};

/// Which mail an operator keeps back with its destination.
pub(crate) struct KeptBack {
    paused: Arc<BTreeMap<Host, Pause>>,
    /// Whether mail that is kept back is given up all the same, and when mail is tried again.
    settings: Arc<Settings>,
}

impl KeptBack {
    pub(crate) fn of<S: QueueStore>(delivery: &Delivery<S>) -> Self {
        Self {
            paused: delivery.paused(),
            settings: delivery.settings(),
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
        pending(view).any(|(_, host, _)| self.pause(host).is_some())
    }

    /// Whether no attempt is made on any of its recipients that are left. What is returned to its
    /// sender goes all the same.
    pub(crate) fn keeps(&self, view: &MessageView) -> bool {
        let mut left = pending(view).peekable();
        left.peek().is_some() && !view.bounce && left.all(|(_, host, _)| self.pause(host).is_some())
    }

    /// The next attempt on recipients for whom one is made.
    pub(crate) fn next_attempt(&self, view: &MessageView) -> Option<Timestamp> {
        if view.bounce {
            return view.next_attempt;
        }
        view.next_attempt?;
        let tried = pending(view).filter(|(_, host, _)| self.pause(host).is_none());
        tried.map(|(n, _, at)| self.attempt(view, n, at)).min()
    }

    /// When a recipient is tried for whom the queue looks at the message then: it may do so before only to tell
    /// the sender of the delay, and the attempt is not before what is given then.
    fn attempt(&self, view: &MessageView, recipient: usize, look: Timestamp) -> Timestamp {
        let retry = &self.settings.retry;
        let is_to_warn = retry.warning_due(view.envelope.arrival.at) == Some(look) && !view.warned;
        let last = view.last_attempt(recipient).filter(|_| is_to_warn);
        match (last, view.recipients.get(recipient)) {
            (Some(last), Some(entry)) if !entry.put_off => {
                let next = retry.next(entry.attempts, last.last, view.expires, 0.0);
                next.max(look)
            }
            _ => look,
        }
    }

    /// When it is given up if nothing changes: at the end of its life, or with the first attempt after
    /// that, which was planned before the configuration shortened its life.
    pub(crate) fn gives_up(&self, view: &MessageView) -> Option<Timestamp> {
        let is_kept = view.state == MessageState::Held || self.keeps(view);
        let next = self.next_attempt(view).unwrap_or_default();
        (self.settings.expire_held || !is_kept).then(|| {
            let ends = pending(view).map(|(n, ..)| self.ends(view, n));
            ends.min().unwrap_or(view.expires).max(next)
        })
    }

    /// When one of its recipients is given up, by what its last attempt met.
    fn ends(&self, view: &MessageView, recipient: usize) -> Timestamp {
        let last = view.last_attempt(recipient);
        let note = last.map(|last| &last.note);
        let hosts = note.into_iter().flat_map(|note| note.tried.iter());
        let reasons = note.map(|note| &note.reason).into_iter();
        let met = reasons.chain(hosts.map(|host| &host.reason));
        let met = met.flatten().filter_map(Keyed::known);
        let (envelope, expires) = (&view.envelope, view.expires);
        let requiretls = envelope.requiretls && !envelope.reverse_path.is_null();
        self.settings
            .gives_up(met, requiretls, envelope.arrival.at, expires)
    }
}

/// Numbers, hosts and times of the recipients that are left.
fn pending(view: &MessageView) -> impl Iterator<Item = (usize, &Host, Timestamp)> {
    let all = view.recipients.iter().zip(&view.envelope.recipients);
    all.enumerate()
        .filter_map(|(n, (state, recipient))| match state.state {
            RecipientState::Pending(at) => Some((n, recipient.mailbox.host(), at)),
            RecipientState::Done(_) => None,
        })
}
