//! `/healthz`, `/readyz`, `/metrics`: for probes and scrapers; nothing of anybody's mail.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

/// What probes and scrapers ask.
pub trait Readiness: Send + Sync {
    /// What keeps us from accepting or delivering mail; empty if nothing.
    fn problems(&self) -> Vec<String>;

    /// What works less well than configured, without keeping us from anything.
    fn notes(&self) -> Vec<String>;

    /// The metrics as Prometheus text.
    fn metrics(&self) -> String;
}

/// The routes that `admin.http` serves without a token.
pub fn public_router(readiness: Arc<dyn Readiness>) -> Router {
    let (ready, metrics) = (Arc::clone(&readiness), readiness);
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route(
            "/readyz",
            get(move || async move { answer(&ready.problems(), &ready.notes()) }),
        )
        .route(
            "/metrics",
            get(move || async move { ([(header::CONTENT_TYPE, PROMETHEUS)], metrics.metrics()) }),
        )
}

fn answer(problems: &[String], notes: &[String]) -> impl IntoResponse + use<> {
    let notes: String = notes.iter().map(|note| format!("note: {note}\n")).collect();
    if problems.is_empty() {
        return (StatusCode::OK, format!("ready\n{notes}"));
    }
    let lines: String = problems.iter().map(|p| format!("{p}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines + &notes)
}

const PROMETHEUS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
