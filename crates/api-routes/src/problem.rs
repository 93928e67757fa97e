//! Errors of the API: problem details (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use outbound_queue::QueueError;
use policy_cache::CacheError;

use api_types::ProblemDetails;

/// What is wrong, for programs: `type` is `urn:sealpost:problem:KEY`, and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The request cannot be understood.
    InvalidRequest,
    /// A query parameter that this route does not know.
    UnknownParameter,
    /// There is no such message, policy or route.
    NotFound,
    /// The route exists, but not for this method.
    MethodNotAllowed,
    /// Understood and refused: it would be wrong, or is not confirmed.
    Refused,
    /// It cannot be done now.
    Unavailable,
    /// It took too long.
    TimeLimit,
    /// The relay is still starting.
    Starting,
    /// Nobody has logged in, or not with a good token.
    Unauthorized,
    /// The role does not allow it.
    Forbidden,
    /// The request names a host that is not this one.
    WrongHost,
    /// The request was sent by a page of another site, or without its session's secret.
    WrongOrigin,
    /// Too many failed logins from this address.
    Throttled,
    /// The request's body is too large.
    TooLarge,
}

impl ProblemKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::InvalidRequest,
        Self::UnknownParameter,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Refused,
        Self::Unavailable,
        Self::TimeLimit,
        Self::Starting,
        Self::Unauthorized,
        Self::Forbidden,
        Self::WrongHost,
        Self::WrongOrigin,
        Self::Throttled,
        Self::TooLarge,
    ];

    /// The end of `type`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        self.row().0
    }

    const fn status(self) -> StatusCode {
        self.row().1
    }

    const fn title(self) -> &'static str {
        self.row().2
    }

    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::InvalidRequest => (
                "invalid-request",
                StatusCode::BAD_REQUEST,
                "the request is not valid",
            ),
            Self::UnknownParameter => (
                "unknown-parameter",
                StatusCode::BAD_REQUEST,
                "there is no such parameter",
            ),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "there is no such thing"),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "not with this method",
            ),
            Self::Refused => ("refused", StatusCode::CONFLICT, "refused"),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "not now"),
            Self::TimeLimit => (
                "time-limit",
                StatusCode::SERVICE_UNAVAILABLE,
                "it took too long",
            ),
            Self::Starting => (
                "starting",
                StatusCode::SERVICE_UNAVAILABLE,
                "the relay is still starting",
            ),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "not logged in"),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "not allowed"),
            Self::WrongHost => (
                "wrong-host",
                StatusCode::MISDIRECTED_REQUEST,
                "not the name of this server",
            ),
            Self::WrongOrigin => (
                "wrong-origin",
                StatusCode::FORBIDDEN,
                "not sent by this server's own page",
            ),
            Self::Throttled => (
                "throttled",
                StatusCode::TOO_MANY_REQUESTS,
                "too many failed logins",
            ),
            Self::TooLarge => (
                "too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "the request is too large",
            ),
        }
    }

    /// For a refusal that says no more than its status.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|kind| kind.status() == status);
        known.or_else(|| match status {
            _ if status.is_client_error() => Some(Self::InvalidRequest),
            _ if status.is_server_error() => Some(Self::Unavailable),
            _ => None,
        })
    }

    pub(crate) const fn usual_detail(self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "the header Allow names the methods that this route has",
            Self::TooLarge => {
                "a request has a body of 1 MiB at most; name fewer messages at a time"
            }
            Self::InvalidRequest
            | Self::UnknownParameter
            | Self::NotFound
            | Self::Refused
            | Self::Unavailable
            | Self::TimeLimit
            | Self::Starting
            | Self::Unauthorized
            | Self::Forbidden
            | Self::WrongHost
            | Self::WrongOrigin
            | Self::Throttled => "see /v1/openapi.json for what there is",
        }
    }
}

/// What somebody has given, in quotation marks: of something very long only the beginning.
#[must_use]
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        None => format!("{text:?}"),
        Some((end, _)) => {
            let (begin, length) = (&text[..end], text.chars().count());
            format!("{begin:?}… ({length} characters)")
        }
    }
}

/// Characters.
const LONGEST_QUOTE: usize = 100;

/// A refusal, with what is wrong this time and the remedy.
#[derive(Debug)]
pub struct Problem {
    kind: ProblemKind,
    detail: String,
    parameter: Option<String>,
    retry_after: Option<u64>,
}

impl Problem {
    /// Says what is wrong this time and what to do.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            parameter: None,
            retry_after: None,
        }
    }

    /// With `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The request cannot be understood.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::InvalidRequest, detail)
    }

    pub(crate) fn unknown_parameter(name: &str, known: &[&str]) -> Self {
        let known = match known {
            [] => "it has none".to_owned(),
            known => format!("it has {}", known.join(", ")),
        };
        Self {
            parameter: Some(name.to_owned()),
            ..Self::new(
                ProblemKind::UnknownParameter,
                format!("this route has no parameter {}; {known}", quoted(name)),
            )
        }
    }

    /// A parameter has a value that it cannot have.
    #[must_use]
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self {
            parameter: Some(name.to_owned()),
            ..Self::bad_request(detail)
        }
    }

    /// The same, and at fault is the value of this parameter.
    #[must_use]
    pub fn of_parameter(self, name: &str) -> Self {
        Self {
            parameter: Some(name.to_owned()),
            ..self
        }
    }

    /// The parameter that is at fault, if it is one.
    #[must_use]
    pub fn named_parameter(&self) -> Option<&str> {
        self.parameter.as_deref()
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::NotFound, detail)
    }

    /// Says more.
    #[must_use]
    pub fn also(mut self, more: &str) -> Self {
        self.detail = format!("{}; {more}", self.detail);
        self
    }

    /// Understood and refused.
    #[must_use]
    pub fn refused(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Refused, detail)
    }

    /// Not now.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Unavailable, detail)
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
        let status = self.kind.status();
        let body = ProblemDetails {
            kind: format!("urn:sealpost:problem:{}", self.kind.key()),
            title: self.kind.title().to_owned(),
            status: status.as_u16(),
            detail: Some(self.detail),
            parameter: self.parameter,
        };
        // Strings and a number: this cannot fail; an empty body would still carry the status.
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, kind, json).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == ProblemKind::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_something_very_long_the_beginning_is_told() {
        assert_eq!(quoted("a\u{1b}b"), r#""a\u{1b}b""#);
        assert_eq!(quoted(&"ä".repeat(100)), format!("\"{}\"", "ä".repeat(100)));
        let long = quoted(&"ä".repeat(100_000));
        assert_eq!(
            long,
            format!("\"{}\"… (100000 characters)", "ä".repeat(100))
        );
    }
}
