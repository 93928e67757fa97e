//! `/v1/explain/{id-or-domain}`: plain words about a message or a domain.
//!
//! An explanation has sections in a fixed order: what happens, why, what the domain demands, what
//! can be done here; and, where the recipient's administrator can help, a letter to them. Nothing
//! in it is a guess: each sentence stands on the queue's record of an attempt, on the stored policy,
//! on an answer of DNS, or on our configuration.

use std::collections::BTreeSet;
use std::time::Duration;

use attempt::Reason;
use axum::extract::{Path, RawQuery, State};
use axum::response::Json;
use mail_types::{Domain, QueueId, Timestamp};
use outbound_queue::{AttemptEntry, MessageView, QueueError, QueueStore, RecipientState};
use tokio::time::Instant;

use crate::kept_back::KeptBack;
use crate::{Control, Explanation, ProblemDetails, Section};
use api_routes::{Problem, quoted};

mod demands;
mod domain;
mod gone;
mod hosts;
mod letter;
mod message;
mod remedy;

pub(crate) use message::is_parked;

/// Plain words about a message or a domain.
#[utoipa::path(get, path = "/v1/explain/{subject}", tag = "explain", params(
    ("subject" = String, Path, description = "A queue id or a domain."),
    ("live" = Option<bool>, Query, description = "With `false` only what is known here, at once; else DNS and policy hosts are asked, for five seconds at most."),
), responses(
    (status = 200, description = "Paragraphs.", body = Explanation),
    (status = 400, description = "Neither a queue id nor a domain, or a wrong parameter.", body = ProblemDetails),
    (status = 404, description = "No such message in the queue, and none whose end is remembered.", body = ProblemDetails),
))]
pub(crate) async fn explain<S: QueueStore>(
    State(control): State<Control<S>>,
    Path(subject): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Explanation>, Problem> {
    let end = match query.as_deref() {
        None | Some("" | "live=true") => Some(Instant::now() + PATIENCE),
        Some("live=false") => None,
        Some(other) => {
            let detail = format!("{} is not live=true or live=false", quoted(other));
            return Err(Problem::parameter("live", detail));
        }
    };
    if subject.len() > LONGEST_SUBJECT {
        return Err(Problem::bad_request(format!(
            "a queue id has 12 characters and a domain {LONGEST_SUBJECT} at most; this has {}",
            subject.len()
        )));
    }
    // Twelve letters and digits, or eleven, without a dot are no domain that mail could go to.
    if let Ok(id) = subject.parse::<QueueId>() {
        return match control.queue.show(id, control.now()).await {
            Ok(view) => Ok(Json(of_message(&control, &view, subject, end).await)),
            Err(QueueError::NotFound(_)) => gone::of_gone(&control, id, subject).map(Json),
            Err(error) => Err(error.into()),
        };
    }
    let domain = Domain::parse(&subject).map_err(|e| {
        Problem::bad_request(format!(
            "{} is neither a queue id nor a domain: {e}",
            quoted(&subject)
        ))
    })?;
    Ok(Json(of_domain(&control, &domain, subject, end).await))
}

async fn of_message<S: QueueStore>(
    control: &Control<S>,
    view: &MessageView,
    subject: String,
    end: Option<Instant>,
) -> Explanation {
    let mut sections = Sections::default();
    let kept = KeptBack::of(&control.delivery);
    let (suspended, now) = (suspended_until(control, view), control.now().wall);
    let mut situation = message::situation(view, suspended, &kept, now);
    situation.extend(put_off(control, view));
    let domains = view
        .envelope
        .recipients
        .iter()
        .filter_map(|r| r.mailbox.domain());
    let domains: BTreeSet<&Domain> = domains.collect();
    situation.extend(
        domains
            .into_iter()
            .filter_map(|d| domain::pause(control, d)),
    );
    sections.add("What happens", situation);
    let mut letter = None;
    let groups = waiting_for(view);
    let looks = looks(control, view, &groups, end).await;
    for (causes, (domain, look)) in groups.iter().zip(&looks) {
        let entries: Vec<&AttemptEntry> = causes.iter().map(|cause| cause.entry).collect();
        let name = domain.as_ref().map_or(SOMEWHERE, Domain::as_str);
        for cause in causes {
            let whose = match causes.len() {
                1 => name.to_owned(),
                _ => message::named(&cause.recipients),
            };
            sections.add(
                &format!("Why mail for {whose} waits"),
                message::failure(cause.entry, name, view.is_held()),
            );
        }
        let (Some(domain), Some(look)) = (domain, look) else {
            continue;
        };
        sections.add(
            &format!("What applies to {domain}"),
            look.paragraphs(control, domain),
        );
        sections.add(
            "What can be done",
            remedy::of_message(view, &entries, domain, look, &kept),
        );
        let hostname = control.daemon.hostname();
        let written = entries.iter().find_map(|entry| {
            let case = letter::Case {
                domain,
                entry,
                look,
                expires: kept.gives_up(view),
            };
            case.write(&hostname)
        });
        let hint = written.is_some().then(|| match letter.is_none() {
            true => letter::how_to_send(domain),
            false => format!("`sealpost explain {domain}` has a letter to them as well."),
        });
        letter = letter.or(written);
        sections.add("How to reach them", hint.into_iter().collect());
    }
    if groups.is_empty()
        && let (Some(domain), Some(end)) = (untried(view), end)
    {
        let look = demands::Look::take(control, &domain, end).await;
        sections.add(
            &format!("What applies to {domain}"),
            look.paragraphs(control, &domain),
        );
        sections.add(
            "What can be done",
            remedy::of_message(view, &[], &domain, &look, &kept),
        );
    }
    sections.finish(subject, letter)
}

async fn of_domain<S: QueueStore>(
    control: &Control<S>,
    domain: &Domain,
    subject: String,
    end: Option<Instant>,
) -> Explanation {
    let mut sections = Sections::default();
    let waiting = domain::Waiting::find(control, domain).await;
    sections.add("What happens", waiting.situation(control, domain));
    let paused = domain::pause(control, domain).is_some();
    for (row, entry) in &waiting.rows {
        sections.add(
            &format!("Why mail for {domain} waits"),
            domain::why(row, entry.as_ref(), domain.as_str(), paused),
        );
    }
    let Some(end) = end else {
        return sections.finish(subject, None);
    };
    let look = demands::Look::take(control, domain, end).await;
    sections.add(
        &format!("What applies to {domain}"),
        look.paragraphs(control, domain),
    );
    sections.add(
        "What can be done",
        remedy::of_domain(&waiting, domain, &look, &KeptBack::of(&control.delivery)),
    );
    let entries = waiting.rows.iter().filter_map(|(_, entry)| entry.as_ref());
    let hostname = control.daemon.hostname();
    let letter = entries
        .filter_map(|entry| {
            let case = letter::Case {
                domain,
                entry,
                look: &look,
                expires: None,
            };
            case.write(&hostname)
        })
        .next();
    let hint = letter.is_some().then(|| letter::how_to_send(domain));
    sections.add("How to reach them", hint.into_iter().collect());
    sections.finish(subject, letter)
}

/// When the first of its destinations may be tried again, if all of them are being left alone.
fn suspended_until<S: QueueStore>(control: &Control<S>, view: &MessageView) -> Option<Timestamp> {
    let pending = view.recipients.iter();
    let pending = pending.filter(|r| matches!(r.state, RecipientState::Pending(_)));
    let ends = pending.map(|r| Some(control.delivery.suspended(&r.destination)?.0));
    let ends: Option<Vec<_>> = ends.collect();
    Some(control.now().wall + ends?.into_iter().min()?)
}

/// Destinations that are being left alone: why no attempt is made.
fn put_off<S: QueueStore>(control: &Control<S>, view: &MessageView) -> Vec<String> {
    let mut out = Vec::new();
    for lane in control.delivery.lanes() {
        let pending = view.recipients.iter().any(|r| {
            matches!(r.state, RecipientState::Pending(_))
                && r.destination.as_str() == lane.destination
        });
        let Some((left, cause)) = lane.suspended.filter(|_| pending) else {
            continue;
        };
        let named = domain::Named::new(control, &lane.destination);
        // An address literal is no domain that could be named.
        let retry = match Domain::parse(&named.host) {
            Ok(domain) => format!("--domain {domain}"),
            Err(_) => view.id.to_string(),
        };
        out.push(domain::suspension(&named, &retry, left, &cause));
        let tried = waiting_for(view);
        if !tried
            .iter()
            .flatten()
            .any(|cause| cause.entry.destination.as_str() == lane.destination)
        {
            out.extend(message::meaning(
                Reason::DestinationSuspended,
                &named.host,
                domain::suspended_side(control, &lane.destination),
            ));
        }
    }
    let suspended = Some(Reason::DestinationSuspended.into());
    let mut recipients = view.recipients.iter();
    let put_off = recipients.find(|r| r.reason == suspended);
    if let Some(recipient) = put_off.filter(|_| out.is_empty()) {
        let named = domain::Named::new(control, recipient.destination.as_str());
        out.push(format!(
            "It was put off without an attempt while delivery to {named} was suspended. That is over."
        ));
        out.extend(message::meaning(
            Reason::DestinationSuspended,
            &named.host,
            None,
        ));
    }
    out
}

/// What recipients wait for that share a cause.
struct Cause<'a> {
    entry: &'a AttemptEntry,
    recipients: Vec<String>,
}

/// The domain of each group, and what applies to it. All at the same time: one that hangs must not take the
/// time of the others.
async fn looks<S: QueueStore>(
    control: &Control<S>,
    view: &MessageView,
    groups: &[Vec<Cause<'_>>],
    end: Option<Instant>,
) -> Vec<(Option<Domain>, Option<demands::Look>)> {
    let looks = groups.iter().map(async |causes| {
        let first = causes.first();
        let domain = first.and_then(|cause| domain_of(view, cause.entry));
        let look = match (&domain, end) {
            (Some(domain), Some(end)) => Some(demands::Look::take(control, domain, end).await),
            _ => None,
        };
        (domain, look)
    });
    futures_util::future::join_all(looks).await
}

/// For each destination that still has recipients, how their last attempts ended: each cause once.
fn waiting_for(view: &MessageView) -> Vec<Vec<Cause<'_>>> {
    let mut found: Vec<Vec<Cause<'_>>> = Vec::new();
    let all = view.recipients.iter().zip(&view.envelope.recipients);
    for (n, (state, recipient)) in (0..).zip(all) {
        let is_pending = matches!(state.state, RecipientState::Pending(_));
        let last = view.last_attempt(n).filter(|_| is_pending);
        let Some(entry) = last.filter(|e| e.destination == state.destination) else {
            continue;
        };
        let address = recipient.mailbox.to_string();
        let of_it = |causes: &&mut Vec<Cause<'_>>| {
            let first = causes.first();
            first.is_some_and(|cause| cause.entry.destination == entry.destination)
        };
        let Some(causes) = found.iter_mut().find(of_it) else {
            let recipients = vec![address];
            found.push(vec![Cause { entry, recipients }]);
            continue;
        };
        let said = |e: &AttemptEntry| (e.note.reason.clone(), e.note.reply.clone());
        match causes.iter_mut().find(|c| said(c.entry) == said(entry)) {
            Some(cause) => {
                if cause.entry.last < entry.last {
                    cause.entry = entry;
                }
                cause.recipients.push(address);
            }
            None => causes.push(Cause {
                entry,
                recipients: vec![address],
            }),
        }
    }
    found
}

/// The domain of the first recipient that is left.
fn untried(view: &MessageView) -> Option<Domain> {
    let mut states = view.recipients.iter().zip(&view.envelope.recipients);
    let (_, recipient) = states.find(|(r, _)| matches!(r.state, RecipientState::Pending(_)))?;
    recipient.mailbox.domain().cloned()
}

fn domain_of(view: &MessageView, entry: &AttemptEntry) -> Option<Domain> {
    let at = view
        .recipients
        .iter()
        .position(|r| r.destination == entry.destination)?;
    view.envelope.recipients.get(at)?.mailbox.domain().cloned()
}

fn reason_of(entry: &AttemptEntry) -> Option<Reason> {
    entry.note.reason.as_ref()?.known()
}

/// A moment, to the second: what is told in sentences needs no more.
fn time(at: Timestamp) -> String {
    Timestamp::from_secs(at.as_secs())
        .rfc3339()
        .replace(".000Z", "Z")
}

#[derive(Default)]
struct Sections(Vec<Section>);

impl Sections {
    /// Leaves out what has nothing to say.
    fn add(&mut self, title: &str, paragraphs: Vec<String>) {
        if !paragraphs.is_empty() {
            self.0.push(Section {
                title: title.to_owned(),
                paragraphs,
            });
        }
    }

    fn finish(self, subject: String, letter: Option<String>) -> Explanation {
        let paragraphs = self.0.iter().flat_map(|s| s.paragraphs.clone()).collect();
        Explanation {
            subject,
            paragraphs,
            sections: self.0,
            letter,
        }
    }
}

/// How long DNS and policy hosts are waited for, all together: somebody waits for the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Instead of a domain that is none: an address literal.
const SOMEWHERE: &str = "the recipient's host";
/// Octets of a domain (RFC 5321 section 4.5.3.1.2), with room for a trailing dot.
const LONGEST_SUBJECT: usize = 256;
