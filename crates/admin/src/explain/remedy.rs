//! What our own administrator can do: commands that fit the case.

use attempt::Reason;
use mail_types::Domain;
use mta_sts::Mode;
use outbound_queue::{AttemptEntry, MessageState, MessageView};

use super::demands::Look;
use super::domain::Waiting;
use super::reason_of;

pub(super) fn of_message(
    view: &MessageView,
    entry: Option<&AttemptEntry>,
    domain: &Domain,
    look: &Look,
) -> Vec<String> {
    let id = view.id;
    let mut out = vec![match view.state {
        MessageState::Held => format!("`sealpost queue release {id}` lets it go."),
        MessageState::Active | MessageState::Due | MessageState::Deferred => {
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
    out.extend(
        entry
            .and_then(reason_of)
            .and_then(|r| set_aside(r, domain, look)),
    );
    out
}

pub(super) fn of_domain(waiting: &Waiting, domain: &Domain, look: &Look) -> Vec<String> {
    let mut out = vec![format!(
        "`sealpost check {domain}` looks at the domain live and says what would become of mail."
    )];
    if waiting.rows.is_empty() {
        return out;
    }
    out.push(format!(
        "`sealpost queue retry --domain {domain}` tries its mail now; `sealpost queue list --domain {domain}` lists it; \
         `sealpost trace {domain} --for 10m` writes the next dialogues into the log."
    ));
    let mut entries = waiting.rows.iter().filter_map(|(_, entry)| entry.as_ref());
    out.extend(entries.find_map(|e| set_aside(reason_of(e)?, domain, look)));
    out
}

/// The last resort, and what it costs. Only where a published policy is what mail waits for.
fn set_aside(reason: Reason, domain: &Domain, look: &Look) -> Option<String> {
    let by_policy = look.policy_mode() == Some(Mode::Enforce) && is_unmet_demand(reason);
    by_policy.then(|| {
        format!(
            "If the mail has to go before they have mended it, and only then: `sealpost policy exempt {domain} \
             --dangerous --until 7d --reason TEXT` sets the policy aside, and everybody's mail to {domain} is \
             unprotected for that time."
        )
    })
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
