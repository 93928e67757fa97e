//! The control API's routes, and what they need of the daemon.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::Json;
use delivery::Delivery;
use mail_types::{QueueId, Timestamp};
use outbound_queue::{Cancelled, Now, QueueStore};
use policy_cache::{Clock, Order, PolicyCache};
use tls_reports::Reports;

use crate::{
    CertificateView, LastReloadView, ListenerView, LogLossView, LookupView, ProblemDetails,
    RecentView, ReloadResult, TraceView, actions, clock, explain, local_rules, paused, policies,
    queue, reports, status, traces,
};
use api_routes::Operator;
use api_routes::Problem;
use api_routes::{Route, Routes};

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

    /// DNS look-ups since the start.
    fn lookups(&self) -> Vec<LookupView>;

    /// Certificates that are shown to others.
    fn certificates(&self) -> Vec<CertificateView>;

    /// The events that the log is losing just now, if it is.
    fn log_loss(&self) -> Option<LogLossView>;

    /// TLS reports; `None` if none are sent.
    fn reports(&self) -> Option<Arc<Reports>>;

    /// What came of the last reload.
    fn last_reload(&self) -> LastReloadView;

    /// Bytes free on the data directory's file system.
    fn free_bytes(&self) -> u64;

    /// Recipients sent, deferred and bounced since the start.
    fn counts(&self) -> (u64, u64, u64);

    /// What became of recipients in the last minutes, once that is known.
    fn recently(&self) -> Option<RecentView>;

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

    /// How a message ended that has left the queue, as far as that is remembered: a sentence or two for each
    /// recipient.
    fn ends_of(&self, id: QueueId) -> Vec<String>;

    /// Where in the log everything about a message is, as a command that finds it.
    fn log_search(&self, id: QueueId) -> String;

    /// An operator has cancelled this message.
    fn cancelled(&self, message: &Cancelled);

    /// An operator did something: who, what, to how many, and why. Goes to the log.
    fn audit(&self, audit: &Audit<'_>);
}

/// Something that an operator did.
#[derive(Clone, Copy, Debug)]
pub struct Audit<'a> {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: &'a Operator,
    /// What, for instance `queue retry`.
    pub action: &'a str,
    /// To what.
    pub target: &'a str,
    /// How many it concerned; if something stopped it on the way: how many were changed.
    pub matched: u64,
    /// The reason given.
    pub reason: Option<&'a str>,
    /// What stopped it on the way.
    pub error: Option<&'a str>,
}

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
    /// The engine's time, and the monotonic one: while a clock is doubted, operators see what the queue
    /// goes by.
    #[must_use]
    pub fn now(&self) -> Now {
        Now {
            wall: self.policies.now(),
            monotonic: self.clock.monotonic(),
        }
    }

    pub(crate) fn order(&self, operator: &Operator, reason: Option<String>) -> Order {
        Order {
            by: operator.name(),
            reason: reason.unwrap_or_else(|| "no reason given".to_owned()),
            at: self.clock.wall(),
        }
    }
}

/// The API on queue, policies and the process.
#[must_use]
pub fn control_routes<S: QueueStore>(control: Control<S>) -> Routes<()> {
    routes().with_state(control)
}

/// The table of [`control_routes`].
#[must_use]
pub fn control_table() -> Vec<Route> {
    routes::<outbound_queue::EmbeddedStore>().table().to_vec()
}

fn routes<S: QueueStore>() -> Routes<Control<S>> {
    Routes::new()
        .get("/v1/queue", queue::PARAMETERS, queue::list::<S>)
        .post("/v1/queue/actions", &[], actions::act::<S>)
        .get(
            "/v1/queue/summary",
            &["limit", "cursor"],
            queue::summary::<S>,
        )
        .get("/v1/queue/{id}", &[], queue::show::<S>)
        .get("/v1/clock", &[], clock::show::<S>)
        .post("/v1/clock/accept", &[], clock::accept::<S>)
        .post("/v1/destinations/{domain}/pause", &[], paused::pause::<S>)
        .post("/v1/destinations/{domain}/resume", &[], paused::resume::<S>)
        .get("/v1/policies", policies::PARAMETERS, policies::list::<S>)
        .get("/v1/policies/{domain}", &[], policies::show::<S>)
        .post("/v1/policies/{domain}/refresh", &[], policies::refresh::<S>)
        .post(
            "/v1/policies/{domain}/forget",
            &["dangerous"],
            policies::forget::<S>,
        )
        .post("/v1/policies/{domain}/pin", &[], local_rules::pin::<S>)
        .post(
            "/v1/policies/{domain}/exempt",
            &[],
            local_rules::exempt::<S>,
        )
        .get("/v1/reports", reports::PARAMETERS, reports::list::<S>)
        .get("/v1/reports/{domain}", &["day"], reports::show::<S>)
        .post("/v1/reports/send", &[], reports::send::<S>)
        .get("/v1/explain/{subject}", &["live"], explain::explain::<S>)
        .get("/v1/status", &[], status::status::<S>)
        .post("/v1/reload", &[], reload::<S>)
        .get("/v1/traces", &[], traces::list::<S>)
        .post("/v1/traces", &[], traces::change::<S>)
}

/// Read the configuration again: all or nothing.
#[utoipa::path(post, path = "/v1/reload", tag = "process", responses(
    (status = 200, description = "What is in effect now, and what needs a restart.", body = ReloadResult),
    (status = 409, description = "The new configuration is wrong; the old one stays in force.", body = ProblemDetails),
))]
pub(crate) async fn reload<S: QueueStore>(
    State(control): State<Control<S>>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<ReloadResult>, Problem> {
    let result = control.daemon.reload();
    let target = if result.is_ok() { "done" } else { "refused" };
    control.daemon.audit(&Audit {
        at: control.now().wall,
        by: &operator,
        action: "reload",
        target,
        matched: 1,
        reason: None,
        error: None,
    });
    result.map(Json).map_err(Problem::refused)
}
