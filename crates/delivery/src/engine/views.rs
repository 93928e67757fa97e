//! What others may see of an engine: for status, metrics and pages.

use std::sync::atomic::Ordering;
use std::time::Duration;

use attempt::{Reason, Side};
use mail_types::Host;
use outbound_queue::{QueueStore, SuspendedSides};

use crate::engine::Delivery;
use crate::engine::{lanes, upkeep};
use crate::worker::transcripts::Dialogue;

/// What one destination has in memory, for the status page.
#[derive(Clone, Debug)]
pub struct LaneView {
    /// The queue's name of the destination.
    pub destination: String,
    /// Sessions that run.
    pub active: u32,
    /// Messages in hand.
    pub backlog: usize,
    /// Left alone for that long yet, with the cause.
    pub suspended: Option<(Duration, String)>,
}

impl<S: QueueStore> Delivery<S> {
    /// The last dialogue with a destination's hosts that ended in this cause, if it is still known.
    #[must_use]
    pub fn dialogue(
        &self,
        destination: &outbound_queue::Destination,
        reason: Reason,
    ) -> Option<Dialogue> {
        self.inner.sessions.transcripts.get(destination, reason)
    }

    /// For how long a destination is left alone yet, if it is, and the last failure in a sentence.
    #[must_use]
    pub fn suspended(
        &self,
        destination: &outbound_queue::Destination,
    ) -> Option<(Duration, String)> {
        let lane = self.inner.lanes.get(destination)?;
        let now = self.inner.now().monotonic;
        let suspension = lane.suspension(now)?;
        Some((
            suspension.until.saturating_sub(now),
            suspension.cause.detail,
        ))
    }

    /// Why a destination is left alone, if it is, and whose move that is. So it stays until an attempt
    /// gets through, whether or not one may be made at this moment.
    #[must_use]
    pub fn suspended_for(
        &self,
        destination: &outbound_queue::Destination,
    ) -> Option<(Reason, Side)> {
        self.inner.lanes.get(destination)?.left_alone_for()
    }

    /// Whose move it is at all destinations that are left alone.
    #[must_use]
    pub fn suspended_sides(&self) -> SuspendedSides {
        let lanes = self.inner.lanes.all().into_iter();
        lanes
            .filter_map(|lane| Some((lane.key.clone(), lane.left_alone_for()?.1)))
            .collect()
    }

    /// Sessions that run.
    #[must_use]
    pub fn active(&self) -> usize {
        self.inner.workers.count()
    }

    /// Deliveries that wait for a place at a host that has as many sessions as it may; they have no connection.
    #[must_use]
    pub fn aside(&self) -> usize {
        self.inner.workers.aside()
    }

    /// What each destination has in memory.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneView> {
        let now = self.inner.now().monotonic;
        let lanes = self.inner.lanes.all();
        lanes
            .iter()
            .map(|lane| LaneView {
                destination: lane.key.to_string(),
                active: lane.active(),
                backlog: lane.backlog(),
                suspended: lane
                    .suspension(now)
                    .map(|s| (s.until.saturating_sub(now), s.cause.detail)),
            })
            .collect()
    }

    /// Whether all waiting mail is scheduled by the time that is believed now, durably: not for a moment
    /// after a clock that was set back is believed.
    #[must_use]
    pub fn has_followed_the_clock(&self) -> bool {
        upkeep::has_followed_the_clock(&self.inner)
    }

    /// A number that the scheduler raises every few seconds, whatever there is to do: if it stands
    /// still, so does the scheduler (row H7-09).
    #[must_use]
    pub fn pulse(&self) -> u64 {
        self.inner.pulse.load(Ordering::Relaxed)
    }

    /// Senders whose notifications are counted, and how many are at most.
    #[must_use]
    pub fn notice_senders(&self) -> (usize, usize) {
        (self.inner.notices.lock().senders(), dsn::SENDERS)
    }

    /// The destinations in memory to which mail for a domain goes, by whatever route.
    #[must_use]
    pub fn destinations_of(&self, domain: &str) -> Vec<outbound_queue::Destination> {
        let lanes = self.inner.lanes.all().into_iter();
        let of_it = lanes.filter(|lane| match &lane.destination.host {
            Host::Domain(host) => host.as_str() == domain,
            Host::Address(_) => lane.destination.host.to_string() == domain,
        });
        of_it.map(|lane| lane.key.clone()).collect()
    }

    /// Destinations in memory, and how many are at most.
    #[must_use]
    pub fn destinations(&self) -> (usize, usize) {
        (self.inner.lanes.len(), lanes::MOST)
    }
}
