use std::sync::Arc;

use super::*;

fn name() -> Domain {
    Domain::parse("d.test").unwrap()
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

const TEXT: &str = "version: STSv1\nmode: enforce\nmx: mx.d.test\nmax_age: 86400\n";

fn policy() -> Arc<StoredPolicy> {
    Arc::new(StoredPolicy {
        domain: name(),
        policy: Policy::parse(TEXT.as_bytes()).unwrap().policy,
        id: Some(PolicyId::parse("a1").unwrap()),
        fetched_at: at(1_700_000_000),
        expires_at: at(1_700_086_400),
    })
}

fn order() -> Order {
    Order {
        by: "root".into(),
        reason: "test".into(),
        at: at(5),
    }
}

fn rules() -> LocalRules {
    LocalRules {
        pin: Some(Pin {
            mx: vec![MxPattern::parse("*.d.test").unwrap()],
            order: order(),
        }),
        exemption: Some(Exemption {
            until: at(99),
            order: order(),
        }),
    }
}

fn contact() -> Contact {
    Contact {
        since: at(1),
        last: at(2),
        failures: 3,
        opened: Some(at(4)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

#[test]
fn what_is_written_is_read() {
    for row in [
        Row::Policy(policy()),
        Row::Renewed(policy()),
        Row::Forgotten(name()),
        Row::Contact(name(), Some(contact())),
        Row::Contact(name(), None),
        Row::Local(name(), rules()),
        Row::Local(name(), LocalRules::default()),
    ] {
        let encoded = row.encode(7);
        let (domain, seq, decoded) = decode(encoded.kind, &encoded.meta).unwrap().unwrap();
        assert_eq!((domain, seq), (name(), 7));
        match (row, decoded) {
            (Row::Policy(p), Decoded::Policy(meta)) => {
                let text = encoded.body.unwrap();
                let back = restore(&name(), &meta, &text).unwrap();
                assert_eq!(back.policy, p.policy);
                assert_eq!((back.id, back.fetched_at), (p.id.clone(), p.fetched_at));
                assert_eq!(back.expires_at, p.expires_at);
                assert!(
                    restore(&name(), &meta, b"other").is_err(),
                    "another text is refused"
                );
            }
            (Row::Renewed(p), Decoded::Renewed(meta)) => {
                assert_eq!(meta.fetched_at, p.fetched_at);
                assert!(encoded.body.is_none());
            }
            (Row::Forgotten(_), Decoded::Forgotten) => {}
            (Row::Contact(_, want), Decoded::Contact(got)) => assert_eq!(got, want),
            (Row::Local(_, want), Decoded::Local(got)) => assert_eq!(got, want),
            (row, decoded) => panic!("{row:?} became {decoded:?}"),
        }
    }
}

/// Rows as format 1 writes them: later releases must read them for ever.
#[test]
fn format_1_fixtures() {
    for (row, kind, meta) in [
        (Row::Policy(policy()), POLICY, FIXTURE_POLICY),
        (
            Row::Contact(name(), Some(contact())),
            CONTACT,
            FIXTURE_CONTACT,
        ),
        (Row::Local(name(), rules()), LOCAL, FIXTURE_LOCAL),
    ] {
        let encoded = row.encode(7);
        assert_eq!((encoded.kind, hex(&encoded.meta).as_str()), (kind, meta));
        assert!(decode(kind, &unhex(meta)).unwrap().is_some());
    }
}

#[test]
fn rows_of_later_releases_are_left_alone_and_broken_ones_are_told() {
    assert!(
        decode(77, b"whatever").unwrap().is_none(),
        "an unknown kind"
    );
    assert!(decode(POLICY, b"\xff").is_err());
    // {0: "d.test", 1: 7, 99: true}: an unknown field.
    let more = unhex("a30066642e746573740107186 3f5".replace(' ', "").as_str());
    assert_eq!(
        decode(FORGOTTEN, &more).unwrap().unwrap().2,
        Decoded::Forgotten
    );
    // A policy without its fields.
    assert!(decode(POLICY, &unhex("a20066642e746573740107")).is_err());
}

const FIXTURE_POLICY: &str =
    "a50066642e746573740107021b0000018bcfe5680003626131041bad53559a5a355813";
const FIXTURE_CONTACT: &str = "a30066642e74657374010705a4001903e8011907d0020303190fa0";
const FIXTURE_LOCAL: &str = "a40066642e74657374010706a20081682a2e642e7465737401a30064726f6f740164746573740219138807a2001a000182b801a30064726f6f7401647465737402191388";
