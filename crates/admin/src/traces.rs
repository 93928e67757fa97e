//! `/v1/traces`: everything about one domain, host or message goes to the log for a while.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::response::Json;
use mail_types::{Domain, QueueId};
use outbound_queue::QueueStore;

use crate::{Audit, Control, ProblemDetails, TraceRequest, TraceView};
use api_routes::Operator;
use api_routes::{Problem, quoted};

/// Traces that run.
#[utoipa::path(get, path = "/v1/traces", tag = "events", responses(
    (status = 200, description = "Until when each runs.", body = Vec<TraceView>),
))]
pub(crate) async fn list<S: QueueStore>(State(control): State<Control<S>>) -> Json<Vec<TraceView>> {
    Json(control.daemon.traces())
}

/// Begins one, or ends it. Answers with those that run.
#[utoipa::path(post, path = "/v1/traces", tag = "events", request_body = TraceRequest, responses(
    (status = 200, description = "Those that run now.", body = Vec<TraceView>),
    (status = 400, description = "Not an order for a trace.", body = ProblemDetails),
    (status = 404, description = "Nothing traces that.", body = ProblemDetails),
    (status = 409, description = "Ten run already.", body = ProblemDetails),
))]
pub(crate) async fn change<S: QueueStore>(
    State(control): State<Control<S>>,
    Extension(operator): Extension<Operator>,
    body: Bytes,
) -> Result<Json<Vec<TraceView>>, Problem> {
    let request: TraceRequest = serde_json::from_slice(&body)
        .map_err(|e| Problem::bad_request(format!("the body is no order for a trace: {e}")))?;
    let subject = subject(&request.subject)?;
    let action = match request.seconds {
        Some(seconds) if !(1..=LONGEST).contains(&seconds) => {
            return Err(Problem::bad_request(format!(
                "a trace runs for 1 second to 24 hours, not for {seconds} seconds"
            )));
        }
        Some(seconds) => {
            let span = Duration::from_secs(seconds);
            control
                .daemon
                .trace(&subject, span)
                .map_err(Problem::refused)?;
            "trace"
        }
        None => {
            if !control.daemon.end_trace(&subject) {
                return Err(Problem::not_found(format!("nothing traces {subject}")));
            }
            "trace --end"
        }
    };
    control.daemon.audit(&Audit {
        at: control.now().wall,
        by: &operator,
        action,
        target: &subject,
        matched: 1,
        reason: None,
        error: None,
    });
    Ok(Json(control.daemon.traces()))
}

/// A queue id as events have it, whichever form it was given in; a domain or host in A-label form.
fn subject(text: &str) -> Result<String, Problem> {
    if let Ok(id) = text.parse::<QueueId>() {
        return Ok(id.to_string());
    }
    Domain::parse(text).map(|d| d.to_string()).map_err(|e| {
        Problem::bad_request(format!(
            "{} is neither a queue id nor a domain or host: {e}",
            quoted(text)
        ))
    })
}

/// Seconds.
const LONGEST: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_traced_is_named_as_events_name_it() {
        // As Postfix's format writes the id, and as all others do.
        for text in ["00000000000A", "0000000000A"] {
            assert_eq!(subject(text).unwrap(), "00000000000A");
        }
        assert_eq!(subject("MX.D.test.").unwrap(), "mx.d.test");
        assert!(subject("no such thing").is_err());
    }
}
