//! TLS reports (RFC 8460).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One report in `GET /v1/reports`: of one day (UTC) to one policy domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportView {
    /// The day, as in `2026-03-01`.
    pub day: String,
    /// The policy domain.
    pub domain: String,
    /// `collecting`: the day is not over. `pending`: it is to be sent. `sent`. `dropped`: nobody takes it.
    pub state: String,
    /// Sessions whose TLS was as the policy demands.
    pub successes: u64,
    /// Sessions whose TLS was not, and fetches of the policy that failed.
    pub failures: u64,
    /// The report's id (RFC 8460 section 4.4), once it has one.
    pub report_id: Option<String>,
    /// Where it went: one of the URIs that the domain publishes (`rua`).
    pub to: Option<String>,
    /// How often it was tried to be sent.
    pub attempts: u64,
    /// When it is tried next.
    pub next_attempt: Option<String>,
    /// Why the last attempt failed, or why it was dropped.
    pub detail: Option<String>,
    /// When it came into this state.
    pub at: Option<String>,
}

/// `GET /v1/reports/{domain}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportDetail {
    /// As in the list.
    #[serde(flatten)]
    pub view: ReportView,
    /// The report as it was sent, or would be (RFC 8460 section 4.4).
    #[schema(value_type = Object)]
    pub report: serde_json::Value,
}

/// `POST /v1/reports/send`: pending reports are due at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SendReportsRequest {
    /// Only those to this policy domain.
    pub domain: Option<String>,
    /// Only those of this day, as in `2026-03-01`.
    pub day: Option<String>,
    /// For the audit log.
    pub reason: Option<String>,
}

/// The answer to [`SendReportsRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SendReportsResult {
    /// Reports that are due now. They go out behind the answer: the list says what became of them.
    pub due: u64,
}

/// TLS reports in [`StatusView`](super::StatusView).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportsView {
    /// Policy domains of which there are counts of today.
    pub collecting: u64,
    /// Reports of days that are over and are to be sent.
    pub pending: u64,
    /// Of those, the ones that were tried in vain so far.
    pub failing: u64,
}
