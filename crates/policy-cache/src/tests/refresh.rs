//! Refreshes in the background, and what their failures mean for others.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mta_sts::Mode;

use super::world::{START, Txt, World, mode, name};
use crate::PolicyCache;
use policy_fetch::{FetchError, FetchFailure};

fn failing(world: &World, retry_after: Option<Duration>) {
    let cause = FetchError::Connect("connection refused".into());
    let failure = FetchFailure { cause, retry_after };
    world.hosts.lock().insert("d.test".to_owned(), Err(failure));
}

/// `d.test` has an enforce policy that lives this long, and half of that later a refresh of it has failed. The
/// host is well again.
async fn failed_once(max_age: u64, retry_after: Option<Duration>) -> (Arc<World>, PolicyCache) {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 30));
    world.serve("d.test", Mode::Enforce, max_age);
    let cache = world.open();
    let _ = cache.policy_for(&name("d.test")).await;
    world.advance(max_age / 2);
    failing(&world, retry_after);
    assert_eq!(cache.refresh_due().await, 1, "{max_age}");
    world.serve("d.test", Mode::Enforce, max_age);
    (world, cache)
}

#[tokio::test]
async fn a4_10_a_refresh_that_failed_keeps_no_mail_from_a_policy_that_ends_before_the_back_off() {
    let day = Some(Duration::from_hours(24));
    for (max_age, retry_after) in [(60, None), (599, None), (3600, day), (86_400, day)] {
        let (world, cache) = failed_once(max_age, retry_after).await;
        world.advance(max_age / 2 + 1);
        let got = cache.policy_for(&name("d.test")).await;
        assert_eq!(mode(&got), Some(Mode::Enforce), "{max_age} {got:?}");
    }
}

#[tokio::test]
async fn a4_10_h2_16_a_refresh_that_failed_spares_the_host_while_the_policy_lives_on() {
    let hour = Some(Duration::from_hours(1));
    let day = Some(Duration::from_hours(24));
    // Half of the life is over when the refresh fails: longer than the rest of it nobody is spared.
    for (retry_after, seconds) in [(None, 300), (hour, 3600), (day, 43_200)] {
        let (world, cache) = failed_once(86_400, retry_after).await;
        let gets = world.gets();
        world.advance(seconds - 1);
        let _ = cache.fresh_look(&name("d.test")).await;
        assert_eq!(world.gets(), gets, "{retry_after:?}");
        world.advance(1);
        let _ = cache.fresh_look(&name("d.test")).await;
        assert_eq!(world.gets(), gets + 1, "{retry_after:?}");
    }
}

/// The driver runs for some seconds, both clocks with it.
async fn seconds(world: &World, count: u64) {
    for _ in 0..count {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.advance(1);
    }
}

#[tokio::test(start_paused = true)]
async fn h8_01_h8_02_a_clock_that_an_operator_accepts_counts_at_once() {
    const YEAR: u64 = 365 * DAY;
    for (before, after) in [(0, YEAR), (YEAR, 0)] {
        let world = World::new();
        world.skew.store(before, Ordering::Relaxed);
        world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 30));
        world.serve("d.test", Mode::Enforce, 7 * DAY);
        let cache = world.open();
        let _ = cache.policy_for(&name("d.test")).await;
        let running = tokio::spawn({
            let cache = cache.clone();
            async move { cache.run().await }
        });
        seconds(&world, 5).await;
        world.skew.store(after, Ordering::Relaxed);
        let rows = world.disk.lock().len();
        let _ = cache.now();
        assert!(cache.clock().is_some(), "doubted");
        assert!(!world.told().contains(&"policy.expired"), "doubted");
        assert!(cache.accept_clock("the test"));
        // However soon the process ends after that.
        seconds(&world, 3).await;
        if after > before {
            assert!(world.told().contains(&"policy.expired"));
        } else {
            assert_eq!(world.disk.lock().len(), rows + 1, "a shorter life");
            let policy = cache.show(&name("d.test")).unwrap().policy.unwrap();
            assert_eq!(policy.expires_at.as_secs(), START + 7 * DAY);
        }
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_host_that_does_not_answer_holds_up_no_other_refresh() {
    let world = World::new();
    let cache = world.open();
    for (domain, max_age) in [("slow.test", 100), ("d.test", 300)] {
        world.txt(domain, Txt::Records(&["v=STSv1; id=a"], 30));
        world.serve(domain, Mode::Enforce, max_age);
        let _ = cache.policy_for(&name(domain)).await;
    }
    *world.stalls.lock() = Some("slow.test");
    let running = tokio::spawn({
        let cache = cache.clone();
        async move { cache.run().await }
    });
    seconds(&world, 60).await;
    assert_eq!(world.gets(), 3, "one hangs");
    world.told();
    seconds(&world, 120).await;
    assert!(world.told().contains(&"policy.refreshed"));
    // And the one that hangs is not begun again beside itself.
    assert_eq!(world.gets(), 4);
    running.abort();
}

const DAY: u64 = 86_400;
