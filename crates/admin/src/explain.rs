//! `/v1/explain/{id-or-domain}`: plain words about a message or a domain.

use attempt::{Facts, Reason, Side};
use axum::extract::{Path, State};
use axum::response::Json;
use mail_types::{Domain, QueueId};
use mta_sts::Mode;
use outbound_queue::{AttemptEntry, MessageState, MessageView, QueueStore};
use policy_cache::{Discovery, NoPolicy, Outcome};

use crate::problem::Problem;
use crate::queue_view::last;
use crate::{Control, Explanation};

mod hosts;

pub(crate) async fn explain<S: QueueStore>(
    State(control): State<Control<S>>,
    Path(subject): Path<String>,
) -> Result<Json<Explanation>, Problem> {
    // Eleven letters and digits without a dot are no domain that mail could go to.
    if let Ok(id) = subject.parse::<QueueId>() {
        let view = control.queue.show(id, control.now()).await?;
        return Ok(Json(Explanation {
            paragraphs: message(&control, &view).await,
            subject,
        }));
    }
    let domain = Domain::parse(&subject).map_err(|e| {
        Problem::bad_request(format!(
            "{subject:?} is neither a queue id nor a domain: {e}"
        ))
    })?;
    Ok(Json(Explanation {
        paragraphs: domain_paragraphs(&control, &domain).await,
        subject,
    }))
}

async fn message<S: QueueStore>(control: &Control<S>, view: &MessageView) -> Vec<String> {
    let mut out = vec![waiting(view)];
    let Some(entry) = last(view) else {
        out.push("No attempt has been made yet.".to_owned());
        return out;
    };
    let domain = recipient_domain(view, entry);
    out.extend(failure(
        entry,
        domain
            .as_ref()
            .map_or("the recipient's domain", Domain::as_str),
    ));
    if let Some(domain) = &domain {
        out.extend(published(control, domain).await);
    }
    out
}

/// What the domain and its hosts demand.
async fn published<S: QueueStore>(control: &Control<S>, domain: &Domain) -> Vec<String> {
    let (discovery, hosts) = tokio::join!(
        control.policies.policy_for(domain),
        control.delivery.hosts(domain)
    );
    let mut out = vec![policy(domain, &discovery)];
    out.extend(hosts::paragraph(&hosts));
    out
}

fn waiting(view: &MessageView) -> String {
    let arrival = view.envelope.arrival.at.rfc3339();
    let next = match (view.state, view.next_attempt) {
        (MessageState::Held, _) => {
            "An operator holds it: no attempt is made until it is released.".to_owned()
        }
        (MessageState::Active, _) => "A delivery is under way at this moment.".to_owned(),
        (MessageState::Due, _) | (MessageState::Deferred, None) => {
            "Its next attempt is due now.".to_owned()
        }
        (MessageState::Deferred, Some(at)) => format!("Its next attempt is at {}.", at.rfc3339()),
    };
    format!(
        "Message {} has been in the queue since {arrival}. {next} It is given up, with a notification to the \
         sender where one may be sent, at {}.",
        view.id,
        view.expires.rfc3339()
    )
}

fn failure(entry: &AttemptEntry, domain: &str) -> Vec<String> {
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
    if let Some(tls) = &note.tls {
        out.push(format!("The TLS session: {tls}."));
    }
    if let Some(reply) = &note.reply {
        out.push(format!("The host's own words: {reply}"));
    }
    let Some(reason) = Reason::from_key(&note.reason) else {
        return out;
    };
    out.extend(reason.explanation().iter().map(|p| (*p).to_owned()));
    let facts = Facts {
        domain,
        mx: note.mx.as_deref(),
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

fn recipient_domain(view: &MessageView, entry: &AttemptEntry) -> Option<Domain> {
    let at = view
        .recipients
        .iter()
        .position(|r| r.destination == entry.destination)?;
    view.envelope.recipients.get(at)?.mailbox.domain().cloned()
}

async fn domain_paragraphs<S: QueueStore>(control: &Control<S>, domain: &Domain) -> Vec<String> {
    let mut out = published(control, domain).await;
    let rows: Vec<_> = control
        .queue
        .summary(control.now())
        .into_iter()
        .filter(|r| r.destination.as_str() == domain.as_str())
        .collect();
    if rows.is_empty() {
        out.push(format!("No mail for {domain} waits in the queue."));
    }
    for row in rows {
        let next = row
            .next_attempt
            .map(|at| format!("; the next attempt is at {}", at.rfc3339()))
            .unwrap_or_default();
        let why = row.reason.as_deref().map_or_else(
            || "have not been tried yet".to_owned(),
            |r| format!("wait for {r}"),
        );
        out.push(format!(
            "{} messages {why}, the oldest since {}{next}.",
            row.count,
            row.oldest.rfc3339()
        ));
        if let Some(reason) = row.reason.as_deref().and_then(Reason::from_key) {
            out.extend(reason.explanation().iter().map(|p| (*p).to_owned()));
            out.push(reason.advice(&Facts {
                domain: domain.as_str(),
                mx: None,
                specifics: None,
            }));
        }
    }
    for lane in control
        .delivery
        .lanes()
        .into_iter()
        .filter(|l| l.destination == domain.as_str())
    {
        if let Some((left, cause)) = lane.suspended {
            out.push(format!(
                "Delivery to {domain} is suspended for another {} seconds after repeated failures: {cause} \
                 `sealpost queue retry --domain {domain}` ends that.",
                left.as_secs()
            ));
        }
    }
    out
}

/// What the domain demands, in plain words.
fn policy(domain: &Domain, discovery: &Discovery) -> String {
    match &discovery.outcome {
        Outcome::Policy(applied) => {
            let stored = &applied.policy;
            let hosts = stored
                .policy
                .mx()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            let meaning = match stored.mode() {
                Mode::Enforce => {
                    "mail is delivered only to the hosts that it lists, over TLS with a valid certificate; otherwise it waits (RFC 8461 section 5)"
                }
                Mode::Testing => {
                    "failures are only noted, and mail is delivered as if there were no policy (RFC 8461 section 5)"
                }
                Mode::None => "it asks for nothing",
            };
            let id = stored
                .id
                .as_ref()
                .map(|id| format!(" id {},", id.as_str()))
                .unwrap_or_default();
            let stand_in = applied
                .fallback
                .as_ref()
                .map(|f| format!(" The stored copy stands in for a live one: {f}."))
                .unwrap_or_default();
            format!(
                "{domain} publishes an MTA-STS policy in mode {}:{id} fetched {}, valid until {}, hosts {hosts}. That means: {meaning}.{stand_in}",
                stored.mode().as_str(),
                stored.fetched_at.rfc3339(),
                stored.expires_at.rfc3339(),
            )
        }
        Outcome::NoPolicy(why) => {
            let so = "TLS is used where it is offered, but nothing demands it";
            match why {
                NoPolicy::Record(trouble) => {
                    format!("{domain} has no MTA-STS policy ({trouble}): {so}.")
                }
                NoPolicy::Fetch { .. } | NoPolicy::Unknown { .. } => {
                    format!("No MTA-STS policy of {domain} can be had: {why}. {so}.")
                }
            }
        }
        Outcome::Wait {
            until,
            failures,
            cause,
            ..
        } => format!(
            "It is not known whether {domain} has an MTA-STS policy: the record could not be looked up ({cause}; failures so far: {failures}). Mail waits; \
             the next look-up is at {}.",
            until.rfc3339()
        ),
    }
}
