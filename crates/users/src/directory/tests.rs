use super::*;
use crate::Verifier;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn directory(places: usize) -> Directory {
    let password = Password::choose("correct horse").unwrap();
    let lines: Vec<String> = [("ann", 1u8, true), ("old", 2, false)]
        .iter()
        .map(|(name, salt, scram)| {
            let verifier = Verifier::make(&password, &[*salt; SALT], *scram).unwrap();
            format!("{name} {verifier}")
        })
        .collect();
    let users = UsersFile::parse(&lines.join("\n")).unwrap();
    Directory::new(users, &Secret::random().unwrap(), places).unwrap()
}

fn password(text: &str) -> Attempt {
    Attempt::Password(Zeroizing::new(text.to_owned()))
}

#[tokio::test]
async fn right_wrong_and_nobody() {
    let d = directory(1);
    let ann = Verdict::Accepted(Name::parse("ann").unwrap());
    assert_eq!(d.judge(HERE, "ann", password("correct horse")).await, ann);
    // RFC 4013: the same after preparation, in name and password.
    let odd = d.judge(HERE, "a\u{ad}nn", password("correct\u{a0}horse"));
    assert_eq!(odd.await, ann);
    for (user, text) in [
        ("ann", "correct house"),
        ("ann", ""),
        ("ann", "correct horse\0"),
        ("Ann", "correct horse"),
        ("nobody", "correct horse"),
        ("", "correct horse"),
        ("a b", "correct horse"),
    ] {
        let verdict = d.judge(HERE, user, password(text)).await;
        assert!(matches!(verdict, Verdict::Rejected(_)), "{user} {text}");
    }
    let proof = |holds| Attempt::Proof { holds };
    assert_eq!(d.judge(HERE, "ann", proof(true)).await, ann);
    for (user, holds) in [("ann", false), ("nobody", true)] {
        let verdict = d.judge(HERE, user, proof(holds)).await;
        assert!(matches!(verdict, Verdict::Rejected(_)), "{user}");
    }
}

#[tokio::test]
async fn g2_08_what_scram_says_of_nobody_stays_the_same() {
    let secret = Secret::random().unwrap();
    let of = |secret: &Secret, user: &str| {
        let d = Directory::new(UsersFile::default(), secret, 1).unwrap();
        d.scram(user)
    };
    let first = of(&secret, "nobody");
    assert_eq!(first, of(&secret, "nobody"), "after a restart too");
    assert_eq!(first, of(&secret, "no\u{ad}body"), "as it is prepared");
    assert_ne!(first.salt, of(&secret, "nobody2").salt);
    assert_ne!(first.salt, of(&Secret::random().unwrap(), "nobody").salt);
    let d = directory(1);
    let real = d.scram("ann");
    assert_eq!(
        (real.rounds, real.salt.len()),
        (first.rounds, first.salt.len())
    );
    assert_eq!(&*real.salt, [1; SALT]);
    // A user without SCRAM keys looks like one that does not exist.
    assert_ne!(&*d.scram("old").salt, [2; SALT]);
}

/// Not a measurement of nanoseconds: that the work is there at all.
#[tokio::test]
async fn g2_08_nobody_costs_as_much_as_somebody() {
    let d = directory(1);
    let mut times = [Duration::MAX; 2];
    for _ in 0..3 {
        for (user, best) in ["ann", "nobody"].into_iter().zip(&mut times) {
            let began = std::time::Instant::now();
            let verdict = d.judge(HERE, user, password("wrong wrong")).await;
            assert!(matches!(verdict, Verdict::Rejected(_)));
            *best = (*best).min(began.elapsed());
        }
    }
    let [ann, nobody] = times;
    assert!(nobody > ann / 3 && ann > nobody / 3, "{times:?}");
}

#[tokio::test]
async fn g2_11_after_some_failures_nothing_is_looked_at() {
    let d = directory(1);
    for _ in 0..5 {
        let verdict = d.judge(HERE, "ann", password("wrong wrong")).await;
        assert!(matches!(verdict, Verdict::Rejected(_)));
    }
    // Even the right password waits; another user does not.
    let verdict = d.judge(HERE, "ann", password("correct horse")).await;
    assert!(matches!(verdict, Verdict::HeldOff { .. }), "{verdict:?}");
    let verdict = d.judge(HERE, "old", password("correct horse")).await;
    assert_eq!(verdict, Verdict::Accepted(Name::parse("old").unwrap()));
}

#[tokio::test]
async fn g2_05_a_flood_of_logins_is_turned_away_and_costs_nothing() {
    let d = Arc::new(directory(1));
    let address = |n: u8| IpAddr::from([192, 0, 2, n]);
    let mut logins = tokio::task::JoinSet::new();
    for n in 0..100u8 {
        let d = Arc::clone(&d);
        logins.spawn(async move {
            let user = format!("guess{n}");
            d.judge(address(n), &user, password("wrong wrong")).await
        });
    }
    let verdicts = logins.join_all().await;
    let busy = verdicts.iter().filter(|v| **v == Verdict::Busy).count();
    assert!(busy >= 36, "{busy}");
    assert!(verdicts.iter().any(|v| matches!(v, Verdict::Rejected(_))));
    assert!(d.waiting.lock().is_empty());
}

#[tokio::test]
async fn a_password_that_was_right_is_known_again_while_others_wait() {
    let d = directory(1);
    let ann = Verdict::Accepted(Name::parse("ann").unwrap());
    assert_eq!(d.judge(HERE, "ann", password("correct horse")).await, ann);
    // Nobody can be judged now, and ann need not be.
    let _all = Arc::clone(&d.places).acquire_owned().await.unwrap();
    assert_eq!(d.judge(HERE, "ann", password("correct horse")).await, ann);
    d.replace(UsersFile::default());
    assert!(d.is_empty());
}

/// Nothing is known yet, as after a restart; more than may wait, of one address and in all.
#[tokio::test(start_paused = true)]
async fn right_logins_at_once_are_all_let_in() {
    for places in [1, 4] {
        let d = Arc::new(directory(places));
        let verdicts = at_once(&d, 2 * MOST_WAITING, "correct horse").await;
        let accepted = |v: &Verdict| matches!(v, Verdict::Accepted(_));
        assert!(verdicts.iter().all(accepted), "{places}: {verdicts:?}");
        assert!(d.waiting.lock().is_empty());
    }
}

/// What another login found meanwhile is taken: here what no work would find right.
#[tokio::test(start_paused = true)]
async fn who_waited_for_a_place_asks_the_memory_again() {
    let d = Arc::new(directory(1));
    let place = Arc::clone(&d.places).acquire_owned().await.unwrap();
    let login = tokio::spawn({
        let d = Arc::clone(&d);
        async move { d.judge(HERE, "ann", password("planted word")).await }
    });
    while d.waiting.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    let (name, planted) = (Name::parse("ann"), Password::parse("planted word"));
    let ann = d.users.load().user(&name.unwrap()).cloned().unwrap();
    let now = Instant::now();
    d.recent
        .keep(&ann.name, &ann.verifier, &planted.unwrap(), now);
    drop(place);
    assert_eq!(login.await.unwrap(), Verdict::Accepted(ann.name));
}

#[tokio::test(start_paused = true)]
async fn g2_11_wrong_logins_at_once_are_judged_each_and_counted() {
    let d = Arc::new(directory(1));
    let verdicts = at_once(&d, 40, "wrong wrong").await;
    let count = |what: fn(&Verdict) -> bool| verdicts.iter().filter(|v| what(v)).count();
    let rejected = count(|v| matches!(v, Verdict::Rejected(_)));
    assert_eq!(rejected, 5, "{verdicts:?}");
    assert_eq!(
        count(|v| matches!(v, Verdict::Accepted(_))),
        0,
        "{verdicts:?}"
    );
    // All but the first had to queue up.
    assert_eq!(count(|v| *v == Verdict::Busy), 39 - MOST_WAITING_OF_ADDRESS);
}

/// Logins of ann from one address.
async fn at_once(d: &Arc<Directory>, number: usize, text: &'static str) -> Vec<Verdict> {
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..number {
        let d = Arc::clone(d);
        logins.spawn(async move { d.judge(HERE, "ann", password(text)).await });
    }
    logins.join_all().await
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_to_come_again() {
    let d = directory(1);
    let _all = Arc::clone(&d.places).acquire_owned().await.unwrap();
    assert_eq!(
        d.judge(HERE, "ann", password("correct horse")).await,
        Verdict::Busy
    );
}

#[tokio::test(start_paused = true)]
async fn g2_08_g2_11_who_is_known_at_a_held_off_address_cannot_be_told_from_nobody() {
    let d = directory(1);
    let ann = Verdict::Accepted(Name::parse("ann").unwrap());
    assert_eq!(d.judge(HERE, "ann", password("correct horse")).await, ann);
    for n in 0..40 {
        let _ = d
            .throttle
            .failed(HERE, &format!("guess{n}"), Instant::now());
    }
    // More than are looked at, in both ways.
    for n in 0..12 {
        let attempt = |n| match n % 2 {
            0 => password("wrong wrong"),
            _ => Attempt::Proof { holds: false },
        };
        let mut told = Vec::new();
        for user in ["ann", "nobody", "old"] {
            let began = Instant::now();
            let verdict = d.judge(HERE, user, attempt(n)).await;
            let Verdict::HeldOff { again, delay } = verdict else {
                panic!("{user} {n}: {verdict:?}");
            };
            let after = began.elapsed() + delay;
            assert!(
                after.abs_diff(HELD_OFF_DELAY) <= Duration::from_millis(1),
                "{user} {n}"
            );
            told.push(again.as_secs());
        }
        assert!(told.iter().all(|t| *t == told[0]), "{n}: {told:?}");
        if n == 3 {
            assert_eq!(d.judge(HERE, "ann", password("correct horse")).await, ann);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g2_11_who_is_known_and_held_off_is_not_looked_at_without_end() {
    let d = directory(1);
    let ann = Verdict::Accepted(Name::parse("ann").unwrap());
    assert_eq!(d.judge(HERE, "ann", password("correct horse")).await, ann);
    for _ in 0..10 {
        let verdict = d.judge(HERE, "ann", Attempt::Proof { holds: false }).await;
        assert_ne!(verdict, ann);
    }
    let verdict = d.judge(HERE, "ann", Attempt::Proof { holds: true }).await;
    assert!(matches!(verdict, Verdict::HeldOff { .. }), "{verdict:?}");
    let verdict = d.judge(HERE, "ann", password("correct horse")).await;
    assert!(matches!(verdict, Verdict::HeldOff { .. }), "{verdict:?}");
}

/// One address at which everybody is held off, and both users are known.
async fn held_off_together() -> Arc<Directory> {
    let d = Arc::new(directory(1));
    for user in ["ann", "old"] {
        let verdict = d.judge(HERE, user, password("correct horse")).await;
        assert!(matches!(verdict, Verdict::Accepted(_)));
    }
    for n in 0..40 {
        let _ = d
            .throttle
            .failed(HERE, &format!("guess{n}"), Instant::now());
    }
    d
}

#[tokio::test(start_paused = true)]
async fn g2_11_right_logins_of_who_is_known_are_not_counted_however_many_come() {
    let d = held_off_together().await;
    // Neither with a password that was right a moment ago, nor one that has to be judged.
    for forgotten in [false, true] {
        if forgotten {
            d.recent.clear();
        }
        let mut logins = tokio::task::JoinSet::new();
        for n in 0..12 {
            let d = Arc::clone(&d);
            let attempt = match n % 3 {
                0 => Attempt::Proof { holds: true },
                _ => password("correct horse"),
            };
            logins.spawn(async move { d.judge(HERE, "ann", attempt).await });
        }
        let verdicts = logins.join_all().await;
        let accepted = |v: &Verdict| matches!(v, Verdict::Accepted(_));
        assert!(verdicts.iter().all(accepted), "{forgotten}: {verdicts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn g2_11_nobody_fills_the_queue_of_those_who_are_known() {
    let d = held_off_together().await;
    d.recent.clear();
    let mut logins = tokio::task::JoinSet::new();
    for n in 0..5 {
        let d = Arc::clone(&d);
        logins.spawn(async move {
            match n {
                4 => d.judge(HERE, "ann", password("correct horse")).await,
                _ => d.judge(HERE, "old", password("wrong wrong")).await,
            }
        });
    }
    let mut before = 0;
    while let Some(Ok(Verdict::HeldOff { .. })) = logins.join_next().await {
        before += 1;
    }
    assert!(before <= 1, "{before} were judged before her");
    assert!(logins.len() >= 3, "and she came in");
}

#[tokio::test(start_paused = true)]
async fn g2_11_right_passwords_between_guesses_buy_no_more_looks() {
    let d = held_off_together().await;
    for _ in 0..5 {
        let right = d.judge(HERE, "old", password("correct horse")).await;
        assert!(matches!(right, Verdict::Accepted(_)), "{right:?}");
        let wrong = d.judge(HERE, "old", password("wrong wrong")).await;
        assert!(matches!(wrong, Verdict::HeldOff { .. }), "{wrong:?}");
    }
    let verdict = d.judge(HERE, "old", password("correct horse")).await;
    assert!(matches!(verdict, Verdict::HeldOff { .. }), "{verdict:?}");
}

#[tokio::test(start_paused = true)]
async fn g2_11_guesses_that_come_at_once_are_no_way_around_the_pause() {
    let d = Arc::new(directory(1));
    for _ in 0..8 {
        let _ = d.throttle.failed(HERE, "ann", Instant::now());
    }
    // The pause is over: one may try.
    tokio::time::advance(Duration::from_secs(60)).await;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let d = Arc::clone(&d);
        logins.spawn(async move { d.judge(HERE, "ann", password("wrong wrong")).await });
    }
    let verdicts = logins.join_all().await;
    let judged = |v: &&Verdict| !matches!(v, Verdict::HeldOff { .. });
    assert_eq!(verdicts.iter().filter(judged).count(), 1, "{verdicts:?}");
}
