//! The control API's router, and what it needs of the daemon.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Json;
use axum::routing::{get, post};
use delivery::Delivery;
use mail_types::{QueueId, Timestamp};
use outbound_queue::{Now, QueueStore};
use policy_cache::{Clock, Order, PolicyCache};

use crate::problem::Problem;
use crate::{
    ListenerView, ReloadResult, TraceView, explain, local_rules, policies, queue, status, traces,
};

/// What the API acts on. Cloning shares.
pub struct Control<S> {
    /// The queue.
    pub queue: Arc<S>,
    /// The engine.
    pub delivery: Delivery<S>,
    /// Policies.
    pub policies: PolicyCache,
    /// Wall and monotonic clock.
    pub clock: Arc<dyn Clock>,
    /// The process around it.
    pub daemon: Arc<dyn Daemon>,
}

/// What the API asks of the process around it.
pub trait Daemon: Send + Sync {
    /// Our host name.
    fn hostname(&self) -> String;

    /// When the process began to serve.
    fn started(&self) -> Timestamp;

    /// Listeners with their clients.
    fn listeners(&self) -> Vec<ListenerView>;

    /// DNSSEC as in effect.
    fn dnssec(&self) -> &'static str;

    /// Bytes free on the data directory's file system.
    fn free_bytes(&self) -> u64;

    /// Recipients sent, deferred and bounced since the start.
    fn counts(&self) -> (u64, u64, u64);

    /// What keeps us from accepting or delivering; empty if nothing.
    fn problems(&self) -> Vec<String>;

    /// Reads the configuration again: all or nothing.
    ///
    /// # Errors
    /// What is wrong with it; the old one stays in force.
    fn reload(&self) -> Result<ReloadResult, String>;

    /// Traces a domain, host or message for a while.
    ///
    /// # Errors
    /// Too many traces run.
    fn trace(&self, subject: &str, span: std::time::Duration) -> Result<(), String>;

    /// Ends a trace. False if there is none.
    fn end_trace(&self, subject: &str) -> bool;

    /// Traces that run.
    fn traces(&self) -> Vec<TraceView>;

    /// An operator has cancelled this message, which had this id at the upstream server.
    fn cancelled(&self, id: QueueId, upstream_id: Option<&str>);

    /// An operator did something: who, what, to how many, and why. Goes to the log.
    fn audit(&self, audit: &Audit<'_>);
}

/// Something that an operator did.
#[derive(Clone, Copy, Debug)]
pub struct Audit<'a> {
    /// When.
    pub at: Timestamp,
    /// User id of the control socket's peer.
    pub uid: Option<u32>,
    /// What, for instance `queue retry`.
    pub action: &'a str,
    /// To what.
    pub target: &'a str,
    /// How many it concerned.
    pub matched: u64,
    /// The reason given.
    pub reason: Option<&'a str>,
}

/// Who is at the other end of the control socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operator(pub(crate) Option<u32>);

impl<S> Clone for Control<S> {
    fn clone(&self) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            delivery: self.delivery.clone(),
            policies: self.policies.clone(),
            clock: Arc::clone(&self.clock),
            daemon: Arc::clone(&self.daemon),
        }
    }
}

impl<S> Control<S> {
    pub(crate) fn now(&self) -> Now {
        Now {
            wall: self.clock.wall(),
            monotonic: self.clock.monotonic(),
        }
    }

    pub(crate) fn order(&self, operator: Operator, reason: Option<String>) -> Order {
        let by = operator
            .0
            .map_or_else(|| "unknown user".to_owned(), |uid| format!("uid {uid}"));
        Order {
            by,
            reason: reason.unwrap_or_else(|| "no reason given".to_owned()),
            at: self.clock.wall(),
        }
    }
}

/// The routes of the control socket.
pub fn control_router<S: QueueStore>(control: Control<S>) -> Router {
    Router::new()
        .route("/v1/queue", get(queue::list::<S>))
        .route("/v1/queue/actions", post(queue::act::<S>))
        .route("/v1/queue/summary", get(queue::summary::<S>))
        .route("/v1/queue/{id}", get(queue::show::<S>))
        .route("/v1/policies", get(policies::list::<S>))
        .route("/v1/policies/{domain}", get(policies::show::<S>))
        .route("/v1/policies/{domain}/refresh", post(policies::refresh::<S>))
        .route("/v1/policies/{domain}/forget", post(policies::forget::<S>))
        .route("/v1/policies/{domain}/pin", post(local_rules::pin::<S>))
        .route("/v1/policies/{domain}/exempt", post(local_rules::exempt::<S>))
        .route("/v1/explain/{subject}", get(explain::explain::<S>))
        .route("/v1/status", get(status::status::<S>))
        .route("/v1/reload", post(reload::<S>))
        .route("/v1/traces", get(traces::list::<S>).post(traces::change::<S>))
        .fallback(|| async { Problem::not_found("this version of sealpost has no such command; is the daemon older than the command?") })
        .with_state(control)
}

async fn reload<S: QueueStore>(
    State(control): State<Control<S>>,
) -> Result<Json<ReloadResult>, Problem> {
    control.daemon.reload().map(Json).map_err(Problem::refused)
}
