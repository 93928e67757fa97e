//! Who has a place among the connections, and who gives it up first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::serve::CONNECTIONS;

/// The connections in the order in which they were last busy.
#[derive(Clone, Default)]
pub(crate) struct Places {
    order: Arc<Mutex<Order>>,
}

#[derive(Default)]
struct Order {
    next: u64,
    seats: BTreeMap<u64, Arc<Seat>>,
}

/// A connection's place; given back when it is dropped.
pub(crate) struct Place {
    pub(crate) seat: Arc<Seat>,
    order: Arc<Mutex<Order>>,
}

/// What is known of a connection.
pub(crate) struct Seat {
    /// Its number in the order.
    number: Mutex<u64>,
    /// Requests that are being answered.
    busy: AtomicUsize,
    /// Whoever sent the request that is being answered has logged in.
    known: AtomicBool,
    /// Told when it has to make room.
    pub(crate) gives_up: Notify,
    order: Arc<Mutex<Order>>,
}

/// A request is being answered as long as this lives.
pub(crate) struct Busy(Arc<Seat>);

impl Places {
    pub(crate) fn take(&self) -> Place {
        let mut order = self.order.lock();
        let number = order.take_number();
        let seat = Arc::new(Seat {
            number: Mutex::new(number),
            busy: AtomicUsize::new(0),
            known: AtomicBool::new(false),
            gives_up: Notify::new(),
            order: Arc::clone(&self.order),
        });
        order.seats.insert(number, Arc::clone(&seat));
        Place {
            seat,
            order: Arc::clone(&self.order),
        }
    }

    /// Has the one end that was there first, or was busy longest ago; not while it is busy with what
    /// somebody who has logged in asked, unless they have more than [`KEPT`] places. Nobody, if all
    /// are. Strangers who are slow to say what they want so make room before those who have only just
    /// come, and a script that asks without end leaves room for probes.
    pub(crate) fn end_one(&self) {
        let mut order = self.order.lock();
        let staying = order.seats.values().filter(|seat| seat.stays()).count();
        let mut seats = order.seats.iter();
        let found = seats.find(|(_, seat)| staying > KEPT || !seat.stays());
        if let Some(number) = found.map(|(number, _)| *number)
            && let Some(seat) = order.seats.remove(&number)
        {
            seat.gives_up.notify_one();
        }
    }
}

/// Places that those who have logged in may keep busy: three in four.
const KEPT: usize = CONNECTIONS / 4 * 3;

impl Order {
    const fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Seat {
    pub(crate) fn busy(seat: &Arc<Self>) -> Busy {
        seat.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(seat))
    }

    fn stays(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0 && self.known.load(Ordering::Relaxed)
    }

    /// Whoever sent the request has logged in: it is answered to its end.
    pub(crate) fn is_known(&self) {
        self.known.store(true, Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
        // The next request has to say anew who sends it.
        self.0.known.store(false, Ordering::Relaxed);
        // Now it is the one that was busy last.
        let mut order = self.0.order.lock();
        let mut number = self.0.number.lock();
        if let Some(seat) = order.seats.remove(&number) {
            *number = order.take_number();
            order.seats.insert(*number, seat);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let number = *self.seat.number.lock();
        self.order.lock().seats.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(seat: &Arc<Seat>) -> bool {
        use futures_util::FutureExt as _;
        seat.gives_up.notified().now_or_never().is_some()
    }

    #[test]
    fn the_one_that_has_done_nothing_for_longest_goes_first() {
        let places = Places::default();
        let [a, b, c] = [places.take(), places.take(), places.take()];
        drop(Seat::busy(&a.seat)); // a has just been busy: b is the idlest now
        let busy = Seat::busy(&b.seat);
        b.seat.is_known();
        places.end_one();
        assert_eq!([&a, &b, &c].map(|p| ends(&p.seat)), [false, false, true]);
        drop(busy);
        places.end_one();
        assert_eq!([&a, &b].map(|p| ends(&p.seat)), [true, false]);
        drop((a, b, c));
        assert!(places.order.lock().seats.is_empty());
    }

    #[test]
    fn who_has_logged_in_keeps_no_probe_out_either() {
        let places = Places::default();
        let take = || {
            let place = places.take();
            let busy = Seat::busy(&place.seat);
            place.seat.is_known();
            (place, busy)
        };
        let kept: Vec<_> = (0..KEPT).map(|_| take()).collect();
        places.end_one();
        assert!(kept.iter().all(|(place, _)| !ends(&place.seat)));
        let _one_more = take();
        places.end_one();
        let ended = kept.iter().filter(|(place, _)| ends(&place.seat)).count();
        assert!(ended == 1);
    }

    #[test]
    fn h10_05_a_slow_stranger_goes_before_who_has_just_come_or_has_logged_in() {
        let places = Places::default();
        let [a, b, c] = [places.take(), places.take(), places.take()];
        let busy = [&a, &b].map(|p| Seat::busy(&p.seat));
        a.seat.is_known();
        places.end_one();
        assert_eq!([&a, &b, &c].map(|p| ends(&p.seat)), [false, true, false]);
        let of_c = Seat::busy(&c.seat);
        c.seat.is_known();
        places.end_one();
        assert_eq!([&a, &c].map(|p| ends(&p.seat)), [false, false]);
        let [of_a, _] = busy;
        drop((of_a, of_c));
        let again = Seat::busy(&a.seat); // whoever sends this has not said who they are
        places.end_one();
        assert_eq!([&a, &c].map(|p| ends(&p.seat)), [true, false]);
        drop(again);
    }
}
