//! Counters, summaries and filters that need no message, held against a scan of all messages.

use std::collections::{BTreeMap, BTreeSet};

use attempt::{DemandedBy, Reason, Side};
use mail_types::{QueueId, Timestamp};

use crate::samples::{DELIVERED, at, deferred, ending, put, to};
use crate::{
    Addresses, Destination, Edit, Effort, Filter, Keyed, Leased, MessageState, MessageView, Now,
    QueueStore, RecipientState, SuspendedSides, Target,
};

/// By destination, reason and whose move it is: how many, the oldest, the next attempt.
type Rows = BTreeMap<(String, Kind), (u64, Timestamp, Option<Timestamp>)>;
type Kind = (Option<String>, Option<&'static str>, bool);

/// Five hundred random things happen to fifty messages; every so often all that is counted is counted
/// anew by reading all.
pub(super) async fn h9_02_counters_agree_with_a_full_scan<S: QueueStore>(store: S) {
    let mut random = Random(7);
    let mut leases: Vec<Leased> = Vec::new();
    for step in 0..500u64 {
        let now = at(10 + step);
        let destination = to(&format!("d{}.test", random.below(4)));
        match random.below(9) {
            0 | 1 => {
                let recipients = [random.recipient(), random.recipient()];
                let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
                let sender = format!("s{}@a.test", random.below(5));
                let recipients = &recipients[..=usize::from(random.below(3) == 0)];
                let claim = random.below(2) == 0;
                leases.extend(put(&store, &sender, recipients, b"x", claim, now).await.1);
            }
            2 | 3 => leases.extend(store.lease(&destination, 3, now).await.unwrap()),
            4 | 5 => end_one(&store, &mut leases, &mut random, now),
            6 => {
                let until = (random.below(2) == 0).then(|| at(10 + step + random.below(60)).wall);
                store.suspend(&destination, until, now);
            }
            _ => edit_some(&store, &mut leases, &mut random, now).await,
        }
        for lease in &leases {
            store.renew(&lease.token, now).unwrap();
        }
        if step % 25 == 24 {
            compare(&store, &leases, now).await;
            // Back in time, too: what was due is not.
            compare(&store, &leases, at(10 + step / 2)).await;
        }
    }
}

/// Ends one of the leases in some way.
fn end_one<S: QueueStore>(store: &S, leases: &mut Vec<Leased>, random: &mut Random, now: Now) {
    if leases.is_empty() {
        return;
    }
    let lease = leases.swap_remove(random.below(leases.len() as u64) as usize);
    let next = now.wall.as_secs() + random.below(100);
    let mut finish = match random.below(4) {
        0 => return store.release(&lease.token).unwrap_or_default(),
        1 => ending(&lease, DELIVERED),
        _ => ending(&lease, deferred(next)),
    };
    let efforts = [Effort::Attempt, Effort::PutOff, Effort::Look];
    finish.effort = efforts[random.below(3) as usize];
    finish.notes[0].reason = Some(REASONS[random.below(3) as usize].into());
    let by = [DemandedBy::Recipient, DemandedBy::Route][random.below(2) as usize];
    finish.notes[0].by = by.into();
    // A cancelled message has taken its lease along.
    let _ = store.finish(finish, now);
}

async fn edit_some<S: QueueStore>(
    store: &S,
    leases: &mut Vec<Leased>,
    random: &mut Random,
    now: Now,
) {
    let edits = [Edit::Hold, Edit::Release, Edit::Retry, Edit::Cancel];
    let edit = edits[random.below(4) as usize];
    let mut filter = Filter::default();
    match random.below(4) {
        0 => filter.domain = Some(format!("d{}.test", random.below(4)).into()),
        1 => filter.reason = Some(REASONS[random.below(3) as usize].into()),
        2 => filter.sender = Addresses::parse(&format!("s{}@a.test", random.below(5))).ok(),
        _ => filter.state = Some(MessageState::Held),
    }
    let some = Filter {
        arrived_before: Some(Timestamp::from_secs(now.wall.as_secs() / 2)),
        ..filter.clone()
    };
    let filter = if edit == Edit::Cancel { some } else { filter };
    let edited = store.edit(&Target::Filter(filter), edit, false, now).await;
    let gone: BTreeSet<QueueId> = edited.unwrap().cancelled.iter().map(|c| c.id).collect();
    leases.retain(|lease| !gone.contains(&lease.id));
}

async fn compare<S: QueueStore>(store: &S, leases: &[Leased], now: Now) {
    let page = store.list(&Filter::default(), None, usize::MAX, now).await;
    let all = page.unwrap().messages;
    let stats = store.stats(now);
    assert_eq!(stats.messages, all.len() as u64);
    assert_eq!(stats.active, leases.len() as u64);
    assert_eq!(stats.oldest.map(|o| o.0), all.iter().map(|m| m.id).min());
    let leased: BTreeSet<(QueueId, &Destination)> =
        leases.iter().map(|l| (l.id, &l.destination)).collect();
    let (mut rows, mut counts) = (Rows::new(), [0; 3]);
    let suspended = [("d0.test", Side::Us), ("d1.test", Side::RecipientAdmin)];
    let suspended: SuspendedSides = suspended.map(|(d, side)| (to(d), side)).into();
    for message in &all {
        for (destination, kind, next) in parts(message, &leased, &suspended) {
            let held = message.next_attempt.is_none() && next.is_none();
            let row = rows.entry((destination, kind));
            let row = row.or_insert((0, Timestamp::from_millis(u64::MAX), None));
            row.0 += 1;
            row.1 = row.1.min(crate::schedule::arrival_of(message.id));
            row.2 = row.2.into_iter().chain(next).min();
            counts[match next {
                _ if held => 0,
                Some(time) if time <= now.wall => 1,
                _ => 2,
            }] += 1;
        }
    }
    assert_eq!([stats.held, stats.due, stats.deferred], counts);
    let crate::Summary {
        rows: summary,
        total,
        reasons: by_reason,
    } = store.summary(now, 0, usize::MAX, &suspended);
    assert!(summary.is_sorted_by(|a, b| a.count >= b.count));
    assert_eq!(total, summary.len());
    let mut sums: BTreeMap<Kind, (u64, u64)> = BTreeMap::new();
    for row in &summary {
        let sum = sums.entry(kind(row.reason.as_ref(), row.side, row.held));
        let (messages, destinations) = sum.or_default();
        (*messages, *destinations) = (*messages + row.count, *destinations + 1);
    }
    let by_reason = by_reason.into_iter();
    let by_reason = by_reason.map(|r| {
        let counts = (r.messages, r.destinations);
        (kind(r.reason.as_ref(), r.side, r.held), counts)
    });
    assert_eq!(by_reason.collect::<BTreeMap<_, _>>(), sums);
    // A page is a part of the whole.
    let part = store.summary(now, 1, 2, &suspended);
    assert_eq!(part.total, total);
    let wanted = summary.iter().skip(1).take(2);
    assert!(part.rows.iter().eq(wanted), "{part:?} of {summary:?}");
    let summary = summary.into_iter().map(|row| {
        let value = (row.count, row.oldest, row.next_attempt);
        let kind = kind(row.reason.as_ref(), row.side, row.held);
        ((row.destination.to_string(), kind), value)
    });
    assert_eq!(summary.collect::<Rows>(), rows);
    let (mut reasons, mut destinations) = (BTreeMap::new(), BTreeMap::new());
    let mut sides = [("us", 0), ("recipient-admin", 0), ("wait", 0)];
    for ((destination, (reason, side, _)), (count, ..)) in rows {
        let its = sides.iter_mut().filter(|(key, _)| Some(*key) == side);
        its.for_each(|(_, sum)| *sum += count);
        *destinations.entry(destination).or_default() += count;
        if let Some(reason) = reason {
            *reasons.entry(reason).or_default() += count;
        }
    }
    let counted = store.by_side(&suspended).into_iter();
    let counted: Vec<_> = counted.map(|(side, n)| (side.key(), n)).collect();
    assert_eq!(counted, sides);
    let counted = stats.reasons.iter().map(|(r, n)| (r.to_string(), *n));
    assert_eq!(counted.collect::<BTreeMap<_, u64>>(), reasons);
    let counted = stats.destinations.iter();
    let counted = counted.map(|d| (d.destination.to_string(), d.messages));
    assert_eq!(counted.collect::<BTreeMap<_, u64>>(), destinations);
    filters(store, &all, now).await;
}

/// What a filter finds by its keys is what reading all finds.
async fn filters<S: QueueStore>(store: &S, all: &[MessageView], now: Now) {
    let pending = |m: &MessageView, reason: Reason| {
        let mut recipients = m.recipients.iter();
        recipients.any(|r| {
            matches!(r.state, RecipientState::Pending(_)) && r.reason == Some(reason.into())
        })
    };
    for reason in REASONS {
        let filter = Filter {
            reason: Some(reason.into()),
            ..Filter::default()
        };
        let expected = all.iter().filter(|m| pending(m, reason));
        same(store, &filter, expected, now).await;
    }
    for n in 0..5 {
        let sender = format!("S{n}@A.test");
        let filter = Filter {
            sender: Some(Addresses::parse(&sender).unwrap()),
            ..Filter::default()
        };
        let from = |m: &&MessageView| {
            let mailbox = m.envelope.reverse_path.mailbox().unwrap();
            mailbox.as_str().eq_ignore_ascii_case(&sender)
        };
        same(store, &filter, all.iter().filter(from), now).await;
    }
    let filter = Filter {
        state: Some(MessageState::Held),
        ..Filter::default()
    };
    let held = all.iter().filter(|m| m.state == MessageState::Held);
    same(store, &filter, held, now).await;
}

async fn same<'a, S: QueueStore>(
    store: &S,
    filter: &Filter,
    expected: impl Iterator<Item = &'a MessageView>,
    now: Now,
) {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list(filter, cursor.as_ref(), 7, now).await.unwrap();
        found.extend(page.messages.iter().map(|m| m.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    found.sort_unstable();
    let mut expected: Vec<QueueId> = expected.map(|m| m.id).collect();
    expected.sort_unstable();
    assert_eq!(found, expected, "{filter:?}");
}

/// What of a message waits where, why, and until when; what is leased does not.
fn parts(
    message: &MessageView,
    leased: &BTreeSet<(QueueId, &Destination)>,
    suspended: &SuspendedSides,
) -> Vec<(String, Kind, Option<Timestamp>)> {
    let mut parts: BTreeMap<&Destination, (bool, Timestamp, Kind)> = BTreeMap::new();
    for (n, r) in message.recipients.iter().enumerate() {
        let RecipientState::Pending(next) = r.state else {
            continue;
        };
        if leased.contains(&(message.id, &r.destination)) {
            continue;
        }
        let held = message.is_held();
        let is_put_off = r.reason == Some(Reason::DestinationSuspended.into());
        let of_suspension = suspended.get(&r.destination).filter(|_| is_put_off);
        let side = of_suspension.copied().or_else(|| message.side(n));
        // What is held is ours to release.
        let side = if held { Some(Side::Us) } else { side };
        let kind = kind(r.reason.as_ref(), side, held);
        let put_off = r.put_off && !held;
        // All recipients of a message at one destination share everything in this test.
        parts.insert(&r.destination, (put_off, next, kind));
    }
    let held = message.next_attempt.is_none();
    let parts = parts.into_iter();
    let parts = parts.map(|(d, (_, next, kind))| (d.to_string(), kind, (!held).then_some(next)));
    parts.collect()
}

fn kind(reason: Option<&Keyed<Reason>>, side: Option<Side>, held: bool) -> Kind {
    (reason.map(ToString::to_string), side.map(Side::key), held)
}

/// A message to two people at one place, of whom one waits for another reason.
pub(super) async fn a_part_with_two_reasons_is_found_by_both<S: QueueStore>(store: S) {
    let recipients = ["r@d.test", "q@d.test", "p@e.test"];
    let (id, leases) = put(&store, "s@a.test", &recipients, b"x", true, at(1)).await;
    put(&store, "s@a.test", &recipients, b"x", false, at(1)).await;
    for lease in &leases {
        let mut finish = ending(lease, deferred(50));
        if let [_, second] = &mut finish.outcomes[..] {
            let mut note = finish.notes[0].clone();
            note.reason = Some(Reason::Remote4xx.into());
            finish.notes.push(note);
            second.1 = crate::Outcome::Deferred {
                next_attempt: Timestamp::from_secs(90),
                note: 1,
            };
        }
        store.finish(finish, at(2)).unwrap();
    }
    for (reason, domain, expected) in [
        (Reason::Connect, "d.test", 1),
        (Reason::Remote4xx, "d.test", 1),
        (Reason::Remote4xx, "e.test", 0),
        (Reason::Connect, "e.test", 1),
        (Reason::Timeout, "d.test", 0),
    ] {
        for domain in [None, Some(domain.into())] {
            let expected = if domain.is_none() && reason == Reason::Remote4xx {
                1
            } else {
                expected
            };
            let filter = Filter {
                reason: Some(reason.into()),
                domain,
                ..Filter::default()
            };
            let page = store.list(&filter, None, 9, at(3)).await.unwrap();
            let ids: Vec<QueueId> = page.messages.iter().map(|m| m.id).collect();
            assert_eq!(ids, vec![id; expected], "{filter:?}");
        }
    }
}

/// A generator that needs no crate: the same numbers each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        // Knuth's MMIX constants; the high bits are the good ones.
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn recipient(&mut self) -> String {
        format!("r{}@d{}.test", self.below(9), self.below(4))
    }
}

const REASONS: [Reason; 3] = [
    Reason::Connect,
    Reason::CertExpired,
    Reason::DestinationSuspended,
];
