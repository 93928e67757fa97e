//! Errors of the API: problem details (RFC 9457).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use outbound_queue::QueueError;
use policy_cache::CacheError;

use crate::ProblemDetails;

/// A refusal, with what is wrong this time and the remedy.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
}

impl Problem {
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            title: "the request is not valid",
            detail: detail.into(),
        }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            title: "there is no such thing",
            detail: detail.into(),
        }
    }

    pub(crate) fn refused(detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::CONFLICT,
            title: "refused",
            detail: detail.into(),
        }
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            title: "not now",
            detail: detail.into(),
        }
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        let detail = error.to_string();
        match error {
            QueueError::NotFound(_) => Self::not_found(detail),
            QueueError::StaleLease(_) => Self::refused(detail),
            QueueError::Misuse(_) => Self::bad_request(detail),
            _ => Self::unavailable(detail),
        }
    }
}

impl From<CacheError> for Problem {
    fn from(error: CacheError) -> Self {
        let detail = error.to_string();
        match error {
            CacheError::Unknown(_) => Self::not_found(detail),
            CacheError::Store(_) => Self::unavailable(detail),
            _ => Self::refused(detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemDetails {
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: Some(self.detail),
        };
        // Strings and a number: this cannot fail; an empty body would still carry the status.
        let json = serde_json::to_vec(&body).unwrap_or_default();
        (
            self.status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            json,
        )
            .into_response()
    }
}
