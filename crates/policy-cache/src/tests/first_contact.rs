//! Nothing is cached.

use std::time::Duration;

use mail_types::Timestamp;
use mta_sts::Mode;

use super::world::{START, Txt, World, mode, name};
use crate::{
    Config, Discovery, EventKind, NoPolicy, Order, Outcome, RecordTrouble, Severity, Waiting,
};
use policy_fetch::FetchError;

#[tokio::test]
async fn a2_16_a7_06_no_record_no_fetch() {
    let world = World::new();
    world.serve("d.test", Mode::Enforce, 86_400);
    let cache = world.open();
    for txt in [
        Txt::Nxdomain,
        Txt::Records(&["v=spf1 -all"], 60),
        Txt::Records(&["v=STSv1; id=a", "v=STSv1; id=b"], 60),
        Txt::Records(&["v=STSv1; id="], 60),
    ] {
        world.txt("d.test", txt);
        world.advance(3601);
        let got = cache.policy_for(&name("d.test")).await;
        assert!(matches!(
            got.outcome,
            Outcome::NoPolicy(NoPolicy::Record(_))
        ));
    }
    assert_eq!(world.gets(), 0);
    assert_eq!(world.txt_queries(), 4);
}

#[tokio::test]
async fn a2_12_a_record_that_cannot_be_used_is_told_once_until_it_changes() {
    let world = World::new();
    let cache = world.open();
    let mut said = Vec::new();
    let twice = || Txt::Records(&["v=STSv1; id=a", "v=STSv1; id=b"], 60);
    for txt in [
        // What most domains have, and what answers for a wildcard, is no mistake.
        Txt::Nxdomain,
        Txt::Records(&["v=spf1 -all"], 60),
        Txt::Records(&["v=STSv2; id=a"], 60),
        twice(),
        twice(),
        Txt::Records(&["v=STSv1;"], 60),
        Txt::Records(&["v=STSv1; id=a-b"], 60),
    ] {
        world.txt("d.test", txt);
        world.advance(3601);
        let _ = cache.policy_for(&name("d.test")).await;
        let told = world.kinds().into_iter().map(|kind| match kind {
            EventKind::RecordUnusable { cause } => cause.to_string(),
            other => panic!("{other:?}"),
        });
        said.extend(told);
    }
    for (said, want) in said
        .iter()
        .zip(["meant to", "2 records", "id is missing", "1 to 32"])
    {
        assert!(said.contains(want), "{want}: {said}");
    }
    assert_eq!(said.len(), 4, "{said:?}");
    let stats = cache.stats().lookups;
    assert_eq!((stats.none, stats.unusable), (2, 5));
}

/// What was last found counts, wherever it is remembered.
#[tokio::test]
async fn a2_12_a_record_that_cannot_be_used_is_told_once_of_a_domain_that_something_else_is_known_of()
 {
    let world = World::new();
    let cache = world.open();
    let d = name("d.test");
    let look = async |txt: Txt| {
        world.txt("d.test", txt);
        world.advance(3601);
        let _ = cache.policy_for(&d).await;
        world.told()
    };
    let twice = || Txt::Records(&["v=STSv1; id=a", "v=STSv1; id=b"], 60);
    assert!(look(Txt::Nxdomain).await.is_empty());
    let order = Order {
        by: "root (uid 0)".into(),
        reason: "test".into(),
        at: Timestamp::from_secs(START),
    };
    let until = Timestamp::from_secs(START + 30 * 86_400);
    cache
        .dangerous_exempt(&d, Some(until), order)
        .await
        .unwrap();
    assert_eq!(world.told(), ["policy.exempted"]);
    assert_eq!(look(twice()).await, ["policy.record-unusable"]);
    assert!(look(twice()).await.is_empty(), "as before");
    assert!(look(Txt::Nxdomain).await.is_empty());
    assert_eq!(look(twice()).await, ["policy.record-unusable"]);
}

#[tokio::test]
async fn a2_12_a_record_that_was_mended_and_broken_again_is_told_again() {
    let world = World::new();
    let cache = world.open();
    world.block("d.test");
    let twice = || Txt::Records(&["v=STSv1; id=a", "v=STSv1; id=b"], 60);
    for (txt, want) in [
        (twice(), "policy.record-unusable"),
        (Txt::Records(&["v=STSv1; id=a"], 60), "policy.fetch-failed"),
        (twice(), "policy.record-unusable"),
    ] {
        world.txt("d.test", txt);
        world.advance(3601);
        let _ = cache.policy_for(&name("d.test")).await;
        assert!(world.told().contains(&want), "{want}");
    }
}

#[tokio::test]
async fn no_record_is_believed_for_its_ttl() {
    let world = World::new();
    let cache = world.open();
    let first = cache.policy_for(&name("d.test")).await;
    assert!(first.first_contact);
    world.advance(299);
    let again = cache.cached(&name("d.test")).unwrap();
    assert!(!again.first_contact);
    assert_eq!(again.valid_until, first.valid_until);
    world.advance(1);
    assert!(cache.cached(&name("d.test")).is_none());
    assert_eq!(cache.stats().negative_entries, 1);
}

#[tokio::test]
async fn an_operator_who_has_mail_tried_again_has_dns_asked_again() {
    let world = World::new();
    let cache = world.open();
    world.serve("d.test", Mode::Enforce, 86_400);
    let others = [name("e.test")];
    for (n, of) in [Some(&[name("d.test")][..]), None].into_iter().enumerate() {
        let domain = ["d.test", "f.test"][n];
        world.serve(domain, Mode::Enforce, 86_400);
        world.txt(domain, Txt::Servfail);
        let got = cache.policy_for(&name(domain)).await;
        assert!(matches!(got.outcome, Outcome::Wait { .. }), "{got:?}");
        world.txt(domain, Txt::Records(&["v=STSv1; id=a"], 60));
        cache.forget_failed_look_ups(Some(&others));
        let got = cache.policy_for(&name(domain)).await;
        assert!(matches!(got.outcome, Outcome::Wait { .. }), "{got:?}");
        cache.forget_failed_look_ups(of);
        let got = cache.policy_for(&name(domain)).await;
        assert_eq!(mode(&got), Some(Mode::Enforce));
        // What is known is not asked for again.
        let queries = world.txt_queries();
        cache.forget_failed_look_ups(of);
        assert_eq!(
            mode(&cache.policy_for(&name(domain)).await),
            Some(Mode::Enforce)
        );
        assert_eq!(world.txt_queries(), queries);
    }
}

#[tokio::test]
async fn h1_26_a_name_that_overflows_has_no_policy() {
    let label = "a".repeat(60);
    let long = format!("{label}.{label}.{label}.{}.test", "b".repeat(60));
    let world = World::new();
    let got = world.open().policy_for(&name(&long)).await;
    let want = NoPolicy::Record(RecordTrouble::NameTooLong);
    assert!(matches!(got.outcome, Outcome::NoPolicy(n) if n == want));
    assert_eq!(world.txt_queries(), 0);
}

#[tokio::test]
async fn a4_10_a4_14_a_failed_fetch_means_no_policy_and_five_minutes_of_rest() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 3600));
    world.block("d.test");
    let cache = world.open();
    for _ in 0..100 {
        let got = cache.policy_for(&name("d.test")).await;
        let Outcome::NoPolicy(NoPolicy::Fetch { cause, .. }) = &got.outcome else {
            panic!("{got:?}")
        };
        assert!(matches!(cause, FetchError::Connect(_)));
        assert!(got.first_contact);
        world.advance(2);
    }
    assert_eq!(world.gets(), 1);
    world.advance(101);
    let _ = cache.policy_for(&name("d.test")).await;
    assert_eq!(world.gets(), 2);
    assert!(world.told().contains(&"policy.fetch-failed"));
}

#[tokio::test]
async fn h1_04_dns_trouble_waits_then_opens_for_an_hour_and_survives_a_restart() {
    let world = World::new();
    world.txt("d.test", Txt::Servfail);
    let mut cache = world.open();
    let mut waited = 0;
    loop {
        let got = cache.policy_for(&name("d.test")).await;
        let Outcome::Wait { until, why } = got.outcome else {
            break;
        };
        let Waiting::Dns { failures, .. } = why else {
            panic!("{why:?}")
        };
        assert!(got.first_contact);
        let now = START + waited;
        let pause = until.as_secs() - now;
        assert!((1..=1800).contains(&pause), "{pause}");
        assert!(failures >= 1);
        world.advance(pause);
        waited += pause;
        // Each round in a new process.
        cache = world.open();
    }
    assert_eq!(waited, 1800);
    let told: Vec<_> = world
        .kinds()
        .into_iter()
        .filter_map(|kind| match &kind {
            EventKind::FirstContact { result } => Some((*result, kind.severity())),
            _ => None,
        })
        .collect();
    let want = [
        ("dns-failure", Severity::Info),
        ("unverified", Severity::Warning),
    ];
    assert_eq!(told, want, "that mail goes now is said, once");
    let got = cache.policy_for(&name("d.test")).await;
    let open = matches!(got.outcome, Outcome::NoPolicy(NoPolicy::Unknown { .. }));
    assert!(open, "{got:?}");
    assert_eq!(cache.stats().unverified_first_contacts, 1);
    world.advance(3601);
    let got = cache.policy_for(&name("d.test")).await;
    assert!(
        matches!(got.outcome, Outcome::Wait { .. }),
        "it starts anew"
    );
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.serve("d.test", Mode::Enforce, 86_400);
    world.advance(61);
    let got = cache.policy_for(&name("d.test")).await;
    assert_eq!(mode(&got), Some(Mode::Enforce), "an answer ends it");
    assert!(
        cache
            .show(&name("d.test"))
            .unwrap()
            .dns_failing_since
            .is_none()
    );
}

#[tokio::test]
async fn h1_04_a_domain_whose_policy_ran_out_waits_a_day() {
    let world = World::new();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.serve("d.test", Mode::Enforce, 3600);
    let cache = world.open();
    let _ = cache.policy_for(&name("d.test")).await;
    world.txt("d.test", Txt::Servfail);
    world.block("d.test");
    world.advance(7200);
    let mut waited = 0;
    while matches!(
        cache.policy_for(&name("d.test")).await.outcome,
        Outcome::Wait { .. }
    ) {
        world.advance(600);
        waited += 600;
        assert!(waited <= 86_400, "a day is enough");
    }
    assert_eq!(waited, 86_400);
}

#[tokio::test]
async fn a4_12_a_fetch_gets_the_time_of_the_configuration() {
    for limit in [Duration::from_millis(700), Duration::from_mins(1)] {
        let world = World::new();
        let mut config = Config::new("unused");
        config.fetch_timeout = limit;
        let cache = world.open_with(config);
        world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
        world.serve("d.test", Mode::Enforce, 86_400);
        assert_eq!(
            mode(&cache.policy_for(&name("d.test")).await),
            Some(Mode::Enforce)
        );
        assert_eq!(*world.within.lock(), limit);
    }
}

#[tokio::test]
async fn a7_04_a_full_cache_refuses_new_policies_and_keeps_old_ones() {
    let world = World::new();
    let mut config = Config::new("unused");
    config.max_policies = 1;
    let cache = world.open_with(config);
    for domain in ["victim.test", "evil.test"] {
        world.txt(domain, Txt::Records(&["v=STSv1; id=a"], 60));
        world.serve(domain, Mode::Enforce, 86_400);
        let got = cache.policy_for(&name(domain)).await;
        assert_eq!(
            mode(&got),
            Some(Mode::Enforce),
            "{domain}: it applies at least once"
        );
    }
    assert!(world.told().contains(&"policy.cache-full"));
    let kept: Vec<_> = cache
        .list()
        .into_iter()
        .map(|v| v.domain.to_string())
        .collect();
    assert_eq!(kept, ["victim.test"]);
    // Its record is believed for a minute, and the next fetch may not come within one.
    world.advance(30);
    let look = cache.force_refresh(&name("evil.test")).await;
    assert!(
        matches!(look.discovery.outcome, Outcome::Wait { .. }),
        "{look:?}"
    );
}

#[tokio::test]
async fn h2_30_a_few_domains_that_fail_again_and_again_are_not_all() {
    let world = World::new();
    let cache = world.open();
    for domain in ["a.test", "b.test"] {
        world.txt(domain, Txt::Records(&["v=STSv1; id=a"], 60));
        world.block(domain);
    }
    for _ in 0..40 {
        for domain in ["a.test", "b.test"] {
            let _ = cache.policy_for(&name(domain)).await;
        }
        world.advance(3601);
    }
    assert!(cache.stats().fetch_failures >= 40);
    assert!(!world.told().contains(&"policy.all-fetches-fail"));
}

#[tokio::test]
async fn h2_30_when_every_fetch_fails_it_is_said_once() {
    let world = World::new();
    let cache = world.open();
    for n in 0..40 {
        let domain = format!("d{n}.test");
        world.txt(&domain, Txt::Records(&["v=STSv1; id=a"], 60));
        world.block(&domain);
        let _ = cache.policy_for(&name(&domain)).await;
    }
    let told = world.told();
    let systemic = told.iter().filter(|n| **n == "policy.all-fetches-fail");
    assert_eq!(systemic.count(), 1);
    assert_eq!(cache.stats().fetch_failures, 40);
    assert!(cache.until_next() > Duration::ZERO);
}

#[tokio::test]
async fn a_failed_first_contact_is_told_once() {
    let world = World::new();
    let cache = world.open();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.block("d.test");
    let _ = cache.policy_for(&name("d.test")).await;
    let told = world.told();
    let contacts = told.iter().filter(|n| **n == "policy.first-contact");
    assert_eq!(contacts.count(), 1, "{told:?}");
}

/// Decision AMB-01 counts what mail has tried: three look-ups of somebody who only wants to know do not
/// let it go.
#[tokio::test]
async fn looking_at_a_domain_does_not_bring_its_mail_nearer_to_going_unprotected() {
    let world = World::new();
    let cache = world.open();
    let domain = name("d.test");
    world.txt("d.test", Txt::Servfail);
    let failures = |d: Discovery| match d.outcome {
        Outcome::Wait {
            why: Waiting::Dns { failures, .. },
            ..
        } => failures,
        other => panic!("{other:?}"),
    };
    assert_eq!(failures(cache.policy_for(&domain).await), 1);
    for _ in 0..3 {
        world.advance(20 * 60);
        assert_eq!(failures(cache.shown(&domain).await), 1);
    }
    world.advance(20 * 60);
    assert_eq!(failures(cache.policy_for(&domain).await), 2);
    // Nor does the first look of all.
    let other = name("e.test");
    world.txt("e.test", Txt::Servfail);
    assert_eq!(failures(cache.shown(&other).await), 1);
    world.advance(20 * 60);
    assert_eq!(failures(cache.policy_for(&other).await), 1);
}

/// What is said of a failure that is not asked about anew is when it was.
#[tokio::test]
async fn h1_04_a_failure_that_is_remembered_says_when_it_was() {
    let world = World::new();
    world.txt("d.test", Txt::Servfail);
    let cache = world.open();
    let said = async || match cache.policy_for(&name("d.test")).await.outcome {
        Outcome::Wait { why, .. } => why.to_string(),
        other => panic!("{other:?}"),
    };
    let at = format!("the last at {}", Timestamp::from_secs(START));
    let first = said().await;
    assert!(first.contains(&at), "{first}");
    world.advance(10);
    assert_eq!(said().await, first);
}
