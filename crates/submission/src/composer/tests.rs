use dkim::{Signer, SigningKey};
use mail_types::{Domain, Mailbox, SenderPattern};

use super::*;
use crate::{SignedBy, SigningRule};

const TRACE: &str = "Received: from x\r\n";

fn key() -> Arc<SigningKey> {
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend_from_slice(&[7; 32]);
    Arc::new(SigningKey::from_pkcs8(&der).unwrap())
}

fn rule(domain: &str) -> SigningRule {
    SigningRule {
        signer: Signer::new(Domain::parse(domain).unwrap(), "s1", key()),
        by: SignedBy::From,
        subdomains: false,
        networks: Vec::new(),
    }
}

fn origin(submitted: bool) -> Origin {
    Origin {
        submitted,
        client: "192.0.2.1".parse().unwrap(),
        identity: None,
        senders: Senders::Any,
        sender: ReversePath::Mailbox(Mailbox::parse("a@sender.test").unwrap()),
        id: QueueId::from_raw(7),
        at: Timestamp::from_secs(1_772_366_400),
    }
}

fn fixups() -> Arc<Fixups> {
    Arc::new(Fixups {
        hostname: Domain::parse("relay.test").unwrap(),
        require_from: false,
        add_sender: false,
    })
}

/// The message as it would be stored; `None` if there was nothing to do.
fn compose(
    fixups: Option<Arc<Fixups>>,
    rules: Vec<SigningRule>,
    submitted: bool,
    content: &[u8],
    step: usize,
) -> Result<Option<String>, Rejection> {
    compose_from(origin(submitted), fixups, rules, content, step)
}

fn compose_from(
    origin: Origin,
    fixups: Option<Arc<Fixups>>,
    rules: Vec<SigningRule>,
    content: &[u8],
    step: usize,
) -> Result<Option<String>, Rejection> {
    let rules = Arc::new(SigningRules::new(rules));
    let Some(mut composer) = Composer::new(fixups, rules, origin, TRACE.as_bytes()) else {
        return Ok(None);
    };
    let (mut stored, mut room) = (Vec::new(), None);
    let mut note = |composed: Composed<'_>| match composed {
        Composed::Nothing => {}
        Composed::Start { reserve, octets } => {
            assert!(room.replace(reserve).is_none() && stored.is_empty());
            stored = octets;
        }
        Composed::Body(octets) => stored.extend_from_slice(octets),
    };
    for piece in content.chunks(step) {
        note(composer.feed(piece)?);
    }
    note(composer.end()?);
    let top = composer.sign().unwrap();
    assert_eq!(Some(top.len()), room);
    Ok(Some(String::from_utf8([top, stored].concat()).unwrap()))
}

const MAIL: &str = "From: a@d.test\r\nDate: x\r\nMessage-ID: y\r\n\r\nbody\r\n.\r\n\r\n";

#[test]
fn g4_05_a_relay_listener_has_no_composer() {
    for content in [
        MAIL,
        "hello\r\n",
        "",
        "Bcc: x@d.test\r\nReturn-Path: <>\r\n\r\n",
    ] {
        assert_eq!(
            compose(None, vec![rule("d.test")], false, content.as_bytes(), 5),
            Ok(None)
        );
    }
}

#[test]
fn g4_05_a_signed_relay_message_is_otherwise_unchanged() {
    let mut rule = rule("d.test");
    rule.networks = vec!["192.0.2.0/24".parse().unwrap()];
    for content in [
        MAIL,
        "From: a@d.test\r\nBcc: x@d.test\r\nReturn-Path: <>\r\n\r\nx\r\n",
        "From: a@d.test\r\nno field\r\n\r\nx\r\n",
        "hello\r\n",
        "From: a@d.test",
        "",
    ] {
        for step in [1, 3, 1000] {
            let made = compose(None, vec![rule.clone()], false, content.as_bytes(), step);
            let made = made.unwrap().unwrap();
            let at = made.find(TRACE).unwrap();
            assert_eq!(&made[at..], format!("{TRACE}{content}"));
            assert_eq!(
                made.starts_with("DKIM-Signature: "),
                content.starts_with("From")
            );
        }
    }
}

#[test]
fn g4_08_g4_11_every_split_gives_the_same_message() {
    let content = "From: a@d.test\r\nBcc: b@d.test\r\n\r\nodd \t ends \r\n\r\n.\r\n\r\n";
    let whole = compose(
        Some(fixups()),
        vec![rule("d.test")],
        true,
        content.as_bytes(),
        1000,
    );
    let whole = whole.unwrap().unwrap();
    for step in 1..content.len() {
        let made = compose(
            Some(fixups()),
            vec![rule("d.test")],
            true,
            content.as_bytes(),
            step,
        );
        assert_eq!(made.unwrap().unwrap(), whole, "{step}");
    }
    assert!(
        whole.contains("Date:Date:"),
        "the signature is over the added Date: {whole}"
    );
    assert!(
        whole.ends_with("From: a@d.test\r\n\r\nodd \t ends \r\n\r\n.\r\n\r\n"),
        "{whole}"
    );
}

#[test]
fn a_body_without_its_empty_line_gets_one_on_submission() {
    let made = compose(Some(fixups()), vec![], true, b"hello world\r\nmore\r\n", 4);
    let made = made.unwrap().unwrap();
    assert!(
        made.ends_with("@relay.test>\r\n\r\nhello world\r\nmore\r\n"),
        "{made}"
    );
    let made = compose(Some(fixups()), vec![], true, b"", 4)
        .unwrap()
        .unwrap();
    assert!(made.ends_with("@relay.test>\r\n"), "{made}");
}

#[test]
fn g4_09_who_signs() {
    let signatures = |rules: Vec<SigningRule>, content: &str| {
        compose(Some(fixups()), rules, true, content.as_bytes(), 64)
            .map(|made| made.unwrap().matches("DKIM-Signature:").count())
    };
    assert_eq!(
        signatures(vec![rule("d.test"), rule("d.test")], MAIL),
        Ok(2),
        "double signing"
    );
    assert_eq!(signatures(vec![rule("other.test")], MAIL), Ok(0));
    let below = "From: a@x.d.test\r\n\r\nx\r\n";
    assert_eq!(signatures(vec![rule("d.test")], below), Ok(0));
    let with_names_below = SigningRule {
        subdomains: true,
        ..rule("d.test")
    };
    assert_eq!(signatures(vec![with_names_below.clone()], below), Ok(1));
    assert_eq!(
        signatures(vec![with_names_below], "From: a@xd.test\r\n\r\n"),
        Ok(0)
    );
    let sender = SigningRule {
        by: SignedBy::Sender,
        ..rule("sender.test")
    };
    assert_eq!(signatures(vec![sender.clone()], MAIL), Ok(1));
    // What is to be signed and cannot be is refused, not sent unsigned.
    assert_eq!(
        signatures(vec![sender], "Subject: x\r\n\r\n"),
        Err(Rejection::NoFrom)
    );
    let two = "From: a@d.test\r\nFrom: b@e.test\r\n\r\n";
    assert_eq!(
        signatures(vec![rule("e.test")], two),
        Err(Rejection::SeveralFrom)
    );
    assert_eq!(signatures(vec![rule("f.test")], two), Ok(0));
    assert_eq!(
        signatures(vec![rule("d.test")], "Subject: x\r\n\r\n"),
        Ok(0)
    );
}

/// Signatures on a message with this From by somebody who may send as these; nobody else minds.
fn signatures_for(senders: &[&str], rule: &SigningRule, from: &str) -> Result<usize, Rejection> {
    let content = format!("From: {from}\r\n\r\nx\r\n");
    let made = |origin| {
        compose_from(
            origin,
            Some(fixups()),
            vec![rule.clone()],
            content.as_bytes(),
            64,
        )
        .map(|made| made.unwrap().matches("DKIM-Signature:").count())
    };
    assert!(made(origin(true)).is_ok(), "{from}");
    let only = senders.iter().map(|s| SenderPattern::parse(s).unwrap());
    made(Origin {
        senders: Senders::Only(only.collect()),
        ..origin(true)
    })
}

#[test]
fn g3_07_g4_09_nobody_is_signed_for_as_whom_the_submitter_may_not_send() {
    let long = format!("{}@sender.test", "x".repeat(70));
    for (senders, key, from, want) in [
        // Of another domain that has a key.
        (&["sender.test"][..], "b.test", "ceo@b.test", None),
        (&["sender.test", "b.test"], "b.test", "ceo@b.test", Some(1)),
        (&["sender.test"], "sender.test", "x@sender.test", Some(1)),
        (&["sender.test"], "sender.test", &long, Some(1)),
        // Of the own domain, but somebody else.
        (&["a@sender.test"], "sender.test", "ceo@sender.test", None),
        (&["a@sender.test"], "sender.test", "A@sender.test", Some(1)),
        (
            &["a@sender.test"],
            "sender.test",
            "a@sender.test, ceo@sender.test",
            None,
        ),
        // Without a key Sealpost vouches for nothing.
        (&["sender.test"], "sender.test", "ceo@b.test", Some(0)),
    ] {
        let made = signatures_for(senders, &rule(key), from);
        assert_eq!(
            made,
            want.ok_or(Rejection::OtherAuthor),
            "{from} {senders:?}"
        );
    }
}

/// Receivers take a signature for From's if both domains are of one organization.
#[test]
fn g3_07_g4_09_a_key_chosen_by_the_envelope_speaks_for_from_too() {
    let by_sender = SigningRule {
        by: SignedBy::Sender,
        ..rule("sender.test")
    };
    for (senders, from, want) in [
        (&["a@sender.test"], "a@sender.test", Some(1)),
        (&["a@sender.test"], "ceo@sender.test", None),
        (&["a@sender.test"], "ceo@x.sender.test", None),
        (&["*.sender.test"], "ceo@x.sender.test", Some(1)),
        (&["sender.test"], "ceo@b.test", Some(1)),
        (&["sender.test"], "ceo@evilsender.test", Some(1)),
    ] {
        let made = signatures_for(senders, &by_sender, from);
        let want = want.ok_or(Rejection::OtherAuthor);
        assert_eq!(made, want, "{from} {senders:?}");
    }
}

/// What looks like an address and is none is somebody to a reader all the same.
#[test]
fn g3_07_what_is_no_address_is_not_signed_beside_one_that_is() {
    for from in [
        "ceo@sender.test x, a@sender.test",
        "a@sender.test, ceo@sender.test x",
    ] {
        let made = signatures_for(&["a@sender.test"], &rule("sender.test"), from);
        assert_eq!(made, Err(Rejection::OtherAuthor), "{from}");
    }
}

/// RFC 7489 section 3.1.1: a.corp.test and b.corp.test have one organizational domain.
#[test]
fn g3_07_g4_09_a_key_speaks_for_the_domains_beside_its_own_too() {
    for (key, other, related) in [
        ("a.corp.test", "b.corp.test", true),
        ("a.corp.test", "x.b.corp.test", true),
        ("x.a.corp.test", "b.corp.test", true),
        ("a.corp.test", "corp.test", true),
        ("corp.test", "b.corp.test", true),
        // Whether co.test is a public suffix nobody here knows.
        ("a.co.test", "b.co.test", true),
        ("corp", "b.corp", true),
        ("a.corp.test", "a.other.test", false),
        ("a.corp.test", "a.evilcorp.test", false),
        ("corp.test", "other.test", false),
    ] {
        let from = format!("ann@{key}, ceo@{other}");
        let want = if related { None } else { Some(1) };
        let want = want.ok_or(Rejection::OtherAuthor);
        assert_eq!(signatures_for(&[key], &rule(key), &from), want, "{from}");
        assert_eq!(signatures_for(&[key, other], &rule(key), &from), Ok(1));
    }
}

#[test]
fn g4_02_message_ids_are_unique_and_told() {
    let mut seen = std::collections::BTreeSet::new();
    let mut id = QueueId::from_raw(0);
    for n in 0..10_000u64 {
        id = QueueId::next(1_772_366_400_000_000 + n / 3, 1, id);
        let origin = Origin { id, ..origin(true) };
        let rules = Arc::new(SigningRules::default());
        let mut composer = Composer::new(Some(fixups()), rules, origin, b"").unwrap();
        let _ = composer.feed(b"From: a@d.test\r\n\r\n").unwrap();
        let told = composer.take_message_id().unwrap();
        assert!(told.ends_with("@relay.test>"));
        assert!(seen.insert(told));
    }
}

#[test]
fn g5_07_what_is_held_back_of_a_header_is_told() {
    let rules = Arc::new(SigningRules::new(Vec::new()));
    let composer = Composer::new(Some(fixups()), rules, origin(true), TRACE.as_bytes());
    let mut composer = composer.unwrap();
    let line = [b"X: ".as_slice(), &[b'x'; 900], b"\r\n"].concat();
    let largest = 256 << 10;
    let mut fed = TRACE.len();
    while fed + line.len() <= largest {
        assert_eq!(composer.feed(&line), Ok(Composed::Nothing));
        fed += line.len();
        let held = composer.held();
        let most = (2 * fed).min(largest + TRACE.len());
        assert!((fed..=most).contains(&held), "{held} for {fed}");
    }
    assert!(matches!(composer.feed(b"\r\n"), Ok(Composed::Start { .. })));
    assert_eq!(composer.held(), 0, "the queue has it");
    assert!(matches!(composer.feed(b"body"), Ok(Composed::Body(_))));
    assert_eq!(composer.held(), 0);
}
