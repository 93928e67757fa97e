//! Mail that comes faster than the index can be written.

use super::*;

#[tokio::test]
async fn h9_02_commits_wait_for_an_index_that_lags_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(EmbeddedOptions {
        messages_in_memory: 3,
        ..options(dir.path())
    });
    for _ in 0..3 {
        put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
    }
    let giving = store.clone();
    let fourth =
        tokio::spawn(
            async move { put(&giving, "s@a.test", &["r@d.test"], b"x", false, at(1)).await },
        );
    // It is received, and then it waits: nothing else runs on this thread.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!fourth.is_finished());
    assert_eq!(store.stats(at(1)).messages_in_memory, 3);
    committer::step(&store.shared).unwrap();
    store.shared.caught_up.notify_waiters();
    fourth.await.unwrap();
    assert_eq!(store.stats(at(1)).messages, 4);
    assert_eq!(store.stats(at(1)).messages_in_memory, 1);
}

#[tokio::test]
async fn an_index_that_failed_lets_nobody_wait() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(EmbeddedOptions {
        messages_in_memory: 1,
        ..options(dir.path())
    });
    put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
    let mut incoming = store.begin(None, at(1)).unwrap();
    incoming.write(b"x").await.unwrap();
    let envelope = crate::samples::envelope("s@a.test", &["r@d.test"]);
    let second = tokio::spawn(incoming.commit(envelope, false, at(1)));
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!second.is_finished());
    store.shared.fail_index(&mut store.shared.lock(), "a test");
    store.shared.caught_up.notify_waiters();
    let answer = second.await.unwrap();
    assert!(matches!(answer, Err(QueueError::Failed(_))), "{answer:?}");
}

#[tokio::test]
async fn nobody_begins_to_wait_for_an_index_that_is_not_written_any_more() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let crowded = async |directory| {
        let store = still(EmbeddedOptions {
            messages_in_memory: 1,
            ..options(directory)
        });
        put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
        store
    };
    let (failed, stopped) = (crowded(dir.path()).await, crowded(other.path()).await);
    // The last call is out before anybody listens.
    failed
        .shared
        .fail_index(&mut failed.shared.lock(), "a test");
    *stopped.shared.control.stop.lock() = true;
    for store in [failed, stopped] {
        store.shared.caught_up.notify_waiters();
        let waits = ingest::until_caught_up(&store.shared);
        let over = tokio::time::timeout(Duration::from_secs(20), waits).await;
        assert!(over.is_ok());
    }
}

#[tokio::test]
async fn h9_02_what_was_only_looked_at_leaves_memory_and_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(EmbeddedOptions {
        messages_in_memory: 3,
        ..options(dir.path())
    });
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let (id, _) = put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
        waiting.push(id);
    }
    committer::step(&store.shared).unwrap();
    let in_memory = || store.stats(at(1)).messages_in_memory;
    assert_eq!(in_memory(), 0);
    // A dry run reads rows and keeps none.
    let all = Target::Filter(Filter::default());
    let counted = store.edit(&all, Edit::Cancel, true, at(1)).await.unwrap();
    assert_eq!((counted.matched, counted.changed, in_memory()), (3, 3, 0));
    for id in waiting {
        store.show(id, at(1)).await.unwrap();
    }
    assert_eq!(in_memory(), 3);
    // Nothing has changed, so nothing is written; and yet they go.
    committer::step(&store.shared).unwrap();
    assert_eq!(in_memory(), 0);
    put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
}

#[tokio::test]
async fn h9_02_what_slow_destinations_have_in_hand_stops_no_acceptance() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(EmbeddedOptions {
        messages_in_memory: 4,
        ..options(dir.path())
    });
    let mut claimed = Vec::new();
    for _ in 0..4 {
        let (_, leases) = put(&store, "s@a.test", &["r@slow.test"], b"x", true, at(1)).await;
        claimed.extend(leases);
    }
    assert_eq!(claimed.len(), 2, "half of the memory at most");
    committer::step(&store.shared).unwrap();
    assert_eq!(
        store.stats(at(1)).messages_in_memory,
        2,
        "the others wait their turn"
    );
    claimed.extend(store.lease(&to("slow.test"), 9, at(1)).await.unwrap());
    committer::step(&store.shared).unwrap();
    assert_eq!(
        store.stats(at(1)).messages_in_memory,
        4,
        "all of them in hand"
    );
    put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
}
