//! What commands are told while the policy store is lost (row H6-14).

use std::sync::Arc;

use admin::Daemon;
use outbound_queue::{EmbeddedStore, Now, QueueStore};
use policy_cache::Clock;

use super::process::Process;

/// Why; the remedy is in it.
pub(super) fn why(
    process: &Arc<Process<EmbeddedStore>>,
    queue: &Arc<EmbeddedStore>,
    clock: &Arc<dyn Clock>,
) -> impl Fn() -> String + Clone + Send + Sync + use<> {
    let (process, queue, clock) = (Arc::clone(process), Arc::clone(queue), Arc::clone(clock));
    move || {
        let now = Now {
            wall: clock.wall(),
            monotonic: clock.monotonic(),
        };
        let problems = process.problems().join("; ");
        let messages = queue.stats(now).messages;
        format!("{problems}; messages in the queue: {messages}")
    }
}
