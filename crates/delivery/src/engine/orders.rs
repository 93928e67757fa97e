//! What operators order beside edits of the queue: pausing, parking.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mail_types::{Domain, Host, QueueId};
use outbound_queue::{QueueError, QueueStore};

use crate::engine::lane::Lane;
use crate::engine::{Delivery, Which};
use crate::engine::{paused_mail, poison};
use crate::planner;
use pauses::{Pause, PauseError};

impl<S: QueueStore> Delivery<S> {
    /// Parks messages that an earlier process had in hand whenever it ended (row H7-08).
    ///
    /// # Errors
    /// [`QueueError::Rebuilding`]: later; [`QueueError::Failed`].
    pub async fn park(&self, ids: &[QueueId]) -> Result<(), QueueError> {
        poison::park(&self.inner, ids.to_vec()).await?;
        if let Err(error) = self.inner.in_hand.parked(ids) {
            tracing::error!(%error, "that messages are parked could not be written down");
        }
        Ok(())
    }

    /// An operator wants mail tried now: policies that could not be looked up are looked up anew, plans are
    /// made anew, and the suspensions of these destinations are lifted, or of all. Single messages are
    /// tried beside the suspension, which stays for the others.
    pub fn resume(&self, which: Which<'_>) {
        let lanes: Vec<Arc<Lane>> = match which {
            Which::All => self.inner.lanes.all(),
            Which::These(keys) => keys
                .iter()
                .filter_map(|key| self.inner.lanes.get(key))
                .collect(),
            Which::Messages(messages) => {
                let keys: BTreeSet<_> = messages.iter().map(|(_, key)| key).collect();
                let lanes = keys.into_iter();
                lanes.filter_map(|key| self.inner.lanes.get(key)).collect()
            }
        };
        let domains: Option<Vec<Domain>> = match which {
            Which::All => None,
            Which::These(_) | Which::Messages(_) => {
                let routes = &self.inner.settings.load().routes;
                let of = |lane: &Arc<Lane>| {
                    let route = routes.get(&lane.destination);
                    planner::policy_domain(&lane.destination, route.map(AsRef::as_ref))
                };
                Some(lanes.iter().filter_map(of).collect())
            }
        };
        let policies = &self.inner.policies;
        policies.forget_failed_look_ups(domains.as_deref());
        self.inner.look_again();
        let now = self.inner.now();
        for lane in lanes {
            if let Which::Messages(messages) = which {
                let its = messages.iter().filter(|(_, key)| *key == lane.key);
                let ids: Vec<QueueId> = its.map(|(id, _)| *id).collect();
                if lane.order(&ids, now.monotonic) {
                    continue;
                }
            }
            lane.resume();
            self.inner.queue.suspend(&lane.key, None, now);
        }
        self.inner.workers.progress.notify_one();
    }

    /// An operator has mail returned: also where its destination is paused.
    pub fn mail_is_returned(&self) {
        self.inner.returns.fetch_add(1, Ordering::AcqRel);
        self.inner.workers.progress.notify_one();
    }

    /// Keeps back all mail for a domain or address literal, whenever it comes, until it is [resumed](Self::unpause); durable
    /// when this returns. False if it was paused already. Blocks on disk.
    ///
    /// # Errors
    /// The list cannot be written, or not durably.
    pub fn pause(&self, host: &Host, pause: Pause) -> Result<bool, PauseError> {
        self.inner.paused.pause(host, pause)
    }

    /// Ends a [`pause`](Self::pause): what waits is due. False if there was none. Blocks on disk.
    ///
    /// # Errors
    /// The list cannot be written, or not durably.
    pub fn unpause(&self, host: &Host) -> Result<bool, PauseError> {
        let was = self.inner.paused.resume(host);
        if !self.inner.paused.is_paused(host) {
            paused_mail::release(&self.inner, host);
        }
        self.inner.workers.progress.notify_one();
        was
    }

    /// The paused domains, and hosts of address literals.
    #[must_use]
    pub fn paused(&self) -> Arc<BTreeMap<Host, Pause>> {
        self.inner.paused.list()
    }
}
