//! The description of everything under `/v1`.

use utoipa::OpenApi;

use crate::{api, check, feed, history, reasons, session};

/// The API as OpenAPI.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = admin::api_document();
    document.merge(Own::openapi());
    admin::refusals_as_problems(&mut document);
    document
}

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
