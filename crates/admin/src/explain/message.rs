//! What happens to a message, and what its last attempt found.

use attempt::{Facts, Reason, Side};
use outbound_queue::{AttemptEntry, MessageState, MessageView, RecipientState};

use super::{reason_of, time};

/// Since when it waits, for whom, when it is tried next and when it is given up.
pub(super) fn situation(view: &MessageView) -> Vec<String> {
    let arrival = time(view.envelope.arrival.at);
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
        (MessageState::Deferred, Some(at)) => format!("Its next attempt is at {}.", time(at)),
    };
    let mut out = vec![format!(
        "Message {} from <{}> has been in the queue since {arrival}. {next} It is given up, with a \
         notification to the sender where one may be sent, at {}.",
        view.id,
        view.envelope.reverse_path,
        time(view.expires)
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

/// The last attempt, whose move it is, what it means, and the clause that says so.
pub(super) fn failure(entry: &AttemptEntry, domain: &str) -> Vec<String> {
    let note = &entry.note;
    let mut out = Vec::new();
    let place = match (&note.mx, note.ip) {
        (Some(mx), Some(ip)) if mx.contains(&ip.to_string()) => format!(" at {mx}"),
        (Some(mx), Some(ip)) => format!(" at {mx} ({ip})"),
        (Some(mx), None) => format!(" at {mx}"),
        (None, _) => String::new(),
    };
    let times = if entry.count > 1 {
        format!(", {} times since {}", entry.count, time(entry.first))
    } else {
        String::new()
    };
    out.push(format!(
        "The last attempt, at {}{place}{times}, ended like this: {}",
        time(entry.last),
        note.detail
    ));
    let reason = reason_of(entry);
    out.extend(reason.map(|reason| next_move(reason, domain, note.mx.as_deref())));
    if let Some(reply) = &note.reply {
        out.push(format!("The host's own words: {reply}"));
    }
    if let Some(policy) = &note.policy {
        out.push(format!(
            "What was demanded of it, and the result: {policy}."
        ));
    }
    if let Some(tls) = &note.tls {
        out.push(format!("The TLS session: {tls}."));
    }
    if let Some(reason) = reason {
        out.extend(background(reason, note.mx.as_deref()));
    }
    out
}

/// Whose move it is, the explanation of a reason, and the clause.
pub(super) fn meaning(reason: Reason, domain: &str, mx: Option<&str>) -> Vec<String> {
    let mut out = vec![next_move(reason, domain, mx)];
    out.extend(background(reason, mx));
    out
}

/// Who has to do what.
fn next_move(reason: Reason, domain: &str, mx: Option<&str>) -> String {
    let facts = Facts {
        domain,
        mx,
        specifics: None,
    };
    let who = match reason.side() {
        Side::RecipientAdmin => "The recipient's side has to act.",
        Side::Us => "Our side has to act.",
        Side::Wait => "Nobody has to act yet.",
    };
    format!("{who} {}", reason.advice(&facts))
}

/// What the reason means, with the host's name in what can be typed, and where it is written.
fn background(reason: Reason, mx: Option<&str>) -> Vec<String> {
    let named = |text: &&str| match mx.filter(|mx| !mx.starts_with('[')) {
        Some(mx) => text.replace("HOST", mx),
        None => (*text).to_owned(),
    };
    let mut out: Vec<String> = reason.explanation().iter().map(named).collect();
    out.push(format!(
        "See {}; reason key: {}.",
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
