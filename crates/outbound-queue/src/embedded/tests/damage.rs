//! A damaged index: moved aside, rebuilt, nothing lost, nothing finished comes back.

use std::fs;
use std::path::Path;

use super::*;

/// Twenty messages: every fourth delivered, every fifth deferred, the others fresh. Returns those that remain.
async fn fill(store: &EmbeddedStore) -> Vec<QueueId> {
    let mut remain = Vec::new();
    for n in 0..20u64 {
        let body = format!("content {n}");
        let recipients = ["r@d.test", "q@e.test"];
        let (id, leases) = put(store, "s@a.test", &recipients, body.as_bytes(), true, at(1)).await;
        for lease in &leases {
            if n % 4 == 0 {
                store.finish(ending(lease, DELIVERED), at(2)).unwrap();
            } else if n % 5 == 0 {
                store
                    .finish(ending(lease, deferred(100 + n)), at(2))
                    .unwrap();
            }
        }
        if n % 4 != 0 {
            remain.push(id);
        }
        if n % 7 == 0 {
            committer::step(&store.shared).unwrap();
        }
    }
    remain
}

async fn check(store: &EmbeddedStore, remain: &[QueueId]) {
    assert_eq!(ids(store).await, remain);
    let deferred = Filter {
        attempts_over: Some(0),
        ..Filter::default()
    };
    let page = store.list(&deferred, None, 99, at(9)).await.unwrap();
    assert_eq!(page.messages.len(), 3, "5, 10 and 15");
    for message in &page.messages {
        assert_eq!(
            (message.attempts.len(), message.recipients[1].attempts),
            (2, 1)
        );
    }
    for id in remain {
        let body = read(store.open_body(*id).await.unwrap()).await.unwrap();
        assert!(body.starts_with(b"content "));
    }
}

#[tokio::test]
async fn what_is_under_way_has_its_outcome_though_the_index_failed() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let (_, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
    let (waits, _) = put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
    committer::step(&store.shared).unwrap();
    store.shared.fail_index(&mut store.shared.lock(), "a test");
    assert!(store.begin(None, at(2)).is_err());
    assert!(store.lease(&to("d.test"), 9, at(2)).await.is_err());
    let finished = store.finish(ending(&leases[0], DELIVERED), at(2)).unwrap();
    finished.durable.wait().await.unwrap();
    drop(store);
    let store = still_recovered(options(dir.path()));
    assert_eq!(ids(&store).await, [waits], "nothing comes twice");
}

#[tokio::test]
async fn h7_01_h7_02_dropped_without_a_shutdown_all_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let remain = fill(&store).await;
    store.shared.journal.sync().unwrap();
    drop(store);
    let store = still(options(dir.path()));
    assert_eq!(store.health().index_rebuilt, None);
    check(&store, &remain).await;
    // And once more from a clean end.
    store.close().unwrap();
    drop(store);
    let store = still(options(dir.path()));
    assert_eq!(store.health().index_rebuilt, None);
    check(&store, &remain).await;
}

#[tokio::test]
async fn an_index_that_is_gone_or_damaged_is_rebuilt() {
    let delete = |index: &Path| fs::remove_dir_all(index).unwrap();
    let truncate = |index: &Path| {
        let db = fs::File::options()
            .write(true)
            .open(index.join("db"))
            .unwrap();
        db.set_len(db.metadata().unwrap().len() / 3).unwrap();
    };
    let garbage = |index: &Path| fs::write(index.join("db"), vec![0xA5; 100_000]).unwrap();
    let suspect = |index: &Path| {
        fs::write(index.parent().unwrap().join("index.suspect"), b"").unwrap();
    };
    let kinds: [(&str, Damage<'_>); 4] = [
        ("deleted", &delete),
        ("truncated", &truncate),
        ("overwritten", &garbage),
        ("marked", &suspect),
    ];
    for (name, damage) in kinds {
        let dir = tempfile::tempdir().unwrap();
        let store = still(options(dir.path()));
        let remain = fill(&store).await;
        store.close().unwrap();
        drop(store);
        damage(&dir.path().join("queue/index"));
        let store = still(options(dir.path()));
        assert!(store.health().index_rebuilt.is_some(), "{name}");
        assert!(store.health().recovering, "{name}");
        // New mail is taken and delivered meanwhile; the old is not touched before all is known.
        let (new, leases) = put(&store, "s@a.test", &["r@d.test"], b"content", true, at(3)).await;
        assert!(new > *remain.last().unwrap(), "{name}");
        assert!(store.due_destinations(at(3), None, 9).is_empty(), "{name}");
        let listed = store.list(&Filter::default(), None, 9, at(3)).await;
        assert_eq!(listed.err(), Some(QueueError::Rebuilding), "{name}");
        recover(&store.shared);
        store.finish(ending(&leases[0], DELIVERED), at(4)).unwrap();
        check(&store, &remain).await;
        store.close().unwrap();
        drop(store);
        let store = still(options(dir.path()));
        assert_eq!(
            store.health().index_rebuilt,
            None,
            "{name}: the new one is whole"
        );
        check(&store, &remain).await;
    }
}

#[tokio::test]
async fn a_rebuild_behind_running_threads_finds_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let remain = fill(&store).await;
    store.close().unwrap();
    drop(store);
    fs::remove_dir_all(dir.path().join("queue/index")).unwrap();
    let store = EmbeddedStore::open(options(dir.path())).unwrap();
    let wake = store.wake();
    while store.health().recovering {
        let woken = tokio::time::timeout(Duration::from_secs(60), wake.notified());
        woken.await.unwrap();
    }
    check(&store, &remain).await;
}

/// Wherever a bit flips, mail is neither lost nor comes back.
#[tokio::test]
async fn a_flipped_bit_in_the_index_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let remain = fill(&store).await;
    store.close().unwrap();
    drop(store);
    let db = dir.path().join("queue/index/db");
    let good = fs::read(&db).unwrap();
    let used = good.iter().rposition(|b| *b != 0).unwrap();
    for step in 0..24 {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        let mut bytes = good.clone();
        let at = used * step / 24;
        bytes[at] ^= 1 << (step % 8);
        fs::write(copy.path().join("queue/index/db"), bytes).unwrap();
        let store = still_recovered(options(copy.path()));
        check(&store, &remain).await;
    }
}

#[tokio::test]
async fn h7_02_an_image_taken_at_any_time_opens() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(options(dir.path())).unwrap();
    for round in 0..8u64 {
        let remain = {
            let mut remain = Vec::new();
            for n in 0..25 {
                let (id, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
                let outcome = if n % 2 == 0 {
                    DELIVERED
                } else {
                    deferred(50 + round)
                };
                let finished = store.finish(ending(&leases[0], outcome), at(2)).unwrap();
                if n % 2 != 0 {
                    remain.push(id);
                }
                if n == 24 {
                    finished.durable.wait().await.unwrap();
                }
            }
            remain
        };
        let image = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), image.path());
        let found = ids(&still_recovered(options(image.path()))).await;
        assert_eq!(found.len(), remain.len() * (round as usize + 1));
        assert!(found.ends_with(&remain));
    }
}

type Damage<'a> = &'a dyn Fn(&Path);

pub(super) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    // A running store may remove a file between listing and copying: journal segments never, others may.
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else if let Err(error) = fs::copy(entry.path(), target) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
}
