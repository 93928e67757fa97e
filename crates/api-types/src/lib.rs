//! The JSON of the control API, shared by the daemon that serves it and the commands that ask.
//!
//! Times are RFC 3339 in UTC, durations whole seconds, sizes bytes, domains A-labels. A field
//! that may be missing is `null`. Fields are only ever added.

mod types;

pub use types::{
    ActionRequest, ActionResult, AttemptView, CaseCount, CaseView, CertificateView, ClockView,
    ConfigChange, DestinationSummary, ExemptRequest, ExemptionView, Explanation, Filter,
    LastReloadView, ListenerView, LogLossView, LookupView, Page, PauseRequest, PauseResult,
    PausedView, PinRequest, PinView, PolicyDetail, PolicyView, ProblemDetails, QueueAction,
    QueueDetail, QueueItem, QueueSummary, ReasonSummary, RecentView, RecipientView, ReloadResult,
    ReportDetail, ReportView, ReportsView, Role, Section, SendReportsRequest, SendReportsResult,
    StatusView, TestingFailureView, TraceRequest, TraceView, TranscriptView,
};
