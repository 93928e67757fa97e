use std::net::{IpAddr, Ipv4Addr};

use mail_types::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{Failure, PolicyType, ResultType};

const STS: &str = "version: STSv1\nmode: enforce\nmx: *.d.test\nmax_age: 86400\n";

fn day() -> Day {
    "2026-03-01".parse().unwrap()
}

fn success<'a>(domain: &'a str, policy: Policy<'a>) -> Finding<'a> {
    Finding {
        at: Timestamp::from_secs(1_772_323_200),
        domain,
        policy,
        failure: None,
    }
}

fn failure<'a>(result: ResultType, mx: &'a str, ip: u32) -> Failure<'a> {
    Failure {
        result,
        sending_ip: Some(IpAddr::from([192, 0, 2, 1])),
        mx: Some(mx),
        helo: None,
        receiving_ip: Some(Ipv4Addr::from_bits(ip).into()),
        reason: None,
    }
}

fn failed<'a>(policy: Policy<'a>, failure: Failure<'a>) -> Finding<'a> {
    Finding {
        failure: Some(failure),
        ..success("d.test", policy)
    }
}

fn sessions(counts: &Counts) -> Vec<(ResultType, u64)> {
    let details = counts.policies().iter().flat_map(|p| p.details());
    details
        .map(|d| (d.failure().result, d.sessions()))
        .collect()
}

/// Summaries and entries say the same.
fn agree(counts: &Counts) -> bool {
    counts
        .policies()
        .iter()
        .all(|p| p.failures() == p.details().iter().map(|d| d.sessions()).sum::<u64>())
}

#[test]
fn b2_16_each_combination_is_one_entry_with_its_count() {
    let mut tally = Tally::new(day());
    let expired = failure(ResultType::CertificateExpired, "mx1.d.test", 7);
    let without = failure(ResultType::StarttlsNotSupported, "mx2.d.test", 8);
    for f in [&expired, &without, &expired] {
        tally.note(&failed(Policy::Sts(STS), f.clone()));
    }
    tally.note(&success("D.Test", Policy::Sts(STS)));
    let counts = tally.of("d.test").unwrap();
    assert_eq!((counts.successes(), counts.failures()), (1, 3));
    assert_eq!(
        sessions(counts),
        [
            (ResultType::StarttlsNotSupported, 1),
            (ResultType::CertificateExpired, 2)
        ]
    );
    assert_eq!(tally.domains().collect::<Vec<_>>(), ["d.test"]);
}

#[test]
fn b2_16_entries_differ_in_each_of_their_fields() {
    let mut tally = Tally::new(day());
    let base = failure(ResultType::ValidationFailure, "mx.d.test", 7);
    for f in [
        base.clone(),
        failure(ResultType::CertificateExpired, "mx.d.test", 7),
        failure(ResultType::ValidationFailure, "mx2.d.test", 7),
        failure(ResultType::ValidationFailure, "mx.d.test", 8),
        Failure {
            mx: None,
            ..base.clone()
        },
        Failure {
            sending_ip: None,
            ..base.clone()
        },
        Failure {
            helo: Some("a"),
            ..base.clone()
        },
        Failure {
            reason: Some("a".into()),
            ..base.clone()
        },
        Failure {
            reason: Some("b".into()),
            ..base.clone()
        },
        base,
    ] {
        tally.note(&failed(Policy::NoPolicyFound, f));
    }
    let counts = tally.of("d.test").unwrap();
    assert_eq!(sessions(counts).len(), 9);
    assert_eq!(counts.failures(), 10);
}

#[test]
fn b2_19_the_number_of_entries_is_capped_and_the_rest_is_summed_up() {
    let mut tally = Tally::new(day());
    for ip in 0..100_000 {
        let f = failure(ResultType::CertificateExpired, "mx.d.test", ip);
        tally.note(&failed(Policy::Sts(STS), f));
    }
    for ip in [0, 200_000] {
        let f = failure(ResultType::ValidationFailure, "mx.d.test", ip);
        tally.note(&failed(Policy::NoPolicyFound, f));
    }
    let counts = tally.of("d.test").unwrap();
    assert_eq!(counts.failures(), 100_002);
    assert!(agree(counts));
    let [sts, other] = counts.policies() else {
        panic!("two policies")
    };
    let summed = |p: &crate::PolicyCounts| -> Vec<u64> {
        let all = p.details().iter();
        all.filter(|d| d.failure().reason.as_deref() == Some("truncated"))
            .map(|d| d.sessions())
            .collect()
    };
    assert_eq!((sts.details().len(), summed(sts)), (1_001, vec![99_000]));
    assert_eq!((other.details().len(), summed(other)), (1, vec![2]));
    assert_eq!(tally.left_out(), 0);
    // One that is known is still counted where it was.
    let first = failure(ResultType::CertificateExpired, "mx.d.test", 0);
    tally.note(&failed(Policy::Sts(STS), first));
    let sts = &tally.of("d.test").unwrap().policies()[0];
    let twice = sts.details().iter().filter(|d| d.sessions() == 2).count();
    assert_eq!((twice, summed(sts)), (1, vec![99_000]));
}

#[test]
fn b2_20_tlsa_and_sts_are_policies_of_their_own() {
    let mut tally = Tally::new(day());
    let records = ["3 1 1 00ff".to_owned()];
    tally.note(&success("d.test", Policy::Tlsa(&records)));
    tally.note(&success("d.test", Policy::Sts(STS)));
    tally.note(&success("d.test", Policy::Tlsa(&records)));
    let policies = tally.of("d.test").unwrap().policies();
    let kinds: Vec<(PolicyType, u64)> =
        policies.iter().map(|p| (p.kind(), p.successes())).collect();
    assert_eq!(kinds, [(PolicyType::Tlsa, 2), (PolicyType::Sts, 1)]);
}

#[test]
fn b3_09_tlsa_records_are_told_in_one_form_and_order() {
    let mut tally = Tally::new(day());
    let one = ["3 1 1 00ff".to_owned(), "2 0 1 abcd".to_owned()];
    let other = [
        "2 0  1 ( AB CD )".to_owned(),
        "3 1 1 00 FF".to_owned(),
        "2 0 1 abcd".to_owned(),
    ];
    tally.note(&success("d.test", Policy::Tlsa(&one)));
    tally.note(&success("d.test", Policy::Tlsa(&other)));
    let [counted] = tally.of("d.test").unwrap().policies() else {
        panic!("one policy")
    };
    assert_eq!(counted.successes(), 2);
    let Policy::Tlsa(records) = counted.policy() else {
        panic!("{counted:?}")
    };
    assert_eq!(records, ["2 0 1 abcd", "3 1 1 00ff"]);
    assert!(is_canonical(records));
}

#[test]
fn b3_16_b3_17_b3_18_what_peers_say_is_made_fit() {
    let mut tally = Tally::new(day());
    let helo = format!("mx\u{1b}[31m\r\nalice@d.test {}", "x".repeat(2_048));
    let reason = format!("CN=\"a\nb\" <bob@d.test> ü{}", "y".repeat(2_048));
    let f = Failure {
        helo: Some(&helo),
        reason: Some(reason.into()),
        ..failure(ResultType::CertificateNotTrusted, "mx.d.test", 7)
    };
    tally.note(&failed(Policy::NoPolicyFound, f));
    let blank = Failure {
        helo: Some("\r\n"),
        mx: Some(""),
        ..failure(ResultType::CertificateNotTrusted, "", 7)
    };
    tally.note(&failed(Policy::NoPolicyFound, blank));
    let details = tally.of("d.test").unwrap().policies()[0].details();
    let (empty, told) = (details[0].failure(), details[1].failure());
    let (helo, reason) = (told.helo.unwrap(), told.reason.unwrap());
    assert!(helo.starts_with("mx?[31m"), "{helo}");
    assert!(helo.contains("alice?d.test") && helo.len() <= 255, "{helo}");
    assert!(
        reason.starts_with("CN=\"a b\" <bob?d.test> ?yy"),
        "{reason}"
    );
    assert!(reason.len() <= MAX_REASON);
    assert!(
        helo.bytes()
            .chain(reason.bytes())
            .all(|b| (b' '..=b'~').contains(&b))
    );
    assert_eq!((empty.helo, empty.mx), (None, None));
}

#[test]
fn what_has_no_place_is_counted_as_left_out() {
    let mut tally = Tally::new(day());
    for n in 0..25 {
        let text = format!("version: STSv{n}");
        tally.note(&success("d.test", Policy::Sts(&text)));
    }
    assert_eq!(tally.of("d.test").unwrap().policies().len(), 20);
    assert_eq!(tally.left_out(), 5);

    let mut tally = Tally::new(day());
    for n in 0..=MAX_DOMAINS {
        tally.note(&success(&format!("d{n}.test"), Policy::NoPolicyFound));
    }
    assert_eq!(tally.domains().count(), MAX_DOMAINS);
    assert_eq!(tally.left_out(), 1);
}

/// Policies of 64 KiB at very many domains.
#[test]
fn hostile_policies_do_not_fill_memory() {
    let mut tally = Tally::new(day());
    let text = "x".repeat(100_000);
    for n in 0..2_000 {
        tally.note(&success(&format!("d{n}.test"), Policy::Sts(&text)));
    }
    assert!(tally.size < MAX_SIZE + 70_000, "{}", tally.size);
    assert!(tally.left_out() > 500);
    assert!(tally.domains().count() > 900);
    // What is known goes on, and what failed is summed up.
    let f = failure(ResultType::CertificateExpired, "mx.d.test", 7);
    let finding = failed(Policy::Sts(&text), f);
    let left_out = tally.left_out();
    tally.note(&Finding {
        domain: "d0.test",
        ..finding
    });
    assert_eq!(tally.left_out(), left_out);
    assert_eq!(tally.of("d0.test").unwrap().failures(), 1);
}

#[test]
fn what_is_on_disk_is_read_back() {
    let mut tally = Tally::new(day());
    let records = ["3 1 1 00ff".to_owned()];
    tally.note(&success("d.test", Policy::Tlsa(&records)));
    tally.note(&success("e.test", Policy::NoPolicyFound));
    let f = failure(ResultType::StsWebpkiInvalid, "mx.d.test", 7);
    tally.note(&failed(Policy::Sts(STS), f));
    let text = serde_json::to_string(&tally).unwrap();
    assert!(
        text.starts_with(r#"{"version":1,"day":"2026-03-01","#),
        "{text}"
    );
    assert_eq!(serde_json::from_str::<Tally>(&text).unwrap(), tally);

    let later = text.replace(r#""version":1"#, r#""version":2"#);
    let error = serde_json::from_str::<Tally>(&later)
        .unwrap_err()
        .to_string();
    assert!(error.contains("version 2"), "{error}");
    // Sums are made anew, whatever the file says.
    let wrong = text.replace(r#""failures":1"#, r#""failures":9"#);
    assert_ne!(wrong, text);
    assert_eq!(serde_json::from_str::<Tally>(&wrong).unwrap(), tally);
}

#[test]
fn another_days_counts_are_left_out() {
    let mut tally = Tally::new(day());
    let mut other = Tally::new(day().next());
    other.note(&success("d.test", Policy::NoPolicyFound));
    tally.merge(other);
    assert!(tally.is_empty());
    assert_eq!(tally.left_out(), 1);
}

/// Which of a few domains, policies and failures.
fn event() -> impl Strategy<Value = (usize, usize, Option<(usize, u8, bool)>)> {
    (
        0usize..4,
        0usize..3,
        proptest::option::of((0usize..11, 0u8..3, any::<bool>())),
    )
}

fn note(tally: &mut Tally, event: &(usize, usize, Option<(usize, u8, bool)>)) {
    let records = ["3 1 1 00ff".to_owned()];
    let policy = [
        Policy::Sts(STS),
        Policy::Tlsa(&records),
        Policy::NoPolicyFound,
    ][event.1];
    let domain = ["a.test", "b.test", "c.test", "d.test"][event.0];
    tally.note(&Finding {
        failure: event.2.map(|(result, ip, told)| Failure {
            reason: told.then(|| "expired".into()),
            ..failure(ResultType::ALL[result], "mx.d.test", ip.into())
        }),
        ..success(domain, policy)
    });
}

/// Sums by domain and policy, and entries.
fn flat(tally: &Tally) -> BTreeMap<(String, PolicyType), (u64, Vec<crate::Detail>)> {
    let mut flat = BTreeMap::new();
    for domain in tally.domains() {
        for policy in tally.of(domain).unwrap().policies() {
            let value = (policy.successes(), policy.details().to_vec());
            flat.insert((domain.to_owned(), policy.kind()), value);
        }
    }
    flat
}

proptest! {
    #[test]
    fn b2_17_entries_are_added_up_and_agree_with_the_summary(
        events in proptest::collection::vec(event(), 0..200),
        at in 0usize..200,
    ) {
        let mut whole = Tally::new(day());
        events.iter().for_each(|event| note(&mut whole, event));
        let mut all = 0;
        for domain in whole.domains() {
            let counts = whole.of(domain).unwrap();
            prop_assert!(agree(counts));
            for policy in counts.policies() {
                let is_sorted = policy.details().is_sorted_by(|a, b| a.key() < b.key());
                prop_assert!(is_sorted, "an entry twice");
            }
            all += counts.successes() + counts.failures();
        }
        prop_assert_eq!(all, u64::try_from(events.len()).unwrap());

        // What was on disk and what came since.
        let (before, since) = events.split_at(at.min(events.len()));
        let (mut first, mut second) = (Tally::new(day()), Tally::new(day()));
        before.iter().for_each(|event| note(&mut first, event));
        since.iter().for_each(|event| note(&mut second, event));
        second.merge(first);
        prop_assert_eq!(flat(&second), flat(&whole));
        let text = serde_json::to_vec(&whole).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Tally>(&text).unwrap(), whole);
    }

    #[test]
    fn b3_16_b3_17_any_text_is_made_fit(text in any::<String>(), longest in 1usize..300) {
        let made = fit(&text, longest);
        prop_assert!(made.len() <= longest);
        prop_assert!(made.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'@'));
        prop_assert_eq!(fit(&made, longest), made.as_ref());
    }
}
