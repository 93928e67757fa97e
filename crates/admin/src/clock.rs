//! `/v1/clock`: whether the wall clock is doubted, and an operator's word that it is right.

use axum::extract::{Extension, State};
use axum::response::Json;
use outbound_queue::QueueStore;
use policy_cache::PolicyCache;

use crate::{Audit, ClockView, Control, PauseRequest, ProblemDetails};
use api_routes::Operator;
use api_routes::Problem;

/// The time by which mail and policies run out.
#[utoipa::path(get, path = "/v1/clock", tag = "process", responses(
    (status = 200, description = "The clock, and whether it is doubted.", body = ClockView),
))]
pub(crate) async fn show<S: QueueStore>(State(control): State<Control<S>>) -> Json<ClockView> {
    Json(view(&control.policies))
}

/// The machine's clock is right: nothing is held any longer.
#[utoipa::path(post, path = "/v1/clock/accept", tag = "process", request_body = PauseRequest, responses(
    (status = 200, description = "The clock now.", body = ClockView),
    (status = 400, description = "Not a reason.", body = ProblemDetails),
    (status = 409, description = "Nobody doubts the clock.", body = ProblemDetails),
))]
pub(crate) async fn accept<S: QueueStore>(
    State(control): State<Control<S>>,
    Extension(operator): Extension<Operator>,
    body: axum::body::Bytes,
) -> Result<Json<ClockView>, Problem> {
    let request: PauseRequest = if body.is_empty() {
        PauseRequest::default()
    } else {
        serde_json::from_slice(&body)
            .map_err(|e| Problem::bad_request(format!("the body is not a reason: {e}")))?
    };
    let order = control.order(&operator, request.reason.clone());
    if !control.policies.accept_clock(&order.by) {
        return Err(Problem::refused(
            "nobody doubts the clock: there is nothing to accept".to_owned(),
        ));
    }
    control.daemon.audit(&Audit {
        at: order.at,
        by: &operator,
        action: "clock accept",
        target: &order.at.rfc3339(),
        matched: 1,
        reason: request.reason.as_deref(),
        error: None,
    });
    Ok(Json(view(&control.policies)))
}

pub(crate) fn view(policies: &PolicyCache) -> ClockView {
    let held = policies.clock();
    ClockView {
        judged: held.map_or_else(|| policies.now(), |h| h.judged).rfc3339(),
        doubted: held.map(|h| h.wall.rfc3339()),
        steady: held.map(|h| h.steady.as_secs()),
    }
}
