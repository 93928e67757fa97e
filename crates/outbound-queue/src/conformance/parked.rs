//! Messages that fail their relay, and delays that are told of once, on every store.

use attempt::Reason;

use crate::samples::{at, deferred, ending, put, to};
use crate::{Edit, MessageState, Outcome, QueueStore, Target};

pub(super) async fn h7_08_what_is_parked_waits_until_it_is_released_or_tried_again<
    S: QueueStore,
>(
    store: S,
) {
    let (id, leases) = put(
        &store,
        "s@a.test",
        &["r@d.test", "q@e.test"],
        b"x",
        true,
        at(1),
    )
    .await;
    let mut parked = ending(&leases[0], Outcome::Parked { note: 0 });
    parked.notes[0].reason = Some(Reason::Parked.into());
    assert!(!store.finish(parked.clone(), at(2)).unwrap().removed);
    // The other half was under way; what it defers is held with the rest.
    store
        .finish(ending(&leases[1], deferred(3)), at(2))
        .unwrap();
    assert!(store.due_destinations(at(9999), None, 9).is_empty());
    let shown = store.show(id, at(9)).await.unwrap();
    assert_eq!(
        (shown.state, shown.next_attempt),
        (MessageState::Held, None)
    );
    assert_eq!(shown.recipients[0].reason, Some(Reason::Parked.into()));
    assert_eq!(shown.recipients[0].attempts, 1);
    let one = Target::Ids(vec![id]);
    let edit = async |edit| store.edit(&one, edit, false, at(10)).await.unwrap().changed;
    assert_eq!(edit(Edit::Retry).await, 1, "it is tried again");
    let due = store.due_destinations(at(10), None, 9);
    assert_eq!(due.len(), 2);
    assert_eq!(edit(Edit::Park).await, 1);
    assert!(store.due_destinations(at(9999), None, 9).is_empty());
    let shown = store.show(id, at(11)).await.unwrap();
    let reasons = shown.recipients.iter().map(|r| r.reason.clone());
    assert!(reasons.eq([(); 2].map(|()| Some(Reason::Parked.into()))));
    assert_eq!((edit(Edit::Park).await, edit(Edit::Release).await), (0, 1));
    assert_eq!(store.due_destinations(at(10), None, 9).len(), 2);
    // An operator's hold is ended by nothing but a release.
    assert_eq!(edit(Edit::Hold).await, 1);
    store.edit(&one, Edit::Retry, false, at(12)).await.unwrap();
    let shown = store.show(id, at(12)).await.unwrap();
    assert_eq!(shown.state, MessageState::Held);
}

pub(super) async fn f1_17_a_delay_is_told_once_for_each_recipient<S: QueueStore>(store: S) {
    let (id, leases) = put(
        &store,
        "s@a.test",
        &["r@d.test", "q@d.test"],
        b"x",
        true,
        at(1),
    )
    .await;
    let mut finish = ending(&leases[0], deferred(5));
    finish.warned = vec![1];
    store.finish(finish, at(2)).unwrap();
    let leases = store.lease(&to("d.test"), 9, at(6)).await.unwrap();
    let told = leases[0].recipients.iter().map(|r| r.warned);
    assert!(told.eq([false, true]), "{leases:?}");
    assert!(store.show(id, at(6)).await.unwrap().warned);
}
