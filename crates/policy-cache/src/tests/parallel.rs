//! Many at once.

use mta_sts::Mode;

use super::world::{Txt, World, mode, name};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_21_two_hundred_first_contacts_share_one_look() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.serve("d.test", Mode::Enforce, 86_400);
    let cache = world.open();
    let gate = world.slow.lock().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let cache = cache.clone();
        tasks.spawn(async move { cache.policy_for(&name("d.test")).await });
    }
    drop(gate);
    let mut count = 0;
    while let Some(got) = tasks.join_next().await {
        let got = got.unwrap();
        assert_eq!(mode(&got), Some(Mode::Enforce), "A4-22: nobody goes ahead");
        count += 1;
    }
    assert_eq!((count, world.txt_queries(), world.gets()), (200, 1, 1));
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_end_the_look() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.serve("d.test", Mode::Enforce, 86_400);
    let cache = world.open();
    let gate = world.slow.lock().await;
    let domain = name("d.test");
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.policy_for(&name("d.test")).await }
    });
    while world.gets() == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    drop(gate);
    let got = cache.policy_for(&domain).await;
    assert_eq!(mode(&got), Some(Mode::Enforce));
    assert_eq!((world.txt_queries(), world.gets()), (1, 1));
}
