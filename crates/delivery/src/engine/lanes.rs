//! All lanes: bounded, whoever sends to however many domains (row H9-03).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use outbound_queue::Destination as Key;
use parking_lot::Mutex;

use crate::engine::lane::Lane;
use routes::Destination;

/// What is in memory about destinations, by the queue's name of each.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<Key, Arc<Lane>>>);

impl Lanes {
    /// The lane of a destination; a new one with a `limit` of sessions if there is none. `now` is
    /// monotonic.
    pub(crate) fn of(&self, key: &Key, limit: u32, now: Duration) -> Arc<Lane> {
        let mut lanes = self.0.lock();
        if let Some(lane) = lanes.get(key) {
            return Arc::clone(lane);
        }
        if lanes.len() >= MOST {
            make_room(&mut lanes, now);
        }
        // The queue's names are made by `Destination::key`; one that cannot be read any more (an
        // index of another version) is treated as a host that does not exist.
        let destination = Destination::parse(key.as_str()).unwrap_or_else(|| Destination {
            host: mail_types::Host::Address(std::net::Ipv4Addr::UNSPECIFIED.into()),
            route: None,
        });
        let lane = Arc::new(Lane::new(destination, key.clone(), limit, now));
        lanes.insert(key.clone(), Arc::clone(&lane));
        lane
    }

    /// The lane of a destination, if it has one.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Lane>> {
        self.0.lock().get(key).cloned()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Lane>> {
        self.0.lock().values().cloned().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Forgets those in which nothing has happened for a while.
    pub(crate) fn sweep(&self, now: Duration) {
        self.0
            .lock()
            .retain(|_, lane| Arc::strong_count(lane) > 1 || !lane.is_idle(now, FORGET));
    }

    /// Forgets those that nobody works in, since the settings have changed: their names.
    pub(crate) fn forget_unused(&self) -> Vec<Key> {
        let mut forgotten = Vec::new();
        self.0.lock().retain(|key, lane| {
            let stays = lane.active() > 0 || lane.backlog() > 0;
            if !stays {
                forgotten.push(key.clone());
            }
            stays
        });
        forgotten
    }
}

/// Makes a quarter free: first of lanes in which nothing is remembered, then of those that are left
/// alone, which costs them no more than to be tried again a few times. Whoever is at work stays, and is
/// bounded by the limit of connections.
fn make_room(lanes: &mut HashMap<Key, Arc<Lane>>, now: Duration) {
    let wanted = MOST - MOST / 4;
    for forgotten_too in [false, true] {
        let mut surplus = lanes.len().saturating_sub(wanted);
        lanes.retain(|_, lane| {
            let at_work = Arc::strong_count(lane) > 1 || lane.active() > 0 || lane.backlog() > 0;
            let stays = at_work || !(forgotten_too || lane.is_idle(now, Duration::ZERO));
            let goes = surplus > 0 && !stays;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

/// Destinations in memory. One takes about a kilobyte.
pub(crate) const MOST: usize = 50_000;
/// A lane without work is forgotten after that, its health with it.
const FORGET: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::destination::Cause;
    use attempt::Reason;
    use mail_types::EnhancedStatus;

    const NOW: Duration = Duration::from_secs(1000);

    fn key(n: u32) -> Key {
        Key::new(&format!("d{n}.test"))
    }

    #[test]
    fn h9_03_however_many_domains_take_no_more_memory_than_fifty_thousand() {
        let lanes = Lanes::default();
        let dead = lanes.of(&key(0), 20, NOW);
        let cause = Cause {
            reason: Reason::Connect,
            case: attempt::Case::Usual,
            side: attempt::Side::Wait,
            status: EnhancedStatus::transient(4, 1),
            detail: "refused".into(),
        };
        assert!((0..3).any(|_| dead.failed(cause.clone(), NOW)));
        let busy = lanes.of(&key(1), 20, NOW);
        assert_eq!(
            busy.admit(NOW, false),
            crate::decide::destination::Admission::Go
        );
        drop((dead, busy));
        for n in 2..150_000 {
            drop(lanes.of(&key(n), 20, NOW));
            assert!(lanes.len() <= MOST);
        }
        assert!(lanes.len() > MOST / 2);
        let is_left_alone = |lane: Arc<Lane>| lane.suspension(NOW).is_some();
        assert!(
            lanes.get(&key(0)).is_some_and(is_left_alone),
            "kept while others will do"
        );
        assert_eq!(lanes.get(&key(1)).map(|lane| lane.active()), Some(1));
        lanes.sweep(NOW + FORGET);
        assert_eq!(lanes.len(), 1, "evicted when idle");
    }

    #[test]
    fn h9_03_dead_domains_are_bounded_too() {
        let lanes = Lanes::default();
        let cause = Cause {
            reason: Reason::Connect,
            case: attempt::Case::Usual,
            side: attempt::Side::Wait,
            status: EnhancedStatus::transient(4, 1),
            detail: "refused".into(),
        };
        for n in 0..60_000 {
            let lane = lanes.of(&key(n), 20, NOW);
            assert!((0..3).any(|_| lane.failed(cause.clone(), NOW)));
            assert!(lanes.len() <= MOST);
        }
    }
}
