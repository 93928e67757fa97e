//! What operators order.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use mail_types::Timestamp;
use mta_sts::{Mode, MxPattern};

use super::world::{START, Txt, World, mode, name};
use crate::row::Row;
use crate::{CacheError, EventKind, Order};

fn order(reason: &str) -> Order {
    Order {
        by: "root (uid 0)".into(),
        reason: reason.into(),
        at: Timestamp::from_secs(START),
    }
}

#[tokio::test]
async fn forget_refuses_an_unexpired_enforce_policy_unless_dangerous() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.serve("d.test", Mode::Enforce, 86_400);
    let cache = world.open();
    let d = name("d.test");
    let refused = cache.forget(&d, order("test"), true).await;
    assert!(matches!(refused, Err(CacheError::Unknown(_))));
    let _ = cache.policy_for(&d).await;
    let refused = cache.forget(&d, order("test"), false).await;
    assert!(matches!(refused, Err(CacheError::StillEnforced(_))));
    let refused = cache.forget(&d, order(" "), true).await;
    assert!(matches!(refused, Err(CacheError::NoReason)));
    assert_eq!(mode(&cache.policy_for(&d).await), Some(Mode::Enforce));
    world.told();
    cache
        .forget(&d, order("their host is gone"), true)
        .await
        .unwrap();
    assert_eq!(world.told(), ["policy.forgotten"]);
    assert!(world.open().list().is_empty(), "and it stays forgotten");
}

#[tokio::test]
async fn a7_08_a7_09_pins_and_exemptions_are_kept_and_told() {
    let world = World::new();
    let cache = world.open();
    let d = name("d.test");
    let generation = cache.generation();
    let empty = cache.pin(&d, Some(vec![]), order("x")).await;
    assert!(matches!(empty, Err(CacheError::NoPatterns)));
    let mx = vec![MxPattern::parse("*.d.test").unwrap()];
    cache
        .pin(&d, Some(mx.clone()), order("bank"))
        .await
        .unwrap();
    let now = Timestamp::from_secs(START);
    for (until, ok) in [(0, false), (3600, true), (91 * 86_400, false)] {
        let until = now + Duration::from_secs(until);
        let got = cache
            .dangerous_exempt(&d, Some(until), order("broken"))
            .await;
        assert_eq!(got.is_ok(), ok);
    }
    assert_eq!(world.told(), ["policy.pinned", "policy.exempted"]);
    assert!(cache.generation() > generation);
    let again = world.open();
    let local = again.policy_for(&d).await.local.unwrap();
    assert_eq!(local.pin.as_ref().unwrap().mx, mx);
    let exemption = local.exemption.as_ref().unwrap();
    assert!(exemption.is_active(now));
    assert!(!exemption.is_active(now + Duration::from_hours(1)));
    again
        .dangerous_exempt(&d, None, order("mended"))
        .await
        .unwrap();
    again.pin(&d, None, order("no bank")).await.unwrap();
    assert!(again.policy_for(&d).await.local.is_none());
    assert!(matches!(
        again.pin(&d, None, order("x")).await,
        Err(CacheError::Unknown(_))
    ));
}

#[tokio::test]
async fn an_operator_refreshes_at_once_and_mail_after_forgetting_waits_for_nothing() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.serve("d.test", Mode::Enforce, 86_400);
    let cache = world.open();
    let d = name("d.test");
    let _ = cache.policy_for(&d).await;
    for gets in 2..=25 {
        assert!(cache.refresh_now(&d).await.confirmed);
        assert_eq!(world.gets(), gets);
    }
    cache.forget(&d, order("test"), true).await.unwrap();
    assert_eq!(mode(&cache.policy_for(&d).await), Some(Mode::Enforce));
    assert_eq!(world.gets(), 26);
}

#[tokio::test]
async fn a_refresh_that_an_operator_asked_for_and_that_fails_is_told_as_such() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.serve("d.test", Mode::Enforce, 86_400);
    let cache = world.open();
    let d = name("d.test");
    let _ = cache.policy_for(&d).await;
    world.told();
    world.block("d.test");
    // However often somebody asks: that is no failure of the refreshes in the background.
    for _ in 0..3 {
        assert!(!cache.refresh_now(&d).await.confirmed);
        let told = world.kinds();
        let names: Vec<_> = told.iter().map(EventKind::name).collect();
        assert!(!names.contains(&"policy.fetch-failed"), "{names:?}");
        let of_refresh = told.iter().find_map(|kind| match kind {
            EventKind::RefreshFailed {
                failures, alert, ..
            } => Some((*failures, *alert)),
            _ => None,
        });
        assert_eq!(of_refresh, Some((0, false)), "{names:?}");
    }
    let stats = cache.stats();
    assert_eq!((stats.refresh_failures, stats.at_risk), (0, 0));
    assert_eq!(stats.soonest_unrefreshed_expiry, None);
    assert!(cache.show(&d).unwrap().last_failure.is_some());
    // Of a domain without a policy there is nothing to refresh.
    world.txt("e.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.block("e.test");
    assert!(!cache.refresh_now(&name("e.test")).await.confirmed);
    assert!(world.told().contains(&"policy.fetch-failed"));
    assert_eq!(cache.stats().refresh_failures, 0);
}

/// Begins something, and lets everything go on until it waits for what a test holds.
async fn begun<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let handle = tokio::spawn(task);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    handle
}

#[tokio::test]
async fn a7_08_a7_09_orders_at_the_same_time_lose_nothing_of_each_other() {
    let world = World::new();
    let cache = world.open();
    let d = name("d.test");
    let until = Some(Timestamp::from_secs(START + 3600));
    cache
        .dangerous_exempt(&d, until, order("broken"))
        .await
        .unwrap();
    let disk = world.slow_disk.lock().await;
    let (ending, pinning) = (cache.clone(), cache.clone());
    let mx = vec![MxPattern::parse("mx.d.test").unwrap()];
    let end = async move {
        let d = name("d.test");
        ending.dangerous_exempt(&d, None, order("mended")).await
    };
    let pin = async move {
        let d = name("d.test");
        pinning.pin(&d, Some(mx), order("a bank")).await
    };
    let (ended, pinned) = (begun(end).await, begun(pin).await);
    drop(disk);
    ended.await.unwrap().unwrap();
    pinned.await.unwrap().unwrap();
    for cache in [cache, world.open()] {
        let local = cache.show(&d).unwrap().local.unwrap();
        assert!(
            local.pin.is_some() && local.exemption.is_none(),
            "{local:?}"
        );
    }
}

#[tokio::test]
async fn a_fetch_under_way_does_not_bring_back_what_is_forgotten() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 3600));
    world.serve("d.test", Mode::Enforce, 86_400);
    let cache = world.open();
    let d = name("d.test");
    let _ = cache.policy_for(&d).await;
    let host = world.slow.lock().await;
    let fetching = cache.clone();
    let fetch = begun(async move { fetching.refresh_now(&name("d.test")).await }).await;
    cache.forget(&d, order("test"), true).await.unwrap();
    cache.housekeeping().await;
    drop(host);
    let _ = fetch.await.unwrap();
    assert!(cache.list().is_empty());
    assert!(cache.cached(&d).is_none(), "not as an answer either");
    assert!(world.open().list().is_empty());
    assert_eq!(mode(&cache.policy_for(&d).await), Some(Mode::Enforce));
    assert_eq!(cache.list().len(), 1, "the next look-up is a first contact");
}

#[tokio::test]
async fn a7_03_no_policy_is_renewed_whose_text_has_gone_from_the_disk() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 3600));
    world.serve("d.test", Mode::Enforce, 86_400);
    let cache = world.open();
    let _ = cache.policy_for(&name("d.test")).await;
    // As while a compaction takes its time; then each gets its turn.
    let inner = Arc::clone(&cache.inner);
    let turn = inner.commits.write().await;
    let (first, second, third) = (cache.clone(), cache.clone(), cache.clone());
    let forgotten =
        begun(async move { first.forget(&name("d.test"), order("x"), true).await }).await;
    let compacted = begun(async move { second.compact().await }).await;
    let fetched = begun(async move { third.refresh_now(&name("d.test")).await }).await;
    assert_eq!(world.gets(), 2);
    drop(turn);
    forgotten.await.unwrap().unwrap();
    compacted.await.unwrap();
    let _ = fetched.await.unwrap();
    let disk = world.disk.lock();
    let texts = disk
        .iter()
        .filter(|(_, row)| matches!(row, Row::Policy(_)))
        .count();
    let renewed = disk
        .iter()
        .filter(|(_, row)| matches!(row, Row::Renewed(_)))
        .count();
    assert!(renewed == 0 || texts > 0, "{disk:?}");
}
