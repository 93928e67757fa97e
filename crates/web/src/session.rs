//! `/v1/session`: log in, who am I, log out. Over HTTP only.

use admin::{Operator, Problem, ProblemDetails, Role, Routes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Access;
use crate::guard::{Ends, SESSION};
use crate::sessions::Session;

/// `POST /v1/session`: one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginRequest {
    /// A token of the token file.
    #[serde(default)]
    token: Option<String>,
    /// The secret of the link that was printed at start.
    #[serde(default)]
    link: Option<String>,
}

/// Who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// The token's name.
    name: String,
    /// What it may do.
    role: Role,
    /// What a session has to repeat in the header `X-Sealpost-CSRF` to act; `null` with a token.
    csrf: Option<String>,
    /// Seconds until the session ends, whatever is done; `null` with a token.
    ends_in: Option<u64>,
}

pub(crate) fn routes(access: Access) -> Routes<()> {
    open().with_state(access)
}

fn open() -> Routes<Access> {
    Routes::new()
        .get(SESSION, &[], show)
        .post(SESSION, &[], log_in)
        .delete(SESSION, &[], log_out)
}

/// Log in with a token: the answer sets a cookie.
#[utoipa::path(post, path = "/v1/session", tag = "session", request_body = LoginRequest, responses(
    (status = 200, description = "Logged in.", body = SessionView),
    (status = 400, description = "Neither a token nor a link.", body = ProblemDetails),
    (status = 401, description = "Not a good one.", body = ProblemDetails),
    (status = 429, description = "Too many failed.", body = ProblemDetails),
))]
pub(crate) async fn log_in(
    State(access): State<Access>,
    Extension(ends): Extension<Ends>,
    body: Bytes,
) -> Result<Response, Problem> {
    let request: LoginRequest = serde_json::from_slice(&body)
        .map_err(|_| Problem::bad_request("the body is not {\"token\": \"…\"}"))?;
    let address = ends.peer.ip();
    let opened = match (&request.token, &request.link) {
        (Some(token), None) => access.log_in(token, address)?,
        (None, Some(link)) => access.follow(link, address)?,
        _ => return Err(Problem::bad_request("give either token or link")),
    };
    let view = view(&access, &opened.session);
    let cookie = [(header::SET_COOKIE, access.set_cookie(Some(&opened)))];
    Ok((cookie, Json(view)).into_response())
}

/// Who am I?
#[utoipa::path(get, path = "/v1/session", tag = "session", responses(
    (status = 200, description = "This session or token.", body = SessionView),
    (status = 401, description = "Nobody.", body = ProblemDetails),
))]
pub(crate) async fn show(
    State(access): State<Access>,
    Extension(operator): Extension<Operator>,
    session: Option<Extension<Session>>,
) -> Json<SessionView> {
    Json(match session {
        Some(Extension(session)) => view(&access, &session),
        None => SessionView {
            name: match &operator {
                Operator::Http { name, .. } => name.to_string(),
                Operator::Socket { .. } => operator.name(),
            },
            role: operator.role(),
            csrf: None,
            ends_in: None,
        },
    })
}

/// Log out: the session ends.
#[utoipa::path(delete, path = "/v1/session", tag = "session", responses(
    (status = 204, description = "Logged out."),
    (status = 401, description = "Nobody was logged in.", body = ProblemDetails),
))]
pub(crate) async fn log_out(
    State(access): State<Access>,
    Extension(operator): Extension<Operator>,
    Extension(ends): Extension<Ends>,
    headers: HeaderMap,
) -> Response {
    access.log_out(&headers, &operator, ends.peer.ip());
    let cookie = [(header::SET_COOKIE, access.set_cookie(None))];
    (StatusCode::NO_CONTENT, cookie).into_response()
}

fn view(access: &Access, session: &Session) -> SessionView {
    SessionView {
        name: session.name.to_string(),
        role: session.role,
        csrf: Some(session.csrf.clone()),
        ends_in: Some(access.left(session)),
    }
}

#[cfg(test)]
pub(crate) fn table() -> Vec<admin::Route> {
    open().table().to_vec()
}
