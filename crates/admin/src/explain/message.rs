//! What happens to a message, and what its last attempt found.

use attempt::{Facts, Reason, Side};
use outbound_queue::{AttemptEntry, MessageState, MessageView, RecipientState};

use super::reason_of;

/// Since when it waits, for whom, when it is tried next and when it is given up.
pub(super) fn situation(view: &MessageView) -> Vec<String> {
    let arrival = view.envelope.arrival.at.rfc3339();
    let next = match (view.state, view.next_attempt) {
        (MessageState::Held, _) if is_parked(view) => {
            "It fails this relay and was set aside: no attempt is made until it is released (`sealpost queue release`)."
                .to_owned()
        }
        (MessageState::Held, _) => {
            "An operator holds it: no attempt is made until it is released (`sealpost queue release`)."
                .to_owned()
        }
        (MessageState::Active, _) => "A delivery is under way at this moment.".to_owned(),
        (MessageState::Due, _) | (MessageState::Deferred, None) => {
            "Its next attempt is due now.".to_owned()
        }
        (MessageState::Deferred, Some(at)) => format!("Its next attempt is at {}.", at.rfc3339()),
    };
    let mut out = vec![format!(
        "Message {} from <{}> has been in the queue since {arrival}. {next} It is given up, with a \
         notification to the sender where one may be sent, at {}.",
        view.id,
        view.envelope.reverse_path,
        view.expires.rfc3339()
    )];
    out.push(recipients(view));
    if view.attempts.is_empty() {
        out.push("No attempt has been made yet.".to_owned());
    }
    out
}

fn recipients(view: &MessageView) -> String {
    let states = view.recipients.iter().zip(&view.envelope.recipients);
    let pending: Vec<String> = states
        .filter(|(state, _)| matches!(state.state, RecipientState::Pending(_)))
        .map(|(_, recipient)| recipient.mailbox.to_string())
        .collect();
    let all = view.recipients.len();
    let shown = pending.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    let more = match pending.len() - shown.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let done = match all - pending.len() {
        0 => String::new(),
        n => format!(" Of its {all} recipients {n} are done with."),
    };
    format!("It still has to reach {}{more}.{done}", shown.join(", "))
}

/// The last attempt, what it means, and the clause that says so.
pub(super) fn failure(entry: &AttemptEntry, domain: &str) -> Vec<String> {
    let note = &entry.note;
    let mut out = Vec::new();
    let place = match (&note.mx, note.ip) {
        (Some(mx), Some(ip)) => format!(" at {mx} ({ip})"),
        (Some(mx), None) => format!(" at {mx}"),
        (None, _) => String::new(),
    };
    let times = if entry.count > 1 {
        format!(", {} times since {}", entry.count, entry.first.rfc3339())
    } else {
        String::new()
    };
    out.push(format!(
        "The last attempt, at {}{place}{times}, ended like this: {}",
        entry.last.rfc3339(),
        note.detail
    ));
    if let Some(policy) = &note.policy {
        out.push(format!(
            "What was demanded of it, and the result: {policy}."
        ));
    }
    if let Some(tls) = &note.tls {
        out.push(format!("The TLS session: {tls}."));
    }
    if let Some(reply) = &note.reply {
        out.push(format!("The host's own words: {reply}"));
    }
    if let Some(reason) = reason_of(entry) {
        out.extend(meaning(reason, domain, note.mx.as_deref()));
    }
    out
}

/// The explanation of a reason, whose move it is, and the clause.
pub(super) fn meaning(reason: Reason, domain: &str, mx: Option<&str>) -> Vec<String> {
    let mut out: Vec<String> = reason
        .explanation()
        .iter()
        .map(|p| (*p).to_owned())
        .collect();
    let facts = Facts {
        domain,
        mx,
        specifics: None,
    };
    let who = match reason.side() {
        Side::RecipientAdmin => format!("The administrator of {domain} has to act"),
        Side::Us => "It is our side's move".to_owned(),
        Side::Wait => "Nobody has to act at once".to_owned(),
    };
    out.push(format!(
        "{who}: {} (See {}; reason key: {}.)",
        reason.advice(&facts),
        reason.clause(),
        reason.key()
    ));
    out
}

/// Recipients named.
const SHOWN: usize = 5;

fn is_parked(view: &MessageView) -> bool {
    let parked = Some(Reason::Parked.key());
    view.recipients
        .iter()
        .any(|r| r.reason.as_deref() == parked)
}
