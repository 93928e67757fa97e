//! Views, filters and edits: what operators see and do, in terms of the state.

use std::sync::Arc;

use mail_types::{EnhancedStatus, QueueId, Timestamp, harmless};

use crate::core::{Core, Step, all_done};
use crate::state::{Change, Deferral, FIRST, NEVER, RecipientEntry, Stored, parked};
use crate::{
    AttemptNote, Demands, Destination, Done, Edit, Filter, HostNote, MessageState, MessageView,
    Now, RecipientState, RecipientView,
};

impl Core {
    /// What a message waits for.
    pub(crate) fn state_of(&self, id: QueueId, message: &Stored, now: Now) -> MessageState {
        match self.next_attempt(message, now) {
            _ if self.leases.is_leased(id) => MessageState::Active,
            NEVER => MessageState::Held,
            time if time <= now.wall => MessageState::Due,
            _ => MessageState::Deferred,
        }
    }

    /// When the next attempt at any recipient comes; the end of time if held.
    fn next_attempt(&self, message: &Stored, now: Now) -> Timestamp {
        let pending = message.recipients.iter().filter(|r| r.done.is_none());
        match pending.map(|r| self.next_of(r, now)).min() {
            Some(time) if !message.held => time,
            _ => NEVER,
        }
    }

    /// When a recipient's next attempt comes: what was put off waits for its destination.
    fn next_of(&self, recipient: &RecipientEntry, now: Now) -> Timestamp {
        if !recipient.put_off {
            return match recipient.next {
                FIRST => now.wall,
                next => next,
            };
        }
        let until = self.schedule.suspended(&recipient.destination, now.wall);
        until.unwrap_or(now.wall).min(recipient.next)
    }

    pub(crate) fn view(&self, id: QueueId, message: &Stored, now: Now) -> MessageView {
        let first = self.next_attempt(message, now);
        MessageView {
            id,
            envelope: Arc::clone(&message.envelope),
            state: self.state_of(id, message, now),
            recipients: message
                .recipients
                .iter()
                .map(|r| RecipientView {
                    destination: r.destination.clone(),
                    state: r.done.map_or_else(
                        || RecipientState::Pending(self.next_of(r, now)),
                        RecipientState::Done,
                    ),
                    attempts: r.attempts,
                    reason: r.reason.clone(),
                    put_off: r.put_off && r.done.is_none(),
                })
                .collect(),
            next_attempt: (first != NEVER).then_some(first),
            expires: self.placement.expires(&message.envelope),
            warned: message.recipients.iter().any(|r| r.warned),
            bounce: message.bounce,
            attempts: message.history.entries.clone(),
            left_out: message.history.left_out,
        }
    }

    pub(crate) fn matches(&self, filter: &Filter, id: QueueId, m: &Stored, now: Now) -> bool {
        let envelope = &m.envelope;
        let recipient = |(n, (r, address)): (u32, (&RecipientEntry, &mail_types::Recipient))| {
            let mailbox = &address.mailbox;
            r.done.is_none()
                && all(filter.domain.as_deref(), |d| {
                    mailbox.host().to_string().eq_ignore_ascii_case(d)
                })
                && all(filter.destination.as_ref(), |d: &Destination| {
                    r.destination == *d
                })
                && all(filter.recipient.as_ref(), |a| a.include(Some(mailbox)))
                && all(filter.reason.as_ref(), |x| r.reason.as_ref() == Some(x))
                && all(filter.side.as_ref(), |side| {
                    side.is_of(r, m.held, m.blame(n, r))
                })
                && all(filter.attempts_over, |n| r.attempts > n)
        };
        all(filter.sender.as_ref(), |s| {
            s.include(envelope.reverse_path.mailbox())
        }) && all(filter.state, |s| self.state_of(id, m, now) == s)
            && all(filter.arrived_before, |t| envelope.arrival.at < t)
            && (0..)
                .zip(m.recipients.iter().zip(&envelope.recipients))
                .any(recipient)
    }

    /// What an edit changes in a message; `None` if nothing.
    pub(crate) fn edit_change(&self, message: &Stored, edit: Edit, now: Now) -> Option<Change> {
        let mut change = Change {
            revision: message.revision + 1,
            at: now.wall,
            ..Change::default()
        };
        let mut pending = message.recipients.iter().filter(|r| r.done.is_none());
        match edit {
            Edit::Retry if message.is_parked() => {
                change.held = Some(false);
                change.due = Some(now.wall);
            }
            Edit::Park if message.held => return None,
            Edit::Park => park(message, &mut change),
            // What was put off is due by itself after its destination's suspension; asked for by name
            // it gets its attempt, or is put off anew and says so.
            Edit::Retry if pending.all(|r| !r.put_off && r.next <= now.wall) => return None,
            Edit::Retry => change.due = Some(now.wall),
            Edit::Hold if message.held => return None,
            Edit::Hold => change.held = Some(true),
            Edit::Release if !message.held => return None,
            Edit::Release => change.held = Some(false),
            Edit::Cancel => change.done = all_done(message, Done::Cancelled),
            Edit::Bounce if message.bounce => return None,
            Edit::Bounce => {
                change.bounce = Some(true);
                change.held = message.held.then_some(false);
                change.due = Some(FIRST);
            }
            Edit::Regroup => {
                let every = (0u32..).take(message.recipients.len());
                change.regrouped = self.regrouped(message, every);
                if change.regrouped.is_empty() {
                    return None;
                }
            }
        }
        Some(change)
    }

    /// Edits a visible hot message; `None` if nothing changes.
    pub(crate) fn edit(&mut self, id: QueueId, edit: Edit, now: Now) -> Option<Step> {
        let message = Arc::clone(&self.hot.get(&id).filter(|_| self.is_live(id))?.message);
        let mut change = self.edit_change(&message, edit, now)?;
        if edit == Edit::Regroup {
            // Who is being delivered goes on where it is: its outcome regroups what is left of it.
            change
                .regrouped
                .retain(|(recipient, _)| !self.leases.has(id, *recipient));
            if change.regrouped.is_empty() {
                return None;
            }
        }
        self.change(id, change)
    }

    /// Keys of visible messages from `from` on in listing order, those of leased ones among them.
    pub(crate) fn listing(
        &self,
        filter: &Filter,
        from: crate::schedule::Key,
        limit: usize,
    ) -> Vec<crate::schedule::Key> {
        let leased = self.leases.messages().filter_map(|id| {
            let hot = self.hot.get(&id).filter(|_| self.is_live(id))?;
            Some((hot.message.first_due(filter), id))
        });
        let mut keys = match filter.state {
            // What is under way stands in no schedule.
            Some(MessageState::Active) => Vec::new(),
            _ => self.schedule.keys_from(from, limit, filter),
        };
        let full = keys.len() == limit;
        let end = keys.last().copied().filter(|_| full);
        // What is leased stands in no schedule: add it where it belongs on this page.
        keys.extend(leased.filter(|key| *key >= from && end.is_none_or(|end| *key <= end)));
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

impl AttemptNote {
    /// The note with control characters replaced and texts cut to a sane length: it holds what
    /// strangers said, and ends up in lists and logs.
    pub(crate) fn printable(&self) -> Self {
        let text = |t: &str| -> Box<str> {
            let clean = t.chars().map(harmless);
            match t.char_indices().nth(LONGEST_TEXT) {
                None => clean.collect::<String>().into(),
                Some(_) => {
                    let kept = clean.take(LONGEST_TEXT - 1);
                    kept.chain(['…']).collect::<String>().into()
                }
            }
        };
        let optional = |t: &Option<Box<str>>| t.as_deref().map(text);
        let policy = self.policy.as_ref().map(Demands::as_str);
        Self {
            reason: self.reason.clone(),
            status: self.status,
            reply: optional(&self.reply),
            detail: text(&self.detail),
            mx: optional(&self.mx),
            ip: self.ip,
            tls: optional(&self.tls),
            policy: policy.map(|line| Demands::from_line(&text(line))),
            case: self.case.clone(),
            by: self.by.clone(),
            tried: self
                .tried
                .iter()
                .map(|host| HostNote {
                    mx: text(&host.mx),
                    ip: host.ip,
                    reason: host.reason.clone(),
                    case: host.case.clone(),
                })
                .collect(),
        }
    }
}

/// Holds a message with the reason `parked`, as after a failed attempt.
fn park(message: &Stored, change: &mut Change) {
    change.held = Some(true);
    for (recipient, r) in (0u32..).zip(&message.recipients) {
        if r.done.is_some() {
            continue;
        }
        let destination = &r.destination;
        let noted = change.notes.iter().position(|(of, _)| of == destination);
        let note = noted.unwrap_or_else(|| {
            let note = AttemptNote {
                reason: parked(),
                status: Some(EnhancedStatus::transient(3, 0)),
                detail: IN_HAND.into(),
                ..AttemptNote::default()
            };
            change.notes.push((destination.clone(), note));
            change.notes.len() - 1
        });
        change.deferred.push(Deferral {
            recipient,
            next: change.at,
            note: u32::try_from(note).unwrap_or(u32::MAX),
        });
    }
}

fn all<T>(wanted: Option<T>, test: impl FnOnce(T) -> bool) -> bool {
    wanted.is_none_or(test)
}

const IN_HAND: &str =
    "The relay ended unexpectedly several times while this message was being delivered.";
/// Characters of a text in the history.
const LONGEST_TEXT: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_cut_says_so() {
        let kept = |detail: String| {
            let note = AttemptNote {
                detail: detail.into(),
                ..AttemptNote::default()
            };
            note.printable().detail
        };
        assert_eq!(*kept("ä\u{1b}".repeat(256)), *"ä?".repeat(256));
        let cut = kept("ä".repeat(513));
        assert_eq!(cut.chars().count(), 512);
        assert!(cut.ends_with("ä…"), "{cut}");
    }
}
