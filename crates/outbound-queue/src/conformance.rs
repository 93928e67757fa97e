//! What every store promises: the same tests on each of them, for stores in other crates too.
//!
//! With the feature `conformance` another implementation of [`QueueStore`] calls [`run`] from a test of
//! its own. A broken promise is a panic that names it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test suite: a panic is the failure report"
)]

use std::sync::Arc;
use std::time::Duration;

use attempt::{Reason, Side};
use bytes::Bytes;
use mail_types::{QueueId, Timestamp};

use crate::samples::ByDomain;
pub use crate::samples::envelope;
use crate::{
    Addresses, Cursor, Done, Edit, Filter, Incoming, MessageState, NewMessage, Outcome, Placement,
    QueueError, QueueStore, RecipientState, SuspendedSides, Target, WantedSide,
};

pub(crate) use crate::samples::{DELIVERED, at, deferred, ending, put, read, to};

mod counters;
mod leasing;
mod parked;
mod suspended;
use counters::{a_part_with_two_reasons_is_found_by_both, h9_02_counters_agree_with_a_full_scan};
use leasing::{
    h7_10_leases_are_fenced_and_run_out, h7_12_h8_07_a_lease_outlasts_a_stop_and_a_sleep,
    h7_12_what_is_done_late_is_recorded_while_nobody_else_has_it,
    what_is_cancelled_after_its_lease_ran_out_may_still_have_been_under_way,
};
use parked::{
    f1_17_a_delay_is_told_once_for_each_recipient,
    h7_08_what_is_parked_waits_until_it_is_released_or_tried_again,
};
use suspended::{
    a_time_gone_by_asks_for_what_was_due_then,
    e5_04_a_suspended_destination_holds_what_was_put_off, listings_of_a_domain_know_all_parts,
};

/// What the stores under test are to be made with: every domain is a destination, and mail lives for
/// five days.
#[must_use]
pub fn placement() -> Arc<dyn Placement> {
    Arc::new(ByDomain)
}

/// How long leases are to last in the stores under test.
pub const LEASE_TIME: Duration = Duration::from_secs(60);

macro_rules! conformance {
    ($($name:ident),+ $(,)?) => {
        /// Runs the whole suite, each test on a store of its own: empty, made with [`placement`] and
        /// [`LEASE_TIME`]. `make` is told the test's name.
        ///
        /// # Panics
        /// If the store breaks a promise.
        pub async fn run<S: QueueStore>(make: impl AsyncFn(&'static str) -> S) {
            $($name(make(stringify!($name)).await).await;)+
        }

        #[cfg(test)]
        mod runs {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(super::memory()).await;
                    let dir = tempfile::tempdir().unwrap();
                    super::$name(super::embedded(dir.path())).await;
                }
            )+
        }
    };
}

#[cfg(test)]
fn memory() -> crate::MemoryStore {
    crate::MemoryStore::new(placement(), LEASE_TIME)
}

#[cfg(test)]
fn embedded(dir: &std::path::Path) -> crate::EmbeddedStore {
    let options = crate::EmbeddedOptions {
        lease_time: LEASE_TIME,
        free_space_floor: 0,
        index_interval: Duration::from_millis(1),
        ..crate::EmbeddedOptions::new(dir.join("queue"), placement(), 1)
    };
    crate::EmbeddedStore::open(options).unwrap()
}

conformance!(
    ingest_claims_and_gives_the_content_back,
    the_top_can_be_written_last,
    mail_becomes_due_and_is_leased_once,
    h7_10_leases_are_fenced_and_run_out,
    h7_12_h8_07_a_lease_outlasts_a_stop_and_a_sleep,
    h7_12_what_is_done_late_is_recorded_while_nobody_else_has_it,
    what_is_cancelled_after_its_lease_ran_out_may_still_have_been_under_way,
    each_recipient_has_its_own_outcome,
    deferral_keeps_history_and_comes_back,
    h7_04_a_dsn_is_enqueued_with_its_parents_end,
    expired_and_bounced_mail_is_leased_with_a_flag,
    filters_select_by_every_part,
    listings_page_in_order,
    edits_do_what_they_say,
    h7_08_what_is_parked_waits_until_it_is_released_or_tried_again,
    f1_17_a_delay_is_told_once_for_each_recipient,
    an_abandoned_message_leaves_nothing,
    misuse_is_refused_and_changes_nothing,
    the_scheduler_is_woken,
    a_time_gone_by_asks_for_what_was_due_then,
    e5_04_a_suspended_destination_holds_what_was_put_off,
    listings_of_a_domain_know_all_parts,
    h9_02_counters_agree_with_a_full_scan,
    a_part_with_two_reasons_is_found_by_both,
);

async fn ingest_claims_and_gives_the_content_back<S: QueueStore>(store: S) {
    let body: Vec<u8> = (0..150_000u32).map(|n| n as u8).collect();
    let (id, leases) = put(&store, "s@a.test", &["r@d.test"], &body, true, at(1)).await;
    let [lease] = &leases[..] else {
        panic!("one destination, one lease")
    };
    assert_eq!((lease.id, &lease.destination), (id, &to("d.test")));
    assert_eq!(lease.body.as_ref().unwrap().chunks().concat(), body);
    assert_eq!(
        read(store.open_body(id).await.unwrap()).await.unwrap(),
        body
    );
    assert!(store.due_destinations(at(1), None, 9).is_empty());
    let (_, two) = put(
        &store,
        "",
        &["x@d.test", "y@e.test", "z@d.test"],
        b"x",
        true,
        at(1),
    )
    .await;
    let counts: Vec<usize> = two.iter().map(|l| l.recipients.len()).collect();
    assert_eq!(counts, [2, 1]);
    assert!(two[0].envelope.reverse_path.is_null(), "E5-07");
    let stats = store.stats(at(1));
    assert_eq!((stats.messages, stats.active, stats.due), (2, 3, 0));
}

async fn the_top_can_be_written_last<S: QueueStore>(store: S) {
    // Small ones stay in memory, the last goes to a file of its own.
    for size in [0usize, 10, 100_000, 700_000] {
        let mut incoming = store.begin(None, at(1)).unwrap();
        incoming.reserve(5);
        for piece in vec![b'x'; size].chunks(30_000) {
            incoming.write(piece).await.unwrap();
        }
        assert_eq!(incoming.size(), size as u64 + 5);
        incoming.fill(Bytes::from_static(b"first"));
        let made = incoming.commit(envelope("s@a.test", &["r@d.test"]), false, at(1));
        let id = made.await.unwrap().id;
        let body = read(store.open_body(id).await.unwrap()).await.unwrap();
        assert_eq!((&body[..5], body.len()), (&b"first"[..], size + 5));
        assert!(body[5..].iter().all(|b| *b == b'x'));
    }
    for (size, top) in [(10, "four"), (10, "sixsix"), (700_000, "four")] {
        let mut incoming = store.begin(None, at(1)).unwrap();
        incoming.reserve(5);
        incoming.write(&vec![b'x'; size]).await.unwrap();
        incoming.fill(Bytes::from_static(top.as_bytes()));
        let refused = incoming.commit(envelope("s@a.test", &["r@d.test"]), false, at(1));
        let refused = refused.await.unwrap_err();
        assert!(
            matches!(refused, QueueError::Misuse(_)),
            "{size} {top} {refused}"
        );
    }
}

async fn mail_becomes_due_and_is_leased_once<S: QueueStore>(store: S) {
    let mut ids = Vec::new();
    for n in 0..5u64 {
        let recipient = if n == 4 { "r@e.test" } else { "r@d.test" };
        ids.push(
            put(&store, "s@a.test", &[recipient], b"x", false, at(1 + n))
                .await
                .0,
        );
    }
    assert!(ids.is_sorted());
    let due = store.due_destinations(at(9), None, 9);
    let names: Vec<&str> = due.iter().map(|d| d.destination.as_str()).collect();
    assert_eq!(
        (names, due[0].due),
        (vec!["d.test", "e.test"], Timestamp::from_secs(1))
    );
    let after = store.due_destinations(at(9), Some(&to("d.test")), 9);
    assert_eq!(after.len(), 1);
    let first = store.lease(&to("d.test"), 3, at(9)).await.unwrap();
    let second = store.lease(&to("d.test"), 3, at(9)).await.unwrap();
    let leased: Vec<QueueId> = first.iter().chain(&second).map(|l| l.id).collect();
    assert_eq!(leased, ids[..4]);
    store.release(&first[0].token).unwrap();
    let again = store.lease(&to("d.test"), 9, at(9)).await.unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!(
        again[0].recipients[0].attempts, 0,
        "a release counts no attempt"
    );
    for lease in [&first[1], &second[0], &again[0]] {
        assert!(
            store
                .finish(ending(lease, DELIVERED), at(9))
                .unwrap()
                .removed
        );
    }
    assert_eq!(store.stats(at(9)).messages, 2);
}

async fn each_recipient_has_its_own_outcome<S: QueueStore>(store: S) {
    let recipients = ["a@d.test", "b@d.test", "c@e.test", "d@d.test"];
    let (id, leases) = put(&store, "s@a.test", &recipients, b"x", true, at(1)).await;
    let mut finish = ending(&leases[0], DELIVERED);
    finish.outcomes = vec![(0, DELIVERED), (1, deferred(500))];
    assert!(!store.finish(finish, at(2)).unwrap().removed);
    let seen = store.show(id, at(2)).await.unwrap();
    let states: Vec<RecipientState> = seen.recipients.iter().map(|r| r.state).collect();
    assert_eq!(
        states,
        [
            RecipientState::Done(Done::Delivered),
            RecipientState::Pending(Timestamp::from_secs(500)),
            RecipientState::Pending(Timestamp::from_secs(1)),
            RecipientState::Pending(Timestamp::from_secs(1)), // no outcome: due as before
        ]
    );
    let early = store.lease(&to("d.test"), 9, at(2)).await.unwrap();
    assert_eq!(
        early[0]
            .recipients
            .iter()
            .map(|r| r.index)
            .collect::<Vec<_>>(),
        [3]
    );
    store.finish(ending(&early[0], DELIVERED), at(3)).unwrap();
    store.finish(ending(&leases[1], DELIVERED), at(3)).unwrap();
    let late = store.lease(&to("d.test"), 9, at(500)).await.unwrap();
    assert_eq!(
        late[0]
            .recipients
            .iter()
            .map(|r| (r.index, r.attempts))
            .collect::<Vec<_>>(),
        [(1, 1)]
    );
    assert!(
        store
            .finish(ending(&late[0], DELIVERED), at(501))
            .unwrap()
            .removed
    );
}

async fn deferral_keeps_history_and_comes_back<S: QueueStore>(store: S) {
    let (id, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
    let mut finish = ending(&leases[0], deferred(300));
    finish.warned = vec![0];
    store
        .finish(finish, at(2))
        .unwrap()
        .durable
        .wait()
        .await
        .unwrap();
    assert_eq!(store.next_due(at(2)), Some(Timestamp::from_secs(300)));
    assert!(store.due_destinations(at(299), None, 9).is_empty());
    let summary = store.summary(at(2), 0, 9, &SuspendedSides::new()).rows;
    assert_eq!(summary.len(), 1);
    assert_eq!(
        (summary[0].reason.clone(), summary[0].count),
        (Some(Reason::Connect.into()), 1)
    );
    assert_eq!(summary[0].next_attempt, Some(Timestamp::from_secs(300)));
    assert_eq!(store.stats(at(2)).reasons, [(Reason::Connect.into(), 1)]);
    let again = store.lease(&to("d.test"), 9, at(300)).await.unwrap();
    assert!(again[0].recipients[0].warned && again[0].id == id);
    store
        .finish(ending(&again[0], deferred(900)), at(301))
        .unwrap();
    let seen = store.show(id, at(302)).await.unwrap();
    assert_eq!((seen.attempts.len(), seen.attempts[0].count), (1, 2));
    assert_eq!(
        (seen.attempts[0].first, seen.attempts[0].last),
        (Timestamp::from_secs(2), Timestamp::from_secs(301))
    );
    assert_eq!(&*seen.attempts[0].note.detail, "No answer? from mx.d.test.");
    assert_eq!(
        (seen.state, seen.recipients[0].attempts),
        (MessageState::Deferred, 2)
    );
    assert_eq!(
        read(store.open_body(id).await.unwrap()).await.unwrap(),
        b"x"
    );
}

async fn h7_04_a_dsn_is_enqueued_with_its_parents_end<S: QueueStore>(store: S) {
    let (id, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
    let dsn = store.allocate_id(at(2));
    let mut finish = ending(&leases[0], Outcome::Done(Done::Bounced));
    finish.messages = vec![NewMessage {
        id: dsn,
        envelope: envelope("", &["s@a.test"]),
        body: vec![Bytes::from_static(b"it "), Bytes::from_static(b"failed")],
    }];
    let finished = store.finish(finish.clone(), at(2)).unwrap();
    assert!(finished.removed);
    finished.durable.wait().await.unwrap();
    assert_eq!(
        store.finish(finish, at(2)).unwrap_err(),
        QueueError::StaleLease(id)
    );
    let leased = store.lease(&to("a.test"), 9, at(2)).await.unwrap();
    assert_eq!(leased.iter().map(|l| l.id).collect::<Vec<_>>(), [dsn]);
    assert_eq!(
        read(store.open_body(dsn).await.unwrap()).await.unwrap(),
        b"it failed"
    );
}

async fn expired_and_bounced_mail_is_leased_with_a_flag<S: QueueStore>(store: S) {
    let (id, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
    let end = 1 + 5 * 86_400;
    store
        .finish(ending(&leases[0], deferred(end)), at(2))
        .unwrap();
    let early = Target::Ids(vec![id]);
    store
        .edit(&early, Edit::Retry, false, at(10))
        .await
        .unwrap();
    let lease = store.lease(&to("d.test"), 9, at(10)).await.unwrap();
    assert!(!lease[0].expired && lease[0].expires == Timestamp::from_secs(end));
    store
        .finish(ending(&lease[0], deferred(end)), at(11))
        .unwrap();
    let lease = store.lease(&to("d.test"), 9, at(end)).await.unwrap();
    assert!(lease[0].expired && !lease[0].bounce);
    store.release(&lease[0].token).unwrap();
    store
        .edit(&early, Edit::Bounce, false, at(12))
        .await
        .unwrap();
    let next = store
        .list(&Filter::default(), None, 1, at(12))
        .await
        .unwrap()
        .messages[0]
        .next_attempt;
    let row = store.summary(at(12), 0, 9, &SuspendedSides::new()).rows[0].next_attempt;
    assert_eq!((next, row), (Some(at(12).wall), Some(at(12).wall)), "now");
    let lease = store.lease(&to("d.test"), 9, at(12)).await.unwrap();
    assert!(lease[0].bounce && !lease[0].expired);
}

fn text(text: &str) -> Option<Box<str>> {
    Some(text.into())
}

fn whose(text: &str) -> Option<Addresses> {
    Some(Addresses::parse(text).unwrap())
}

/// Whose move it is, if destinations that are left alone began with what we have to mend.
fn of_side(side: Side) -> Option<WantedSide> {
    let suspended = Arc::new(SuspendedSides::from([(to("d.test"), Side::Us)]));
    Some(WantedSide { side, suspended })
}

async fn filters_select_by_every_part<S: QueueStore>(store: S) {
    let (one, leases) = put(&store, "S@a.test", &["r@d.test"], b"x", true, at(1)).await;
    store
        .finish(ending(&leases[0], deferred(300)), at(2))
        .unwrap();
    let (two, _) = put(&store, "", &["q@e.test", "r@f.test"], b"x", false, at(100)).await;
    type Part = fn(&mut Filter);
    let (only_one, only_two) = (vec![one], vec![two]);
    let table: [(&str, Part, Vec<QueueId>); 14] = [
        ("all", |_| (), vec![one, two]),
        ("domain", |f| f.domain = text("f.test"), only_two.clone()),
        (
            "destination",
            |f| f.destination = Some(to("d.test")),
            only_one.clone(),
        ),
        ("sender", |f| f.sender = whose("s@A.test"), only_one.clone()),
        (
            "its domain",
            |f| f.sender = whose("@a.test"),
            only_one.clone(),
        ),
        ("null sender", |f| f.sender = whose(""), only_two.clone()),
        (
            "recipient",
            |f| f.recipient = whose("Q@e.test"),
            only_two.clone(),
        ),
        (
            "reason",
            |f| f.reason = Some(Reason::Connect.into()),
            only_one.clone(),
        ),
        ("side", |f| f.side = of_side(Side::Wait), only_one.clone()),
        ("another side", |f| f.side = of_side(Side::Us), vec![]),
        ("state", |f| f.state = Some(MessageState::Due), only_two),
        (
            "older",
            |f| f.arrived_before = Some(Timestamp::from_secs(50)),
            only_one.clone(),
        ),
        ("attempts", |f| f.attempts_over = Some(0), only_one),
        (
            "parts of one recipient",
            |f| (f.domain, f.recipient) = (text("e.test"), whose("r@f.test")),
            vec![],
        ),
    ];
    for (name, part, want) in table {
        let mut filter = Filter::default();
        part(&mut filter);
        let page = store.list(&filter, None, 99, at(101)).await.unwrap();
        let mut ids: Vec<QueueId> = page.messages.iter().map(|m| m.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, want, "{name}");
    }
}

async fn listings_page_in_order<S: QueueStore>(store: S) {
    let mut want = Vec::new();
    for n in 0..1_100u64 {
        let recipients = ["a@d.test", "b@e.test"];
        let (id, leases) = put(&store, "s@a.test", &recipients, b"x", n % 2 == 0, at(1 + n)).await;
        want.push((1 + n, id));
        if n == 0 {
            store
                .finish(ending(&leases[0], deferred(5_000)), at(2))
                .unwrap();
            store
                .finish(ending(&leases[1], deferred(4_000)), at(2))
                .unwrap();
            want[0].0 = 4_000;
        }
    }
    want.sort_unstable();
    let (mut seen, mut cursor) = (Vec::new(), None::<Cursor>);
    loop {
        let page = store
            .list(&Filter::default(), cursor.as_ref(), 97, at(2_000))
            .await
            .unwrap();
        seen.extend(page.messages.iter().map(|m| m.id));
        match page.next {
            Some(next) => cursor = Cursor::from_text(&next.to_text()),
            None => break,
        }
    }
    assert_eq!(seen, want.iter().map(|w| w.1).collect::<Vec<_>>());
}

async fn edits_do_what_they_say<S: QueueStore>(store: S) {
    let mut ids = Vec::new();
    for n in 0..6u64 {
        let (id, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1 + n)).await;
        store
            .finish(ending(&leases[0], deferred(300)), at(10))
            .unwrap();
        ids.push(id);
    }
    let all = Target::Filter(Filter::default());
    let some = Target::Ids(vec![ids[0], ids[1], QueueId::from_raw(1)]);
    let dry = store.edit(&some, Edit::Hold, true, at(20)).await.unwrap();
    assert_eq!((dry.matched, dry.changed), (2, 2));
    assert_eq!(dry.unknown, [QueueId::from_raw(1)]);
    assert_eq!(store.stats(at(20)).held, 0);
    store.edit(&some, Edit::Hold, false, at(20)).await.unwrap();
    assert_eq!(
        (store.stats(at(20)).held, store.stats(at(20)).deferred),
        (2, 4)
    );
    assert_eq!(
        store.show(ids[0], at(20)).await.unwrap().state,
        MessageState::Held
    );
    let retried = store.edit(&all, Edit::Retry, false, at(21)).await.unwrap();
    assert_eq!((retried.matched, retried.changed), (6, 6));
    assert_eq!(store.stats(at(21)).due, 4, "a hold outlasts a retry");
    let leased = store.lease(&to("d.test"), 2, at(21)).await.unwrap();
    store
        .edit(&Target::Ids(vec![leased[0].id]), Edit::Hold, false, at(22))
        .await
        .unwrap();
    store
        .finish(ending(&leased[0], deferred(400)), at(22))
        .unwrap();
    assert_eq!(store.stats(at(22)).held, 3, "held while leased");
    let released = store
        .edit(&all, Edit::Release, false, at(23))
        .await
        .unwrap();
    assert_eq!((released.matched, released.changed), (6, 3));
    assert_eq!(store.stats(at(23)).held, 0);
    let cancelled = store.edit(&all, Edit::Cancel, false, at(24)).await.unwrap();
    assert_eq!(cancelled.changed, 6);
    let under_way = cancelled.cancelled.iter().filter(|c| c.under_way);
    assert!(under_way.map(|c| c.id).eq(leased.get(1).map(|l| l.id)));
    let told = cancelled.cancelled.iter().find(|c| c.id == ids[0]).unwrap();
    assert_eq!(told.arrived, at(1).wall);
    let hosts: Vec<String> = told.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["d.test"]);
    let refused = store.finish(ending(&leased[1], DELIVERED), at(25));
    assert_eq!(refused.unwrap_err(), QueueError::StaleLease(leased[1].id));
    let stats = store.stats(at(25));
    assert_eq!((stats.messages, stats.active, stats.oldest), (0, 0, None));
    assert!(stats.destinations.is_empty() && stats.reasons.is_empty());
}

async fn an_abandoned_message_leaves_nothing<S: QueueStore>(store: S) {
    let mut incoming = store.begin(None, at(1)).unwrap();
    incoming.write(&vec![b'x'; 1 << 20]).await.unwrap();
    let id = incoming.id();
    drop(incoming);
    assert_eq!(store.show(id, at(1)).await, Err(QueueError::NotFound(id)));
    assert_eq!(store.stats(at(1)).messages, 0);
    let (next, _) = put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
    assert!(next > id, "ids are never reused");
}

async fn misuse_is_refused_and_changes_nothing<S: QueueStore>(store: S) {
    let (id, leases) = put(
        &store,
        "s@a.test",
        &["a@d.test", "b@e.test"],
        b"x",
        true,
        at(1),
    )
    .await;
    for outcomes in [
        vec![(1, DELIVERED)],
        vec![(0, DELIVERED), (0, DELIVERED)],
        vec![(
            0,
            Outcome::Deferred {
                next_attempt: Timestamp::from_secs(9),
                note: 1,
            },
        )],
    ] {
        let mut finish = ending(&leases[0], DELIVERED);
        finish.outcomes = outcomes;
        let error = store.finish(finish, at(2)).unwrap_err();
        assert!(matches!(error, QueueError::Misuse(_)), "{error}");
    }
    assert_eq!(
        store.show(id, at(2)).await.unwrap().recipients[0].attempts,
        0
    );
    store.finish(ending(&leases[0], DELIVERED), at(2)).unwrap();
}

async fn the_scheduler_is_woken<S: QueueStore>(store: S) {
    let wake = store.wake();
    assert_eq!(store.next_due(at(1)), None);
    put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
    tokio::time::timeout(Duration::from_secs(20), wake.notified())
        .await
        .unwrap();
    assert_eq!(store.next_due(at(1)), Some(Timestamp::from_secs(1)));
}
