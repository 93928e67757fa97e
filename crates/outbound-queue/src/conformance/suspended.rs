//! Suspended destinations, and listings of a domain, on every store.

use attempt::Reason;
use mail_types::QueueId;

use crate::samples::{at, deferred, ending, put, to};
use crate::{
    Edit, Effort, Filter, Finish, Leased, MessageState, Now, QueueStore, SuspendedSides, Target,
};

/// Puts everything off that a lease covers; it is looked at again at `secs`.
fn put_off(lease: &Leased, secs: u64) -> Finish {
    let mut finish = ending(lease, deferred(secs));
    finish.effort = Effort::PutOff;
    finish.notes[0].reason = Some(Reason::DestinationSuspended.into());
    finish
}

pub(super) async fn e5_04_a_suspended_destination_holds_what_was_put_off<S: QueueStore>(store: S) {
    let d = to("d.test");
    let mut ids = Vec::new();
    for n in 1..=3 {
        let (id, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(n)).await;
        store.suspend(&d, Some(at(60).wall), at(n));
        store.finish(put_off(&leases[0], 500 + n), at(n)).unwrap();
        ids.push(id);
    }
    let stats = store.stats(at(9));
    assert_eq!((stats.due, stats.deferred), (0, 3));
    assert!(store.due_destinations(at(9), None, 9).is_empty());
    assert_eq!(store.next_due(at(9)), Some(at(60).wall));
    let view = store.show(ids[0], at(9)).await.unwrap();
    assert_eq!(
        (view.state, view.next_attempt),
        (MessageState::Deferred, Some(at(60).wall))
    );
    assert_eq!(view.recipients[0].attempts, 0, "no attempt was made");
    let row = &store.summary(at(9), 0, 9, &SuspendedSides::new()).rows[0];
    assert_eq!((row.count, row.next_attempt), (3, Some(at(60).wall)));
    assert_eq!(row.reason, Some(Reason::DestinationSuspended.into()));
    // The probe: what it does not need goes back, and is not touched.
    let probe = store.lease(&d, 1, at(60)).await.unwrap();
    assert_eq!((probe[0].id, probe[0].put_off), (ids[0], true));
    assert_eq!(store.stats(at(60)).due, 2);
    store.suspend(&d, Some(at(120).wall), at(60));
    store.release(&probe[0].token).unwrap();
    assert!(store.lease(&d, 9, at(61)).await.unwrap().is_empty());
    // A time of its own comes all the same, and an operator's word.
    let own = store.lease(&d, 9, at(500)).await.unwrap();
    assert_eq!(own.len(), 3, "the suspension is over by then");
    own.iter().for_each(|l| store.release(&l.token).unwrap());
    store.suspend(&d, Some(at(900).wall), at(500));
    let own = store.lease(&d, 9, at(501)).await.unwrap();
    assert_eq!(
        (own.len(), own[0].id, own[0].due),
        (1, ids[0], at(501).wall)
    );
    store.finish(put_off(&own[0], 800), at(501)).unwrap();
    let edit = |id, edit| (Target::Ids(vec![id]), edit);
    for (target, edit) in [edit(ids[1], Edit::Bounce), edit(ids[2], Edit::Retry)] {
        let edited = store.edit(&target, edit, false, at(502)).await.unwrap();
        assert_eq!(edited.changed, 1);
    }
    let marked = store.lease(&d, 9, at(502)).await.unwrap();
    let marks: Vec<_> = marked.iter().map(|l| (l.id, l.bounce)).collect();
    assert_eq!(marks, [(ids[1], true), (ids[2], false)]);
    marked.iter().for_each(|l| store.release(&l.token).unwrap());
    // Recovery needs no word about any message.
    store.suspend(&d, None, at(503));
    assert_eq!(store.stats(at(503)).due, 3);
    let retry = Target::Ids(ids.clone());
    let edited = store
        .edit(&retry, Edit::Retry, false, at(503))
        .await
        .unwrap();
    assert_eq!(
        (edited.matched, edited.changed),
        (3, 1),
        "two were asked for"
    );
    assert_eq!(store.lease(&d, 9, at(503)).await.unwrap().len(), 3);
}

pub(super) async fn a_time_gone_by_asks_for_what_was_due_then<S: QueueStore>(store: S) {
    let d = to("d.test");
    put(&store, "s@a.test", &["r@d.test"], b"x", false, at(2)).await;
    for (wall, due) in [(0, 0), (1, 0), (2, 1)] {
        let wall = at(wall).wall;
        let leases = store.lease(&d, 9, Now { wall, ..at(9) }).await.unwrap();
        assert_eq!(leases.len(), due, "{wall:?}");
        leases.iter().for_each(|l| store.release(&l.token).unwrap());
    }
}

pub(super) async fn listings_of_a_domain_know_all_parts<S: QueueStore>(store: S) {
    let to_both = ["x@d.test", "y@e.test", "z@sub.d.test"];
    let (id, leases) = put(&store, "s@a.test", &to_both, b"x", true, at(1)).await;
    for (lease, due) in leases.iter().zip([90, 50, 70]) {
        store.finish(ending(lease, deferred(due)), at(2)).unwrap();
    }
    let (other, _) = put(&store, "s@a.test", &["x@d.test"], b"x", true, at(3)).await;
    for (domain, expected) in [
        ("d.test", vec![id, other]),
        ("e.test", vec![id]),
        ("sub.d.test", vec![id]),
        ("f.test", vec![]),
    ] {
        let filter = Filter {
            domain: Some(domain.into()),
            ..Filter::default()
        };
        let page = store.list(&filter, None, 9, at(4)).await.unwrap();
        let mut found: Vec<QueueId> = page.messages.iter().map(|m| m.id).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{domain}");
    }
}
