//! The cache with its real store.

use std::time::Duration;

use mail_types::Timestamp;
use mta_sts::{Mode, MxPattern};

use super::world::{START, Txt, World, mode, name, policy_text};
use crate::{Config, Opened, Order, Outcome, PolicyCache, Waiting};

fn open(world: &std::sync::Arc<World>, dir: &std::path::Path) -> PolicyCache {
    match PolicyCache::open(Config::new(dir), world.ports()).unwrap() {
        Opened::Ready(cache) => cache,
        Opened::Lost { error } => panic!("{error}"),
    }
}

#[tokio::test]
async fn a7_03_policies_rules_and_first_contacts_survive_a_restart_and_a_compaction() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.serve("d.test", Mode::Enforce, 30 * 86_400);
    world.txt("quiet.test", Txt::Servfail);
    let order = Order {
        by: "root (uid 0)".into(),
        reason: "bank".into(),
        at: Timestamp::from_secs(START),
    };
    {
        let cache = open(&world, dir.path());
        let _ = cache.policy_for(&name("d.test")).await;
        let wait = cache.policy_for(&name("quiet.test")).await;
        let Outcome::Wait { why, .. } = wait.outcome else {
            panic!("{wait:?}")
        };
        assert!(matches!(why, Waiting::Dns { failures: 1, .. }));
        let mx = vec![MxPattern::parse("mx.p.test").unwrap()];
        cache.pin(&name("p.test"), Some(mx), order).await.unwrap();
    }
    world.txt("d.test", Txt::Servfail);
    world.block("d.test");
    for round in 2..=3 {
        world.advance(700);
        let cache = open(&world, dir.path());
        let got = cache.policy_for(&name("d.test")).await;
        assert_eq!(mode(&got), Some(Mode::Enforce));
        let wait = cache.policy_for(&name("quiet.test")).await;
        let Outcome::Wait {
            why: Waiting::Dns {
                failures, since, ..
            },
            ..
        } = wait.outcome
        else {
            panic!("{wait:?}")
        };
        assert_eq!((failures, since.as_secs()), (round, START));
        assert!(
            cache
                .show(&name("p.test"))
                .unwrap()
                .local
                .unwrap()
                .pin
                .is_some()
        );
        cache.compact().await;
    }
}

#[tokio::test]
async fn a_refresh_of_the_same_text_writes_a_small_row() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    let text = policy_text(Mode::Enforce, 30 * 86_400) + "x: " + &"y".repeat(60_000);
    world.hosts.lock().insert("d.test".into(), Ok(text));
    let cache = open(&world, dir.path());
    let _ = cache.policy_for(&name("d.test")).await;
    for _ in 0..30 {
        world.advance(86_400);
        assert_eq!(cache.refresh_due().await, 1);
        cache.housekeeping().await;
    }
    let files = std::fs::read_dir(dir.path().join("journal")).unwrap();
    let bytes: u64 = files.map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert!(
        (60_000..80_000).contains(&bytes),
        "one copy of the text: {bytes}"
    );
    drop(cache);
    let again = open(&world, dir.path());
    let view = again.show(&name("d.test")).unwrap().policy.unwrap();
    let age = Timestamp::from_secs(START + 30 * 86_400).since(view.fetched_at);
    assert_eq!(age, Duration::ZERO, "the last refresh is on disk");
}

#[tokio::test]
async fn a_store_that_was_deleted_is_lost_until_told() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    drop(open(&world, dir.path()));
    for part in ["journal", "index"] {
        std::fs::remove_dir_all(dir.path().join(part)).unwrap();
    }
    let mut config = Config::new(dir.path());
    let lost = PolicyCache::open(config.clone(), world.ports()).unwrap();
    assert!(matches!(lost, Opened::Lost { .. }));
    config.dangerous_lose_policies = true;
    let told = PolicyCache::open(config, world.ports()).unwrap();
    assert!(matches!(told, Opened::Ready(_)));
}
