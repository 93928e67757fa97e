//! Power cuts on a simulated disk, at every operation.

use journal::SimulatedDisk;

use super::*;
use crate::{Addresses, Leased};

pub(super) const SEGMENT: u64 = 3 * 1024;

pub(super) fn on(disk: &SimulatedDisk, directory: &Path) -> EmbeddedOptions {
    EmbeddedOptions {
        storage: Arc::new(disk.clone()),
        segment_size: SEGMENT,
        zero_ahead: 0,
        free_space: Arc::new(|_| Ok(free_bytes(1 << 20))),
        compact_below: 0.7,
        ..options(directory)
    }
}

/// Messages over several segments, with their state in others, most of them finished.
struct Scene {
    dir: tempfile::TempDir,
    disk: SimulatedDisk,
    remain: Vec<QueueId>,
}

async fn scene(seed: u64) -> (EmbeddedStore, Scene) {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::new(seed);
    let store = still(on(&disk, dir.path()));
    let (mut leases, mut remain): (Vec<Leased>, Vec<QueueId>) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let body = vec![b'x'; 600];
        let (_, lease) = put(&store, "s@a.test", &["r@d.test"], &body, true, at(1)).await;
        leases.extend(lease);
    }
    for (n, lease) in leases.iter().enumerate() {
        let stays = n % 4 == 0;
        let outcome = if stays { deferred(80) } else { DELIVERED };
        let finished = store.finish(ending(lease, outcome), at(2)).unwrap();
        finished.durable.wait().await.unwrap();
        if stays {
            remain.push(lease.id);
        }
    }
    committer::step(&store.shared).unwrap();
    // A segment boundary behind all of it, so that the checkpoint does not hold the last ones.
    store.shared.journal.rotate().unwrap();
    put(&store, "s@a.test", &["last@z.test"], b"y", false, at(3)).await;
    let edited = Target::Filter(Filter {
        recipient: Some(Addresses::parse("last@z.test").unwrap()),
        ..Filter::default()
    });
    store
        .edit(&edited, Edit::Cancel, false, at(3))
        .await
        .unwrap();
    committer::step(&store.shared).unwrap();
    store.shared.journal.sync().unwrap();
    (store, Scene { dir, disk, remain })
}

async fn check(store: &EmbeddedStore, remain: &[QueueId], what: &str) {
    assert_eq!(store.health().damaged_records, 0, "{what}");
    assert_eq!(ids(store).await, remain, "{what}");
    for id in remain {
        let seen = store.show(*id, at(9)).await.unwrap();
        assert_eq!(seen.recipients[0].attempts, 1, "{what}");
        let body = read(store.open_body(*id).await.unwrap()).await.unwrap();
        assert_eq!(body.len(), 600, "{what}");
    }
}

#[tokio::test]
async fn compaction_gives_space_back_and_keeps_what_counts() {
    let (store, scene) = scene(1).await;
    let before = store.shared.journal.stats().segment_bytes;
    compact_all(&store.shared);
    let after = store.shared.journal.stats().segment_bytes;
    assert!(after * 2 < before, "{before} bytes became {after}");
    check(&store, &scene.remain, "compacted").await;
    drop(store);
    check(
        &still(on(&scene.disk, scene.dir.path())),
        &scene.remain,
        "restarted",
    )
    .await;
    std::fs::remove_dir_all(scene.dir.path().join("queue/index")).unwrap();
    let store = still_recovered(on(&scene.disk, scene.dir.path()));
    check(&store, &scene.remain, "rebuilt").await;
    for lease in store.lease(&to("d.test"), 99, at(80)).await.unwrap() {
        store.finish(ending(&lease, DELIVERED), at(81)).unwrap();
    }
    store.close().unwrap();
    store.shared.journal.rotate().unwrap();
    put(&store, "s@a.test", &["r@d.test"], b"x", false, at(82)).await;
    compact_all(&store.shared);
    compact_all(&store.shared);
    let left = store.shared.journal.segments();
    assert!(
        left.len() <= 3,
        "H6-15: all but the last are gone: {left:?}"
    );
}

#[tokio::test]
async fn a_message_that_was_copied_twice_at_once_lives() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::new(3));
    let store = still(on(&disk, dir.path()));
    let (id, _) = put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
    let at_first = store.shared.lock().core.hot[&id]
        .place
        .as_ref()
        .unwrap()
        .position;
    store.shared.journal.rotate().unwrap();
    // Neither copy is known to be on disk while the next is made.
    let (release, released) = std::sync::mpsc::channel::<()>();
    let completion: journal::Completion = Box::new(move |_| {
        released.recv().ok();
    });
    let nothing = journal::Record::new(99, 1, "");
    let journal = &store.shared.journal;
    journal.append(nothing, journal::Urgency::Now, Some(completion));
    for _ in 0..2 {
        assert!(compaction::copy(&store.shared, id, at_first).unwrap());
    }
    release.send(()).unwrap();
    store.shared.journal.sync().unwrap();
    assert_eq!(ids(&store).await, [id]);
    store.shared.journal.sync().unwrap();
    drop(store);
    let disk = disk.power_cut();
    let store = still_recovered(on(&disk, dir.path()));
    assert_eq!(ids(&store).await, [id]);
    // And once it is done, no copy brings it back.
    for lease in store.lease(&to("d.test"), 9, at(2)).await.unwrap() {
        store.finish(ending(&lease, DELIVERED), at(3)).unwrap();
    }
    store.shared.journal.sync().unwrap();
    compact_all(&store.shared);
    drop(store);
    std::fs::remove_dir_all(dir.path().join("queue/index")).unwrap();
    let store = still_recovered(on(&disk, dir.path()));
    assert_eq!(ids(&store).await, []);
}

#[tokio::test]
async fn compaction_interrupted_at_every_step() {
    let (store, first) = scene(2).await;
    let start = first.disk.operations();
    compact_all(&store.shared);
    let end = first.disk.operations();
    assert!(end > start + 10, "there is something to interrupt");
    drop(store);
    for operation in start + 1..=end {
        let (store, scene) = scene(operation).await;
        scene.disk.power_off_at(operation);
        interrupted(&store.shared);
        let disk = scene.disk.power_cut();
        drop(store);
        let what = format!("power lost at operation {operation} of {start}..{end}");
        let store = still_recovered(on(&disk, scene.dir.path()));
        check(&store, &scene.remain, &what).await;
        // Again from there, in turn with the index and without.
        if operation % 2 == 0 {
            compact_all(&store.shared);
            check(&store, &scene.remain, &what).await;
            continue;
        }
        drop(store);
        std::fs::remove_dir_all(scene.dir.path().join("queue/index")).unwrap();
        let store = still_recovered(on(&disk, scene.dir.path()));
        check(&store, &scene.remain, &what).await;
    }
}

/// Compacts until the power goes.
fn interrupted(shared: &Shared) {
    let mut futile = std::collections::BTreeSet::new();
    while committer::step(shared).is_ok()
        && let Some(segment) = compaction::candidate(shared, &futile)
    {
        match compaction::compact(shared, segment) {
            Ok(true) => {}
            Ok(false) => drop(futile.insert(segment)),
            Err(_) => return,
        }
    }
}

#[tokio::test]
async fn e4_14_e4_15_what_was_acknowledged_survives_a_cut_at_every_step() {
    let mut operation = 1;
    loop {
        let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::new(operation));
        disk.power_off_at(operation);
        let options = EmbeddedOptions {
            zero_ahead: [0, SEGMENT / 4][operation as usize % 2],
            ..on(&disk, dir.path())
        };
        let (acked, tried, finished) = until_dark(options).await;
        let completed = acked.len() == 12;
        let disk = disk.power_cut();
        let store = still_recovered(on(&disk, dir.path()));
        let found = ids(&store).await;
        assert_eq!(store.health().damaged_records, 0, "operation {operation}");
        for id in acked.iter().filter(|id| !tried.contains(id)) {
            assert!(found.contains(id), "lost {id} at operation {operation}");
            let body = read(store.open_body(*id).await.unwrap()).await.unwrap();
            assert_eq!(body.len(), 300);
        }
        for id in &finished {
            assert!(
                !found.contains(id),
                "{id} came back at operation {operation}"
            );
        }
        if completed {
            break;
        }
        operation += 1;
    }
    assert!(operation > 12, "{operation}");
}

/// Twelve messages, every third of which is delivered: which were acknowledged before the power went, which were
/// delivered, and of which that is known to be on disk.
async fn until_dark(options: EmbeddedOptions) -> (Vec<QueueId>, Vec<QueueId>, Vec<QueueId>) {
    let (mut acked, mut tried, mut finished) = (Vec::new(), Vec::new(), Vec::new());
    let Ok(shared) = prepare(options) else {
        return (acked, tried, finished);
    };
    let store = EmbeddedStore::new(Arc::new(shared), Vec::new());
    for n in 0..12 {
        let Ok(mut incoming) = store.begin(None, at(1)) else {
            break;
        };
        incoming.write(&[b'x'; 300]).await.unwrap();
        let envelope = crate::samples::envelope("s@a.test", &["r@d.test"]);
        let Ok(committed) = incoming.commit(envelope, true, at(1)).await else {
            break;
        };
        acked.push(committed.id);
        if n % 3 == 0 {
            tried.push(committed.id);
            let Ok(end) = store.finish(ending(&committed.leases[0], DELIVERED), at(2)) else {
                break;
            };
            if end.durable.wait().await.is_ok() {
                finished.push(committed.id);
            }
        }
        if n % 5 == 4 && committer::step(&store.shared).is_err() {
            break;
        }
    }
    (acked, tried, finished)
}

#[tokio::test]
async fn h6_03_a_failed_sync_is_sticky() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::new(3));
    let store = still(on(&disk, dir.path()));
    let (kept, _) = put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
    let mut incoming = store.begin(None, at(1)).unwrap();
    incoming.write(b"x").await.unwrap();
    // The write of the record, then its sync.
    disk.fail_at(disk.operations() + 2, 5);
    let envelope = crate::samples::envelope("s@a.test", &["r@d.test"]);
    let failed = incoming.commit(envelope, false, at(1)).await.unwrap_err();
    assert!(matches!(failed, QueueError::Failed(_)), "{failed}");
    assert!(matches!(
        store.begin(None, at(2)).err(),
        Some(QueueError::Failed(_))
    ));
    let leased = store.lease(&to("d.test"), 9, at(2)).await;
    assert!(matches!(leased, Err(QueueError::Failed(_))));
    assert!(store.health().failed.is_some());
    drop(store);
    let store = still_recovered(on(&disk.power_cut(), dir.path()));
    assert!(ids(&store).await.contains(&kept));
}

#[tokio::test]
async fn h10_04_what_the_disk_has_not_confirmed_is_not_said_to_be_done() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::new(3));
    let store = still(on(&disk, dir.path()));
    let mut sent = Vec::new();
    for _ in 0..3 {
        let (id, _) = put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
        sent.push(id);
    }
    committer::step(&store.shared).unwrap();
    // The checkpoint is on its way yet: nothing but the edit must reach the disk next.
    store.shared.journal.sync().unwrap();
    disk.fail_at(disk.operations() + 1, 5);
    let stopped = store
        .edit(&Target::Ids(sent.clone()), Edit::Cancel, false, at(3))
        .await
        .unwrap_err();
    assert!(matches!(stopped.cause, QueueError::Failed(_)), "{stopped}");
    assert_eq!(
        (stopped.done.changed, stopped.done.cancelled),
        (0, Vec::new())
    );
    drop(store);
    let store = still_recovered(on(&disk.power_cut(), dir.path()));
    assert_eq!(ids(&store).await, sent, "all of it is still there");
}

#[tokio::test]
async fn h6_02_an_outcome_that_a_full_disk_refused_is_recorded_first() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::new(4));
    let store = still(on(&disk, dir.path()));
    let (gone, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
    let (other, _) = put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
    disk.set_capacity(Some(0));
    let finished = store.finish(ending(&leases[0], DELIVERED), at(2)).unwrap();
    store.shared.journal.sync().ok();
    let refused = store.lease(&to("d.test"), 9, at(2)).await;
    assert!(
        matches!(refused, Err(QueueError::DiskFull(_))),
        "{refused:?}"
    );
    assert!(store.health().full.is_some() && store.begin(None, at(2)).is_err());
    committer::step(&store.shared).unwrap();
    disk.set_capacity(None);
    committer::step(&store.shared).unwrap();
    finished.durable.wait().await.unwrap();
    let leased = store.lease(&to("d.test"), 9, at(2)).await.unwrap();
    assert_eq!(leased.iter().map(|l| l.id).collect::<Vec<_>>(), [other]);
    drop(store);
    let store = still_recovered(on(&disk.power_cut(), dir.path()));
    assert!(!ids(&store).await.contains(&gone));
}

/// Whatever fails on the way of a large message: what a restart finds of it can be sent.
#[tokio::test]
async fn h6_07_a_message_is_never_found_without_its_own_file() {
    let mut found_whole = 0;
    for step in 1..=9 {
        // After the end of the process alone, and after a power cut.
        for cut in [false, true] {
            let (dir, mut disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::new(step));
            let store = still(on(&disk, dir.path()));
            let mut incoming = store.begin(None, at(1)).unwrap();
            disk.fail_at(disk.operations() + step, 5);
            if incoming.write(&[b'x'; LARGE]).await.is_ok() {
                let envelope = crate::samples::envelope("s@a.test", &["r@d.test"]);
                let _ = incoming.commit(envelope, false, at(1)).await;
            }
            let _ = committer::step(&store.shared);
            drop(store);
            if cut {
                disk = disk.power_cut();
            }
            let store = still_recovered(on(&disk, dir.path()));
            for id in ids(&store).await {
                let body = read(store.open_body(id).await.unwrap()).await;
                assert_eq!(body.map(|b| b.len()), Ok(LARGE), "failure at {step}");
                found_whole += 1;
            }
        }
    }
    assert!(found_whole > 0, "no failure was late enough");
}

const LARGE: usize = 300 << 10;

/// Copying what is still needed of a segment takes room first: on a disk that is nearly full only
/// segments that nobody needs are removed.
#[tokio::test]
async fn h6_01_h6_15_compaction_never_takes_the_last_room() {
    let (store, scene) = scene(5).await;
    drop(store);
    let free = Arc::new(AtomicU64::new(0));
    let asked = Arc::clone(&free);
    let store = still(EmbeddedOptions {
        free_space_floor: 10_000,
        free_space: Arc::new(move |_| Ok(free_bytes(asked.load(Ordering::Relaxed)))),
        ..on(&scene.disk, scene.dir.path())
    });
    free.store(10_100, Ordering::Relaxed);
    committer::step(&store.shared).unwrap();
    let none = std::collections::BTreeSet::new();
    while let Some(segment) = compaction::candidate(&store.shared, &none) {
        let live = store.shared.lock().usage.of(segment);
        assert_eq!(live, 0, "segment {segment} would be copied");
        assert!(compaction::compact(&store.shared, segment).unwrap());
    }
    let before = store.shared.journal.segments().len();
    free.store(1 << 20, Ordering::Relaxed);
    compact_all(&store.shared);
    assert!(store.shared.journal.segments().len() < before);
    check(&store, &scene.remain, "with room again").await;
}

/// A message that compaction moves while its row is on the way to the index: the row says the old
/// place, so another has to follow before the message leaves memory.
#[tokio::test]
async fn a_copy_made_while_the_index_is_written_is_not_forgotten() {
    let (store, scene) = scene(6).await;
    let shared = &store.shared;
    let leases = store.lease(&to("d.test"), 99, at(80)).await.unwrap();
    for lease in &leases {
        let finished = store.finish(ending(lease, deferred(90)), at(81)).unwrap();
        shared.journal.sync().unwrap();
        finished.durable.wait().await.unwrap();
    }
    let batch = committer::take_batch(shared, u64::MAX).unwrap().unwrap();
    shared.journal.sync().unwrap();
    assert_eq!(
        committer::encode(shared, &batch).unwrap().len(),
        leases.len()
    );
    let none_dirty = shared.lock().core.hot.values().all(|hot| !hot.dirty);
    assert!(
        none_dirty,
        "clean with its row, not after it: what comes between would be overlooked"
    );
    // The row is on its way; now the message moves.
    let first = shared.journal.segments()[0].number;
    assert!(compaction::compact(shared, first).unwrap());
    let moved = |hot: &crate::core::Hot| {
        hot.place
            .as_ref()
            .is_some_and(|p| p.copies.contains(&first))
    };
    let dirty: Vec<bool> = {
        let state = shared.lock();
        let moved = state.core.hot.values().filter(|hot| moved(hot));
        moved.map(|hot| hot.dirty).collect()
    };
    assert!(!dirty.is_empty(), "nothing was moved");
    assert!(
        dirty.iter().all(|dirty| *dirty),
        "its new place would never be written"
    );
    committer::step(shared).unwrap();
    for id in &scene.remain {
        let body = read(store.open_body(*id).await.unwrap()).await.unwrap();
        assert_eq!(body.len(), 600);
    }
}
