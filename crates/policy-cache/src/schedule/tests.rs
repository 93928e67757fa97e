use super::*;

const DAY: Duration = Duration::from_hours(24);

fn t(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + secs)
}

fn life(mode: Mode, secs: u64) -> Life {
    Life {
        mode,
        fetched_at: t(0),
        expires_at: t(secs),
    }
}

fn name(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

#[test]
fn a4_17_daily_and_always_well_before_expiry() {
    let d = name("d.test");
    for (lifetime, jitter, want) in [
        (31_557_600, 1.0, Some(86_400)),
        (31_557_600, 0.0, Some(64_800)),
        (172_800, 1.0, Some(86_400)),
        (86_400, 1.0, Some(43_200)),
        (3600, 1.0, Some(1800)),
        (3600, 0.0, Some(1350)),
        (1199, 1.0, Some(599)),
        (60, 1.0, Some(30)),
        (24, 0.0, Some(10)),
        (12, 1.0, Some(10)),
        (12, 0.0, Some(10)),
        (10, 1.0, None),
        (0, 1.0, None),
    ] {
        let mut s = Schedule::default();
        s.fetched(&d, life(Mode::Enforce, lifetime), DAY, jitter);
        assert_eq!(
            s.next().map(Timestamp::as_secs),
            want.map(|n| t(n).as_secs()),
            "{lifetime} {jitter}"
        );
    }
}

#[test]
fn the_interval_is_the_operators() {
    let d = name("d.test");
    let seconds = Duration::from_secs;
    for (interval, lifetime, want) in [
        (2, 864_000, 2),
        (2, 3, 2),
        (240, 864_000, 240),
        (2, 86_400, 2),
    ] {
        let mut s = Schedule::default();
        s.fetched(&d, life(Mode::Enforce, lifetime), seconds(interval), 1.0);
        assert_eq!(s.next(), Some(t(want)), "{interval} {lifetime}");
    }
    let mut s = Schedule::default();
    s.fetched(&d, life(Mode::Enforce, 864_000), seconds(4), 0.0);
    assert_eq!(s.next(), Some(t(3)), "spread, however short it is");
    // Also after a restart.
    let mut s = Schedule::default();
    s.loaded(&d, life(Mode::Enforce, 864_000), seconds(2), t(1000), 0.5);
    assert_eq!(s.next(), Some(t(1001)));
    // A failure has a pause of its own (RFC 8461 section 3.3).
    let _ = s.failed(
        &d,
        life(Mode::Enforce, 864_000),
        &FetchError::Oversize,
        t(1001),
        0.0,
    );
    assert!(s.next() >= Some(t(1301)));
}

#[test]
fn what_is_overdue_at_start_is_spread() {
    let d = name("d.test");
    let mut s = Schedule::default();
    s.loaded(&d, life(Mode::Enforce, 864_000), DAY, t(400_000), 0.5);
    assert_eq!(s.next(), Some(t(400_000 + 1800)), "within the hour");
    s.loaded(&d, life(Mode::Enforce, 864_000), DAY, t(863_600), 0.5);
    assert_eq!(
        s.next(),
        Some(t(863_600 + 50)),
        "or a quarter of what is left"
    );
    let mut s = Schedule::default();
    s.loaded(&d, life(Mode::Enforce, 100_000), DAY, t(100_000), 0.5);
    assert_eq!(s.next(), None, "expired");
}

#[test]
fn a7_01_a7_02_when_a_failing_refresh_alerts() {
    let d = name("d.test");
    let cause = FetchError::Oversize;
    for (mode, at, wants) in [
        (Mode::Enforce, 100, [(1, false), (2, false), (3, true)]),
        (Mode::Testing, 100, [(1, false), (2, false), (3, true)]),
        (Mode::Enforce, 600_001, [(1, true), (2, true), (3, true)]),
        (Mode::None, 600_001, [(1, false), (2, false), (3, false)]),
    ] {
        let mut s = Schedule::default();
        let life = life(mode, 1_200_000);
        s.fetched(&d, life, DAY, 0.5);
        for want in wants {
            let got = s.failed(&d, life, &cause, t(at), 0.5);
            assert_eq!(got, Some(want), "{mode} {at}");
        }
        assert_eq!(s.at_risk(), usize::from(mode != Mode::None));
        s.fetched(&d, life, DAY, 0.5);
        assert_eq!(s.at_risk(), 0, "a success ends it");
    }
}

#[test]
fn a4_10_a_failed_refresh_is_retried_within_the_hour_but_not_before_five_minutes() {
    let d = name("d.test");
    for (left, want) in [(864_000, 3600), (3600, 900), (60, 300), (0, 300)] {
        let mut s = Schedule::default();
        let life = life(Mode::Enforce, 864_000);
        s.fetched(&d, life, DAY, 1.0);
        let now = t(864_000 - left);
        let _ = s.failed(&d, life, &FetchError::Oversize, now, 1.0);
        assert_eq!(s.next(), Some(now + Duration::from_secs(want)), "{left}");
    }
}

#[test]
fn what_is_taken_comes_back_or_is_gone() {
    let d = name("d.test");
    let mut s = Schedule::default();
    s.fetched(&d, life(Mode::Enforce, 864_000), DAY, 1.0);
    assert!(s.take_due(t(86_399), 10).is_empty());
    assert_eq!(s.take_due(t(86_400), 10), std::slice::from_ref(&d));
    assert!(s.take_due(t(86_400), 10).is_empty(), "taken once");
    s.later(&d, t(86_400));
    assert_eq!(s.next(), Some(t(86_700)));
    s.remove(&d);
    assert_eq!(s.next(), None);
}

#[test]
fn a_live_fetch_that_fails_is_remembered_until_one_succeeds_and_changes_no_schedule() {
    let d = name("d.test");
    let mut s = Schedule::default();
    s.fetched(&d, life(Mode::Enforce, 86_400), DAY, 1.0);
    let due = s.next();
    s.could_not_fetch(&d, &FetchError::Oversize);
    let refresh = s.get(&d).unwrap();
    assert!(matches!(refresh.last_failure, Some(FetchError::Oversize)));
    assert_eq!((refresh.failures, refresh.at_risk), (0, false));
    assert_eq!(s.next(), due);
    s.fetched(&d, life(Mode::Enforce, 86_400), DAY, 1.0);
    assert!(s.get(&d).unwrap().last_failure.is_none());
}
