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

#[tokio::test]
async fn an_operator_shares_a_check_that_is_under_way_and_so_does_mail() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.serve("d.test", Mode::Enforce, 86_400);
    let cache = world.open();
    let gate = world.slow.lock().await;
    let fly = |which: u8| {
        let cache = cache.clone();
        tokio::spawn(async move {
            let domain = name("d.test");
            match which {
                0 => cache.fresh_look(&domain).await.confirmed,
                1 => cache.force_refresh(&domain).await.confirmed,
                2 => cache.refresh_now(&domain).await.confirmed,
                _ => mode(&cache.policy_for(&domain).await) == Some(Mode::Enforce),
            }
        })
    };
    let first = fly(0);
    while world.gets() == 0 {
        tokio::task::yield_now().await;
    }
    let others = [fly(1), fly(2), fly(3)];
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    drop(gate);
    assert!(first.await.unwrap());
    for other in others {
        assert!(other.await.unwrap());
    }
    assert_eq!((world.txt_queries(), world.gets()), (1, 1));
}

#[tokio::test]
async fn an_operator_is_not_bound_by_what_holds_back_the_check_he_shares() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.block("d.test");
    let cache = world.open();
    let domain = name("d.test");
    let _ = cache.policy_for(&domain).await;
    world.serve("d.test", Mode::Enforce, 86_400);
    assert!(
        !cache.fresh_look(&domain).await.confirmed,
        "five minutes of rest"
    );
    let (held, asked) = tokio::join!(cache.fresh_look(&domain), cache.refresh_now(&domain));
    assert!(!held.confirmed && asked.confirmed);
    assert_eq!(world.gets(), 2);
}
