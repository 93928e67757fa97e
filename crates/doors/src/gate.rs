//! The door while there is nothing behind it yet: a start with a large queue takes a while, and whoever asks
//! meanwhile is told that instead of waiting.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use admin::{Problem, ProblemKind, Ready, readiness_answer};
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use tower_service::Service as _;

/// What the start is at.
#[derive(Debug)]
pub struct Starting {
    since: Instant,
    stage: Mutex<&'static str>,
}

impl Starting {
    /// From now on.
    #[must_use]
    pub fn at(stage: &'static str) -> Arc<Self> {
        Arc::new(Self {
            since: Instant::now(),
            stage: Mutex::new(stage),
        })
    }

    /// What it is at now, as a sentence without its full stop.
    pub fn is_at(&self, stage: &'static str) {
        // Nothing panics with the lock in hand.
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    fn told(&self) -> String {
        let stage = *self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = self.since.elapsed().as_secs();
        format!("{stage} (it was started {seconds} s ago)")
    }
}

/// Answers for what is behind it: until that stands, that the relay is starting.
#[derive(Clone)]
pub struct Gate {
    starting: Arc<Starting>,
    grace: Duration,
    behind: Arc<watch::Sender<Option<Router>>>,
}

impl Gate {
    /// Closed.
    #[must_use]
    pub fn new(starting: Arc<Starting>) -> Self {
        Self {
            starting,
            grace: GRACE,
            behind: Arc::new(watch::Sender::new(None)),
        }
    }

    /// From now on everything goes through, also what was asked a moment ago.
    pub fn open(&self, router: Router) {
        self.behind.send_replace(Some(router));
    }

    /// What is served from the first moment on.
    pub fn router(&self) -> Router {
        let gate = self.clone();
        Router::new().fallback(move |request: Request| gate.clone().pass(request))
    }

    async fn pass(self, request: Request) -> Response {
        let mut behind = self.behind.subscribe();
        let stands = behind.borrow().clone();
        let router = match stands {
            Some(router) => Some(router),
            None => match self.probed(&request) {
                Some(response) => return response,
                // Most starts are over in a moment: then nobody need ask twice.
                None => {
                    let standing = behind.wait_for(Option::is_some);
                    let within = tokio::time::timeout(self.grace, standing).await;
                    within.ok().and_then(|stands| stands.ok()?.clone())
                }
            },
        };
        match router {
            Some(mut router) => {
                let Ok(response) = router.call(request).await;
                response
            }
            None => self.refusal().into_response(),
        }
    }

    /// Probes are answered at once.
    fn probed(&self, request: &Request) -> Option<Response> {
        match request.uri().path() {
            _ if !request.method().is_safe() => None,
            "/healthz" => Some((StatusCode::OK, "alive\n").into_response()),
            "/readyz" => {
                let why = format!("starting: {}", self.starting.told());
                let ready = Ready {
                    accepting: vec![why.clone()],
                    delivering: vec![why],
                    ..Ready::default()
                };
                Some(readiness_answer(&ready, request.headers()))
            }
            _ => None,
        }
    }

    fn refusal(&self) -> Problem {
        let detail = format!("{}; try again in a while", self.starting.told());
        Problem::new(ProblemKind::Starting, detail).retry_after(RETRY_AFTER)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("starting", &self.starting)
            .finish_non_exhaustive()
    }
}

/// How long what is asked waits for the relay to stand.
const GRACE: Duration = Duration::from_secs(2);
/// Seconds.
const RETRY_AFTER: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::header;

    fn gate(grace: Duration) -> Gate {
        let starting = Starting::at("the files are being read");
        starting.is_at("the queue is being opened");
        Gate {
            grace,
            ..Gate::new(starting)
        }
    }

    async fn ask(router: &Router, path: &str) -> (StatusCode, Option<String>, String) {
        let request = Request::builder()
            .uri(path)
            .header(header::HOST, "localhost")
            .body(Body::empty())
            .unwrap();
        let response = router.clone().call(request).await.unwrap();
        let status = response.status();
        let again = response.headers().get(header::RETRY_AFTER);
        let again = again.map(|value| value.to_str().unwrap().to_owned());
        let body = axum::body::to_bytes(response.into_body(), 10_000).await;
        let text = String::from_utf8(body.unwrap().to_vec()).unwrap();
        (status, again, text)
    }

    #[tokio::test]
    async fn while_it_starts_everybody_is_told_what_it_is_at() {
        let router = gate(Duration::ZERO).router();
        assert_eq!(ask(&router, "/healthz").await.0, StatusCode::OK);
        let (status, _, said) = ask(&router, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let no = "accepts mail: no: starting: the queue is being opened";
        assert!(said.contains(no), "{said}");
        for path in ["/v1/status", "/metrics", "/"] {
            let (status, again, said) = ask(&router, path).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(again.as_deref(), Some("5"), "{path}");
            assert!(said.contains("urn:sealpost:problem:starting"), "{said}");
            assert!(said.contains("the queue is being opened"), "{said}");
        }
    }

    #[tokio::test]
    async fn once_it_stands_what_is_behind_answers_also_who_asked_before() {
        let gate = gate(Duration::from_hours(1));
        let router = gate.router();
        let early = {
            let router = router.clone();
            tokio::spawn(async move { ask(&router, "/v1/status").await })
        };
        // One that is asked while it waits, if it comes to that: either way it gets the same answer.
        tokio::task::yield_now().await;
        let behind = axum::routing::get(|| async { "here" });
        gate.open(Router::new().route("/v1/status", behind));
        assert_eq!(early.await.unwrap().2, "here");
        assert_eq!(ask(&router, "/v1/status").await.2, "here");
        assert_eq!(ask(&router, "/healthz").await.0, StatusCode::NOT_FOUND);
    }
}
