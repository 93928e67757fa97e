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
        let (began, has_begun) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let completion: journal::Completion = Box::new(move |_| {
            began.send(()).unwrap();
            released.recv().ok();
        });
        let nothing = journal::Record::new(99, 1, "");
        let journal = &self.store.shared.journal;
        journal.append(nothing, journal::Urgency::Now, Some(completion));
        has_begun.recv().unwrap();
        self.disk.set_free(Some(room));
        for finish in [self.bounced.take(), self.delivered.take()] {
            self.store.finish(finish.unwrap(), at(3)).unwrap();
        }
        release.send(()).unwrap();
        self.store.shared.journal.sync().unwrap();
    }

    /// What the next start finds after the power was lost.
    async fn found_after_power_cut(self) -> Vec<QueueId> {
        let Self {
            dir, disk, store, ..
        } = self;
        let disk = disk.power_cut();
        drop(store);
        ids(&still_recovered(on(&disk, dir.path()))).await
    }
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
        assert!(both.store.close().is_err(), "outcomes are not written");
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
