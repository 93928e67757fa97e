//! A year over 10,000 policies with max_age from an hour to a year, flapping hosts and restarts, on
//! a simulated clock: no unexpired policy lapses while its host is reachable at least once per
//! refresh interval, and the load stays flat.
//!
//! The year runs over the schedule, which is all that decides when policies are fetched; a shorter
//! run drives the whole cache, to show that it obeys.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mail_types::{Domain, Timestamp};
use mta_sts::Mode;

use super::world::{START, Txt, World, mode, name};
use crate::jitter::Jitter;
use crate::schedule::{Life, Schedule};
use policy_fetch::FetchError;

const HOUR: u64 = 3600;
const DAY: u64 = 86_400;
const INTERVAL: Duration = Duration::from_secs(DAY);

/// Lifetimes as they are published: few are short, most are a week and more.
fn lifetime(n: usize) -> u64 {
    match n % 1000 {
        0 => HOUR,
        1..=2 => 6 * HOUR,
        3..=50 => DAY,
        51..=500 => 7 * DAY,
        501..=800 => 30 * DAY,
        _ => 31_557_600,
    }
}

struct Host {
    domain: Domain,
    life: Life,
    gets: u64,
}

/// Whether a host answers: up for a quarter of each interval in which a refresh may come, so at
/// least once per refresh interval; each at another time of it.
fn is_up(n: usize, lifetime: u64, now: u64) -> bool {
    if !n.is_multiple_of(3) {
        return true;
    }
    // Short-lived policies are refreshed twice in their life; the window is part of that.
    let interval = DAY.min(lifetime / 2);
    let down = interval / 8;
    (now + n as u64 * 7919) % interval >= down
}

fn hosts(schedule: &mut Schedule, jitter: &mut Jitter) -> Vec<Host> {
    let fetched_at = Timestamp::from_secs(START);
    let host = |n| {
        let life = Life {
            mode: Mode::Enforce,
            fetched_at,
            expires_at: fetched_at + Duration::from_secs(lifetime(n)),
        };
        let domain = name(&format!("d{n}.test"));
        schedule.fetched(&domain, life, INTERVAL, jitter.fraction());
        Host {
            domain,
            life,
            gets: 0,
        }
    };
    (0..10_000).map(host).collect()
}

fn restarted(hosts: &mut [Host], now: u64, jitter: &mut Jitter) -> Schedule {
    let mut schedule = Schedule::default();
    let at = Timestamp::from_secs(now);
    for (n, host) in hosts.iter_mut().enumerate() {
        if at >= host.life.expires_at {
            let short = lifetime(n) <= 6 * HOUR;
            assert!(short, "{} lapsed in a restart", host.domain);
            host.life.fetched_at = at;
            host.life.expires_at = at + Duration::from_secs(lifetime(n));
        }
        schedule.loaded(&host.domain, host.life, INTERVAL, at, jitter.fraction());
    }
    schedule
}

#[test]
fn no_policy_lapses_in_a_year_and_the_load_is_flat() {
    let mut jitter = Jitter::seeded(20_260_301);
    let mut schedule = Schedule::default();
    let mut hosts = hosts(&mut schedule, &mut jitter);
    let by_name: BTreeMap<Domain, usize> = (0..)
        .zip(&hosts)
        .map(|(n, h)| (h.domain.clone(), n))
        .collect();
    let (mut now, mut restart, mut gets_per_hour) = (START, START + 11 * DAY, Vec::new());
    let (mut hour, mut gets_now, mut restarts) = (START / HOUR, 0_u64, 0);
    while now < START + 365 * DAY {
        now = schedule.next().unwrap().as_secs().max(now) + 1;
        if now >= restart {
            // Down for two hours; policies that live for less than that are the price.
            now += 2 * HOUR;
            schedule = restarted(&mut hosts, now, &mut jitter);
            restart += 11 * DAY;
            restarts += 1;
        }
        for domain in schedule.take_due(Timestamp::from_secs(now), usize::MAX) {
            let n = by_name[&domain];
            let host = &mut hosts[n];
            let at = Timestamp::from_secs(now);
            assert!(at < host.life.expires_at, "{domain} has lapsed");
            host.gets += 1;
            if now / HOUR != hour {
                gets_per_hour.push(gets_now);
                (hour, gets_now) = (now / HOUR, 0);
            }
            gets_now += 1;
            if is_up(n, lifetime(n), now) {
                host.life.fetched_at = at;
                host.life.expires_at = at + Duration::from_secs(lifetime(n));
                schedule.fetched(&domain, host.life, INTERVAL, jitter.fraction());
            } else {
                let cause = FetchError::Oversize;
                let told = schedule.failed(&domain, host.life, &cause, at, jitter.fraction());
                assert!(told.is_some());
            }
        }
    }
    assert_eq!(restarts, 33);
    for (n, host) in hosts
        .iter()
        .enumerate()
        .filter(|(n, _)| lifetime(*n) >= 7 * DAY)
    {
        // Daily, up to a quarter earlier, and a few more for a host that flaps.
        assert!(
            (360..=700).contains(&host.gets),
            "{}: {} fetches, {}",
            host.domain,
            host.gets,
            n
        );
    }
    // The first weeks spread what all began in one second; after that no hour is more than three
    // times the average, restarts included.
    let settled = &gets_per_hour[60 * 24..];
    let average = settled.iter().sum::<u64>() / settled.len() as u64;
    let most = settled.iter().max().unwrap();
    assert!(
        *most < average * 3,
        "{most} in one hour, {average} on average"
    );
}

#[tokio::test]
async fn the_cache_obeys_the_schedule_over_restarts() {
    let world = World::new();
    world.quiet.store(true, Ordering::Relaxed);
    let domains: Vec<_> = (0..50).map(|n| (n, name(&format!("d{n}.test")))).collect();
    let mut cache = world.open();
    let age = |n: usize| [DAY, 7 * DAY, 30 * DAY][n % 3];
    for (n, domain) in &domains {
        world.txt(domain.as_str(), Txt::Records(&["v=STSv1; id=a"], 3600));
        world.serve(domain.as_str(), Mode::Enforce, age(*n));
        let _ = cache.policy_for(domain).await;
        // From here on DNS says nothing, and only refreshes keep the policies.
        world.txt(domain.as_str(), Txt::Servfail);
    }
    for step in 0..60 * 24 {
        world.advance(HOUR);
        for (n, domain) in &domains {
            if is_up(*n, age(*n), world.now.load(Ordering::Relaxed)) {
                world.serve(domain.as_str(), Mode::Enforce, age(*n));
            } else {
                world.block(domain.as_str());
            }
        }
        if step % 200 == 199 {
            cache = world.open();
        }
        cache.refresh_due().await;
        cache.housekeeping().await;
        let stats = cache.stats();
        assert_eq!(stats.enforce, 50, "hour {step}");
    }
    for (_, domain) in &domains {
        let got = cache.policy_for(domain).await;
        assert_eq!(mode(&got), Some(Mode::Enforce), "{domain}");
    }
    let per_day = world.gets() / 50 / 60;
    assert!(
        (1..=4).contains(&per_day),
        "{per_day} fetches a day and policy"
    );
}
