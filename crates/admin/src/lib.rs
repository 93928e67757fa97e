//! The control API over the unix socket; health, and the text of the metrics, over HTTP.
//!
//! [`control_routes`] is the API on queue, policies, explanations and status. It is served on the
//! control socket, whose file mode says who may, and by the crate `web` over HTTP to those who have a
//! token; whoever serves it says who asks ([`Operator`]), and the role is looked at in one place.
//! [`public_router`] has `/metrics`, `/healthz` and `/readyz`, which tell nothing of anybody's mail.
//! The JSON stands in the crate `api-types`, one definition for the daemon and the commands. Errors are problem details
//! (RFC 9457) that name what was wrong with the request. [`api_document`] describes all of it.

mod actions;
mod clock;
mod control;
mod explain;
mod health;
mod kept_back;
mod local_rules;
mod openapi;
mod paused;
mod policies;
mod queue;
mod queue_view;
mod reports;
mod status;
mod summary_view;
mod traces;

pub use api_routes::{Operator, Problem, ProblemKind, Route, Routes, quoted, refusals_as_problems};
pub use api_types::{
    ActionRequest, ActionResult, AttemptView, CaseCount, CaseView, CertificateView, ClockView,
    ConfigChange, DestinationSummary, ExemptRequest, ExemptionView, Explanation, Filter,
    LastReloadView, ListenerView, LogLossView, LookupView, Page, PauseRequest, PauseResult,
    PausedView, PinRequest, PinView, PolicyDetail, PolicyView, ProblemDetails, QueueAction,
    QueueDetail, QueueItem, QueueSummary, ReasonSummary, RecentView, RecipientView, ReloadResult,
    ReportDetail, ReportView, ReportsView, Role, Section, SendReportsRequest, SendReportsResult,
    StatusView, TestingFailureView, TraceRequest, TraceView, TranscriptView,
};
pub use control::{Audit, Control, Daemon, control_routes, control_table};
pub use health::{Readiness, Ready, public_router, readiness_answer};
pub use openapi::api_document;
pub use reports::REPORT_STATES;
