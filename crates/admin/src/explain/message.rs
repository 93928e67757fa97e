//! What happens to a message, and what its last attempt found.

use attempt::{Facts, Reason, Side};
use mail_types::Timestamp;
use outbound_queue::{
    AttemptEntry, AttemptNote, HostNote, MessageState, MessageView, RecipientState,
};

use super::time;
use crate::kept_back::KeptBack;

/// What a failure is about: the reason, and the facts that its texts speak of.
pub(super) struct Told<'a> {
    pub(super) reason: Reason,
    pub(super) facts: Facts<'a>,
}

impl<'a> Told<'a> {
    /// As the log has it: where nobody has to act on the answer that decided, a host that somebody has
    /// to act on tells more.
    pub(super) fn of(note: &'a AttemptNote, domain: &'a str) -> Option<Self> {
        let reason = note.reason.as_ref()?.known()?;
        let facts = Facts {
            domain,
            mx: note.mx.as_deref(),
            by: note.by.or_usual(),
            case: note.case.or_usual(),
            ..Facts::default()
        };
        match note.blame()? {
            (_, Some(host)) => Self::of_host(host, &facts),
            (_, None) => Some(Self { reason, facts }),
        }
    }

    fn side(&self) -> Side {
        self.reason.side_in(self.facts.case, self.facts.by)
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.reason, self.facts.mx, self.facts.case)
            == (other.reason, other.facts.mx, other.facts.case)
    }

    fn of_host(host: &'a HostNote, about: &Facts<'a>) -> Option<Self> {
        Some(Self {
            reason: host.reason.as_ref()?.known()?,
            facts: Facts {
                mx: Some(&host.mx),
                case: host.case.or_usual(),
                ..*about
            },
        })
    }
}

/// Since when it waits, for whom, when it is tried next and when it is given up.
///
/// `suspended` is when the last of its destinations may be tried again, if all of them are suspended.
pub(super) fn situation(
    view: &MessageView,
    suspended: Option<Timestamp>,
    kept: &KeptBack,
    now: Timestamp,
) -> Vec<String> {
    let arrival = time(view.envelope.arrival.at);
    let next = match (view.state, kept.next_attempt(view)) {
        (MessageState::Held, _) if is_parked(view) => {
            "It fails this relay and was set aside: no attempt is made until it is released (`sealpost queue release`)."
                .to_owned()
        }
        (MessageState::Held, _) => {
            "It is held: no attempt is made until our side releases it (`sealpost queue release`)."
                .to_owned()
        }
        (MessageState::Active, _) => "A delivery is under way at this moment.".to_owned(),
        (MessageState::Due | MessageState::Deferred, _) if kept.keeps(view) => {
            "No attempt is made while its destination is paused.".to_owned()
        }
        (MessageState::Due | MessageState::Deferred, at) => {
            match suspended.map(|end| at.map_or(end, |at| at.max(end))).or(at) {
                Some(at) if kept.gives_up(view).is_some_and(|end| end < at) => {
                    "No further attempt comes before its end, while its destination is suspended.".to_owned()
                }
                // A part of it may be due, and kept back.
                Some(at) if at > now || view.state == MessageState::Deferred => {
                    format!("Its next attempt is at {}.", time(at))
                }
                Some(_) | None => "Its next attempt is due now.".to_owned(),
            }
        }
    };
    let end = match (kept.gives_up(view), view.state) {
        (Some(at), _) => format!(
            "It is given up, with a notification to the sender where one may be sent, at {}.",
            time(at)
        ),
        (None, MessageState::Held) => {
            "It is not given up as long as it is held (`queue.expire-held`).".to_owned()
        }
        (None, _) => {
            "It is not given up while its destination is paused (`queue.expire-held`).".to_owned()
        }
    };
    let mut out = vec![format!(
        "Message {} from <{}> has been in the queue since {arrival}. {next} {end}",
        view.id, view.envelope.reverse_path,
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
    let done = match all - pending.len() {
        0 => String::new(),
        n => format!(" Of its {all} recipients {n} are done with."),
    };
    format!("It still has to reach {}.{done}", named(&pending))
}

/// A few of the recipients, and how many more there are.
pub(super) fn named(recipients: &[String]) -> String {
    let shown = &recipients[..recipients.len().min(SHOWN)];
    let more = match recipients.len() - shown.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("{}{more}", shown.join(", "))
}

/// The last attempt, whose move it is, what it means, and the clause that says so. `held`: it waits to be
/// released, whatever became of that attempt.
pub(super) fn failure(entry: &AttemptEntry, domain: &str, held: bool) -> Vec<String> {
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
    out.extend(hosts(note, domain));
    let told = Told::of(note, domain);
    // Who has to release it is said before this.
    let is_told = |told: &&Told<'_>| !held || told.side() != Side::Wait;
    let faults = faults(note, domain);
    out.extend(faults.iter().filter(is_told).filter_map(next_move));
    if let Some(reply) = &note.reply {
        out.push(format!("The host's own words: {reply}"));
    }
    if let Some(policy) = &note.policy {
        out.push(format!(
            "What was demanded of it, and the result: {}.",
            policy.as_str()
        ));
    }
    if let Some(tls) = &note.tls {
        out.push(format!("The TLS session: {tls}."));
    }
    if let Some(told) = told {
        out.extend(background(&told));
    }
    out
}

/// What somebody has to act on, host by host as they were tried; what decided, if there is nothing.
pub(super) fn faults<'a>(note: &'a AttemptNote, domain: &'a str) -> Vec<Told<'a>> {
    let Some(told) = Told::of(note, domain) else {
        return Vec::new();
    };
    let to_act_on = |host: &'a HostNote| {
        let its = Told::of_host(host, &told.facts)?;
        (its.reason.side_in(its.facts.case, its.facts.by) != Side::Wait).then_some(its)
    };
    let mut out: Vec<Told<'_>> = note.tried.iter().filter_map(to_act_on).collect();
    if !out.iter().any(|its| its.is_same(&told)) {
        out.push(told);
    }
    let mut seen: Vec<String> = Vec::new();
    out.retain(|its| {
        let said = its.reason.sentence(&its.facts);
        let is_new = !seen.contains(&said);
        seen.push(said);
        is_new
    });
    out
}

/// What each host did, where it was more than one.
fn hosts(note: &AttemptNote, domain: &str) -> Vec<String> {
    let about = Facts {
        domain,
        by: note.by.or_usual(),
        ..Facts::default()
    };
    let each = note.tried.iter().map(|host| {
        let ip = host.ip.map(|ip| format!(" ({ip})")).unwrap_or_default();
        let said = match Told::of_host(host, &about) {
            Some(told) => told.reason.sentence(&told.facts),
            None => "It took the mail for others.".to_owned(),
        };
        format!("Tried: {}{ip}: {said}", host.mx)
    });
    each.collect()
}

/// Whose move it is, the explanation of a reason, and the clause. `side` where the reason alone does not say it.
pub(super) fn meaning(reason: Reason, domain: &str, side: Option<Side>) -> Vec<String> {
    let facts = Facts {
        domain,
        ..Facts::default()
    };
    let told = Told { reason, facts };
    // It would send its reader here.
    let to_here = format!(" `sealpost explain {domain}` has the cause.");
    let advice = next_move_of(&told, side).map(|text| text.replace(&to_here, ""));
    let mut out: Vec<String> = advice.into_iter().collect();
    out.extend(background(&told));
    out
}

/// Who has to do what, if anything is to be done.
fn next_move(told: &Told<'_>) -> Option<String> {
    next_move_of(told, None)
}

fn next_move_of(told: &Told<'_>, side: Option<Side>) -> Option<String> {
    let (reason, facts) = (told.reason, &told.facts);
    let advice = reason.advice(facts);
    if advice.is_empty() {
        return None;
    }
    let who = match side.unwrap_or_else(|| told.side()) {
        _ if reason.is_for_sender(facts.case) => "The sender has to act.",
        Side::RecipientAdmin => "The recipient's side has to act.",
        Side::Us => "Our side has to act.",
        Side::Wait => "Nobody has to act yet.",
    };
    Some(format!("{who} {advice}"))
}

/// What the reason means, with the host's name in what can be typed, and where it is written.
fn background(told: &Told<'_>) -> Vec<String> {
    let (reason, case) = (told.reason, told.facts.case);
    let named = |text: &&str| match told.facts.mx.filter(|mx| !mx.starts_with('[')) {
        Some(mx) => text.replace("HOST", mx),
        None => (*text).to_owned(),
    };
    let mut out: Vec<String> = reason.explanation_in(case).iter().map(named).collect();
    out.push(match reason.is_explained_apart(case) {
        // The clause is about what others publish, and this is about what we have configured.
        true => format!("Reason key: {}.", reason.key()),
        false => format!("See {}; reason key: {}.", reason.clause(), reason.key()),
    });
    out
}

/// Recipients named.
const SHOWN: usize = 5;

pub(crate) fn is_parked(view: &MessageView) -> bool {
    let parked = Some(Reason::Parked.into());
    view.recipients.iter().any(|r| r.reason == parked)
}
