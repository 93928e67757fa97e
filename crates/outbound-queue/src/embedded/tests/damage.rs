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
    assert_eq!(store.health().damaged_records, 0);
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

#[tokio::test]
async fn h6_05_a_garbled_format_file_keeps_no_mail_from_its_delivery() {
    let dir = tempfile::tempdir().unwrap();
    let store = still(options(dir.path()));
    let remain = fill(&store).await;
    store.close().unwrap();
    drop(store);
    let format = dir.path().join("queue/FORMAT");
    let said = fs::read(&format).unwrap();
    for garbled in ["", "garbage"] {
        fs::write(&format, garbled).unwrap();
        let store = still(options(dir.path()));
        check(&store, &remain).await;
        drop(store);
        assert_eq!(fs::read(&format).unwrap(), said, "it is written anew");
        // Also before other stores are opened.
        fs::write(&format, garbled).unwrap();
        EmbeddedStore::make_room(&dir.path().join("queue"), 1).unwrap();
        assert_eq!(fs::read(&format).unwrap(), said);
    }
    // Where no journal says whose it is, nothing is opened after this.
    let other = dir.path().join("other");
    EmbeddedStore::make_room(&other, 1).unwrap();
    fs::create_dir(&other).unwrap();
    fs::write(other.join("FORMAT"), "garbage").unwrap();
    let refused = EmbeddedStore::make_room(&other, 1).unwrap_err().to_string();
    assert!(
        refused.contains("is the data directory right?"),
        "{refused}"
    );
    assert_eq!(fs::read(other.join("FORMAT")).unwrap(), b"garbage");
}

/// Three messages in two segments, the last one with a large content, then two in a third, all in the index; and where
/// the records of the last segment end.
async fn in_segments(directory: &Path) -> (Vec<QueueId>, Vec<u64>) {
    let store = still(options(directory));
    let mut all = Vec::new();
    for (n, size) in [(1, 10), (1, 10), (2, 400 << 10), (3, 10), (3, 10)] {
        while store.shared.journal.active() < n {
            store.shared.journal.rotate().unwrap();
        }
        let body = vec![b'x'; size];
        all.push(
            put(&store, "s@a.test", &["r@d.test"], &body, false, at(1))
                .await
                .0,
        );
    }
    store.close().unwrap();
    let mut ends = Vec::new();
    let seen = store.shared.journal.scan_segment(3, |record| {
        ends.push(u64::from(record.end.offset));
        std::ops::ControlFlow::Continue(())
    });
    seen.unwrap();
    (all, ends)
}

fn segment(directory: &Path, n: u32) -> std::path::PathBuf {
    directory.join(format!("queue/journal/{n:08}.seg"))
}

fn cut(directory: &Path, n: u32, len: u64) {
    let file = fs::File::options()
        .write(true)
        .open(segment(directory, n))
        .unwrap();
    file.set_len(len).unwrap();
}

#[tokio::test]
async fn what_the_journal_has_lost_of_what_the_index_knows_is_told() {
    let older_is_gone = |dir: &Path, _: &[u64]| fs::remove_file(segment(dir, 1)).unwrap();
    let last_is_cut = |dir: &Path, ends: &[u64]| cut(dir, 3, ends[0]);
    let last_is_empty = |dir: &Path, _: &[u64]| cut(dir, 3, 20);
    let older_is_cut = |dir: &Path, _: &[u64]| cut(dir, 1, 60);
    type Loss<'a> = &'a dyn Fn(&Path, &[u64]);
    let losses: [(&str, u64, Loss<'_>); 4] = [
        ("a segment is gone", 2, &older_is_gone),
        ("the end is cut off", 1, &last_is_cut),
        ("the last is empty", 2, &last_is_empty),
        ("an older one is cut", 2, &older_is_cut),
    ];
    for (what, lost, lose) in losses {
        for read_at_once in [100, 1] {
            let dir = tempfile::tempdir().unwrap();
            let (all, ends) = in_segments(dir.path()).await;
            lose(dir.path(), &ends);
            // The same again: what is lost stays so.
            for _ in 0..2 {
                let store = still_recovered(EmbeddedOptions {
                    read_at_once,
                    ..options(dir.path())
                });
                assert_eq!(store.health().damaged_records, lost, "{what}");
                assert_eq!(
                    ids(&store).await,
                    all,
                    "{what}: an operator can return them"
                );
                store.close().unwrap();
            }
        }
    }
}

#[tokio::test]
async fn an_index_that_alone_knows_of_mail_is_kept_for_good() {
    for gone in [1..=4, 2..=4] {
        let dir = tempfile::tempdir().unwrap();
        let (all, _) = in_segments(dir.path()).await;
        let left = *gone.start() as usize * 2 - 2;
        for n in gone {
            let _ = fs::remove_file(segment(dir.path(), n));
        }
        let store = still_recovered(options(dir.path()));
        let health = store.health();
        assert_eq!(health.damaged_records, (all.len() - left) as u64);
        assert!(health.index_rebuilt.unwrap().contains("index.lost-1"));
        assert_eq!(ids(&store).await, all[..left]);
        store.close().unwrap();
        drop(store);
        for _ in 0..2 {
            fs::remove_dir_all(dir.path().join("queue/index")).unwrap();
            let store = still_recovered(options(dir.path()));
            assert_eq!(store.health().damaged_records, 0);
            store.close().unwrap();
        }
        let kept = dir.path().join("queue/index.lost-1");
        assert!(kept.join("db").exists());
        let content = fs::read(kept.join("bodies").join(all[2].short())).unwrap();
        assert_eq!(content.len(), 400 << 10);
    }
}

#[tokio::test]
async fn damage_that_compaction_finds_is_told_once_and_its_segment_goes_when_nothing_in_it_matters()
{
    let dir = tempfile::tempdir().unwrap();
    let (all, _) = in_segments(dir.path()).await;
    let path = segment(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    // The magic of the second record.
    let second = bytes
        .windows(4)
        .skip(41)
        .position(|w| w == &bytes[40..44])
        .unwrap()
        + 41;
    bytes[second] ^= 1;
    fs::write(&path, bytes).unwrap();
    let store = still(options(dir.path()));
    put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
    compact_all(&store.shared);
    compact_all(&store.shared);
    assert_eq!(
        store.health().damaged_records,
        0,
        "nobody has looked at it: it is full"
    );
    store.edit_one(all[0], Edit::Cancel).await;
    compact_all(&store.shared);
    let compacted = compaction::compact(&store.shared, 1).unwrap();
    assert!(!compacted && path.exists(), "the damaged one is live");
    assert_eq!(store.health().damaged_records, 1);
    assert!(!compaction::compact(&store.shared, 1).unwrap());
    assert_eq!(store.health().damaged_records, 1, "told once");
    store.edit_one(all[1], Edit::Cancel).await;
    compact_all(&store.shared);
    assert!(!path.exists());
    let copies = fs::read_dir(dir.path().join("queue/journal/quarantine")).unwrap();
    assert_eq!(copies.count(), 1);
    assert_eq!(ids(&store).await[..3], all[2..]);
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
