use mail_types::{Domain, Timestamp};
use mta_sts::{Policy, PolicyId};

use super::*;
use crate::discovery::StoredPolicy;

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

fn open(dir: &Path) -> (Disk, Loaded) {
    match Disk::open(dir, false).unwrap() {
        OpenStore::Ready(disk, loaded) => (disk, loaded),
        OpenStore::Lost(why) => panic!("{why}"),
    }
}

/// All segment files with a record in them, oldest first.
fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir.join("journal"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_file() && p.metadata().unwrap().len() > 200)
        .collect();
    files.sort();
    files
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
async fn a_damaged_store_is_lost_until_told_and_then_keeps_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (disk, _) = open(dir.path());
        for (seq, name) in (1..).zip(["a.test", "b.test", "c.test"]) {
            disk.append(&Row::Policy(policy(name, &text(400), 1)), seq)
                .await
                .unwrap();
        }
    }
    // A restart, so that the damage lies in what is known to be synced.
    drop(open(dir.path()));
    let file = segments(dir.path()).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.windows(6).position(|w| w == b"b.test").unwrap() + 300;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    match Disk::open(dir.path(), false).unwrap() {
        OpenStore::Lost(why) => assert!(why.contains("--dangerous-lose-policies"), "{why}"),
        OpenStore::Ready(..) => panic!("a lost policy was not noticed"),
    }
    let OpenStore::Ready(disk, loaded) = Disk::open(dir.path(), true).unwrap() else {
        panic!("told to go on")
    };
    let kept = loaded
        .domains
        .values()
        .filter(|d| d.policy.is_some())
        .count();
    assert_eq!(kept, 2);
    drop(disk);
    let (_, loaded) = open(dir.path());
    let kept = loaded
        .domains
        .values()
        .filter(|d| d.policy.is_some())
        .count();
    assert_eq!(kept, 2, "whole again");
}

#[tokio::test]
async fn a_deleted_journal_is_not_mistaken_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    drop(open(dir.path()));
    std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let lost = Disk::open(dir.path(), false).unwrap();
    assert!(matches!(lost, OpenStore::Lost(_)));
}
