//! The control API over the unix socket; metrics and health over HTTP.
//!
//! One router per audience: [`control_router`] for the commands (queue, policies, explanations,
//! status), reachable only through the control socket, whose file mode says who may; and
//! [`public_router`] with `/metrics`, `/healthz` and `/readyz`, which tell nothing of anybody's mail.
//! The JSON stands in [`types`](crate::Page), one definition for the daemon and the commands. Errors are problem details
//! (RFC 9457) that name what was wrong with the request.

mod control;
mod explain;
mod health;
mod local_rules;
mod metrics;
mod policies;
mod problem;
mod queue;
mod queue_view;
mod serve;
mod status;
mod traces;
mod types;

pub use control::{Audit, Control, Daemon, control_router};
pub use health::{Readiness, public_router};
pub use metrics::{
    ConnectionLimit, DaneResult, DnsResult, DnsSeries, DnsType, HistogramSnapshot, Label,
    LoginResult, Metrics, PolicyLookup, PolicyModes, QueueState, ReportResult, Resource,
    SessionResult, Snapshot, Stage, Store, TlsResult, TlsVersion, Usage, metrics_markdown,
};
pub use serve::{ServeError, serve_socket, serve_tcp};
pub use types::{
    ActionRequest, ActionResult, AttemptView, ConfigChange, DestinationSummary, ExemptRequest,
    ExemptionView, Explanation, Filter, ListenerView, Page, PinRequest, PinView, PolicyDetail,
    PolicyView, ProblemDetails, QueueAction, QueueDetail, QueueItem, QueueSummary, RecipientView,
    ReloadResult, Section, StatusView, TraceRequest, TraceView, TranscriptView,
};
