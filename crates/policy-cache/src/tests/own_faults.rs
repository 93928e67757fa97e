//! What our own faults say about a domain: nothing. Mail waits until they are mended.

use mta_sts::Mode;

use super::world::{Txt, World, mode, name};
use crate::{Outcome, Waiting};
use policy_fetch::{FetchError, Stage};

fn lack() -> String {
    "this process has no file descriptor left (EMFILE)".to_owned()
}

/// All the ways in which our side fails a fetch.
fn faults() -> [FetchError; 2] {
    let (stage, bytes) = (Stage::Queue, 0);
    [
        FetchError::Local(lack()),
        FetchError::Timeout { stage, bytes },
    ]
}

#[tokio::test]
async fn h9_01_a_fetch_that_we_cannot_make_is_no_missing_policy() {
    for fault in faults() {
        let world = World::new();
        let cache = world.open();
        let domain = name("d.test");
        world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 3600));
        let failed = Err(fault.clone().into());
        world.hosts.lock().insert("d.test".to_owned(), failed);
        // Longer than any back-off, and than an outage of DNS would be waited for.
        for _ in 0..100 {
            let got = cache.policy_for(&domain).await;
            let Outcome::Wait { until, why } = got.outcome else {
                panic!("mail goes without protection: {got:?}")
            };
            assert!(matches!(why, Waiting::Local(_) | Waiting::FetchLimit));
            assert!(until > cache.now(), "{until:?}");
            world.advance(61);
        }
        world.serve("d.test", Mode::Enforce, 86_400);
        world.advance(3600);
        assert_eq!(mode(&cache.policy_for(&domain).await), Some(Mode::Enforce));
    }
}

#[tokio::test]
async fn h9_01_a_record_that_we_cannot_ask_for_is_waited_for() {
    let world = World::new();
    let cache = world.open();
    let domain = name("d.test");
    world.txt("d.test", Txt::Unasked);
    for _ in 0..100 {
        let got = cache.policy_for(&domain).await;
        let Outcome::Wait { why, .. } = got.outcome else {
            panic!("mail goes without protection: {got:?}")
        };
        assert_eq!(why, Waiting::Local(FetchError::Local(lack())));
        world.advance(61);
    }
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 3600));
    world.serve("d.test", Mode::Enforce, 86_400);
    assert_eq!(mode(&cache.policy_for(&domain).await), Some(Mode::Enforce));
}

#[tokio::test]
async fn a4_11_a_fetch_that_our_limits_hold_back_says_until_when() {
    let world = World::new();
    let cache = world.open();
    let domain = name("d.test");
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 30));
    world.serve("d.test", Mode::Enforce, 86_400);
    let began = cache.now();
    assert_eq!(mode(&cache.policy_for(&domain).await), Some(Mode::Enforce));
    world.advance(31);
    world.txt("d.test", Txt::Records(&["v=STSv1; id=b"], 30));
    let got = cache.policy_for(&domain).await;
    let Outcome::Policy(applied) = got.outcome else {
        panic!("{got:?}")
    };
    let said = applied.fallback.unwrap().to_string();
    let after = (began + std::time::Duration::from_mins(1)).rfc3339();
    assert!(said.contains(&format!("but after {after}")), "{said}");
}
