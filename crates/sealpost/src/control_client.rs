//! The control API from the side of the commands: HTTP and JSON over the unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use admin::{ProblemDetails, ProblemKind, quoted};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::exit::{Failure, Status};

/// Asks the daemon behind one socket; a connection for each request.
#[derive(Clone, Debug)]
pub(crate) struct ControlClient {
    socket: PathBuf,
}

impl ControlClient {
    pub(crate) const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// `GET path?query`, as JSON.
    ///
    /// # Errors
    /// The daemon is not reachable, or says why not.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        is_of_a_length(path, query)?;
        self.request(Method::GET, &target(path, query), Bytes::new())
            .await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// The daemon is not reachable, or says why not.
    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, Failure> {
        is_of_a_length(path, &[])?;
        let body = serde_json::to_vec(body)
            .map_err(|error| Failure::new(Status::Software, error.to_string()))?;
        self.request(Method::POST, path, body.into()).await
    }

    async fn request(&self, method: Method, target: &str, body: Bytes) -> Result<Value, Failure> {
        let exchange = self.exchange(method, target, body);
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Failure::new(
                Status::Temporary,
                format!(
                    "the daemon behind {} does not answer",
                    self.socket.display()
                ),
            )),
        }
    }

    async fn exchange(&self, method: Method, target: &str, body: Bytes) -> Result<Value, Failure> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| unreachable_daemon(&self.socket, &error))?;
        let broken = |error: hyper::Error| {
            Failure::new(
                Status::Unavailable,
                format!(
                    "the daemon behind {} hung up: {error}",
                    self.socket.display()
                ),
            )
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(hyper::header::HOST, "localhost")
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Failure::new(Status::Usage, error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| Failure::new(Status::Unavailable, error.to_string()))?
            .to_bytes();
        connection.abort();
        if status.is_success() {
            parse(&body)
        } else {
            Err(refusal(status, &body))
        }
    }
}

/// The typed form of an answer.
///
/// # Errors
/// The daemon is of another version.
pub(crate) fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    T::deserialize(value).map_err(|error| not_understood(&error))
}

/// One segment of a path: nothing in it can end the segment.
pub(crate) fn segment(text: &str) -> String {
    encoded(text)
}

/// The path to what somebody has named: without a name it would be another path, and that is `wrong`.
pub(crate) fn path_to(parent: &str, name: &str, wrong: &str) -> Result<String, Failure> {
    if name.is_empty() {
        return Err(Failure::new(Status::Data, format!("\"\" is {wrong}")));
    }
    Ok(format!("{parent}/{}", segment(name)))
}

fn parse(body: &[u8]) -> Result<Value, Failure> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|error| not_understood(&error))
}

fn not_understood(error: &serde_json::Error) -> Failure {
    let version = env!("CARGO_PKG_VERSION");
    Failure::new(
        Status::Software,
        format!("the daemon's answer is not understood ({error}); is it of version {version} too?"),
    )
}

/// Problem details (RFC 9457) as one line.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let problem = serde_json::from_slice::<ProblemDetails>(body).ok();
    let code = match &problem {
        _ if status.is_server_error() => Status::Temporary,
        Some(problem) if is_of_an_option(problem) => Status::Usage,
        _ => Status::Data,
    };
    let message = match problem {
        Some(ProblemDetails {
            title,
            detail: Some(detail),
            ..
        }) => format!("{title}: {detail}"),
        Some(problem) => problem.title,
        None => format!("the daemon answered {status}"),
    };
    Failure::new(code, message)
}

/// Whether at fault is the value of an option: a slip on the command line as much as those that are
/// seen without the daemon. What no option sets (a cursor) is no slip of the user's.
fn is_of_an_option(problem: &ProblemDetails) -> bool {
    let key = problem.kind.strip_prefix("urn:sealpost:problem:");
    let parameter = problem.parameter.as_deref();
    key == Some(ProblemKind::InvalidRequest.key()) && parameter.is_some_and(|p| p != "cursor")
}

fn unreachable_daemon(socket: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "is `sealpost serve` running with the same configuration?"
        }
        io::ErrorKind::PermissionDenied => {
            "you may not use it: become root or a member of its group"
        }
        _ => "look at the daemon's log",
    };
    Failure::new(
        Status::Unavailable,
        format!(
            "the daemon is not reachable at {}: {error}; {remedy}",
            socket.display()
        ),
    )
}

/// What is longer than any name is not asked about: no request could carry it.
fn is_of_a_length(path: &str, query: &[(&str, String)]) -> Result<(), Failure> {
    let mut named = path.split('/').map(|part| (None, part));
    let mut asked = query
        .iter()
        .map(|(name, value)| (Some(*name), value.as_str()));
    let is_long = |(_, part): &(Option<&str>, &str)| part.len() > LONGEST_PART;
    let Some((name, part)) = named.find(is_long).or_else(|| asked.find(is_long)) else {
        return Ok(());
    };
    let option = name.map(|name| format!("--{name} ")).unwrap_or_default();
    let message = format!(
        "{option}{} is longer than any id, domain or address",
        quoted(part)
    );
    let status = name.map_or(Status::Data, |_| Status::Usage);
    Err(Failure::new(status, message))
}

fn target(path: &str, query: &[(&str, String)]) -> String {
    let mut target = path.to_owned();
    for (n, (name, value)) in query.iter().enumerate() {
        target.push(if n == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        target.push_str(&encoded(value));
    }
    target
}

/// Percent-encoding of everything but the unreserved characters (RFC 3986 section 2.3).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A policy may have to be fetched first, which takes a minute at most.
const PATIENCE: Duration = Duration::from_secs(75);
/// Octets of a domain or an id in a path, each with percent-encoding, or of a value in a query.
const LONGEST_PART: usize = 4096;
const MAX_ANSWER: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    use hyper::service::service_fn;
    use hyper::{Response, body::Incoming};
    use std::convert::Infallible;
    use tokio::net::UnixListener;

    /// Answers one connection with what it was asked, or with a problem.
    async fn daemon(listener: UnixListener) {
        let (stream, _) = listener.accept().await.unwrap();
        let answer = |request: Request<Incoming>| async move {
            let asked = request.uri().to_string();
            let response = if asked.starts_with("/v1/policies/") {
                let problem = r#"{"title":"no such policy","status":404,"detail":"a.example publishes none"}"#;
                Response::builder()
                    .status(404)
                    .body(Full::<Bytes>::from(problem))
            } else {
                let body = serde_json::json!({ "asked": asked }).to_string();
                Response::builder().body(Full::<Bytes>::from(body))
            };
            Ok::<_, Infallible>(response.unwrap())
        };
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service_fn(answer))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn what_is_longer_than_any_name_is_told_in_short_before_anything_is_asked() {
        let client = ControlClient::new("/nonexistent/control.sock".into());
        let long = "x".repeat(100_000);
        let path = format!("/v1/queue/{}", segment(&long));
        let query = [("limit", "5".to_owned()), ("sender", long)];
        let (path, listed) = (path.as_str(), "/v1/queue");
        for (refused, begins, status) in [
            (client.get(path, &[]).await, "\"xxx", Status::Data),
            (client.post(path, &()).await, "\"xxx", Status::Data),
            (
                client.get(listed, &query).await,
                "--sender \"xxx",
                Status::Usage,
            ),
        ] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.status, status);
            assert!(refused.message.starts_with(begins), "{refused}");
            assert!(refused.message.contains("(100000 characters)"), "{refused}");
            assert!(refused.message.len() < 250, "{refused}");
        }
    }

    #[test]
    fn h10_03_the_wrong_value_of_an_option_is_a_slip_on_the_command_line() {
        let refused = |key: &str, parameter: &str, status: u16| {
            let body = serde_json::json!({
                "type": format!("urn:sealpost:problem:{key}"), "title": "t", "status": status,
                "detail": "d", "parameter": Some(parameter).filter(|p| !p.is_empty()),
            });
            let status = StatusCode::from_u16(status).unwrap();
            refusal(status, body.to_string().as_bytes()).status
        };
        for parameter in ["reason", "state", "side", "sender"] {
            let status = refused("invalid-request", parameter, 400);
            assert_eq!(status, Status::Usage, "{parameter}");
        }
        // An id that is none is data, and nobody types a cursor.
        assert_eq!(refused("invalid-request", "", 400), Status::Data);
        assert_eq!(refused("invalid-request", "cursor", 400), Status::Data);
        assert_eq!(refused("unknown-parameter", "side", 400), Status::Data);
        assert_eq!(refused("unavailable", "reason", 503), Status::Temporary);
    }

    #[tokio::test]
    async fn answers_problems_and_absence_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        let client = ControlClient::new(socket.clone());

        let gone = client.get("/v1/status", &[]).await.unwrap_err();
        assert_eq!(gone.status, Status::Unavailable);
        assert!(
            gone.message.contains(&socket.display().to_string()),
            "{gone}"
        );

        let listener = UnixListener::bind(&socket).unwrap();
        let serving = tokio::spawn(daemon(listener));
        let query = [("sender", "a b&c@example".to_owned())];
        let answer = client.get("/v1/queue", &query).await.unwrap();
        assert_eq!(answer["asked"], "/v1/queue?sender=a%20b%26c%40example");
        serving.await.unwrap();

        std::fs::remove_file(&socket).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        let serving = tokio::spawn(daemon(listener));
        let path = format!("/v1/policies/{}", segment("a.example/../x"));
        let refused = client.get(&path, &[]).await.unwrap_err();
        assert_eq!(refused.status, Status::Data);
        assert_eq!(refused.message, "no such policy: a.example publishes none");
        serving.await.unwrap();
    }
}
