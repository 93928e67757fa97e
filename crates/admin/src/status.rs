//! `/v1/status`: one screen.

use axum::extract::State;
use axum::response::Json;
use outbound_queue::QueueStore;

use crate::{Control, StatusView, clock, paused, reports};

/// The state of the relay on one screen.
#[utoipa::path(get, path = "/v1/status", tag = "process", responses(
    (status = 200, description = "Counts, listeners, troubles.", body = StatusView),
))]
pub(crate) async fn status<S: QueueStore>(State(control): State<Control<S>>) -> Json<StatusView> {
    let queue = control.queue.stats(control.now());
    let suspended = control.delivery.suspended_sides();
    let waiting_for = control.queue.by_side(&suspended);
    let policies = control.policies.stats();
    let problems = control.daemon.problems();
    let (delivered, deferred, bounced) = control.daemon.counts();
    Json(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: control.daemon.hostname(),
        started: control.daemon.started().rfc3339(),
        ready: problems.is_empty(),
        problems,
        listeners: control.daemon.listeners(),
        queue_messages: queue.messages,
        queue_by_state: vec![
            ("active".to_owned(), queue.active),
            ("queued".to_owned(), queue.due),
            ("deferred".to_owned(), queue.deferred),
            ("held".to_owned(), queue.held),
        ],
        waiting_for: waiting_for
            .into_iter()
            .map(|(side, count)| (side.key().to_owned(), count))
            .collect(),
        clock: clock::view(&control.policies),
        paused: paused::list(&control.delivery),
        oldest: queue.oldest.map(|(_, at)| at.rfc3339()),
        delivered,
        deferred,
        bounced,
        recently: control.daemon.recently(),
        connections: control.delivery.active() as u64,
        waiting_for_hosts: control.delivery.aside() as u64,
        policies_by_mode: vec![
            ("enforce".to_owned(), policies.enforce),
            ("testing".to_owned(), policies.testing),
            ("none".to_owned(), policies.none),
        ],
        policies_at_risk: policies.at_risk,
        policies_ran_out: policies.ran_out,
        policies_exempt: policies.exempt,
        exempt_until: policies.exempt_until.map(|until| until.rfc3339()),
        policy_expiry_in: policies.soonest_unrefreshed_expiry.map(|t| t.as_secs()),
        reports: control.daemon.reports().map(|all| reports::summary(&all)),
        lookups: control.daemon.lookups(),
        certificates: control.daemon.certificates(),
        dnssec: control.daemon.dnssec().to_owned(),
        log: control.daemon.log_loss(),
        reload: control.daemon.last_reload(),
        store_bytes: queue.disk_bytes,
        free_bytes: control.daemon.free_bytes(),
    })
}
