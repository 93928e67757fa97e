//! Who holds a lease, and for how long.

use mail_types::Timestamp;

use super::{DELIVERED, at, ending, put, to};
use crate::{Edit, QueueError, QueueStore, Target};

/// Asks the store each second, as one that runs does.
fn look<S: QueueStore>(store: &S, seconds: std::ops::RangeInclusive<u64>) {
    for second in seconds {
        store.due_destinations(at(second), None, 1);
    }
}

pub(super) async fn h7_10_leases_are_fenced_and_run_out<S: QueueStore>(store: S) {
    let (id, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
    look(&store, 1..=30);
    store.renew(&leases[0].token, at(30)).unwrap();
    look(&store, 31..=89);
    let early = store.lease(&to("d.test"), 9, at(89)).await.unwrap();
    assert!(early.is_empty());
    assert_eq!(
        store.next_due(at(89)),
        Some(Timestamp::from_secs(90)),
        "the lease's end"
    );
    let second = store.lease(&to("d.test"), 9, at(90)).await.unwrap();
    assert_eq!(second.len(), 1);
    let stale = QueueError::StaleLease(id);
    let token = &leases[0].token;
    let outcome = ending(&leases[0], DELIVERED);
    assert_eq!(store.finish(outcome, at(91)).unwrap_err(), stale);
    assert_eq!(store.renew(token, at(91)), Err(stale.clone()));
    assert_eq!(store.release(token), Err(stale.clone()));
    store.finish(ending(&second[0], DELIVERED), at(91)).unwrap();
    assert_eq!(
        store
            .finish(ending(&second[0], DELIVERED), at(91))
            .unwrap_err(),
        stale
    );
    assert_eq!(store.show(id, at(91)).await, Err(QueueError::NotFound(id)));
}

pub(super) async fn h7_12_h8_07_a_lease_outlasts_a_stop_and_a_sleep<S: QueueStore>(store: S) {
    let (id, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
    look(&store, 1..=40);
    // Eight hours later the scheduler comes before whoever holds the lease.
    let woken = 8 * 3600;
    assert!(store.due_destinations(at(woken), None, 9).is_empty());
    let again = store.lease(&to("d.test"), 9, at(woken)).await.unwrap();
    assert!(again.is_empty(), "leased twice");
    let soon = Some(Timestamp::from_secs(woken + 6));
    assert_eq!(store.next_due(at(woken)), soon, "looked at in steps");
    store.renew(&leases[0].token, at(woken)).unwrap();
    look(&store, woken..=woken + 59);
    let done = store.finish(ending(&leases[0], DELIVERED), at(woken + 59));
    assert!(done.unwrap().removed);
    let gone = Err(QueueError::NotFound(id));
    assert_eq!(store.show(id, at(woken + 60)).await, gone);
}

pub(super) async fn h7_12_what_is_done_late_is_recorded_while_nobody_else_has_it<S: QueueStore>(
    store: S,
) {
    let (id, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
    // The queue sees that it has run out, and still nobody has taken it.
    look(&store, 1..=70);
    assert_eq!(store.due_destinations(at(70), None, 9).len(), 1);
    let done = store.finish(ending(&leases[0], DELIVERED), at(71));
    assert!(done.unwrap().removed);
    assert!(store.due_destinations(at(72), None, 9).is_empty());
    let late = store.finish(ending(&leases[0], DELIVERED), at(72));
    assert_eq!(late.unwrap_err(), QueueError::StaleLease(id));
}

pub(super) async fn what_is_cancelled_after_its_lease_ran_out_may_still_have_been_under_way<
    S: QueueStore,
>(
    store: S,
) {
    let (id, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
    look(&store, 1..=70);
    assert_eq!(store.due_destinations(at(70), None, 9).len(), 1);
    let it = Target::Ids(vec![id]);
    let edited = store.edit(&it, Edit::Cancel, false, at(71)).await.unwrap();
    let under_way: Vec<bool> = edited.cancelled.iter().map(|c| c.under_way).collect();
    assert_eq!(under_way, [true]);
    let late = store.finish(ending(&leases[0], DELIVERED), at(72));
    assert_eq!(late.unwrap_err(), QueueError::StaleLease(id));
}
