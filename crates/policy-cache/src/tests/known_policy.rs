//! A policy is cached: what may happen to it, and what may not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mta_sts::Mode;

use super::world::{START, Txt, World, mode, name, policy_text};
use crate::{Config, EventKind, Fallback, NoPolicy, Origin, Outcome, Waiting};

const DAY: u64 = 86_400;

/// A world in which `d.test` is known with mode enforce for 7 days.
async fn known() -> (std::sync::Arc<World>, crate::PolicyCache) {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.serve("d.test", Mode::Enforce, 7 * DAY);
    let cache = world.open();
    let first = cache.policy_for(&name("d.test")).await;
    assert_eq!(mode(&first), Some(Mode::Enforce));
    assert!(first.first_contact, "A7-07");
    let Outcome::Policy(applied) = &first.outcome else {
        panic!("{first:?}")
    };
    assert_eq!(applied.from, Origin::Live);
    world.told();
    (world, cache)
}

#[tokio::test]
async fn a2_17_a4_15_a4_16_h1_01_to_h1_06_nothing_but_a_valid_fetch_replaces_it() {
    let none: &[&str] = &[];
    let cases: [(Txt, bool, &str); 8] = [
        (Txt::Servfail, false, "H1-01"),
        (Txt::Nxdomain, false, "H1-03"),
        (Txt::Records(&["v=spf1 -all"], 60), false, "no candidate"),
        (Txt::Records(none, 60), false, "empty"),
        (
            Txt::Records(&["v=STSv1; id=a", "v=STSv1; id=b"], 60),
            false,
            "H1-05",
        ),
        (Txt::Records(&["v=STSv1; id=!"], 60), false, "invalid"),
        (
            Txt::Records(&["v=STSv1; id=b"], 60),
            true,
            "A4-16, H1-06: forged id, 443 blocked",
        ),
        (
            Txt::Records(&["v=STSv1; id=c"], 60),
            true,
            "and another one",
        ),
    ];
    let (world, cache) = known().await;
    let gets = world.gets();
    world.block("d.test");
    for (txt, fetches, reason) in cases {
        world.advance(3601);
        let before = world.gets();
        world.txt("d.test", txt);
        let got = cache.policy_for(&name("d.test")).await;
        assert_eq!(mode(&got), Some(Mode::Enforce), "{reason}");
        let Outcome::Policy(applied) = got.outcome else {
            panic!("{reason}")
        };
        assert_eq!(applied.from, Origin::Cache, "{reason}");
        assert_eq!(
            matches!(applied.fallback, Some(Fallback::Fetch { .. })),
            fetches,
            "{reason}"
        );
        assert!(applied.fallback.is_some(), "{reason}");
        assert_eq!(world.gets() - before, u64::from(fetches), "{reason}");
        assert!(
            world.told().contains(&"policy.fallback-to-cache"),
            "{reason}"
        );
        let expires = applied.policy.expires_at.as_secs();
        assert_eq!(
            expires,
            START + 7 * DAY,
            "A4-19: not prolonged, not shortened"
        );
    }
    assert_eq!(world.gets() - gets, 2);
}

#[tokio::test]
async fn a2_18_a2_20_an_unchanged_id_costs_one_txt_query_per_ttl() {
    let (world, cache) = known().await;
    let (txt, gets) = (world.txt_queries(), world.gets());
    for _ in 0..10 {
        let _ = cache.policy_for(&name("d.test")).await;
    }
    assert_eq!(world.txt_queries(), txt, "within the TTL of 60 s");
    world.advance(61);
    let got = cache.policy_for(&name("d.test")).await;
    assert_eq!((world.txt_queries(), world.gets()), (txt + 1, gets));
    let Outcome::Policy(applied) = got.outcome else {
        panic!()
    };
    assert_eq!((applied.from, applied.fallback), (Origin::Cache, None));
}

#[tokio::test]
async fn h1_32_ttl_floor_and_cap() {
    for (ttl, again_at) in [(0, 30), (u64::from(u32::MAX), 3600)] {
        let world = World::new();
        world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], ttl));
        world.serve("d.test", Mode::Enforce, DAY);
        let cache = world.open();
        let _ = cache.policy_for(&name("d.test")).await;
        world.advance(again_at - 1);
        let _ = cache.policy_for(&name("d.test")).await;
        assert_eq!(world.txt_queries(), 1, "{ttl}");
        world.advance(1);
        let _ = cache.policy_for(&name("d.test")).await;
        assert_eq!(world.txt_queries(), 2, "{ttl}");
    }
}

#[tokio::test]
async fn a2_19_a6_19_a6_20_a7_05_a_new_id_brings_the_new_policy_at_once() {
    let (world, cache) = known().await;
    let generation = cache.generation();
    world.advance(61);
    world.txt("d.test", Txt::Records(&["v=STSv1; id=0"], 60));
    world.serve("d.test", Mode::None, DAY);
    let got = cache.policy_for(&name("d.test")).await;
    assert_eq!(mode(&got), Some(Mode::None));
    assert!(cache.generation() > generation, "plans are made anew");
    assert_eq!(world.told(), ["policy.changed", "policy.weakened"]);
}

#[tokio::test]
async fn a7_01_a_policy_that_is_just_being_refreshed_is_not_behind() {
    let (world, cache) = known().await;
    world.advance(cache.until_next().as_secs() + 1);
    assert_eq!(cache.until_next(), Duration::from_millis(100), "it is due");
    assert_eq!(cache.stats().soonest_unrefreshed_expiry, None);
    world.advance(300);
    assert!(cache.stats().soonest_unrefreshed_expiry.is_some());
    assert_eq!(cache.refresh_due().await, 1);
    assert_eq!(cache.stats().soonest_unrefreshed_expiry, None);
}

#[tokio::test]
async fn a6_14_an_expired_policy_is_not_applied_and_told_of() {
    let (world, cache) = known().await;
    world.txt("d.test", Txt::Nxdomain);
    world.advance(7 * DAY);
    cache.housekeeping().await;
    assert_eq!(world.told(), ["policy.expired"]);
    assert_eq!(cache.stats().expired, 1, "A7-01: counted for an alert");
    assert_eq!(cache.stats().ran_out, 1);
    let got = cache.policy_for(&name("d.test")).await;
    assert!(
        matches!(got.outcome, Outcome::NoPolicy(NoPolicy::Record(_))),
        "{got:?}"
    );
    cache.housekeeping().await;
    assert!(world.told().is_empty(), "told once");
    assert_eq!(cache.stats().expired, 1);
    // The next process tells of it again for a day, since nobody may have seen it; it has run out once.
    let cache = world.open();
    cache.housekeeping().await;
    assert_eq!(world.told(), ["policy.expired"]);
    assert_eq!(cache.stats().expired, 0);
}

#[tokio::test]
async fn a7_01_a7_02_no_alert_for_what_is_meant_to_end_by_itself() {
    for (published, max_age) in [(Mode::None, DAY), (Mode::Enforce, 60)] {
        let world = World::new();
        world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
        world.serve("d.test", published, max_age);
        let cache = world.open();
        let _ = cache.policy_for(&name("d.test")).await;
        assert_eq!(
            cache.stats().soonest_unrefreshed_expiry,
            None,
            "{published}"
        );
        // Nor for its refresh, when that fails.
        world.block("d.test");
        world.advance(max_age - 10);
        assert_eq!(cache.refresh_due().await, 1, "{published}");
        let alert = |kind| matches!(kind, EventKind::RefreshFailed { alert: true, .. });
        assert!(!world.kinds().into_iter().any(alert), "{published}");
        let stats = cache.stats();
        assert_eq!(stats.refresh_failures, 1, "{published}");
        assert_eq!(stats.at_risk, 0, "{published}");
        assert_eq!(stats.soonest_unrefreshed_expiry, None, "{published}");
        world.advance(10);
        cache.housekeeping().await;
        assert!(world.told().contains(&"policy.expired"));
        assert_eq!(cache.stats().expired, 0, "{published}");
        assert_eq!(cache.stats().ran_out, 0, "{published}");
    }
}

#[tokio::test]
async fn a4_19_an_unchanged_id_renews_nothing() {
    let (world, cache) = known().await;
    world.block("d.test");
    let (gets, ends) = (world.gets(), START + 7 * DAY);
    for day in 1..7 {
        world.now.store(START + day * DAY, Ordering::Relaxed);
        let got = cache.policy_for(&name("d.test")).await;
        let Outcome::Policy(applied) = got.outcome else {
            panic!("day {day}: {:?}", got.outcome)
        };
        assert_eq!((applied.from, applied.fallback), (Origin::Cache, None));
        assert_eq!(applied.policy.expires_at.as_secs(), ends, "day {day}");
    }
    assert_eq!(world.gets(), gets, "the id was all that was asked for");
    assert_eq!(world.txt_queries(), 7);
    world.now.store(ends - 1, Ordering::Relaxed);
    let got = cache.policy_for(&name("d.test")).await;
    assert_eq!(mode(&got), Some(Mode::Enforce));
    world.now.store(ends, Ordering::Relaxed);
    let got = cache.policy_for(&name("d.test")).await;
    assert_eq!(mode(&got), None, "{got:?}");
}

#[tokio::test]
async fn a4_18_a4_19_only_a_fetch_renews_and_it_needs_no_record() {
    let (world, cache) = known().await;
    world.txt("d.test", Txt::Nxdomain);
    world.advance(3 * DAY);
    assert_eq!(cache.refresh_due().await, 1);
    assert_eq!(world.told(), ["policy.refreshed"]);
    world.block("d.test");
    for (day, want) in [
        (4, Some(Mode::Enforce)),
        (9, Some(Mode::Enforce)),
        (10, None),
    ] {
        world.now.store(START + day * DAY, Ordering::Relaxed);
        let got = cache.policy_for(&name("d.test")).await;
        assert_eq!(mode(&got), want, "day {day}");
    }
}

#[tokio::test]
async fn a7_03_a_restart_keeps_policies() {
    let (world, cache) = known().await;
    drop(cache);
    world.txt("d.test", Txt::Servfail);
    world.block("d.test");
    world.advance(3600);
    let again = world.open();
    let got = again.policy_for(&name("d.test")).await;
    assert_eq!(mode(&got), Some(Mode::Enforce));
    assert!(!got.first_contact);
}

#[tokio::test]
async fn a_failing_disk_weakens_nothing_and_is_made_up_for() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.serve("d.test", Mode::Enforce, 7 * DAY);
    world.disk_fails.store(true, Ordering::Relaxed);
    let cache = world.open();
    for _ in 0..2 {
        let got = cache.policy_for(&name("d.test")).await;
        assert_eq!(mode(&got), Some(Mode::Enforce));
        world.advance(61);
    }
    assert!(world.told().contains(&"policy.store-failed"));
    assert!(world.disk.lock().is_empty());
    world.disk_fails.store(false, Ordering::Relaxed);
    cache.housekeeping().await;
    drop(cache);
    world.block("d.test");
    let got = world.open().policy_for(&name("d.test")).await;
    assert_eq!(mode(&got), Some(Mode::Enforce));
}

#[tokio::test]
async fn a4_20_a7_01_a7_02_a_failing_refresh_alerts_unless_the_mode_is_none() {
    for (published, loud) in [
        (Mode::Enforce, true),
        (Mode::Testing, true),
        (Mode::None, false),
    ] {
        let world = World::new();
        world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
        world.serve("d.test", published, 30 * DAY);
        let cache = world.open();
        let _ = cache.policy_for(&name("d.test")).await;
        world.block("d.test");
        world.told();
        let mut alerts = Vec::new();
        for _ in 0..3 {
            world.advance(DAY);
            assert_eq!(cache.refresh_due().await, 1);
            alerts.extend(world.kinds().into_iter().filter_map(|k| match k {
                EventKind::RefreshFailed {
                    failures, alert, ..
                } => Some((failures, alert)),
                _ => None,
            }));
        }
        let want: &[(u32, bool)] = if loud {
            &[(1, false), (2, false), (3, true)]
        } else {
            &[]
        };
        assert_eq!(alerts, want, "{published}");
        assert_eq!(cache.stats().at_risk, u64::from(loud), "{published}");
        assert_eq!(cache.stats().refresh_failures, 3);
        assert_eq!(cache.stats().soonest_unrefreshed_expiry.is_some(), loud);
    }
}

#[tokio::test]
async fn a6_21_a_delivery_failure_forces_a_fetch_though_the_id_is_the_same() {
    let (world, cache) = known().await;
    world.advance(120);
    world
        .hosts
        .lock()
        .insert("d.test".into(), Ok(policy_text(Mode::Testing, DAY)));
    let look = cache.force_refresh(&name("d.test")).await;
    assert!(look.confirmed);
    assert_eq!(mode(&look.discovery), Some(Mode::Testing));
    assert!(world.told().contains(&"policy.refetch"));
    let gets = world.gets();
    world.advance(120);
    let look = cache.force_refresh(&name("d.test")).await;
    assert_eq!(world.gets(), gets, "at most every 5 minutes");
    assert!(look.confirmed, "the last one still counts");
    world.advance(181);
    let _ = cache.force_refresh(&name("d.test")).await;
    assert_eq!(world.gets(), gets + 1);
}

#[tokio::test]
async fn a6_09_a6_11_a_fresh_look_asks_dns_and_host() {
    let (world, cache) = known().await;
    world.advance(61);
    let (txt, gets) = (world.txt_queries(), world.gets());
    let look = cache.fresh_look(&name("d.test")).await;
    assert!(look.confirmed);
    assert_eq!((world.txt_queries(), world.gets()), (txt + 1, gets + 1));
    world.advance(400);
    world.block("d.test");
    let look = cache.fresh_look(&name("d.test")).await;
    assert!(!look.confirmed, "the host could not be asked");
    assert_eq!(mode(&look.discovery), Some(Mode::Enforce));
    world.serve("d.test", Mode::Enforce, 7 * DAY);
    world.txt("d.test", Txt::Servfail);
    world.advance(400);
    let look = cache.fresh_look(&name("d.test")).await;
    assert!(!look.confirmed, "DNS could not be asked");
}

#[tokio::test]
async fn h1_07_a_flipping_id_is_capped_and_the_policy_stands() {
    let (world, cache) = known().await;
    let ids = [
        &["v=STSv1; id=x"][..],
        &["v=STSv1; id=y"],
        &["v=STSv1; id=z"],
    ];
    world.block("d.test");
    let before = world.gets();
    for n in 0..3600 / 30 {
        world.txt("d.test", Txt::Records(ids[n % 3], 1));
        world.advance(30);
        let got = cache.policy_for(&name("d.test")).await;
        assert_eq!(mode(&got), Some(Mode::Enforce));
    }
    let gets = world.gets() - before;
    assert!((2..=20).contains(&gets), "{gets}");
}

#[tokio::test]
async fn a3_13_max_age_zero_applies_to_the_look_up_that_fetched_it() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 600));
    world.serve("d.test", Mode::Enforce, 0);
    let cache = world.open();
    let first = cache.policy_for(&name("d.test")).await;
    assert_eq!(mode(&first), Some(Mode::Enforce));
    // Fetch limits hold nevertheless, and mail is not unprotected because of them.
    let held = cache.policy_for(&name("d.test")).await;
    let Outcome::Wait { until, why } = held.outcome else {
        panic!("{held:?}")
    };
    assert_eq!((until.as_secs(), why), (START + 60, Waiting::FetchLimit));
    world.advance(60);
    let next = cache.policy_for(&name("d.test")).await;
    assert_eq!(mode(&next), Some(Mode::Enforce));
    assert_eq!(world.gets(), 2);
    assert!(first.valid_until.since(next.valid_until) == Duration::ZERO);
}

/// Mail every ten seconds for two hours, to a domain whose policy lives for this long.
async fn two_hours_of(published: Mode, max_age: u64) -> (u64, u64, u64) {
    let world = World::new();
    world.quiet.store(true, Ordering::Relaxed);
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 30));
    world.serve("d.test", published, max_age);
    let cache = world.open();
    let (mut waited, mut unprotected) = (0, 0);
    for _ in 0..720 {
        match cache.policy_for(&name("d.test")).await.outcome {
            Outcome::Policy(_) => {}
            Outcome::Wait { .. } => waited += 1,
            Outcome::NoPolicy(_) => unprotected += 1,
        }
        world.advance(10);
    }
    (waited, unprotected, world.gets())
}

#[tokio::test]
async fn a3_13_a4_11_a_short_enforce_policy_never_leaves_mail_unprotected_because_we_do_not_ask() {
    let (waited, unprotected, gets) = two_hours_of(Mode::Enforce, 120).await;
    assert_eq!(unprotected, 0);
    assert!(gets <= 40, "20 an hour: {gets}");
    assert!(waited <= 240, "20 minutes of each hour: {waited}");
    // What demands nothing is waited for by nobody.
    for published in [Mode::Testing, Mode::None] {
        let (waited, _, gets) = two_hours_of(published, 120).await;
        assert!(waited == 0 && gets <= 40, "{published} {waited} {gets}");
    }
}

#[tokio::test]
async fn a4_14_a_host_that_fails_when_it_is_asked_holds_up_nothing() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 30));
    world.serve("d.test", Mode::Enforce, 30);
    let cache = world.open();
    let _ = cache.policy_for(&name("d.test")).await;
    world.advance(60);
    world.block("d.test");
    for _ in 0..2 {
        let got = cache.policy_for(&name("d.test")).await;
        assert!(
            matches!(got.outcome, Outcome::NoPolicy(NoPolicy::Fetch { .. })),
            "{got:?}"
        );
        world.txt("d.test", Txt::Records(&["v=STSv1; id=b"], 30));
        world.advance(31);
    }
}

#[tokio::test]
async fn an_interval_of_seconds_is_kept_and_mail_may_still_ask() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.serve("d.test", Mode::Enforce, 86_400);
    let cache = world.open_with(Config {
        refresh_interval: Duration::from_secs(2),
        ..Config::new("unused")
    });
    let d = name("d.test");
    let _ = cache.policy_for(&d).await;
    for gets in 2..=100 {
        world.advance(2);
        assert_eq!(cache.refresh_due().await, 1);
        assert_eq!(world.gets(), gets, "past the limits of what mail asks for");
    }
    assert_eq!(cache.show(&d).unwrap().refresh_failures, 0);
    // A new id is fetched for mail as soon as the record is looked at.
    world.advance(61);
    world.txt("d.test", Txt::Records(&["v=STSv1; id=b"], 60));
    let _ = cache.policy_for(&d).await;
    assert_eq!(world.gets(), 101);
    // After a failure the host has its five minutes.
    world.block("d.test");
    world.advance(2);
    assert_eq!(cache.refresh_due().await, 1);
    world.advance(290);
    assert_eq!(cache.refresh_due().await, 0);
    assert_eq!(world.gets(), 102);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_policy_is_told_at_its_time() {
    for max_age in [9, 100] {
        let (world, cache) = known().await;
        let running = tokio::spawn({
            let cache = cache.clone();
            async move { cache.run().await }
        });
        let second = async || {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.advance(1);
        };
        for _ in 0..5 {
            second().await;
        }
        // It comes when the next end seems to be a week away.
        world.txt("soon.test", Txt::Records(&["v=STSv1; id=a"], 60));
        world.serve("soon.test", Mode::Enforce, max_age);
        let _ = cache.policy_for(&name("soon.test")).await;
        world.block("soon.test");
        let mut seconds = 0;
        while !world.told().contains(&"policy.expired") {
            second().await;
            seconds += 1;
            assert!(seconds < 1000, "never told");
        }
        assert!(
            (max_age..=max_age + 2).contains(&seconds),
            "{max_age}: {seconds}"
        );
        running.abort();
    }
}
