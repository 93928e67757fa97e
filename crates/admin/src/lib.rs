//! Control API over the unix socket, metrics and health.

mod types;

pub use types::{
    ActionRequest, ActionResult, AttemptView, DestinationSummary, Explanation, Filter, ListenerView,
    Page, PolicyDetail, PolicyView, ProblemDetails, QueueAction, QueueDetail, QueueItem,
    QueueSummary, RecipientView, ReloadResult, StatusView,
};
