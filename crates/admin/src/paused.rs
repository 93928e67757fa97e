//! `/v1/destinations/{domain}`: pausing a destination and letting it go on.

use axum::extract::{Extension, Path, State};
use axum::response::Json;
use delivery::{Delivery, Pause, PauseError};
use mail_types::Host;
use outbound_queue::{Filter, QueueStore, Target};

use crate::queue::parse_host;
use crate::{Audit, Control, PauseRequest, PauseResult, PausedView, ProblemDetails};
use api_routes::Operator;
use api_routes::Problem;

/// Keep back all mail for a domain, also what comes later.
#[utoipa::path(post, path = "/v1/destinations/{domain}/pause", tag = "queue", params(
    ("domain" = String, Path, description = "Recipient domain, or an address literal in brackets."),
), request_body = PauseRequest, responses(
    (status = 200, description = "What was done.", body = PauseResult),
    (status = 400, description = "Not a domain or address literal.", body = ProblemDetails),
    (status = 409, description = "It could not be written down, or the disk did not confirm it; `detail` says what holds now.", body = ProblemDetails),
))]
pub(crate) async fn pause<S: QueueStore>(
    State(control): State<Control<S>>,
    Extension(operator): Extension<Operator>,
    Path(domain): Path<String>,
    body: axum::body::Bytes,
) -> Result<Json<PauseResult>, Problem> {
    let host = parse_host(&domain)?;
    let request = read(&body)?;
    let order = control.order(&operator, request.reason.clone());
    let pause = Pause {
        since: order.at,
        by: order.by.into(),
        reason: order.reason.into(),
    };
    let (delivery, name) = (control.delivery.clone(), host.clone());
    let done = on_disk(move || delivery.pause(&name, pause)).await?;
    answer(
        &control,
        &operator,
        "queue pause",
        &host,
        done,
        request.reason.as_deref(),
    )
    .await
}

/// Let a paused domain's mail go on.
#[utoipa::path(post, path = "/v1/destinations/{domain}/resume", tag = "queue", params(
    ("domain" = String, Path, description = "Recipient domain, or an address literal in brackets."),
), request_body = PauseRequest, responses(
    (status = 200, description = "What was done.", body = PauseResult),
    (status = 400, description = "Not a domain or address literal.", body = ProblemDetails),
    (status = 409, description = "It could not be written down, or the disk did not confirm it; `detail` says what holds now.", body = ProblemDetails),
))]
pub(crate) async fn resume<S: QueueStore>(
    State(control): State<Control<S>>,
    Extension(operator): Extension<Operator>,
    Path(domain): Path<String>,
    body: axum::body::Bytes,
) -> Result<Json<PauseResult>, Problem> {
    let host = parse_host(&domain)?;
    let request = read(&body)?;
    let (delivery, name) = (control.delivery.clone(), host.clone());
    let done = on_disk(move || delivery.unpause(&name)).await?;
    answer(
        &control,
        &operator,
        "queue resume",
        &host,
        done,
        request.reason.as_deref(),
    )
    .await
}

/// The paused destinations, for the summary and the status.
pub(crate) fn list<S: QueueStore>(delivery: &Delivery<S>) -> Vec<PausedView> {
    let paused = delivery.paused();
    paused
        .iter()
        .map(|(host, pause)| view(host, pause))
        .collect()
}

fn view(host: &Host, pause: &Pause) -> PausedView {
    PausedView {
        domain: host.to_string(),
        since: pause.since.rfc3339(),
        by: pause.by.to_string(),
        because: pause.reason.to_string(),
    }
}

/// What keeps mail back that would be tried else.
pub(crate) fn sentence(pause: &Pause) -> String {
    format!(
        "Paused by an operator ({}) since {}: {}",
        pause.by,
        pause.since.rfc3339(),
        pause.reason
    )
}

fn read(body: &[u8]) -> Result<PauseRequest, Problem> {
    if body.is_empty() {
        return Ok(PauseRequest::default());
    }
    serde_json::from_slice(body)
        .map_err(|e| Problem::bad_request(format!("the body is not a reason: {e}")))
}

/// What it has changed; and what the operator is to be told if the disk has not confirmed it.
async fn on_disk(
    work: impl FnOnce() -> Result<bool, PauseError> + Send + 'static,
) -> Result<(bool, Option<Problem>), Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    match done.map_err(|e| Problem::refused(format!("nothing is known of it: {e}")))? {
        Ok(changed) => Ok((changed, None)),
        Err(error @ PauseError::NotDurable(_)) => {
            Ok((true, Some(Problem::refused(error.to_string()))))
        }
        Err(error @ PauseError::NotWritten(_)) => Err(Problem::refused(error.to_string())),
    }
}

/// How many messages wait for a domain, and how many of them are held; while the index is rebuilt nobody knows.
pub(crate) async fn waiting<S: QueueStore>(
    control: &Control<S>,
    domain: String,
) -> Option<(u64, u64)> {
    let target = Target::Filter(Filter {
        domain: Some(domain.into()),
        ..Filter::default()
    });
    // Only counted.
    let release = outbound_queue::Edit::Release;
    let counted = control.queue.edit(&target, release, true, control.now());
    let counted = counted.await.ok()?;
    Some((counted.matched, counted.changed))
}

async fn answer<S: QueueStore>(
    control: &Control<S>,
    operator: &Operator,
    action: &str,
    host: &Host,
    (changed, doubt): (bool, Option<Problem>),
    reason: Option<&str>,
) -> Result<Json<PauseResult>, Problem> {
    let messages = waiting(control, host.to_string()).await.map(|(all, _)| all);
    control.daemon.audit(&Audit {
        at: control.now().wall,
        by: operator,
        action,
        target: &host.to_string(),
        matched: messages.unwrap_or_default(),
        reason,
        error: None,
    });
    if let Some(problem) = doubt {
        return Err(problem);
    }
    Ok(Json(PauseResult {
        domain: host.to_string(),
        changed,
        messages,
        paused: control
            .delivery
            .paused()
            .get(host)
            .map(|pause| view(host, pause)),
    }))
}
