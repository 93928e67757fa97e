use mail_types::{Domain, Timestamp};
use mta_sts::{Policy, PolicyId};

use journal::RealDisk;

use super::*;
use crate::discovery::StoredPolicy;

mod crash;
mod damage;

fn policy(domain: &str, text: &str, fetched: u64) -> Arc<StoredPolicy> {
    let policy = Policy::parse(text.as_bytes()).unwrap().policy;
    let fetched_at = Timestamp::from_secs(fetched);
    Arc::new(StoredPolicy {
        domain: Domain::parse(domain).unwrap(),
        expires_at: fetched_at + policy.max_age(),
        id: Some(PolicyId::parse("a").unwrap()),
        fetched_at,
        policy,
    })
}

fn text(pad: usize) -> String {
    let head = "version: STSv1\nmode: enforce\nmx: mx.d.test\nmax_age: 86400\n";
    format!("{head}x: {}", "y".repeat(pad))
}

fn open(dir: &Path) -> (Arc<Disk>, Loaded) {
    let (disk, loaded, _) = open_told(dir);
    (disk, loaded)
}

fn open_told(dir: &Path) -> (Arc<Disk>, Loaded, Repair) {
    match open_any(dir) {
        OpenStore::Ready(disk, loaded, repair) => (disk, loaded, repair),
        OpenStore::Lost(why) => panic!("{why}"),
    }
}

fn open_any(dir: &Path) -> OpenStore {
    Disk::open(dir, Arc::new(RealDisk), false, false).unwrap()
}

/// Waits until the index has what the journal has.
fn settle(disk: &Disk) {
    disk.mirror.lock().as_ref().unwrap().settle();
}

/// The domains with a policy, with the second when it was fetched.
fn policies(loaded: &Loaded) -> Vec<(String, u64)> {
    let mut all: Vec<_> = loaded
        .domains
        .iter()
        .filter_map(|(d, one)| Some((d.to_string(), one.policy.as_ref()?.1.fetched_at.as_secs())))
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn a7_03_rows_survive_a_restart_and_the_last_counts() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (disk, loaded) = open(dir.path());
        assert!(loaded.domains.is_empty());
        let first = policy("d.test", &text(1), 1000);
        disk.append(&Row::Policy(first), 1).await.unwrap();
        let renewed = policy("d.test", &text(1), 2000);
        disk.append(&Row::Renewed(renewed), 2).await.unwrap();
        disk.append(&Row::Policy(policy("e.test", &text(1), 1)), 3)
            .await
            .unwrap();
        disk.append(&Row::Forgotten(Domain::parse("e.test").unwrap()), 4)
            .await
            .unwrap();
        disk.append(&Row::Policy(policy("f.test", &text(65_000), 1)), 5)
            .await
            .unwrap();
    }
    let (_, loaded) = open(dir.path());
    assert_eq!(loaded.seq, 5);
    let of = |name: &str| loaded.domains[&Domain::parse(name).unwrap()].policy.clone();
    let (seq, d) = of("d.test").unwrap();
    assert_eq!((seq, d.fetched_at.as_secs()), (2, 2000), "renewed");
    assert_eq!(d.policy.text(), text(1));
    assert!(of("e.test").is_none(), "forgotten");
    assert_eq!(of("f.test").unwrap().1.policy.text(), text(65_000));
}

#[tokio::test]
async fn compaction_keeps_what_counts_and_gives_back_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let last = policy("d.test", &text(60_000), 500);
    {
        let (disk, _) = open(dir.path());
        assert!(!disk.wants_compaction());
        for seq in 1..=100 {
            let p = policy("d.test", &text(60_000), seq);
            disk.append(&Row::Policy(p), seq).await.unwrap();
        }
        assert!(disk.wants_compaction());
        let mark = disk.rotate().unwrap();
        // Written meanwhile: newer than what is rewritten.
        disk.append(&Row::Policy(Arc::clone(&last)), 200)
            .await
            .unwrap();
        disk.rewrite(
            mark,
            vec![(100, Row::Policy(policy("d.test", &text(60_000), 100)))],
            100,
        )
        .unwrap();
        assert!(!disk.wants_compaction());
        assert!(disk.journal.stats().segment_bytes < 300_000);
    }
    let (_, loaded) = open(dir.path());
    let (seq, p) = loaded.domains[&last.domain].policy.clone().unwrap();
    assert_eq!((seq, p.fetched_at), (200, last.fetched_at));
}

#[tokio::test]
async fn h6_03_a_failed_disk_is_told_and_a_full_one_is_no_such_failure() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = journal::SimulatedDisk::new(1);
    let opened = Disk::open(dir.path(), Arc::new(simulated.clone()), false, false);
    let OpenStore::Ready(store, ..) = opened.unwrap() else {
        panic!("it is new")
    };
    let row = |name: &str| Row::Policy(policy(name, &text(1), 1000));
    simulated.set_free(Some(0));
    assert!(store.append(&row("a.test"), 1).await.is_err());
    assert_eq!(store.failure(), None, "a full disk gets room again");
    simulated.set_free(None);
    store.append(&row("a.test"), 2).await.unwrap();
    simulated.fail_at(simulated.operations() + 1, EIO);
    assert!(store.append(&row("b.test"), 3).await.is_err());
    let why = store.failure().expect("it has failed for good");
    assert!(why.contains("os error 5"), "{why}");
}

const EIO: i32 = 5;
