//! Everything that `admin.http` serves.

use std::sync::Arc;
use std::time::Duration;

use admin::{Problem, ProblemKind, Readiness, Routes, public_router};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::access::Access;
use crate::{guard, headers, page, session};

/// Probes and metrics for everybody; the page and the API (`None` while the policy store is lost)
/// behind `access`. To be served as [`guarded`].
pub fn http_router(
    readiness: Arc<dyn Readiness>,
    api: Option<Routes<()>>,
    access: &Access,
) -> Router {
    let rest = match api {
        Some(api) => api.into_router(),
        None => Router::new().fallback(no_api),
    };
    let api = session::routes(access.clone())
        .into_open_router()
        .fallback_service(rest)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn(limits))
        .layer(from_fn_with_state(access.clone(), guard::login));
    public_router(readiness)
        .merge(page::router(access.clone()))
        .fallback_service(api)
}

/// For whatever is served over HTTP: only under names that are ours, and with the headers that keep browsers to it.
pub fn guarded(router: Router, access: &Access) -> Router {
    router
        .layer(from_fn_with_state(access.clone(), guard::host))
        .layer(from_fn(headers::add))
}

async fn no_api() -> Problem {
    Problem::unavailable(
        "the policy store is lost and mail is held; /readyz says more, `sealpost serve --dangerous-lose-policies` ends it",
    )
}

/// No request is large, and none takes for ever.
async fn limits(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY) {
        let detail = "a request has a body of 1 MiB at most; name fewer messages at a time";
        return Problem::new(ProblemKind::TooLarge, detail).into_response();
    }
    match tokio::time::timeout(LONGEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!(
                "no answer within {} s; what acts goes on to its end, and the log tells of it (admin.action)",
                LONGEST.as_secs()
            );
            Problem::new(ProblemKind::TimeLimit, detail).into_response()
        }
    }
}

/// Octets of a request's body.
const BODY: usize = 1 << 20;
/// Until an answer begins. A policy may have to be fetched first, which takes a minute at most.
const LONGEST: Duration = Duration::from_secs(75);
