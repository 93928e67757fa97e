//! The description of everything under `/v1`.

use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, Response, ResponseBuilder};

use crate::guard::SESSION;
use crate::{api, check, feed, history, reasons, session};

/// The API as OpenAPI.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = admin::api_document();
    document.merge(Own::openapi());
    admin::refusals_as_problems(&mut document);
    for (path, item) in &mut document.paths.paths {
        // It is what logs in.
        if let Some(log_in) = item.post.as_mut().filter(|_| path == SESSION) {
            log_in.security = Some(vec![SecurityRequirement::default()]);
        }
        let looks = [&mut item.get, &mut item.head];
        let acts = [
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        for operation in looks.into_iter().flatten() {
            refusals_over_http(operation, false);
        }
        for operation in acts.into_iter().flatten() {
            refusals_over_http(operation, true);
        }
    }
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", bearer);
    // Over the control socket nothing is asked for: who may open it may do everything.
    let token = SecurityRequirement::new("token", [""; 0]);
    document.security = Some(vec![token, SecurityRequirement::default()]);
    document
}

/// What stands before every route over HTTP may refuse any request: said here once, and not at each handler.
fn refusals_over_http(operation: &mut Operation, acts: bool) {
    for (status, when) in REFUSALS {
        // What only looks is open to every role, and may come from anywhere.
        if status == "403" && !acts {
            continue;
        }
        let described = &mut operation.responses.responses;
        described
            .entry(status.to_owned())
            .or_insert_with(|| refusal(when).into());
    }
}

fn refusal(when: &str) -> Response {
    let problem = Content::new(Some(Ref::from_schema_name("ProblemDetails")));
    ResponseBuilder::new()
        .description(when)
        .content("application/problem+json", problem)
        .build()
}

/// By status, with when it comes.
const REFUSALS: [(&str, &str); 7] = [
    (
        "400",
        "The request is not well-formed, or names a parameter that there is not.",
    ),
    ("401", "Over HTTP: neither a good token nor a session."),
    (
        "403",
        "Over HTTP: the role is read, or the request did not come from the page.",
    ),
    ("413", "The body is too large."),
    ("421", "Over HTTP: `Host` is no name of this server."),
    ("429", "Over HTTP: too many logins from there have failed."),
    ("503", "It cannot be answered now, or not in time."),
];

#[derive(OpenApi)]
#[openapi(paths(
    history::show,
    feed::stream,
    feed::of_policy,
    check::check,
    reasons::list,
    api::describe,
    session::show,
    session::log_in,
    session::log_out,
))]
struct Own;
