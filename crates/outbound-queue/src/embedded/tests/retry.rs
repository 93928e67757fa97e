//! A retry of everything: no row is read, and nothing forgets it.

use journal::SimulatedDisk;

use super::crash::on;
use super::*;
use crate::embedded::retried;

/// A store with so many messages that wait for the time 5000, and none in memory.
async fn waiting(directory: &Path, messages: u64) -> EmbeddedStore {
    let store = still(options(directory));
    defer_some(&store, messages).await;
    store
}

async fn defer_some(store: &EmbeddedStore, messages: u64) {
    for n in 0..messages {
        let recipient = format!("r@d{}.test", n % 7);
        let (_, leases) = put(store, "s@a.test", &[&recipient], b"x", true, at(1)).await;
        let finished = store.finish(ending(&leases[0], deferred(5000)), at(2));
        finished.unwrap().durable.wait().await.unwrap();
    }
    committer::step(&store.shared).unwrap();
    assert!(store.shared.lock().core.hot.is_empty());
}

async fn retry_all(store: &EmbeddedStore, secs: u64) -> crate::Edited {
    let all = Target::Filter(Filter::default());
    let dry = store.edit(&all, Edit::Retry, true, at(secs)).await.unwrap();
    let edited = store.edit(&all, Edit::Retry, false, at(secs)).await;
    let edited = edited.unwrap();
    assert_eq!(dry, edited);
    edited
}

fn due(store: &EmbeddedStore, secs: u64) -> u64 {
    store.stats(at(secs)).due
}

#[tokio::test]
async fn a_retry_of_all_reads_nothing_and_is_one_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = waiting(dir.path(), 35).await;
    // One waits at two places, one is held: these are edited by themselves.
    let recipients = ["r@d0.test", "q@e.test"];
    let (_, leases) = put(&store, "s@a.test", &recipients, b"x", true, at(1)).await;
    for lease in &leases {
        store.finish(ending(lease, deferred(5000)), at(2)).unwrap();
    }
    let (held, _) = put(&store, "s@a.test", &["h@d1.test"], b"x", false, at(1)).await;
    let hold = Target::Ids(vec![held]);
    store.edit(&hold, Edit::Hold, false, at(2)).await.unwrap();
    committer::step(&store.shared).unwrap();
    store.shared.journal.sync().unwrap();
    let groups = store.journal_stats().groups;
    let edited = retry_all(&store, 100).await;
    assert_eq!((edited.matched, edited.changed), (37, 36));
    assert_eq!(store.shared.lock().core.hot.len(), 2, "only those two");
    assert_eq!(store.journal_stats().groups - groups, 2);
    assert_eq!((due(&store, 100), store.stats(at(100)).held), (37, 1));
    let again = retry_all(&store, 100).await;
    assert_eq!((again.matched, again.changed), (37, 0), "it is due");
    let page = store.list(&Filter::default(), None, 99, at(100)).await;
    let page = page.unwrap().messages;
    assert_eq!(
        page.iter()
            .filter(|m| m.next_attempt == Some(at(100).wall))
            .count(),
        36
    );
    // A lease has what it needs, and the attempt counts as any other.
    let leases = store.lease(&to("d3.test"), 9, at(100)).await.unwrap();
    assert_eq!((leases.len(), leases[0].recipients[0].attempts), (5, 1));
    store
        .finish(ending(&leases[0], deferred(9000)), at(101))
        .unwrap();
    let seen = store.show(leases[0].id, at(102)).await.unwrap();
    assert_eq!(
        (seen.next_attempt, seen.recipients[0].attempts),
        (Some(at(9000).wall), 2)
    );
}

#[tokio::test]
async fn a_domain_is_retried_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = waiting(dir.path(), 21).await;
    let filter = Filter {
        domain: Some("d2.test".into()),
        ..Filter::default()
    };
    let edited = store
        .edit(&Target::Filter(filter), Edit::Retry, false, at(100))
        .await;
    assert_eq!(edited.unwrap().changed, 3);
    assert!(store.shared.lock().core.hot.is_empty(), "no row was read");
    assert_eq!(due(&store, 100), 3);
    assert_eq!(
        store
            .lease(&to("d2.test"), 99, at(100))
            .await
            .unwrap()
            .len(),
        3
    );
}

#[tokio::test]
async fn a_retry_of_all_survives_a_crash_and_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let store = waiting(dir.path(), 21).await;
    retry_all(&store, 100).await;
    // Some of it is tried and deferred anew; the index writes that, but no checkpoint.
    let checkpoint = store.shared.lock().checkpoint;
    for lease in store.lease(&to("d1.test"), 9, at(101)).await.unwrap() {
        let finished = store.finish(ending(&lease, deferred(9000)), at(102));
        finished.unwrap().durable.wait().await.unwrap();
    }
    committer::step(&store.shared).unwrap();
    assert_eq!(store.shared.lock().checkpoint, checkpoint);
    assert_eq!(due(&store, 103), 18);
    drop(store);
    let store = still_recovered(options(dir.path()));
    assert_eq!(store.health().index_rebuilt, None);
    assert_eq!(
        due(&store, 103),
        18,
        "nothing is tried again before its time"
    );
    // The rest comes into the index by and by, and then the index has followed.
    retried::bring(&store.shared, Duration::ZERO).unwrap();
    assert!(store.shared.lock().retried.is_empty());
    committer::step(&store.shared).unwrap();
    assert!(store.shared.lock().checkpoint > checkpoint);
    drop(store);
    let store = still_recovered(options(dir.path()));
    assert_eq!(due(&store, 103), 18);
    drop(store);
    std::fs::remove_dir_all(dir.path().join("queue/index")).unwrap();
    let store = still_recovered(options(dir.path()));
    assert!(store.health().index_rebuilt.is_some());
    assert_eq!(due(&store, 103), 18, "also without the index");
}

#[tokio::test]
async fn h6_02_a_retry_that_a_full_disk_refuses_is_answered_when_it_is_on_disk() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::new(15));
    let store = still(on(&disk, dir.path()));
    defer_some(&store, 21).await;
    disk.set_free(Some(0));
    let asking = store.clone();
    let retry = tokio::spawn(async move { retry_all(&asking, 100).await });
    while store.shared.lock().unrecorded.is_empty() {
        assert!(!retry.is_finished(), "answered already");
        tokio::task::yield_now().await;
    }
    committer::step(&store.shared).unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!retry.is_finished(), "it is not on disk");
    disk.set_free(None);
    committer::step(&store.shared).unwrap();
    assert_eq!(retry.await.unwrap().changed, 21);
    assert_eq!(due(&store, 100), 21);
    drop(store);
    std::fs::remove_dir_all(dir.path().join("queue/index")).unwrap();
    let store = still_recovered(on(&disk.power_cut(), dir.path()));
    assert_eq!(due(&store, 100), 21);
}

#[tokio::test]
async fn a_retry_outlives_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let store = waiting(dir.path(), 20).await;
    store.shared.journal.rotate().unwrap();
    retry_all(&store, 100).await;
    for lease in store.lease(&to("d1.test"), 9, at(101)).await.unwrap() {
        store
            .finish(ending(&lease, deferred(9000)), at(102))
            .unwrap();
    }
    let segment = store.shared.journal.active();
    store.shared.journal.sync().unwrap();
    store.shared.journal.rotate().unwrap();
    retried::bring(&store.shared, Duration::ZERO).unwrap();
    committer::step(&store.shared).unwrap();
    assert!(compaction::compact(&store.shared, segment).unwrap());
    committer::step(&store.shared).unwrap();
    assert_eq!(due(&store, 103), 17);
    drop(store);
    std::fs::remove_dir_all(dir.path().join("queue/index")).unwrap();
    let store = still_recovered(options(dir.path()));
    assert_eq!(
        due(&store, 103),
        17,
        "the other three wait for their next attempt"
    );
}
