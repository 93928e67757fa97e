//! Refusals in the description of the API (OpenAPI).

use utoipa::openapi::{OpenApi, RefOr};

/// Gives every refusal the media type that it has: [`Problem`](crate::Problem) is all that refuses, so it is
/// said here once and not at each handler.
pub fn refusals_as_problems(document: &mut OpenApi) {
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
