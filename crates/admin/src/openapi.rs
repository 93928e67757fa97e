//! The description of the API (OpenAPI), made from the handlers.

use utoipa::OpenApi;
use utoipa::openapi::{OpenApi as OpenApiDocument, RefOr};

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

/// Gives every refusal the media type that it has: [`Problem`](crate::Problem) is all that refuses, so it is
/// said here once and not at each handler.
pub fn refusals_as_problems(document: &mut OpenApiDocument) {
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        for operation in operations.into_iter().flatten() {
            for (status, response) in &mut operation.responses.responses {
                if let RefOr::T(response) = response
                    && status.starts_with(['4', '5'])
                    && let Some(content) = response.content.shift_remove("application/json")
                {
                    let content_type = "application/problem+json".to_owned();
                    response.content.insert(content_type, content);
                }
            }
        }
    }
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
