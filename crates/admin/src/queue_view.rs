//! Messages of the queue as the API shows them.

use std::time::Duration;

use attempt::Reason;
use delivery::Dialogue;
use mail_types::Timestamp;
use outbound_queue::{AttemptEntry, Destination, Done, MessageState, MessageView, RecipientState};

use crate::{AttemptView, QueueDetail, QueueItem, RecipientView, TranscriptView};

/// `suspended` knows which destinations are left alone: for how long yet, and why.
pub(crate) fn item(
    view: &MessageView,
    suspended: impl Fn(&Destination) -> Option<(Duration, String)>,
) -> QueueItem {
    let pending = view.recipients.iter().zip(&view.envelope.recipients);
    let pending = pending.filter(|(state, _)| matches!(state.state, RecipientState::Pending(_)));
    let last = last(view);
    let reason = view.recipients.iter().find_map(|r| match r.state {
        RecipientState::Pending(_) => r.reason.as_deref(),
        RecipientState::Done(_) => None,
    });
    QueueItem {
        id: view.id.to_string(),
        sender: view.envelope.reverse_path.to_string(),
        recipients: pending.map(|(_, r)| r.mailbox.to_string()).collect(),
        recipient_count: u32::try_from(view.envelope.recipients.len()).unwrap_or(u32::MAX),
        size: view.envelope.size,
        arrived: view.envelope.arrival.at.rfc3339(),
        state: state(view.state).to_owned(),
        attempts: view
            .recipients
            .iter()
            .map(|r| r.attempts)
            .max()
            .unwrap_or(0),
        next_attempt: view.next_attempt.map(Timestamp::rfc3339),
        reason: reason.map(str::to_owned),
        detail: waits_for(view, suspended)
            .or_else(|| last.map(|entry| entry.note.detail.to_string())),
    }
}

/// What a message that was put off waits for.
fn waits_for(
    view: &MessageView,
    suspended: impl Fn(&Destination) -> Option<(Duration, String)>,
) -> Option<String> {
    let mut recipients = view.recipients.iter().zip(&view.envelope.recipients);
    let (put_off, recipient) = recipients.find(|(r, _)| r.put_off)?;
    let host = recipient.mailbox.host();
    Some(match suspended(&put_off.destination) {
        Some((left, cause)) => format!(
            "Delivery to {host} is suspended for another {} seconds after repeated failures. The last \
             one: {cause}",
            left.as_secs()
        ),
        None => format!(
            "Delivery to {host} was suspended after repeated failures; this message follows as soon as \
             one more attempt has succeeded."
        ),
    })
}

/// `dialogue` knows the last dialogue of a destination that ended in a reason.
pub(crate) fn detail(
    view: &MessageView,
    dialogue: impl Fn(&Destination, Reason) -> Option<Dialogue>,
    suspended: impl Fn(&Destination) -> Option<(Duration, String)>,
) -> QueueDetail {
    let arrival = &view.envelope.arrival;
    let recipients = view.recipients.iter().zip(&view.envelope.recipients);
    QueueDetail {
        item: item(view, suspended),
        upstream_id: arrival.upstream_id.as_deref().map(str::to_owned),
        message_id: arrival.message_id.as_deref().map(str::to_owned),
        client: arrival.client.map(|ip| format!("{ip} ({})", arrival.helo)),
        expires: view.expires.rfc3339(),
        per_recipient: recipients
            .map(|(state, recipient)| {
                let note = view
                    .attempts
                    .iter()
                    .rfind(|a| a.destination == state.destination)
                    .map(|a| &a.note);
                RecipientView {
                    address: recipient.mailbox.to_string(),
                    state: recipient_state(state.state).to_owned(),
                    dsn: note.and_then(|n| n.status).map(|s| s.to_string()),
                    reply: note.and_then(|n| n.reply.as_deref()).map(str::to_owned),
                }
            })
            .collect(),
        history: view
            .attempts
            .iter()
            .map(|entry| attempt(entry, view, &dialogue))
            .collect(),
    }
}

/// The attempt that ended last.
pub(crate) fn last(view: &MessageView) -> Option<&AttemptEntry> {
    view.attempts.iter().max_by_key(|entry| entry.last)
}

fn attempt(
    entry: &AttemptEntry,
    view: &MessageView,
    dialogue: impl Fn(&Destination, Reason) -> Option<Dialogue>,
) -> AttemptView {
    let served = view.recipients.iter().zip(&view.envelope.recipients);
    let served = served.filter(|(r, _)| r.destination == entry.destination);
    let note = &entry.note;
    let reason = Reason::from_key(&note.reason);
    let transcript = reason.and_then(|reason| dialogue(&entry.destination, reason));
    AttemptView {
        at: entry.last.rfc3339(),
        times: entry.count,
        recipients: served.map(|(_, r)| r.mailbox.to_string()).collect(),
        mx: note.mx.as_deref().map(str::to_owned),
        ip: note.ip.map(|ip| ip.to_string()),
        tls: note.tls.as_deref().map(str::to_owned),
        policy: note.policy.as_deref().map(str::to_owned),
        reason: reason.map(|r| r.key().to_owned()),
        dsn: note.status.map(|s| s.to_string()),
        reply: note.reply.as_deref().map(str::to_owned),
        detail: (!note.detail.is_empty()).then(|| note.detail.to_string()),
        transcript: transcript.map(|dialogue| TranscriptView {
            at: dialogue.at.rfc3339(),
            peer: dialogue.peer.to_string(),
            text: dialogue.text.to_string(),
        }),
    }
}

const fn state(state: MessageState) -> &'static str {
    match state {
        MessageState::Active => "active",
        MessageState::Due => "queued",
        MessageState::Deferred => "deferred",
        MessageState::Held => "held",
    }
}

const fn recipient_state(state: RecipientState) -> &'static str {
    match state {
        RecipientState::Pending(_) => "pending",
        RecipientState::Done(Done::Delivered | Done::Relayed) => "delivered",
        RecipientState::Done(Done::Bounced) => "bounced",
        RecipientState::Done(Done::Expired) => "expired",
        RecipientState::Done(Done::Cancelled) => "cancelled",
    }
}
