//! What a clock that is doubted says about policy hosts, and the end of the doubt.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mail_types::{Domain, Timestamp};
use mta_sts::Mode;

use super::world::{START, Txt, World, mode, name};
use crate::{NoPolicy, Outcome, PolicyCache, Waiting};
use policy_fetch::{FetchError, PkixError};

/// A wrong clock calls good certificates expired. It must not make mail go as if nothing had been
/// published, while it is doubted for the very same reason.
#[tokio::test]
async fn h8_01_a_doubted_clock_says_nothing_against_a_policy_host() {
    let world = World::new();
    let cache = world.open();
    let (first, second) = (name("first.test"), name("second.test"));
    for domain in [&first, &second] {
        world.txt(domain.as_str(), Txt::Records(&["v=STSv1; id=a"], 60));
        let fault = PkixError::Expired {
            not_after: Timestamp::from_secs(START + 100 * 86_400),
            now: Timestamp::from_secs(START + 200 * 86_400),
        };
        let refused = Err(FetchError::Certificate(fault).into());
        world.hosts.lock().insert(domain.to_string(), refused);
    }
    let got = cache.policy_for(&first).await;
    let Outcome::NoPolicy(NoPolicy::Fetch { .. }) = got.outcome else {
        panic!("by a clock that nobody doubts it has expired: {got:?}")
    };
    world.skew.store(200 * 86_400, Ordering::Relaxed);
    for _ in 0..2 {
        let got = cache.policy_for(&second).await;
        let Outcome::Wait { until, why } = got.outcome else {
            panic!("{got:?}")
        };
        assert!(
            why.to_string().contains("our own clock is doubted"),
            "{why}"
        );
        assert!(until > cache.now(), "{until:?}");
        // Past the memory of the first answer, within the back-off of the host.
        world.advance(61);
    }
    // The clock is right again: what it said before counts no longer, also within the back-off.
    world.skew.store(0, Ordering::Relaxed);
    world.serve("second.test", Mode::Enforce, 86_400);
    let generation = cache.generation();
    assert_eq!(mode(&cache.policy_for(&second).await), Some(Mode::Enforce));
    assert!(cache.generation() > generation);
}

/// A first contact whose policy host is out of its time by a clock that has jumped (so far ahead before, and after)
/// and is doubted; mail waits.
async fn doubted([before, to]: [u64; 2]) -> (Arc<World>, PolicyCache, Domain) {
    let world = World::new();
    world.skew.store(before, Ordering::Relaxed);
    let cache = world.open();
    let domain = name("d.test");
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 3600));
    out_of_its_time(&world);
    assert_eq!(cache.now(), Timestamp::from_secs(START + before));
    world.skew.store(to, Ordering::Relaxed);
    assert_eq!(waits(&cache, &domain).await, Some(true));
    world.serve("d.test", Mode::Enforce, 86_400);
    (world, cache, domain)
}

fn out_of_its_time(world: &World) {
    let fault = PkixError::NotYetValid {
        not_before: Timestamp::from_secs(START),
        now: Timestamp::from_secs(START),
    };
    let refused = Err(FetchError::Certificate(fault).into());
    world.hosts.lock().insert("d.test".to_owned(), refused);
}

/// Whether mail waits, five minutes at most, because of the clock; `None` if it does not wait.
async fn waits(cache: &PolicyCache, domain: &Domain) -> Option<bool> {
    match cache.policy_for(domain).await.outcome {
        Outcome::Wait { until, why } => {
            assert!(until <= cache.now() + Duration::from_mins(5), "{until:?}");
            Some(matches!(why, Waiting::Clock(_)))
        }
        Outcome::Policy(_) | Outcome::NoPolicy(_) => None,
    }
}

const YEAR: u64 = 365 * 86_400;

#[tokio::test]
async fn h8_01_a_clock_that_an_operator_accepts_holds_nobody_up_any_more() {
    for jump in [[0, YEAR], [YEAR, 0]] {
        let (world, cache, domain) = doubted(jump).await;
        world.advance(61);
        assert_eq!(
            waits(&cache, &domain).await,
            Some(true),
            "nobody accepted it"
        );
        assert!(cache.accept_clock("the test"));
        assert_eq!(mode(&cache.policy_for(&domain).await), Some(Mode::Enforce));
    }
}

/// Mail waited only because nothing was known of the domain but what a doubted clock said. That the doubt
/// ends is no leave to go without protection while our own limits hold the next fetch back.
#[tokio::test]
async fn h8_01_mail_goes_on_waiting_for_a_fetch_when_an_operator_accepts_the_clock() {
    for jump in [[0, YEAR], [YEAR, 0]] {
        let (world, cache, domain) = doubted(jump).await;
        let generation = cache.generation();
        assert!(cache.accept_clock("the test"));
        assert!(cache.generation() > generation, "plans are made anew");
        assert_eq!(
            waits(&cache, &domain).await,
            Some(false),
            "for the limit alone"
        );
        world.advance(61);
        assert_eq!(mode(&cache.policy_for(&domain).await), Some(Mode::Enforce));
    }
}

#[tokio::test]
async fn h8_01_a_clock_that_was_steady_for_two_hours_holds_nobody_up_any_more() {
    for jump in [[0, YEAR], [YEAR, 0]] {
        let (world, cache, domain) = doubted(jump).await;
        out_of_its_time(&world);
        world.advance(7199);
        assert_eq!(waits(&cache, &domain).await, Some(true));
        let generation = cache.generation();
        world.serve("d.test", Mode::Enforce, 86_400);
        world.advance(2);
        assert_eq!(
            waits(&cache, &domain).await,
            Some(false),
            "for the limit alone"
        );
        assert!(cache.generation() > generation, "plans are made anew");
        world.advance(60);
        assert_eq!(mode(&cache.policy_for(&domain).await), Some(Mode::Enforce));
    }
}

/// What was fetched in what is now the future keeps the life that it had left, also over a restart.
#[tokio::test]
async fn h8_02_a_policy_lives_no_longer_for_a_clock_that_was_set_back() {
    const WEEK: u64 = 7 * 86_400;
    let world = World::new();
    world.skew.store(YEAR, Ordering::Relaxed);
    let cache = world.open();
    world.txt("d.test", Txt::Records(&["v=STSv1; id=a"], 60));
    world.serve("d.test", Mode::Enforce, WEEK);
    let domain = name("d.test");
    assert_eq!(mode(&cache.policy_for(&domain).await), Some(Mode::Enforce));
    let life = |cache: &PolicyCache| {
        let policy = cache.show(&domain).unwrap().policy.unwrap();
        (policy.fetched_at.as_secs(), policy.expires_at.as_secs())
    };
    let fetched = START + YEAR;
    assert_eq!(life(&cache), (fetched, fetched + WEEK));
    world.advance(3600);
    world.skew.store(0, Ordering::Relaxed);
    cache.housekeeping().await;
    assert_eq!(life(&cache), (fetched, fetched + WEEK), "still doubted");
    assert!(cache.accept_clock("the test"));
    cache.housekeeping().await;
    assert_eq!(life(&cache), (START, START + WEEK), "moved by the year");
    cache.housekeeping().await;
    assert_eq!(life(&cache), (START, START + WEEK), "and by it once");
    drop(cache);
    let cache = world.open();
    assert_eq!(life(&cache), (START, START + WEEK), "and on disk");
    // Nobody can be asked: it ends when it would have ended.
    world.txt("d.test", Txt::Servfail);
    world.block("d.test");
    world.advance(WEEK - 3601);
    assert_eq!(mode(&cache.policy_for(&domain).await), Some(Mode::Enforce));
    world.advance(1);
    assert_eq!(mode(&cache.policy_for(&domain).await), None);
}
