//! A segment cannot be begun for want of a file descriptor: the disk has room, and nobody says otherwise.

use journal::{Lack, Shortage, SimulatedDisk};

use super::crash::{SEGMENT, on};
use super::*;
use crate::Finish;
use crate::samples::envelope;

const EMFILE: i32 = 24;

/// What `ask` answers where no file can be made for the segment that it needs.
async fn without_descriptors<T>(
    ask: impl AsyncFn(&EmbeddedStore, crate::Leased) -> Option<T>,
) -> T {
    for step in 1..20 {
        let (dir, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::new(31));
        let store = still(on(&disk, dir.path()));
        let (_, mut leases) = put(&store, "s@a.test", &["r@d.test"], b"x", true, at(1)).await;
        store.shared.journal.sync().unwrap();
        disk.fail_at(disk.operations() + step, EMFILE);
        if let Some(answer) = ask(&store, leases.remove(0)).await {
            return answer;
        }
    }
    panic!("no step makes a segment");
}

fn larger_than_a_segment() -> Vec<u8> {
    vec![b'x'; usize::try_from(SEGMENT).unwrap()]
}

#[tokio::test]
async fn h6_10_mail_that_no_descriptor_was_left_for_meets_no_full_disk() {
    let refused = without_descriptors(async |store, _| {
        let mut incoming = store.begin(None, at(2)).unwrap();
        incoming.write(&larger_than_a_segment()).await.unwrap();
        let envelope = envelope("s@a.test", &["r@d.test"]);
        let error = incoming.commit(envelope, false, at(2)).await.err()?;
        // At another step it is a failed write, after which nothing goes on.
        store.shared.journal.health().is_ok().then_some(error)
    });
    let QueueError::Unwritable(cause) = refused.await else {
        panic!("a full disk")
    };
    assert!(
        cause.contains("LimitNOFILE") && cause.contains("making a new segment"),
        "{cause}"
    );
}

#[tokio::test]
async fn h6_02_an_outcome_that_no_descriptor_was_left_for_is_told_as_that() {
    let (full, error) = without_descriptors(async |store, lease| {
        let finish = Finish {
            messages: vec![NewMessage {
                id: store.allocate_id(at(2)),
                envelope: envelope("", &["s@a.test"]),
                body: vec![larger_than_a_segment().into()],
            }],
            ..ending(&lease, Outcome::Done(Done::Bounced))
        };
        store.finish(finish, at(2)).unwrap();
        store.shared.journal.sync().ok();
        let health = store.health();
        let error = store.lease(&to("d.test"), 9, at(2)).await.err()?;
        Some((health.full.filter(|_| health.failed.is_none())?, error))
    })
    .await;
    assert_eq!(full, Shortage::Unrecorded(Lack::Descriptors));
    assert!(!full.is_of_disk() && !full.to_string().contains("disk"));
    assert_eq!(error, QueueError::Unwritable(full.to_string()));
    let full = Shortage::Unrecorded(Lack::Space);
    assert!(matches!(full.into(), QueueError::DiskFull(_)), "{full}");
}
