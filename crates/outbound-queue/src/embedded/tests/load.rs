//! Many messages, and many recipients.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_messages_open_and_drain() {
    const MESSAGES: usize = 50_000;
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(EmbeddedOptions {
        index_interval: Duration::from_millis(100),
        ..options(dir.path())
    })
    .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..100usize {
        let store = store.clone();
        tasks.spawn(async move {
            let recipient = format!("r@d{}.test", task % 10);
            for _ in 0..MESSAGES / 100 {
                put(
                    &store,
                    "s@a.test",
                    &[&recipient],
                    b"a small message",
                    false,
                    at(1),
                )
                .await;
            }
        });
    }
    tasks.join_all().await;
    store.close().unwrap();
    drop(store);
    let store = EmbeddedStore::open(options(dir.path())).unwrap();
    while store.health().recovering {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.stats(at(2)).due, MESSAGES as u64);
    assert!(
        store.shared.lock().core.hot.is_empty(),
        "what waits is in the index"
    );
    let mut drained = 0;
    while let Some(due) = store.due_destinations(at(2), None, 1).first() {
        for lease in store.lease(&due.destination, 500, at(2)).await.unwrap() {
            store.finish(ending(&lease, DELIVERED), at(2)).unwrap();
            drained += 1;
        }
    }
    assert_eq!((drained, store.stats(at(2)).messages), (MESSAGES, 0));
    store.close().unwrap();
    let blobs = std::fs::read_dir(dir.path().join("queue/index/blobs")).unwrap();
    assert_eq!(blobs.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_answers_before_it_has_looked_at_everything_in_vain() {
    const MESSAGES: usize = 1_500;
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(options(dir.path())).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..MESSAGES / 50 {
                put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
            }
        });
    }
    tasks.join_all().await;
    let often = Filter {
        attempts_over: Some(0),
        ..Filter::default()
    };
    let first = store.list(&often, None, 50, at(2)).await.unwrap();
    assert_eq!(first.messages.len(), 0);
    let next = first.next.expect("there is more to look at");
    let second = store.list(&often, Some(&next), 50, at(2)).await.unwrap();
    assert_eq!((second.messages.len(), second.next), (0, None));
    // What matches is no reason to stop.
    let every = Filter::default();
    let all = store.list(&every, None, usize::MAX, at(2)).await.unwrap();
    assert_eq!((all.messages.len(), all.next), (MESSAGES, None));
    // Actions go on to the end by themselves.
    let target = Target::Filter(often);
    let edited = store.edit(&target, Edit::Hold, false, at(2)).await.unwrap();
    assert_eq!(edited.matched, 0);
    store.close().unwrap();
}

#[tokio::test]
async fn many_recipients_make_many_small_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let names: Vec<String> = (0..1000)
        .map(|n| format!("recipient{n}@d{n}.test"))
        .collect();
    let recipients: Vec<&str> = names.iter().map(String::as_str).collect();
    let (id, leases) = put(&store, "s@a.test", &recipients, b"x", true, at(1)).await;
    assert_eq!(leases.len(), 1000);
    committer::step(&store.shared).unwrap();
    for (n, lease) in leases.iter().enumerate() {
        let outcome = if n < 990 { DELIVERED } else { deferred(50) };
        store.finish(ending(lease, outcome), at(2)).unwrap();
    }
    store.close().unwrap();
    let blobs = std::fs::read_dir(dir.path().join("queue/index/blobs")).unwrap();
    assert_eq!(blobs.count(), 0, "rows are small");
    drop((store, leases));
    let store = still(options(dir.path()));
    let seen = store.show(id, at(3)).await.unwrap();
    let done = seen
        .recipients
        .iter()
        .filter(|r| matches!(r.state, crate::RecipientState::Done(_)));
    assert_eq!((done.count(), store.stats(at(3)).deferred), (990, 10));
}

#[tokio::test]
async fn a_large_index_is_read_behind_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let mut kept = Vec::new();
    for n in 0..50u64 {
        kept.push(
            put(&store, "s@a.test", &["r@d.test"], b"x", false, at(n))
                .await
                .0,
        );
    }
    store.close().unwrap();
    drop(store);
    let store = still(EmbeddedOptions {
        read_at_once: 20,
        ..options(dir.path())
    });
    assert_eq!(store.stats(at(99)).due, 20);
    let listed = store.list(&Filter::default(), None, 9, at(99)).await;
    assert_eq!(listed.unwrap_err(), QueueError::Rebuilding);
    // Meanwhile mail comes, and some of what is known goes.
    let (fresh, _) = put(&store, "s@a.test", &["r@d.test"], b"x", false, at(99)).await;
    for lease in store.lease(&to("d.test"), 5, at(99)).await.unwrap() {
        store.finish(ending(&lease, DELIVERED), at(99)).unwrap();
    }
    committer::step(&store.shared).unwrap();
    recover(&store.shared);
    assert!(!store.health().recovering, "{:?}", store.health());
    let mut expected = kept.split_off(5);
    expected.push(fresh);
    assert_eq!(ids(&store).await, expected);
    store.close().unwrap();
    drop(store);
    let store = still(options(dir.path()));
    assert_eq!(store.health().index_rebuilt, None);
    assert_eq!(ids(&store).await, expected);
}

#[tokio::test]
async fn what_is_not_read_yet_is_not_called_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let mut last = None;
    for _ in 0..3 {
        last = Some(
            put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1))
                .await
                .0,
        );
    }
    committer::step(&store.shared).unwrap();
    store.close().unwrap();
    drop(store);
    let store = still(EmbeddedOptions {
        read_at_once: 1,
        ..options(dir.path())
    });
    assert!(store.health().recovering);
    let target = Target::Ids(last.into_iter().collect());
    for dry_run in [true, false] {
        let edited = store.edit(&target, Edit::Hold, dry_run, at(2)).await;
        assert_eq!(
            edited.unwrap_err().cause,
            QueueError::Rebuilding,
            "dry run: {dry_run}"
        );
    }
    recover(&store.shared);
    let edited = store.edit(&target, Edit::Hold, true, at(2)).await.unwrap();
    assert_eq!((edited.matched, edited.unknown), (1, Vec::new()));
}

#[tokio::test]
async fn mail_of_a_suspended_destination_is_given_out_without_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let (store, d) = (still(options(dir.path())), to("d.test"));
    let (id, _) = put(&store, "s@a.test", &["r@d.test"], b"content", false, at(1)).await;
    store.close().unwrap();
    drop(store);
    let store = still_recovered(options(dir.path()));
    let has_content = async || {
        let lease = store.lease(&d, 1, at(2)).await.unwrap().remove(0);
        store.release(&lease.token).unwrap();
        lease.body.is_some()
    };
    store.suspend(&d, Some(at(100).wall), at(2));
    assert!(!has_content().await, "its row was not in memory");
    assert!(!has_content().await, "and now is");
    // Who needs it has it.
    let content = store.open_body(id).await.unwrap();
    assert_eq!(read(content).await.unwrap(), b"content");
    store.suspend(&d, None, at(2));
    assert!(has_content().await, "it is to be sent");
}
