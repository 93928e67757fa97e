//! The schedule against plain models.

use attempt::{Case, DemandedBy, Reason, Side};

use super::*;
use crate::moves::Blame;
use crate::{Keyed, SuspendedSides};
use fairness::sender_number;
use proptest::prelude::*;

const PUT_OFF: Reason = Reason::DestinationSuspended;

/// Adds an entry that was not put off.
fn insert(
    s: &mut Schedule,
    d: &Destination,
    key: Key,
    sender: u16,
    reason: Option<&Keyed<Reason>>,
) {
    let when = When {
        time: key.0,
        put_off: false,
        reason: reason.cloned(),
        blame: None,
        mixed: false,
        alone: true,
    };
    s.insert(d, key.1, &when, sender);
}

fn key(time: u64, id: u64) -> Key {
    (Timestamp::from_millis(time), QueueId::from_raw(id))
}

const fn usual(reason: Reason) -> Blame {
    Blame {
        reason,
        case: Case::Usual,
        by: DemandedBy::Recipient,
    }
}

/// Two destinations, with mail for everybody to act on.
fn for_all_to_act_on() -> Schedule {
    let mut s = Schedule::default();
    let (d, e) = (Destination::new("d.test"), Destination::new("e.test"));
    let put_off = usual(PUT_OFF);
    let listed = |by| Blame {
        case: Case::AtGreeting,
        by,
        ..usual(Reason::Remote5xx)
    };
    let ours = Blame {
        by: DemandedBy::Route,
        ..usual(Reason::CertExpired)
    };
    let entries = [
        (&d, Reason::Remote5xx, usual(Reason::Remote5xx)),
        (&d, Reason::Remote5xx, listed(DemandedBy::Recipient)),
        (&d, Reason::Remote5xx, listed(DemandedBy::Rule)),
        // What passes, but for a host of which somebody has to take care.
        (&d, Reason::Remote4xx, usual(Reason::CertExpired)),
        // Put off: one that failed before, two that never were tried; and elsewhere.
        (&e, PUT_OFF, ours),
        (&e, PUT_OFF, put_off),
        (&e, PUT_OFF, put_off),
        (&d, PUT_OFF, put_off),
    ];
    for (n, (to, reason, blame)) in (1..).zip(entries) {
        let when = When {
            time: Timestamp::from_millis(100 * n),
            put_off: false,
            reason: Some(reason.into()),
            blame: Some(blame),
            mixed: false,
            alone: true,
        };
        s.insert(to, QueueId::from_raw(n), &when, 7);
    }
    insert(&mut s, &e, key(5, 99), 7, None);
    s
}

#[test]
fn whose_move_it_is_is_counted_as_each_entry_has_it() {
    let mut s = for_all_to_act_on();
    let e = Destination::new("e.test");
    let sides = |us, theirs, wait| {
        [
            (Side::Us, us),
            (Side::RecipientAdmin, theirs),
            (Side::Wait, wait),
        ]
    };
    assert_eq!(s.by_side(&SuspendedSides::new()), sides(3, 2, 3));
    let suspended: SuspendedSides = [(e.clone(), Side::Us)].into();
    assert_eq!(s.by_side(&suspended), sides(5, 2, 1));
    // Metrics know the reason alone, and so do filters.
    let by_reason: BTreeMap<Keyed<Reason>, u64> = s.by_reason().into_iter().collect();
    let expected = [(Reason::Remote5xx, 3), (Reason::Remote4xx, 1), (PUT_OFF, 4)];
    assert_eq!(
        by_reason,
        expected.map(|(reason, n)| (reason.into(), n)).into()
    );
    let filter = Filter {
        reason: Some(Reason::Remote5xx.into()),
        ..Filter::default()
    };
    assert_eq!(s.keys_from(key(0, 0), 9, &filter).len(), 3);
    let summary = s.summary(Timestamp::default(), 0, 9, &suspended);
    let rows = summary.rows.iter().map(|row| {
        let reason = row.reason.as_ref().and_then(Keyed::known);
        (row.destination.as_str(), reason, row.side, row.count)
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|row| (row.0, row.3, row.1.map(Reason::key)));
    let expected = [
        ("d.test", Some(PUT_OFF), Some(Side::Wait), 1),
        (
            "d.test",
            Some(Reason::Remote4xx),
            Some(Side::RecipientAdmin),
            1,
        ),
        (
            "d.test",
            Some(Reason::Remote5xx),
            Some(Side::RecipientAdmin),
            1,
        ),
        ("d.test", Some(Reason::Remote5xx), Some(Side::Us), 2),
        ("e.test", None, None, 1),
        ("e.test", Some(PUT_OFF), Some(Side::Us), 3),
    ];
    assert_eq!(rows, expected);
    let of = |reason: Option<Reason>, side| {
        let mut all = summary.reasons.iter();
        all.find(|r| r.reason == reason.map(Keyed::from) && r.side == side)
            .unwrap()
    };
    let put_off = of(Some(PUT_OFF), Some(Side::Us));
    assert_eq!(
        (put_off.messages, put_off.destinations, &*put_off.cases),
        (3, 1, [(None, 3)].as_slice())
    );
    assert_eq!(
        of(Some(Reason::Remote4xx), Some(Side::RecipientAdmin)).cases[0].0,
        Some(usual(Reason::CertExpired))
    );
    // Gone, it counts no more.
    assert!(s.remove(&e, key(500, 5)));
    assert_eq!(s.by_side(&suspended), sides(4, 2, 1));
    assert_eq!(s.by_side(&SuspendedSides::new()), sides(2, 2, 3));
}

#[test]
fn a_held_entry_is_counted_and_never_due() {
    let mut s = Schedule::default();
    let d = Destination::new("d.test");
    insert(&mut s, &d, (NEVER, QueueId::from_raw(1)), 0, None);
    assert_eq!(
        (s.counts(), s.next_due(Timestamp::from_secs(9))),
        ((1, 1), None)
    );
    // Whoever holds it has to let it go.
    let ours = s.by_side(&SuspendedSides::new());
    assert_eq!(ours.first(), Some(&(Side::Us, 1)));
    let summary = s.summary(Timestamp::default(), 0, 9, &SuspendedSides::new());
    let told = (summary.rows[0].side, summary.rows[0].held);
    assert_eq!(told, (Some(Side::Us), true));
    assert!(s.remove(&d, (NEVER, QueueId::from_raw(1))));
    assert_eq!(s.counts(), (0, 0));
    assert!(s.by_destination(9).is_empty());
}

#[test]
fn e5_05_one_sender_with_a_hundred_thousand_does_not_hold_up_another() {
    let mut s = Schedule::default();
    let d = Destination::new("d.test");
    for n in 0..100_000 {
        insert(&mut s, &d, key(n, n), 7, None);
    }
    // Two others come last, and one has mail that is not due yet.
    insert(&mut s, &d, key(100_000, 100_000), 3, None);
    insert(&mut s, &d, key(100_001, 100_001), u16::MAX, None);
    insert(&mut s, &d, key(900_000, 100_002), 5, None);
    let now = Timestamp::from_millis(200_000);
    let keys = s.due(&d, now, 20);
    assert_eq!(keys.len(), 20);
    assert!(keys.contains(&key(100_000, 100_000)), "{keys:?}");
    assert!(keys.contains(&key(100_001, 100_001)), "{keys:?}");
    assert!(keys.iter().all(|k| k.0 <= now));
    let distinct: BTreeSet<&Key> = keys.iter().collect();
    assert_eq!(distinct.len(), 20);
    // All of it comes out, and nothing twice.
    let mut left = 100_002;
    loop {
        let keys = s.due(&d, now, 20);
        if keys.is_empty() {
            break;
        }
        left -= keys.len();
        keys.iter().for_each(|k| assert!(s.remove(&d, *k)));
    }
    assert_eq!((left, s.counts()), (0, (1, 0)));
}

#[test]
fn e5_05_who_has_much_and_who_has_little_get_the_same_until_the_little_is_done() {
    let d = Destination::new("d.test");
    let now = Timestamp::from_millis(90_000);
    // Read through, and kept by sender.
    for many in [30, 500, 5000] {
        let mut s = Schedule::default();
        (0..many).for_each(|n| insert(&mut s, &d, key(n, n), 7, None));
        (0..15).for_each(|n| insert(&mut s, &d, key(50_000 + n, 50_000 + n), 3, None));
        let mut late = Vec::new();
        for max in [20, 1, 1, 1, 1, 20] {
            let keys = s.due(&d, now, max);
            assert_eq!(keys.len(), max.min(s.waiting as usize), "{many}");
            assert!(keys.iter().all(|key| s.remove(&d, *key)), "{many}");
            late.push(keys.iter().filter(|k| k.1.raw() >= 50_000).count());
        }
        assert_eq!(late[0], 10, "{many}: half of the first twenty");
        assert_eq!(late[1..5].iter().sum::<usize>(), 2, "{many}: by turns");
        assert_eq!(late[5], 3, "{many}: the rest");
    }
}

#[test]
fn h9_10_after_an_outage_the_oldest_go_first_also_while_an_order_makes_them_due() {
    const ALL: u64 = 100_000;
    let mut s = Schedule::default();
    let d = Destination::new("d.test");
    let now = Timestamp::from_millis(ALL);
    s.suspend(&d, Some(now), Timestamp::default());
    for n in 0..ALL {
        let when = When {
            time: Timestamp::from_millis(10 * ALL + n),
            put_off: true,
            reason: None,
            blame: None,
            mixed: false,
            alone: true,
        };
        s.insert(&d, QueueId::from_raw(n), &when, 1);
    }
    s.suspend(&d, None, now);
    // An order goes through them, the oldest first, while mail goes out.
    let mut ordered = 0;
    for next in (0..ALL).step_by(100) {
        let some: Vec<Key> = (ordered.max(next)..ALL.min(next + 400))
            .map(|n| key(10 * ALL + n, n))
            .collect();
        s.make_due(&d, &some, now);
        ordered = next + 400;
        let due = s.due(&d, now, 100);
        let ids: Vec<u64> = due.iter().map(|key| key.1.raw()).collect();
        assert_eq!(ids, (next..next + 100).collect::<Vec<_>>());
        assert!(due.iter().all(|key| s.remove(&d, *key)));
    }
}

#[test]
fn notifications_come_after_mail_but_for_a_tenth() {
    let d = Destination::new("d.test");
    let now = Timestamp::from_millis(90_000);
    // By themselves, and in a crowd that goes by turns.
    for many in [100, 2000] {
        let mut s = Schedule::default();
        for n in 1..=many {
            insert(&mut s, &d, key(n, n), NOBODY, None);
            insert(&mut s, &d, key(50_000 + n, 50_000 + n), 7, None);
        }
        let notices = |keys: &[Key]| keys.iter().filter(|k| k.1.raw() < 50_000).count();
        let keys = s.due(&d, now, 20);
        assert_eq!(keys.len(), 20);
        assert_eq!(notices(&keys), 2, "{keys:?}");
        let one_by_one: usize = (0..20).map(|_| notices(&s.due(&d, now, 1))).sum();
        assert_eq!(one_by_one, 2, "also where little is asked for");
        assert!(!s.due_destinations(now, None, 9)[0].notices_only);
        // Without mail there is nothing to wait for.
        (1..=many).for_each(|n| assert!(s.remove(&d, key(50_000 + n, 50_000 + n))));
        assert_eq!(notices(&s.due(&d, now, 20)), 20);
        assert!(s.due_destinations(now, None, 9)[0].notices_only);
    }
}

#[test]
fn what_an_operator_returns_comes_before_all_others() {
    let d = Destination::new("d.test");
    let now = Timestamp::from_millis(90_000);
    let returned: BTreeSet<Key> = [key(0, 80_000), key(0, 80_001)].into();
    // Behind mail that was put off for a suspension which is over; and among more senders than have a turn.
    for many in [100, 2000] {
        let mut s = Schedule::default();
        for n in 1..=many {
            let when = When {
                time: key(n, n).0,
                put_off: true,
                reason: None,
                blame: None,
                mixed: false,
                alone: true,
            };
            s.insert(&d, key(n, n).1, &when, n as u16);
            insert(&mut s, &d, key(n, 40_000 + n), n as u16, None);
        }
        // A notification is one of them.
        insert(&mut s, &d, key(0, 80_000), NOBODY, None);
        insert(&mut s, &d, key(0, 80_001), u16::MAX, None);
        for max in [20, 2] {
            let first: Vec<Key> = s.due(&d, now, max);
            assert_eq!(first.len(), max);
            assert_eq!(
                first.iter().take(2).copied().collect::<BTreeSet<_>>(),
                returned
            );
            let distinct: BTreeSet<&Key> = first.iter().collect();
            assert_eq!(distinct.len(), max, "{many}: none comes twice");
        }
        assert!(returned.contains(&s.due(&d, now, 1)[0]));
    }
}

#[test]
fn e5_05_more_senders_than_fit_take_turns() {
    let mut s = Schedule::default();
    let d = Destination::new("d.test");
    for n in 0..2000 {
        insert(&mut s, &d, key(n, n), (n % 200) as u16, None);
    }
    let now = Timestamp::from_millis(9000);
    let mut seen: BTreeSet<u64> = BTreeSet::new();
    for _ in 0..11 {
        for k in s.due(&d, now, 20) {
            assert!(s.remove(&d, k));
            seen.insert(k.1.raw() % 200);
        }
    }
    assert_eq!(seen.len(), 200, "everybody had a turn");
}

#[test]
fn a_clock_that_goes_back_makes_nothing_due() {
    let mut s = Schedule::default();
    let d = Destination::new("d.test");
    insert(&mut s, &d, key(100, 1), 0, None);
    assert_eq!(
        s.due_destinations(Timestamp::from_millis(100), None, 9)
            .len(),
        1
    );
    assert!(
        s.due_destinations(Timestamp::from_millis(50), None, 9)
            .is_empty()
    );
    assert_eq!(
        s.next_due(Timestamp::from_millis(50)),
        Some(Timestamp::from_millis(100))
    );
}

proptest! {
    /// Against the plainest model: a list of entries.
    #[test]
    fn agrees_with_a_list(
        steps in proptest::collection::vec((any::<bool>(), 0u8..4, 0u64..20, 0u64..8), 0..60),
        now in 0u64..20,
    ) {
        let mut s = Schedule::default();
        let mut list: BTreeSet<(String, Key)> = BTreeSet::new();
        for (add, d, time, id) in steps {
            let name = format!("d{d}.test");
            let destination = Destination::new(&name);
            if add {
                insert(&mut s, &destination, key(time, id), 0, Some(&Reason::Connect.into()));
                list.insert((name, key(time, id)));
            } else {
                prop_assert_eq!(
                    s.remove(&destination, key(time, id)),
                    list.remove(&(name, key(time, id)))
                );
            }
        }
        let now = Timestamp::from_millis(now);
        let due: BTreeSet<&String> =
            list.iter().filter(|e| e.1.0 <= now).map(|e| &e.0).collect();
        let names: Vec<String> = s.due_destinations(now, None, 99)
            .into_iter().map(|d| d.destination.to_string()).collect();
        prop_assert!(names.iter().eq(due.iter().copied()));
        let first = list.iter().map(|e| e.1.0).min().map(|t| t.max(now));
        prop_assert_eq!(s.next_due(now).map(|t| t.max(now)), first);
        prop_assert_eq!(s.counts().0, list.len() as u64);
        prop_assert_eq!(s.by_reason().iter().map(|r| r.1).sum::<u64>(), list.len() as u64);
        let all: BTreeSet<Key> = list.iter().map(|e| e.1).collect();
        prop_assert!(s.keys_from(key(0, 0), 999, &Filter::default()).iter().eq(all.iter()));
    }

    /// Suspensions against the plainest model: each entry asked for itself.
    #[test]
    fn suspended_destinations_agree_with_a_list(
        steps in proptest::collection::vec((0u8..4, 0u8..3, 0u64..20, 0u64..9, any::<bool>()), 0..60),
        crowd in any::<bool>(),
        now in 1u64..20,
    ) {
        let mut s = Schedule::default();
        let mut list: BTreeMap<(String, u64), (u64, bool)> = BTreeMap::new();
        let mut until: BTreeMap<String, u64> = BTreeMap::new();
        let crowd = if crowd { CROWDED as u64 + 5 } else { 0 };
        for id in 100..100 + crowd {
            insert(&mut s, &Destination::new("d0.test"), key(50, id), id as u16 % 7, None);
        }
        for (what, d, time, id, put_off) in steps {
            let name = format!("d{d}.test");
            let destination = Destination::new(&name);
            match what {
                0 | 1 => {
                    let before = list.insert((name.clone(), id), (time, put_off));
                    if let Some((time, _)) = before {
                        prop_assert!(s.remove(&destination, key(time, id)));
                    }
                    let when = When { time: Timestamp::from_millis(time), put_off, reason: None, blame: None, mixed: false, alone: true };
                    s.insert(&destination, QueueId::from_raw(id), &when, id as u16 % 5);
                }
                2 => {
                    let gone = list.remove(&(name, id));
                    prop_assert_eq!(
                        gone.is_some_and(|(time, _)| s.remove(&destination, key(time, id))),
                        gone.is_some()
                    );
                }
                _ => {
                    let end = put_off.then_some(time);
                    s.suspend(&destination, end.map(Timestamp::from_millis), Timestamp::default());
                    until.remove(&name);
                    until.extend(end.map(|end| (name, end)));
                }
            }
        }
        let at = |name: &str, (time, put_off): (u64, bool)| match put_off {
            true => time.min(until.get(name).copied().unwrap_or(0)),
            false => time,
        };
        let wall = Timestamp::from_millis(now);
        let due: BTreeSet<(&str, u64)> = list.iter()
            .filter(|((name, _), entry)| at(name, **entry) <= now)
            .map(|((name, id), _)| (name.as_str(), *id)).collect();
        prop_assert_eq!(s.count_due(wall), due.len() as u64);
        let names: Vec<String> = s.due_destinations(wall, None, 9)
            .into_iter().map(|d| d.destination.to_string()).collect();
        let expected: BTreeSet<&str> = due.iter().map(|d| d.0).collect();
        prop_assert!(names.iter().eq(expected.iter().copied()));
        let crowded = (crowd > 0).then_some(50);
        let first = list.iter().map(|((name, _), entry)| at(name, *entry)).chain(crowded).min();
        prop_assert_eq!(
            s.next_due(wall).map(|t| t.max(wall)),
            first.map(|first| Timestamp::from_millis(first.max(now)))
        );
        for name in ["d0.test", "d1.test", "d2.test"] {
            let keys = s.due(&Destination::new(name), wall, 99);
            let ids: BTreeSet<u64> = keys.iter().map(|key| key.1.raw()).collect();
            let expected: BTreeSet<u64> = due.iter().filter(|d| d.0 == name).map(|d| d.1).collect();
            prop_assert_eq!((keys.len(), ids), (expected.len(), expected));
        }
        let all = s.keys_from(key(0, 0), 9999, &Filter::default());
        prop_assert!(all.is_sorted());
        let ids: BTreeSet<u64> = all.iter().map(|key| key.1.raw()).collect();
        prop_assert_eq!(ids.len() as u64, crowd + list.keys().map(|k| k.1).collect::<BTreeSet<_>>().len() as u64);
        prop_assert_eq!(s.counts().0, crowd + list.len() as u64);
    }

    /// Groups with all their counts against a list, crowded or not, as the clock goes on and back.
    #[test]
    fn groups_agree_with_a_list(
        steps in proptest::collection::vec((any::<bool>(), 0u64..40, any::<bool>()), 0..80),
        crowd in any::<bool>(),
        clock in proptest::collection::vec(0u64..40, 1..6),
    ) {
        let mut group = group::Group::default();
        let mut list: BTreeMap<Key, bool> = BTreeMap::new();
        let crowd = if crowd { CROWDED as u64 } else { 0 };
        for id in 100..100 + crowd {
            group.insert(key(35, id), Entry { sender: 1, mixed: false, alone: true });
            list.insert(key(35, id), false);
        }
        for (n, (add, id, mixed)) in steps.into_iter().enumerate() {
            let key = if id == 39 { (NEVER, QueueId::from_raw(id)) } else { key(id * 7 % 30, id) };
            if add {
                let is_new = group.insert(key, Entry { sender: 1, mixed, alone: true });
                prop_assert_eq!(is_new, list.insert(key, mixed).is_none());
            } else {
                prop_assert_eq!(group.remove(key).is_some(), list.remove(&key).is_some());
            }
            let now = Timestamp::from_millis(clock[n % clock.len()]);
            let due = list.keys().filter(|key| key.0 <= now).count() as u64;
            prop_assert_eq!(group.count_due(now), due);
            prop_assert_eq!(group.oldest(), list.keys().map(|key| key.1).min());
            prop_assert_eq!(group.is_mixed(), list.values().any(|mixed| *mixed));
            prop_assert_eq!(group.first(), list.keys().next().copied());
        }
        prop_assert_eq!(group.len(), list.len());
    }
}

#[test]
fn however_a_senders_address_is_written_its_number_is_the_same() {
    let number = |text: &str| sender_number(Some(&text.parse().unwrap()));
    for (one, other) in [
        ("A@D.Test.", "a@d.test"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@[IPv6:2001:DB8:0::1]", "a@[ipv6:2001:db8::1]"),
    ] {
        assert_eq!(number(one), number(other), "{one} {other}");
    }
}
