//! Messages of the queue as the API shows them.

use std::time::Duration;

use attempt::{Reason, Side};
use delivery::Dialogue;
use mail_types::Timestamp;
use outbound_queue::{
    AttemptEntry, Destination, Done, HostNote, Keyed, MessageState, MessageView, RecipientState,
    goes_by_suspension, side_as_told,
};

use crate::kept_back::KeptBack;
use crate::{AttemptView, QueueDetail, QueueItem, RecipientView, TranscriptView};

/// `suspended` knows which destinations are left alone: for how long yet, and why; `sides` whose move
/// that is.
pub(crate) fn item(
    view: &MessageView,
    suspended: impl Fn(&Destination) -> Option<(Duration, String)>,
    sides: impl Fn(&Destination) -> Option<Side>,
    kept: &KeptBack,
) -> QueueItem {
    let pending = view.recipients.iter().zip(&view.envelope.recipients);
    let pending = pending.filter(|(state, _)| matches!(state.state, RecipientState::Pending(_)));
    let mut waiting = (0..)
        .zip(&view.recipients)
        .filter(|(_, r)| matches!(r.state, RecipientState::Pending(_)) && r.reason.is_some());
    let waiting = waiting.next();
    let last = match waiting {
        Some((n, _)) => view.last_attempt(n),
        None => view.attempts.iter().max_by_key(|entry| entry.last),
    };
    let reason = waiting.and_then(|(_, r)| r.reason.as_ref());
    let told = waiting.map(|(n, _)| n);
    let told = told.or_else(|| view.recipients.iter().position(|r| r.put_off));
    QueueItem {
        id: view.id.to_string(),
        sender: view.envelope.reverse_path.to_string(),
        recipients: pending.map(|(_, r)| r.mailbox.to_string()).collect(),
        recipient_count: u32::try_from(view.envelope.recipients.len()).unwrap_or(u32::MAX),
        size: view.envelope.size,
        arrived: view.envelope.arrival.at.rfc3339(),
        state: state(view.state).to_owned(),
        paused: kept.keeps(view),
        attempts: view
            .recipients
            .iter()
            .map(|r| r.attempts)
            .max()
            .unwrap_or(0),
        next_attempt: kept.next_attempt(view).map(Timestamp::rfc3339),
        reason: reason.map(ToString::to_string),
        detail: keeps_back(view, kept)
            .or_else(|| waits_for(view, told?, suspended))
            .or_else(|| last.map(|entry| entry.note.detail.to_string())),
        side: waiting
            .map(|(n, _)| n)
            .or_else(|| first_pending(view))
            .and_then(|n| side(view, n, sides))
            .map(|side| side.key().to_owned()),
    }
}

fn first_pending(view: &MessageView) -> Option<usize> {
    let mut recipients = view.recipients.iter();
    recipients.position(|r| matches!(r.state, RecipientState::Pending(_)))
}

/// Whose move it is for a recipient, as all counts have it.
fn side(
    view: &MessageView,
    recipient: usize,
    sides: impl Fn(&Destination) -> Option<Side>,
) -> Option<Side> {
    let state = view.recipients.get(recipient)?;
    let (reason, held) = (state.reason.as_ref(), view.is_held());
    side_as_told(
        reason,
        held,
        view.side(recipient),
        sides(&state.destination),
    )
}

/// The first pause that keeps it back.
fn keeps_back(view: &MessageView, kept: &KeptBack) -> Option<String> {
    let mut recipients = view.recipients.iter().zip(&view.envelope.recipients);
    let (_, first) = recipients.find(|(r, _)| matches!(r.state, RecipientState::Pending(_)))?;
    let (domain, pause) = kept.pause(first.mailbox.host())?;
    kept.keeps(view).then(|| {
        format!(
            "Delivery to {domain} is paused by {} ({}).",
            pause.by, pause.reason
        )
    })
}

/// What a recipient waits for that was put off with a suspended destination, not a paused one.
fn waits_for(
    view: &MessageView,
    recipient: usize,
    suspended: impl Fn(&Destination) -> Option<(Duration, String)>,
) -> Option<String> {
    let put_off = view.recipients.get(recipient);
    let put_off = put_off.filter(|r| r.put_off && goes_by_suspension(r.reason.as_ref(), false))?;
    let host = view.envelope.recipients.get(recipient)?.mailbox.host();
    Some(match suspended(&put_off.destination) {
        // The cause first: lists have room for the beginning only.
        Some((left, cause)) => format!(
            "{cause} After repeated failures delivery to {host} is suspended for another {} seconds.",
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
    sides: impl Fn(&Destination) -> Option<Side>,
    kept: &KeptBack,
) -> QueueDetail {
    let arrival = &view.envelope.arrival;
    let recipients = view.recipients.iter().zip(&view.envelope.recipients);
    QueueDetail {
        item: item(view, suspended, sides, kept),
        upstream_id: arrival.upstream_id.as_deref().map(str::to_owned),
        message_id: arrival.message_id.as_deref().map(str::to_owned),
        client: arrival.client.map(|ip| format!("{ip} ({})", arrival.helo)),
        expires: kept.gives_up(view).map(Timestamp::rfc3339),
        per_recipient: (0..)
            .zip(recipients)
            .map(|(n, (state, recipient))| {
                let note = view.last_attempt(n).map(|a| &a.note);
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
        history_left_out: view.left_out,
    }
}

/// Whose attempt it was; nobody's name where that was not written down.
fn served(entry: &AttemptEntry, view: &MessageView) -> Vec<String> {
    let at_once = |other: &&AttemptEntry| {
        (&other.destination, other.last) == (&entry.destination, entry.last)
    };
    let is_alone = view.attempts.iter().filter(at_once).count() == 1;
    let recipients = view.recipients.iter().zip(&view.envelope.recipients);
    let served = (0u32..)
        .zip(recipients)
        .filter(|(n, (state, _))| match &entry.recipients {
            Some(those) => those.contains(n),
            None => is_alone && state.destination == entry.destination,
        });
    served.map(|(_, (_, r))| r.mailbox.to_string()).collect()
}

fn attempt(
    entry: &AttemptEntry,
    view: &MessageView,
    dialogue: impl Fn(&Destination, Reason) -> Option<Dialogue>,
) -> AttemptView {
    let note = &entry.note;
    let known = note.reason.as_ref().and_then(Keyed::known);
    let transcript = known.and_then(|reason| dialogue(&entry.destination, reason));
    AttemptView {
        at: entry.last.rfc3339(),
        times: entry.count,
        recipients: served(entry, view),
        mx: note.mx.as_deref().map(str::to_owned),
        ip: note.ip.map(|ip| ip.to_string()),
        tried: note.tried.iter().map(tried).collect(),
        tls: note.tls.as_deref().map(str::to_owned),
        policy: note.policy.as_ref().map(|line| line.as_str().to_owned()),
        reason: note.reason.as_ref().map(ToString::to_string),
        dsn: note.status.map(|s| s.to_string()),
        reply: note.reply.as_deref().map(str::to_owned),
        detail: (!note.detail.is_empty()).then(|| note.detail.to_string()),
        transcript: transcript.map(|dialogue| TranscriptView {
            at: dialogue.at.rfc3339(),
            queue_id: dialogue.id.to_string(),
            peer: dialogue.peer.to_string(),
            text: dialogue.text.to_string(),
        }),
    }
}

/// `mx.d.test [192.0.2.1]: cert-expired`.
fn tried(host: &HostNote) -> String {
    let ip = host.ip.map(|ip| format!(" [{ip}]")).unwrap_or_default();
    let took = "took the mail for others";
    let reason = host.reason.as_ref().map_or(took, Keyed::key);
    format!("{}{ip}: {reason}", host.mx)
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
