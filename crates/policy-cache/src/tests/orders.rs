//! What operators order.

use std::time::Duration;

use mail_types::Timestamp;
use mta_sts::{Mode, MxPattern};

use super::world::{START, Txt, World, mode, name};
use crate::{CacheError, Order};

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
