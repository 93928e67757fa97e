//! `/v1/reasons`: what each reason means, from the one source.

use attempt::{Facts, Reason};
use axum::response::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// One reason for which mail waits or is returned.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReasonView {
    /// Its key, as in logs and filters.
    pub key: String,
    /// Enhanced status.
    pub dsn: String,
    /// Whose move it is: `recipient-admin`, `us` or `wait`.
    pub side: String,
    /// One sentence, for the domain `the domain`.
    pub sentence: String,
    /// The standard's clause.
    pub clause: String,
    /// What it means, in paragraphs.
    pub explanation: Vec<String>,
    /// What to do, for the domain `the recipient's domain`.
    pub advice: String,
}

/// What each reason means.
#[utoipa::path(get, path = "/v1/reasons", tag = "explain", responses(
    (status = 200, description = "Every reason.", body = Vec<ReasonView>),
))]
pub(crate) async fn list() -> Json<Vec<ReasonView>> {
    Json(Reason::ALL.iter().map(|reason| view(*reason)).collect())
}

fn view(reason: Reason) -> ReasonView {
    let facts = Facts {
        domain: "the recipient's domain",
        ..Facts::default()
    };
    ReasonView {
        key: reason.key().to_owned(),
        dsn: reason.status().to_string(),
        side: reason.side().key().to_owned(),
        sentence: reason.sentence(&Facts {
            domain: "the domain",
            ..facts
        }),
        clause: reason.clause().to_owned(),
        explanation: reason
            .explanation()
            .iter()
            .map(|p| (*p).to_owned())
            .collect(),
        advice: reason.advice(&facts),
    }
}
