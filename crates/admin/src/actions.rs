//! `/v1/queue/actions`: what an operator does to messages.

use std::collections::HashSet;

use axum::extract::{Extension, State};
use axum::response::Json;
use delivery::Which;
use mail_types::QueueId;
use outbound_queue::{
    Edit, Edited, Filter, Keyed, MessageState, QueueError, QueueStore, RecipientState, Target,
};

use crate::explain::is_parked;
use crate::kept_back::KeptBack;
use crate::queue::{parse_id, to_filter};
use crate::{ActionRequest, ActionResult, Audit, Control, ProblemDetails, QueueAction};
use api_routes::Operator;
use api_routes::Problem;

/// Retry, hold, release, cancel or bounce messages.
#[utoipa::path(post, path = "/v1/queue/actions", tag = "queue", request_body = ActionRequest, responses(
    (status = 200, description = "How many it concerned.", body = ActionResult),
    (status = 400, description = "Not an action, or nothing was named, or both messages and a filter.", body = ProblemDetails),
    (status = 404, description = "None of them is in the queue.", body = ProblemDetails),
))]
pub(crate) async fn act<S: QueueStore>(
    State(control): State<Control<S>>,
    Extension(operator): Extension<Operator>,
    body: axum::body::Bytes,
) -> Result<Json<ActionResult>, Problem> {
    let request: ActionRequest = serde_json::from_slice(&body)
        .map_err(|e| Problem::bad_request(format!("the body is not an action: {e}")))?;
    let now = control.now();
    one_of(&request)?;
    let target = if request.ids.is_empty() {
        Target::Filter(to_filter(&request.filter, now.wall, || {
            control.delivery.suspended_sides()
        })?)
    } else {
        Target::Ids(each_once(&request.ids)?)
    };
    let (edit, word) = match request.action {
        QueueAction::Retry => (Edit::Retry, "queue retry"),
        QueueAction::Hold => (Edit::Hold, "queue hold"),
        QueueAction::Release => (Edit::Release, "queue release"),
        QueueAction::Cancel => (Edit::Cancel, "queue cancel"),
        QueueAction::Bounce => (Edit::Bounce, "queue bounce"),
    };
    if edit == Edit::Retry && !request.dry_run {
        // Before the mail is due: else a suspended destination puts it off once more.
        lift_suspensions(&control, &target).await;
    }
    // Before the order, too: what it makes due is no longer found by the state that was asked for.
    let (held, paused) = if edit == Edit::Retry {
        untried(&control, &target).await
    } else {
        (0, 0)
    };
    let edited = control.queue.edit(&target, edit, request.dry_run, now);
    // What was done before a failure stays done, and is told as well.
    let (edited, failure) = match edited.await {
        Ok(edited) => (edited, None),
        Err(error) => (error.done, Some(error.cause)),
    };
    if edit == Edit::Bounce && !request.dry_run {
        control.delivery.mail_is_returned();
    }
    // A message with two paused destinations is one.
    let paused = paused.min(edited.matched);
    let unknown: Vec<String> = edited.unknown.iter().map(QueueId::to_string).collect();
    if failure.is_none() && !unknown.is_empty() && edited.matched == 0 {
        let detail = format!("not in the queue: {}", some_of(&unknown));
        return Err(Problem::not_found(detail));
    }
    let (matched, already) = concerned(edit, &edited);
    let under_way = edited.cancelled.iter().filter(|c| c.under_way).count();
    for message in &edited.cancelled {
        control.daemon.cancelled(message);
    }
    if !request.dry_run {
        let error = failure.as_ref().map(ToString::to_string);
        control.daemon.audit(&Audit {
            at: now.wall,
            by: &operator,
            action: word,
            target: &named(&request, &target),
            // The same number as in the answer.
            matched: match failure {
                Some(_) => edited.changed,
                None => matched,
            },
            reason: request.reason.as_deref(),
            error: error.as_deref(),
        });
    }
    match failure {
        Some(failure) => Err(stopped(failure, edited.changed, request.dry_run)),
        None => Ok(Json(ActionResult {
            matched,
            already,
            unknown,
            under_way: under_way as u64,
            held,
            paused,
        })),
    }
}

/// How many it concerns, and how many were that way already: what is held is not held once more.
const fn concerned(edit: Edit, edited: &Edited) -> (u64, u64) {
    match edit {
        Edit::Hold | Edit::Release => {
            let already = edited.matched.saturating_sub(edited.changed);
            (edited.changed, already)
        }
        Edit::Retry | Edit::Cancel | Edit::Bounce | Edit::Park | Edit::Regroup => {
            (edited.matched, 0)
        }
    }
}

/// Messages, a filter, or all: what is said beside the others would be passed over.
fn one_of(request: &ActionRequest) -> Result<(), Problem> {
    let filter = !request.filter.is_empty();
    let wrong = match (!request.ids.is_empty(), filter, request.all) {
        (true, false, false) | (false, true, false) | (false, false, true) => return Ok(()),
        (false, false, false) => "name messages, give a filter, or say that all are meant",
        (true, _, _) => {
            "name messages or give a filter, not both: a filter does not choose among those that are named"
        }
        (false, true, true) => {
            "give a filter or say that all are meant, not both: leave out \"all\" for what the filter matches"
        }
    };
    Err(Problem::bad_request(wrong))
}

/// The ids in the order in which they were named first.
fn each_once(named: &[String]) -> Result<Vec<QueueId>, Problem> {
    let mut seen = HashSet::new();
    let mut ids = Vec::with_capacity(named.len());
    for text in named {
        let id = parse_id(text)?;
        if seen.insert(id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// A list for a sentence.
fn some_of(ids: &[String]) -> String {
    let shown = &ids[..ids.len().min(SHOWN)];
    match ids.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Why it stopped, and how far it had come.
fn stopped(failure: QueueError, changed: u64, dry_run: bool) -> Problem {
    match changed {
        0 => failure.into(),
        _ if dry_run => failure.into(),
        1 => Problem::from(failure).also("one message was changed before that"),
        n => Problem::from(failure).also(&format!("{n} messages were changed before that")),
    }
}

/// The destinations of what is tried again are tried at once, where messages are named with these. Others
/// stay left alone.
async fn lift_suspensions<S: QueueStore>(control: &Control<S>, target: &Target) {
    let now = control.now();
    let meant: Vec<_> = match target {
        Target::Ids(ids) => {
            let mut meant = Vec::new();
            for id in ids {
                // One that cannot be shown cannot be tried either: the edit says why.
                if let Ok(message) = control.queue.show(*id, now).await {
                    let open = message.recipients.into_iter();
                    let open = open.filter(|r| matches!(r.state, RecipientState::Pending(_)));
                    meant.extend(open.map(|r| (*id, r.destination)));
                }
            }
            return control.delivery.resume(Which::Messages(&meant));
        }
        Target::Filter(filter) => match (&filter.destination, &filter.domain) {
            (Some(destination), _) => vec![destination.clone()],
            (None, Some(domain)) => control.delivery.destinations_of(domain),
            (None, None) => return control.delivery.resume(Which::All),
        },
    };
    control.delivery.resume(Which::These(&meant));
}

/// Of what is to be tried again: how many are held, and how many have a paused destination. Only counted:
/// a failing store shows elsewhere.
async fn untried<S: QueueStore>(control: &Control<S>, target: &Target) -> (u64, u64) {
    let now = control.now();
    let kept = KeptBack::of(&control.delivery);
    let filter = match target {
        Target::Ids(ids) => {
            let mut found = (0, 0);
            for id in ids {
                if let Ok(view) = control.queue.show(*id, now).await {
                    // What was parked is released by that.
                    found.0 += u64::from(view.state == MessageState::Held && !is_parked(&view));
                    found.1 += u64::from(kept.concerns(&view));
                }
            }
            return found;
        }
        Target::Filter(filter) => filter,
    };
    let count = async |filter: Filter| {
        let target = Target::Filter(filter);
        let dry = control.queue.edit(&target, Edit::Retry, true, now);
        dry.await.map(|edited| edited.matched).unwrap_or_default()
    };
    let held = match filter.state {
        None | Some(MessageState::Held) => {
            let state = Some(MessageState::Held);
            let all = count(Filter {
                state,
                ..filter.clone()
            });
            let parked = Keyed::from(attempt::Reason::Parked);
            let parked = match &filter.reason {
                Some(reason) if *reason != parked => 0,
                _ => {
                    let reason = Some(parked);
                    count(Filter {
                        state,
                        reason,
                        ..filter.clone()
                    })
                    .await
                }
            };
            all.await.saturating_sub(parked)
        }
        Some(MessageState::Active | MessageState::Due | MessageState::Deferred) => 0,
    };
    let mut paused = 0;
    for host in kept.hosts() {
        let domain = Some(host.to_string().into());
        if filter.domain.is_none() || filter.domain == domain {
            paused += count(Filter {
                domain,
                ..filter.clone()
            })
            .await;
        }
    }
    (held, paused)
}

/// To what, for the audit log.
fn named(request: &ActionRequest, target: &Target) -> String {
    match target {
        Target::Filter(_) if request.filter.is_empty() => "all".to_owned(),
        Target::Filter(_) => serde_json::to_string(&request.filter).unwrap_or_default(),
        Target::Ids(ids) => {
            let ids: Vec<_> = ids.iter().map(QueueId::to_string).collect();
            ids.join(" ")
        }
    }
}

/// Ids named in a refusal.
const SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h10_04_who_is_stopped_half_way_is_told_how_far_it_came() {
        let said =
            |changed, dry_run| format!("{:?}", stopped(QueueError::Rebuilding, changed, dry_run));
        assert!(said(3, false).contains("3 messages were changed before"));
        assert!(said(1, false).contains("one message was changed before"));
        assert!(!said(0, false).contains("changed"));
        assert!(!said(3, true).contains("changed"));
    }

    #[test]
    fn what_is_meant_is_said_in_one_way() {
        let said = |body: &str| one_of(&serde_json::from_str(body).unwrap());
        for good in [
            r#"{"action":"retry","ids":["1"]}"#,
            r#"{"action":"retry","filter":{"domain":"d.test"}}"#,
            r#"{"action":"retry","all":true}"#,
        ] {
            assert!(said(good).is_ok(), "{good}");
        }
        for (bad, word) in [
            (r#"{"action":"retry"}"#, "name messages"),
            (r#"{"action":"retry","all":true,"ids":["1"]}"#, "not both"),
            (
                r#"{"action":"retry","ids":["1"],"filter":{"domain":"d.test"}}"#,
                "not both",
            ),
            (
                r#"{"action":"retry","all":true,"filter":{"domain":"d.test"}}"#,
                "leave out",
            ),
        ] {
            let problem = format!("{:?}", said(bad).unwrap_err());
            assert!(problem.contains(word), "{bad}: {problem}");
        }
    }

    #[test]
    fn an_id_that_is_named_twice_counts_once() {
        let named = ["0000000000B", "0000000000A", "00000000000B", "0000000000A"];
        let ids = each_once(&named.map(str::to_owned)).unwrap();
        let told: Vec<_> = ids.iter().map(QueueId::to_string).collect();
        assert_eq!(told, ["00000000000B", "00000000000A"]);
        assert!(each_once(&["no id".to_owned()]).is_err());
    }

    #[test]
    fn of_very_many_ids_a_few_are_named() {
        let ids = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(some_of(&ids(2)), "0, 1");
        assert_eq!(
            some_of(&ids(20_000)),
            "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 19990 more"
        );
    }
}
