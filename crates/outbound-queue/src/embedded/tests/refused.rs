//! Outcomes that a full disk refuses while other things go on.

use std::sync::atomic::AtomicBool;

use journal::SimulatedDisk;
use mail_types::{Envelope, Recipient, Timestamp};

use super::crash::on;
use super::*;
use crate::samples::envelope;
use crate::{Destination, Done, Finish, NewMessage, Outcome, Placement};

#[tokio::test]
async fn h6_02_a_bounce_that_a_full_disk_refused_is_made_though_its_message_was_finished_since() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::new(11));
    let store = still(on(&disk, dir.path()));
    let both = ["r@d.test", "r@e.test"];
    let (id, leases) = put(&store, "s@a.test", &both, b"x", true, at(1)).await;
    let notice = NewMessage {
        id: store.allocate_id(at(2)),
        envelope: envelope("", &["s@a.test"]),
        body: vec![b"it did not go".as_slice().into()],
    };
    let notified = notice.id;
    disk.set_capacity(Some(0));
    let bounced = Finish {
        messages: vec![notice],
        ..ending(&leases[0], Outcome::Done(Done::Bounced))
    };
    let first = store.finish(bounced, at(2)).unwrap();
    store.shared.journal.sync().ok();
    // What was under way already goes on, and is the last of the message.
    let second = store.finish(ending(&leases[1], DELIVERED), at(3)).unwrap();
    assert!(second.removed);
    committer::step(&store.shared).unwrap();
    disk.set_capacity(None);
    committer::step(&store.shared).unwrap();
    first.durable.wait().await.unwrap();
    second.durable.wait().await.unwrap();
    assert_eq!(ids(&store).await, [notified]);
    drop(store);
    let store = still_recovered(on(&disk.power_cut(), dir.path()));
    assert_eq!(ids(&store).await, [notified], "{id} is done");
}

/// A message for two destinations: the notification of the first bounces, the second has it.
struct Both {
    dir: tempfile::TempDir,
    disk: SimulatedDisk,
    store: EmbeddedStore,
    id: QueueId,
    notified: QueueId,
    bounced: Option<Finish>,
    delivered: Option<Finish>,
}

impl Both {
    async fn start(seed: u64, body: usize) -> Self {
        let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::new(seed));
        let store = still(on(&disk, dir.path()));
        let both = ["r@d.test", "r@e.test"];
        let (id, leases) = put(&store, "s@a.test", &both, b"x", true, at(1)).await;
        committer::step(&store.shared).unwrap();
        let notice = NewMessage {
            id: store.allocate_id(at(2)),
            envelope: envelope("", &["s@a.test"]),
            body: vec![vec![b'n'; body].into()],
        };
        Self {
            id,
            notified: notice.id,
            bounced: Some(Finish {
                messages: vec![notice],
                ..ending(&leases[0], Outcome::Done(Done::Bounced))
            }),
            delivered: Some(ending(&leases[1], DELIVERED)),
            dir,
            disk,
            store,
        }
    }

    /// Both outcomes reach the journal's writer at once, with so many bytes left on the disk.
    fn finish_both(&mut self, room: u64) {
        let writer = hold_writer(&self.store.shared.journal);
        self.disk.set_free(Some(room));
        for finish in [self.bounced.take(), self.delivered.take()] {
            self.store.finish(finish.unwrap(), at(3)).unwrap();
        }
        writer.send(()).unwrap();
        self.store.shared.journal.sync().unwrap();
    }

    /// What the next start finds after the power was lost.
    async fn found_after_power_cut(self) -> Vec<QueueId> {
        let (_dir, store) = self.after_power_cut();
        ids(&store).await
    }

    fn after_power_cut(self) -> (tempfile::TempDir, EmbeddedStore) {
        let Self {
            dir, disk, store, ..
        } = self;
        let disk = disk.power_cut();
        drop(store);
        let store = still_recovered(on(&disk, dir.path()));
        (dir, store)
    }
}

/// Keeps the journal's writer from writing until it is told to go on.
fn hold_writer(journal: &journal::Journal) -> std::sync::mpsc::Sender<()> {
    let (began, has_begun) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let completion: journal::Completion = Box::new(move |_| {
        began.send(()).unwrap();
        released.recv().ok();
    });
    let nothing = journal::Record::new(99, 1, "");
    journal.append(nothing, journal::Urgency::Now, Some(completion));
    has_begun.recv().unwrap();
    release
}

#[tokio::test]
async fn h6_02_no_message_is_gone_on_disk_before_its_bounce() {
    // For one of these the notification just fits the segment, and not the disk; what follows it needs a
    // new segment, and finds room.
    for body in (2_300..2_900).step_by(20) {
        let mut both = Both::start(13, body).await;
        both.finish_both(150);
        let (id, notified) = (both.id, both.notified);
        let found = both.found_after_power_cut().await;
        assert!(
            found == [id] || found == [notified],
            "{body}: {found:?} of {id}, {notified}"
        );
    }
}

#[tokio::test]
async fn h6_02_what_a_full_disk_refused_of_one_message_is_recorded_in_one_piece() {
    for step in 1.. {
        let mut both = Both::start(14, 40).await;
        both.finish_both(0);
        // Two outcomes, and one message whose deliveries come twice.
        let error = both.store.close().unwrap_err();
        assert!(error.to_string().contains("of one message"), "{error}");
        both.disk.set_free(None);
        both.disk.power_off_at(both.disk.operations() + step);
        let done = committer::step(&both.store.shared).is_ok();
        let (id, notified) = (both.id, both.notified);
        let found = both.found_after_power_cut().await;
        assert!(
            found == [id] || found == [notified],
            "{step}: {found:?} of {id}, {notified}"
        );
        if done {
            assert_eq!(found, [notified]);
            assert!(step > 2);
            break;
        }
    }
}

/// Compaction is under way while an outcome is refused: what it writes of the message must not say that
/// its sender was told.
#[tokio::test]
async fn h6_02_compaction_does_not_write_an_outcome_that_was_refused() {
    for carries_state in [false, true] {
        let mut both = Both::start(15, 40).await;
        both.disk.set_capacity(Some(0));
        let bounced = both.bounced.take().unwrap();
        both.store.finish(bounced, at(3)).unwrap();
        let (shared, id) = (&both.store.shared, both.id);
        shared.journal.sync().ok();
        // There is room again, and nobody has tried the outcome anew.
        both.disk.set_capacity(None);
        let stays = if carries_state {
            compaction::carry_state(shared, id, |_, _| true)
        } else {
            let place = shared.lock().core.hot[&id].place.clone();
            compaction::copy(shared, id, place.unwrap().position)
        };
        shared.journal.sync().unwrap();
        let notified = both.notified;
        let (_dir, store) = both.after_power_cut();
        let is_told = ids(&store).await.contains(&notified);
        let again = store.lease(&to("d.test"), 1, at(9)).await.unwrap();
        assert!(
            is_told || !again.is_empty(),
            "the recipient is done, and nobody was told (state alone: {carries_state})"
        );
        assert!(!stays.unwrap(), "the segment would be removed");
    }
}

/// A segment must not be removed while what it holds has found no room before the journal's writer.
#[tokio::test]
async fn compaction_says_what_could_not_be_carried_on() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::new(17));
    let store = still(EmbeddedOptions {
        journal_memory: 1_000,
        ..on(&disk, dir.path())
    });
    let (id, _) = put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1)).await;
    let shared = &store.shared;
    let held = std::cell::OnceCell::new();
    // Between the look for room and the record the writer stands still, and its queue fills.
    let meanwhile = |_: &crate::state::Stored, _: &crate::disk::Place| {
        held.set(hold_writer(&shared.journal)).unwrap();
        let much = journal::Record::new(99, 2, vec![0; 1_000]);
        shared.journal.append(much, journal::Urgency::Rides, None);
        true
    };
    assert!(!compaction::carry_state(shared, id, meanwhile).unwrap());
    held.get().unwrap().send(()).unwrap();
    shared.journal.sync().unwrap();
    assert!(compaction::carry_state(shared, id, |_, _| true).unwrap());
}

/// The copy of a message is written when its last outcome is refused: that it is gone must not be on
/// disk for the copy's sake alone.
#[tokio::test]
async fn h6_02_the_copy_of_a_message_is_not_called_gone_before_its_bounce() {
    let mut refused = 0;
    for body in (2_000..4_000).step_by(50) {
        let mut both = Both::start(16, body).await;
        let delivered = both.delivered.take().unwrap();
        both.store.finish(delivered, at(2)).unwrap();
        both.store.shared.journal.sync().unwrap();
        let writer = hold_writer(&both.store.shared.journal);
        let (shared, id) = (&both.store.shared, both.id);
        let place = shared.lock().core.hot[&id].place.clone();
        assert!(compaction::copy(shared, id, place.unwrap().position).unwrap());
        // The copy has room; what makes the message gone needs another segment, and that has none.
        both.disk.set_free(Some(500));
        let bounced = both.bounced.take().unwrap();
        both.store.finish(bounced, at(3)).unwrap();
        writer.send(()).unwrap();
        shared.journal.sync().unwrap();
        refused += usize::from(shared.lock().is_behind());
        shared.journal.sync().unwrap();
        let notified = both.notified;
        let found = both.found_after_power_cut().await;
        assert!(
            found == [id] || found == [notified],
            "{body}: {found:?} of {id}, {notified}"
        );
    }
    assert!(refused > 5, "{refused}");
}

#[tokio::test]
async fn h6_02_the_index_is_never_ahead_of_what_a_full_disk_refused() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::new(12));
    let store = still(on(&disk, dir.path()));
    let (_, leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
    let (gone, others) = put(&store, "s@a.test", &["r@e.test"], b"x", true, at(1)).await;
    committer::step(&store.shared).unwrap();
    let delivered = store.finish(ending(&others[0], DELIVERED), at(2)).unwrap();
    store.shared.journal.sync().unwrap();
    delivered.durable.wait().await.unwrap();
    // The batch is taken; then a record on its way finds no room.
    let batch = committer::take_batch(&store.shared, u64::MAX)
        .unwrap()
        .unwrap();
    disk.set_capacity(Some(0));
    let deferral = store
        .finish(ending(&leases[0], deferred(80)), at(3))
        .unwrap();
    store.shared.journal.sync().ok();
    assert!(committer::encode(&store.shared, &batch).is_none());
    disk.set_capacity(None);
    committer::step(&store.shared).unwrap();
    deferral.durable.wait().await.unwrap();
    let row = |id| store.shared.index.as_ref().unwrap().get(id).unwrap();
    assert!(row(leases[0].id).is_some());
    assert!(row(gone).is_none(), "its removal was not forgotten");
}

#[tokio::test]
async fn h6_02_the_index_takes_no_more_than_a_nearly_full_disk_has_room_for() {
    const FLOOR: u64 = 64 << 20;
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(FLOOR * 2));
    let asked = Arc::clone(&free);
    let store = still(EmbeddedOptions {
        free_space_floor: FLOOR,
        free_space: Arc::new(move |_| Ok(free_bytes(asked.load(Ordering::Relaxed)))),
        ..options(dir.path())
    });
    let mut sent = Vec::new();
    for _ in 0..20 {
        sent.push(
            put(&store, "s@a.test", &["r@d.test"], b"x", false, at(1))
                .await
                .0,
        );
    }
    let rows = || {
        let index = store.shared.index.as_ref().unwrap();
        sent.iter()
            .filter(|id| index.get(**id).unwrap().is_some())
            .count()
    };
    let checkpoint = || store.shared.lock().checkpoint;
    let before = checkpoint();
    // For a batch of all there would have to be more.
    free.store((2 << 20) + (40 << 10), Ordering::Relaxed);
    committer::step(&store.shared).unwrap();
    let some = rows();
    assert!((5..=10).contains(&some), "{some}");
    assert_eq!(checkpoint(), before, "the index has not followed yet");
    free.store((2 << 20) - 1, Ordering::Relaxed);
    committer::step(&store.shared).unwrap();
    assert_eq!(rows(), some);
    free.store(FLOOR * 2, Ordering::Relaxed);
    committer::step(&store.shared).unwrap();
    assert_eq!(rows(), 20);
    assert!(checkpoint() > before);
    // Removals take room as well.
    for lease in store.lease(&to("d.test"), 99, at(2)).await.unwrap() {
        store.finish(ending(&lease, DELIVERED), at(3)).unwrap();
    }
    free.store((2 << 20) + (40 << 10), Ordering::Relaxed);
    committer::step(&store.shared).unwrap();
    assert_eq!(rows(), 10);
    committer::step(&store.shared).unwrap();
    assert_eq!(rows(), 0);
}

/// All mail by one route, from a moment on.
struct Rerouted(Arc<AtomicBool>);

impl Placement for Rerouted {
    fn destination(&self, envelope: &Envelope, recipient: &Recipient) -> Destination {
        match self.0.load(Ordering::Relaxed) {
            true => to("route:r"),
            false => ByDomain.destination(envelope, recipient),
        }
    }

    fn expires(&self, envelope: &Envelope) -> Timestamp {
        ByDomain.expires(envelope)
    }
}

#[tokio::test]
async fn who_is_being_delivered_is_not_moved_to_another_route_meanwhile() {
    let (dir, rerouted) = (
        tempfile::tempdir().unwrap(),
        Arc::new(AtomicBool::new(false)),
    );
    let store = still(EmbeddedOptions {
        placement: Arc::new(Rerouted(Arc::clone(&rerouted))),
        ..options(dir.path())
    });
    let both = ["r@d.test", "r@e.test"];
    let (id, leases) = put(&store, "s@a.test", &both, b"x", true, at(1)).await;
    rerouted.store(true, Ordering::Relaxed);
    store.release(&leases[0].token).unwrap();
    let moved = store
        .edit(&Target::Ids(vec![id]), Edit::Regroup, false, at(2))
        .await;
    assert_eq!(moved.unwrap().changed, 1);
    let now_there = store.lease(&to("route:r"), 9, at(3)).await.unwrap();
    let recipients: Vec<usize> = now_there[0].recipients.iter().map(|r| r.index).collect();
    assert_eq!(recipients, [0], "the other one is under way");
    store
        .finish(ending(&now_there[0], DELIVERED), at(4))
        .unwrap();
    // What is left of it follows with its outcome.
    let finished = store
        .finish(ending(&leases[1], deferred(80)), at(4))
        .unwrap();
    finished.durable.wait().await.unwrap();
    let later = store.lease(&to("route:r"), 9, at(81)).await.unwrap();
    let recipients: Vec<usize> = later[0].recipients.iter().map(|r| r.index).collect();
    assert_eq!(recipients, [1]);
}
