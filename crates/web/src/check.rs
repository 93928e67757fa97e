//! `POST /v1/check/{domain}`: the audit of `sealpost check`, live.

use std::convert::Infallible;
use std::sync::Arc;

use admin::{Audit, Operator, Problem, quoted};
use audit::{Auditor, KnownPolicy, Progress};
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use mail_types::Domain;
use outbound_queue::QueueStore;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::api::Api;

/// Makes an auditor as the configuration is now; the error is in plain words. It reads files.
pub type MakeAuditor = Arc<dyn Fn() -> Result<Auditor, String> + Send + Sync>;

/// Runs audits, a few at a time.
pub struct Checker {
    make: MakeAuditor,
    places: Arc<Semaphore>,
}

impl Checker {
    /// None runs.
    #[must_use]
    pub fn new(make: MakeAuditor) -> Self {
        Self {
            make,
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

/// Audit a domain as `sealpost check` does. It answers with server-sent events: first some
/// `event: progress` whose `data` is `{"text": "…"}`, what has been done, for people; at the end one
/// `event: report` whose `data` is the JSON object that `sealpost check --json` prints (its fields are in
/// docs/check.md). Without a `report` the audit was broken off. It connects to the domain's hosts, so it needs the role admin.
#[utoipa::path(post, path = "/v1/check/{domain}", tag = "explain", params(
    ("domain" = String, Path, description = "Recipient domain."),
), responses(
    (status = 200, description = "`event: progress`, several times, and one `event: report`.",
        content_type = "text/event-stream", body = String,
        example = "event: progress\ndata: {\"text\":\"policy host asked\"}\n\nevent: report\ndata: {\"domain\":\"d.test\",\"ok\":true}\n\n"),
    (status = 400, description = "Not a whole domain name.", body = admin::ProblemDetails),
    (status = 503, description = "Enough audits are running.", body = admin::ProblemDetails),
))]
pub(crate) async fn check<S: QueueStore>(
    State(api): State<Api<S>>,
    Extension(operator): Extension<Operator>,
    Path(domain): Path<String>,
) -> Result<Response, Problem> {
    let domain = parse(&domain)?;
    let Ok(place) = Arc::clone(&api.checker.places).try_acquire_owned() else {
        let detail = format!("{AT_ONCE} checks are running; try again in a moment");
        return Err(Problem::unavailable(detail));
    };
    let make = Arc::clone(&api.checker.make);
    let auditor = tokio::task::spawn_blocking(move || make()).await;
    let auditor = auditor.map_err(|error| error.to_string()).flatten();
    let auditor = auditor.map_err(Problem::unavailable)?;
    let control = &api.control;
    control.daemon.audit(&Audit {
        at: control.now().wall,
        by: &operator,
        action: "check",
        target: domain.as_str(),
        matched: 1,
        reason: None,
        error: None,
    });
    let known = api.known(&domain);
    let (say, said) = unbounded_channel();
    // It ends within its own limit, whether or not somebody still listens.
    tokio::spawn(async move {
        let _place = place;
        run(&auditor, &domain, known, &say).await;
    });
    let next = |mut said: tokio::sync::mpsc::UnboundedReceiver<String>| async move {
        let text = said.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), said))
    };
    let head = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((head, Body::from_stream(unfold(said, next))).into_response())
}

/// A few dozen events at most: as many as there are addresses.
async fn run(
    auditor: &Auditor,
    domain: &Domain,
    known: Option<KnownPolicy>,
    say: &UnboundedSender<String>,
) {
    let progress = say.clone();
    let tell = move |step: Progress| {
        let text = json!({ "text": step.to_string() });
        // Nobody listens any more: the audit goes on to its end.
        let _ = progress.send(format!("event: progress\ndata: {text}\n\n"));
    };
    let report = auditor.check_watched(domain, known, &tell).await;
    let view = serde_json::to_string(&report.view()).unwrap_or_default();
    let _ = say.send(format!("event: report\ndata: {view}\n\n"));
}

fn parse(text: &str) -> Result<Domain, Problem> {
    let domain = Domain::parse(text)
        .map_err(|e| Problem::bad_request(format!("{} is no domain: {e}", quoted(text))))?;
    if !domain.is_fully_qualified() {
        let detail = format!("{text:?} is not fully qualified: write the whole domain name");
        return Err(Problem::bad_request(detail));
    }
    Ok(domain)
}

impl<S: QueueStore> Api<S> {
    /// What is stored of the domain's policy.
    fn known(&self, domain: &Domain) -> Option<KnownPolicy> {
        let stored = self.control.policies.show(domain)?.policy?;
        Some(KnownPolicy {
            id: stored.id.as_ref()?.as_str().to_owned(),
            text: stored.policy.text().to_owned(),
            fetched: stored.fetched_at.rfc3339(),
        })
    }
}

const AT_ONCE: usize = 2;
