//! The embedded store on real and simulated disks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use journal::FreeSpace;
use mail_types::QueueId;

use super::open::{guarded, prepare, recover};
use super::shared::Shared;
use super::*;
use crate::conformance::{DELIVERED, at, deferred, ending, put, read, to};
use crate::samples::ByDomain;
use crate::{Done, Edit, Filter, Incoming, NewMessage, Outcome, QueueError, QueueStore, Target};

mod crash;
mod damage;
mod descriptors;
mod load;
mod pressure;
mod refused;
mod retry;

fn options(directory: &Path) -> EmbeddedOptions {
    EmbeddedOptions {
        free_space_floor: 0,
        index_interval: Duration::from_millis(1),
        ..EmbeddedOptions::new(directory.join("queue"), Arc::new(ByDomain), 7)
    }
}

/// A store without threads: the test says when the index is written and what is compacted.
fn still(options: EmbeddedOptions) -> EmbeddedStore {
    EmbeddedStore::new(Arc::new(prepare(options).unwrap()), Vec::new())
}

/// As [`still`], with everything read.
fn still_recovered(options: EmbeddedOptions) -> EmbeddedStore {
    let store = still(options);
    if store.health().recovering {
        recover(&store.shared);
    }
    assert!(!store.health().recovering, "{:?}", store.health());
    store
}

/// What is in the queue, in order of arrival.
async fn ids(store: &EmbeddedStore) -> Vec<QueueId> {
    let page = store
        .list(&Filter::default(), None, usize::MAX, at(9))
        .await;
    let mut ids: Vec<QueueId> = page.unwrap().messages.iter().map(|m| m.id).collect();
    ids.sort_unstable();
    ids
}

/// Compacts whatever can be.
fn compact_all(shared: &Shared) {
    committer::step(shared).unwrap();
    let mut futile = std::collections::BTreeSet::new();
    while let Some(segment) = compaction::candidate(shared, &futile) {
        if !compaction::compact(shared, segment).unwrap() {
            futile.insert(segment);
        }
    }
}

fn free_bytes(bytes: u64) -> FreeSpace {
    FreeSpace {
        bytes,
        total_bytes: u64::MAX,
        inodes: None,
    }
}

#[tokio::test]
async fn large_content_has_a_file_that_goes_with_the_message() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let body: Vec<u8> = (0..700_001u32).map(|n| (n / 3) as u8).collect();
    let (id, leases) = put(&store, "s@a.test", &["r@d.test"], &body, true, at(1)).await;
    assert!(leases[0].body.is_none(), "not kept in memory");
    assert_eq!(
        read(store.open_body(id).await.unwrap()).await.unwrap(),
        body
    );
    let file = dir.path().join("queue/bodies").join(id.short());
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let damaged = read(store.open_body(id).await.unwrap()).await;
    assert!(
        matches!(damaged, Err(QueueError::Body { .. })),
        "{damaged:?}"
    );
    let finished = store.finish(ending(&leases[0], DELIVERED), at(2)).unwrap();
    finished.durable.wait().await.unwrap();
    committer::step(&store.shared).unwrap();
    assert!(!file.exists());
    let mut incoming = store.begin(None, at(3)).unwrap();
    incoming.write(&body).await.unwrap();
    drop(incoming);
    assert_eq!(
        std::fs::read_dir(dir.path().join("queue/bodies"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn an_outcome_that_nobody_waits_for_wakes_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let (_, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
    let wake = store.wake();
    let is_woken = async || {
        tokio::select! {
            biased;
            () = wake.notified() => true,
            () = std::future::ready(()) => false,
        }
    };
    is_woken().await;
    let finished = store.finish(ending(&leases[0], DELIVERED), at(2)).unwrap();
    drop(finished.durable);
    store.shared.journal.sync().unwrap();
    assert_eq!(store.shared.done.take().len(), 1, "it is on disk");
    assert!(!is_woken().await, "nothing is due by it");
    // Mail that is due by an outcome is told of when that is entered.
    let (_, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(3)).await;
    store
        .finish(ending(&leases[0], deferred(4)), at(3))
        .unwrap();
    assert!(is_woken().await);
    // Another message in the same record is there only when that is on disk.
    let leases = store.lease(&to("d.test"), 9, at(4)).await.unwrap();
    let notice = NewMessage {
        id: store.allocate_id(at(5)),
        envelope: crate::samples::envelope("", &["s@a.test"]),
        body: vec!["it failed".into()],
    };
    let mut finish = ending(&leases[0], Outcome::Done(Done::Bounced));
    finish.messages = vec![notice];
    assert!(!is_woken().await);
    store.finish(finish, at(5)).unwrap();
    store.shared.journal.sync().unwrap();
    assert!(is_woken().await);
}

#[tokio::test]
async fn mail_that_waited_is_leased_with_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let (id, _) = put(&store, "s@a.test", &["r@d.test"], b"small", false, at(1)).await;
    let large = vec![7; 300 << 10];
    put(&store, "s@a.test", &["r@d.test"], &large, false, at(1)).await;
    committer::step(&store.shared).unwrap();
    assert!(store.shared.lock().core.hot.is_empty(), "left to the index");
    let leases = store.lease(&to("d.test"), 9, at(2)).await.unwrap();
    let held = |n: usize| leases[n].body.as_ref().map(|body| body.chunks().concat());
    assert_eq!((leases[0].id, held(0)), (id, Some(b"small".to_vec())));
    assert_eq!(held(1), None, "large content is read as it is sent");
}

#[tokio::test]
async fn without_room_content_is_read_as_it_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(EmbeddedOptions {
        body_memory: 0,
        ..options(dir.path())
    });
    let (id, _) = put(&store, "s@a.test", &["r@d.test"], b"small", false, at(1)).await;
    let leases = store.lease(&to("d.test"), 1, at(2)).await.unwrap();
    assert!(leases[0].body.is_none());
    let body = read(store.open_body(id).await.unwrap()).await.unwrap();
    assert_eq!(body, b"small");
}

#[tokio::test]
async fn finished_before_the_next_batch_never_gets_a_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let (_, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
    store.finish(ending(&leases[0], DELIVERED), at(2)).unwrap();
    let (id, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(3)).await;
    store
        .finish(ending(&leases[0], deferred(90)), at(4))
        .unwrap();
    committer::step(&store.shared).unwrap();
    let mut rows = Vec::new();
    let index = store.shared.index.as_ref().unwrap();
    let collect = |id, _: &[u8]| {
        rows.push(id);
        Ok(())
    };
    index
        .for_each(QueueId::from_raw(0), usize::MAX, collect)
        .unwrap();
    assert_eq!(rows, [id]);
    assert!(
        store.shared.lock().core.hot.is_empty(),
        "what waits is not in memory"
    );
    let leased = store.lease(&to("d.test"), 9, at(90)).await.unwrap();
    assert_eq!((leased.len(), leased[0].recipients[0].attempts), (1, 1));
}

#[tokio::test]
async fn e4_17_h6_01_below_the_floor_nothing_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(1000));
    let asked = Arc::clone(&free);
    let store = still(EmbeddedOptions {
        free_space_floor: 500,
        free_space: Arc::new(move |_| Ok(free_bytes(asked.load(Ordering::Relaxed)))),
        ..options(dir.path())
    });
    assert!(store.begin(Some(400), at(1)).is_ok());
    let refused = |size| store.begin(size, at(1)).err();
    let full = |error| matches!(error, Some(QueueError::DiskFull(_)));
    assert!(full(refused(Some(600))), "SIZE=");
    free.store(499, Ordering::Relaxed);
    assert!(full(refused(None)));
    let lack = store.health().full.unwrap();
    assert_eq!(
        lack,
        journal::Shortage::Space {
            free: 499,
            floor: 500
        }
    );
    free.store(1000, Ordering::Relaxed);
    put(&store, "s@a.test", &["r@d.test"], b"x", false, at(2)).await;
    assert_eq!(store.health().full, None);
}

#[tokio::test]
async fn a_commit_that_is_given_up_half_way_is_as_after_a_lost_reply() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let mut incoming = store.begin(None, at(1)).unwrap();
    incoming.write(b"x").await.unwrap();
    let id = incoming.id();
    let envelope = crate::samples::envelope("s@a.test", &["r@d.test"]);
    {
        let mut commit = Box::pin(incoming.commit(envelope, true, at(1)));
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(commit.as_mut().poll(cx)));
        if let std::task::Poll::Ready(committed) = polled.await {
            // The disk was quicker than we: then it is an ordinary commit.
            committed.unwrap();
        }
    }
    store.shared.journal.sync().unwrap();
    assert_eq!(ids(&store).await, [id]);
}

#[test]
fn h6_11_a_newer_format_is_refused_before_anything_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("queue");
    let make_room = || EmbeddedStore::make_room(&directory, u64::MAX);
    assert_eq!(make_room(), Ok(()));
    assert!(!directory.exists());
    drop(still(options(dir.path())));
    assert_eq!(make_room(), Ok(()));
    std::fs::write(directory.join("FORMAT"), "sealpost-queue 99\n").unwrap();
    let newer = QueueError::NewerFormat {
        found: 99,
        known: 1,
    };
    assert_eq!(make_room(), Err(newer));
    std::fs::write(directory.join("FORMAT"), "garbage").unwrap();
    let told = make_room();
    assert_eq!(told, Ok(()), "that is for the opening to judge");
}

#[tokio::test]
async fn a_thread_of_the_store_that_panics_ends_all_work_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    guarded("queue-recovery", &store.shared, |_| ());
    assert_eq!(store.failure(), None);
    guarded("queue-recovery", &store.shared, |_| panic!("as wanted"));
    let failed = store.health().failed.unwrap();
    assert!(
        failed.contains("thread queue-recovery panicked"),
        "{failed}"
    );
    assert!(store.begin(None, at(1)).is_err());
}

#[tokio::test]
async fn edits_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let (one, _) = put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
    let (two, _) = put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
    let edit = |id, edit| store.edit_one(id, edit);
    edit(one, Edit::Hold).await;
    edit(two, Edit::Cancel).await;
    drop(store);
    let store = still(options(dir.path()));
    assert_eq!(ids(&store).await, [one]);
    assert_eq!(store.stats(at(9)).held, 1);
    let (three, _) = put(&store, "s@a.test", &["r@d.test"], b"x", false, at(0)).await;
    assert!(three > two, "ids grow across restarts and clock steps");
}

#[tokio::test]
async fn h10_04_an_edit_that_stops_on_the_way_says_what_it_has_done() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(
            put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1))
                .await
                .0,
        );
    }
    store.edit_one(sent[2], Edit::Cancel).await;
    // As long as the index is read nobody knows whether there is such a message.
    store.shared.lock().recovering = true;
    let some = Target::Ids(vec![sent[0], sent[2], sent[1]]);
    let stopped = store.edit(&some, Edit::Cancel, false, at(3)).await;
    let stopped = stopped.unwrap_err();
    assert_eq!(stopped.cause, QueueError::Rebuilding);
    assert_eq!((stopped.done.matched, stopped.done.changed), (1, 1));
    let gone: Vec<QueueId> = stopped.done.cancelled.iter().map(|c| c.id).collect();
    assert_eq!(gone, [sent[0]]);
    store.shared.lock().recovering = false;
    assert_eq!(ids(&store).await, [sent[1]]);
}

impl EmbeddedStore {
    async fn edit_one(&self, id: QueueId, edit: Edit) {
        let edited = self.edit(&Target::Ids(vec![id]), edit, false, at(2)).await;
        assert_eq!(edited.unwrap().changed, 1);
    }
}
