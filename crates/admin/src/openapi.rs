//! The description of the API (OpenAPI), made from the handlers.

use api_routes::refusals_as_problems;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as OpenApiDocument;

use crate::{
    actions, clock, control, explain, local_rules, paused, policies, queue, reports, status, traces,
};

/// What [`control_routes`](crate::control_routes) serves. Whoever adds routes merges theirs, and sees to
/// their [refusals](refusals_as_problems) too.
#[must_use]
pub fn api_document() -> OpenApiDocument {
    let mut document = Document::openapi();
    refusals_as_problems(&mut document);
    document
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sealpost",
        description = "The control API, over the control socket and over admin.http. Times are RFC 3339 in UTC, \
            durations whole seconds, sizes octets. Every refusal is application/problem+json (RFC 9457) \
            whose `type` never changes. Over HTTP a request needs a token (`Authorization: Bearer`) or a \
            session; what changes anything needs the role admin."
    ),
    paths(
        queue::list,
        queue::show,
        queue::summary,
        actions::act,
        policies::list,
        policies::show,
        policies::refresh,
        policies::forget,
        local_rules::pin,
        paused::pause,
        paused::resume,
        reports::list,
        reports::show,
        reports::send,
        clock::show,
        clock::accept,
        local_rules::exempt,
        explain::explain,
        status::status,
        control::reload,
        traces::list,
        traces::change,
    )
)]
struct Document;
