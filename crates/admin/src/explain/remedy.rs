//! What our own administrator can do: commands that fit the case.

use attempt::{PolicyResult, PolicySource, Reason};
use mail_types::{Domain, Host};
use mta_sts::Mode;
use outbound_queue::{AttemptEntry, AttemptNote, Demands, MessageState, MessageView};

use super::demands::Look;
use super::domain::Waiting;
use super::reason_of;
use crate::kept_back::KeptBack;

pub(super) fn of_message(
    view: &MessageView,
    entries: &[&AttemptEntry],
    domain: &Domain,
    look: &Look,
    kept: &KeptBack,
) -> Vec<String> {
    let id = view.id;
    let paused = resume(domain, kept);
    let mut out = vec![match (view.state, paused) {
        (MessageState::Held, _) => format!("`sealpost queue release {id}` lets it go."),
        (_, Some(resume)) => resume,
        (MessageState::Active | MessageState::Due | MessageState::Deferred, None) => {
            format!("`sealpost queue retry {id}` tries it now.")
        }
    }];
    out.push(format!(
        "`sealpost queue show {id}` has every attempt and the last dialogue; `sealpost check {domain}` looks at \
         the domain live; `sealpost trace {domain} --for 10m` writes the next dialogues into the log."
    ));
    out.push(format!(
        "`sealpost queue bounce {id}` returns it to its sender at once, `sealpost queue cancel {id}` removes it \
         without a word."
    ));
    out.extend(entries.iter().find_map(|e| set_aside(e, domain, look)));
    out
}

pub(super) fn of_domain(
    waiting: &Waiting,
    domain: &Domain,
    look: &Look,
    kept: &KeptBack,
) -> Vec<String> {
    let mut out = vec![format!(
        "`sealpost check {domain}` looks at the domain live and says what would become of mail."
    )];
    if waiting.rows.is_empty() {
        return out;
    }
    let now = resume(domain, kept)
        .unwrap_or_else(|| format!("`sealpost queue retry --domain {domain}` tries its mail now."));
    out.push(format!(
        "{now} `sealpost queue list --domain {domain}` lists it; `sealpost trace {domain} --for 10m` writes the \
         next dialogues into the log."
    ));
    let mut entries = waiting.rows.iter().filter_map(|(_, entry)| entry.as_ref());
    out.extend(entries.find_map(|e| set_aside(e, domain, look)));
    out
}

/// Instead of a retry, which does nothing there.
fn resume(domain: &Domain, kept: &KeptBack) -> Option<String> {
    kept.pause(&Host::Domain(domain.clone()))?;
    Some(format!(
        "`sealpost queue resume {domain}` lets its mail go on: as long as it is paused, `queue retry` does nothing."
    ))
}

/// The last resort, and what it costs. Only where a published policy is what mail waits for, and is not
/// set aside already.
fn set_aside(entry: &AttemptEntry, domain: &Domain, look: &Look) -> Option<String> {
    let by_policy = look.policy_mode() == Some(Mode::Enforce) && !look.is_exempt();
    if !by_policy || !reason_of(entry).is_some_and(is_unmet_demand) {
        return None;
    }
    let unmet = unmet(&entry.note);
    let (policy, others): (Vec<_>, Vec<_>) =
        unmet.into_iter().partition(|s| *s == PolicySource::MtaSts);
    if policy.is_empty() {
        return None;
    }
    let others: Vec<&str> = others.into_iter().map(in_words).collect();
    if !others.is_empty() {
        return Some(format!(
            "Setting the policy aside (`sealpost policy exempt`) does not let the mail go: {} would have to be \
             changed as well.",
            others.join(" and ")
        ));
    }
    Some(format!(
        "If the mail has to go before they have mended it, and only then: `sealpost policy exempt {domain} \
         --dangerous --until 7d --reason TEXT` sets the policy aside, and everybody's mail to {domain} is \
         unprotected for that time."
    ))
}

/// Who demanded what was not met.
fn unmet(note: &AttemptNote) -> Vec<PolicySource> {
    let demands = note.policy.iter().flat_map(Demands::iter);
    let unmet = demands.filter(|demand| demand.result == PolicyResult::Failed);
    unmet.map(|demand| demand.source).collect()
}

const fn in_words(source: PolicySource) -> &'static str {
    match source {
        PolicySource::MtaSts => "the policy",
        PolicySource::Dane => "the host's TLSA records (DANE)",
        PolicySource::RequireTls => "the sender's REQUIRETLS",
        PolicySource::Local => {
            "our own rule, which demands it too (`[[domain]]`, `[delivery]` or a pin),"
        }
        PolicySource::Route => "our own route",
    }
}

const fn is_unmet_demand(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::StarttlsNotOffered
            | Reason::StarttlsRefused
            | Reason::TlsHandshake
            | Reason::CertExpired
            | Reason::CertHostMismatch
            | Reason::CertNotTrusted
            | Reason::MxNotInPolicy
    )
}
