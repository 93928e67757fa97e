//! `/healthz`, `/readyz`, `/metrics`: for probes and scrapers; nothing of anybody's mail.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics::negotiated;
use serde::Serialize;

/// What probes and scrapers ask.
pub trait Readiness: Send + Sync {
    /// Whether mail is accepted and delivered, and why not.
    fn readiness(&self) -> Ready;

    /// The metrics as OpenMetrics.
    fn metrics(&self) -> String;
}

/// What keeps the relay from its work, in plain words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Why no mail is accepted; empty if it is.
    pub accepting: Vec<String>,
    /// Why mail waits that would be delivered otherwise; empty if it does not.
    pub delivering: Vec<String>,
    /// What works less well than configured, without keeping us from anything.
    pub notes: Vec<String>,
}

impl Ready {
    /// Nothing keeps us from either.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.accepting.is_empty() && self.delivering.is_empty()
    }

    /// Each reason once: one that stands in the way of both is told once.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut all = self.accepting.clone();
        let more = self.delivering.iter().filter(|p| !all.contains(p));
        let more: Vec<String> = more.cloned().collect();
        all.extend(more);
        all
    }
}

/// The routes that `admin.http` serves without a token.
pub fn public_router(readiness: Arc<dyn Readiness>) -> Router {
    let (ready, metrics) = (Arc::clone(&readiness), readiness);
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route(
            "/readyz",
            get(move |headers: HeaderMap| async move { readiness_answer(&ready.readiness(), &headers) }),
        )
        .route(
            "/metrics",
            get(move |headers: HeaderMap| async move {
                let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
                let (kind, text) = negotiated(accept, metrics.metrics());
                ([(header::CONTENT_TYPE, kind)], text)
            }),
        )
}

/// Text, a line for each question; JSON for who asks for it.
pub fn readiness_answer(ready: &Ready, headers: &HeaderMap) -> Response {
    let status = match ready.is_ready() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let wanted = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    if wanted.is_some_and(|types| types.contains("application/json")) {
        return (status, axum::Json(Answer::of(ready))).into_response();
    }
    let mut text = String::from(match ready.is_ready() {
        true => "ready\n",
        false => "not ready\n",
    });
    for (what, problems) in [
        ("accepts mail", &ready.accepting),
        ("delivers mail", &ready.delivering),
    ] {
        // Writing to a string does not fail.
        let _ = match problems.as_slice() {
            [] => writeln!(text, "{what}: yes"),
            some => writeln!(text, "{what}: no: {}", some.join("; ")),
        };
    }
    for note in &ready.notes {
        let _ = writeln!(text, "note: {note}");
    }
    (status, text).into_response()
}

#[derive(Serialize)]
struct Answer<'a> {
    ready: bool,
    accepts: Part<'a>,
    delivers: Part<'a>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Part<'a> {
    ok: bool,
    reasons: &'a [String],
}

impl<'a> Answer<'a> {
    fn of(ready: &'a Ready) -> Self {
        let part = |reasons: &'a [String]| Part {
            ok: reasons.is_empty(),
            reasons,
        };
        Self {
            ready: ready.is_ready(),
            accepts: part(&ready.accepting),
            delivers: part(&ready.delivering),
            notes: &ready.notes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_concerns_both_is_told_once() {
        let both = "the store failed".to_owned();
        let ready = Ready {
            accepting: vec![both.clone()],
            delivering: vec![both.clone(), "policies are lost".to_owned()],
            notes: Vec::new(),
        };
        assert!(!ready.is_ready());
        assert_eq!(ready.problems(), [both, "policies are lost".to_owned()]);
        assert!(Ready::default().is_ready());
    }
}
