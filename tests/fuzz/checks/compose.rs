//! Any content that a user submits: what goes to the queue is the same however the octets were cut
//! into pieces, has the fields that RFC 6409 asks for, keeps the body to the octet, and verifies if
//! it was signed.

use std::net::IpAddr;
use std::sync::Arc;

use mail_types::{
    Domain, Field, QueueId, ReversePath, SenderPattern, Senders, Timestamp, header_fields,
};
use submission::{
    Composed, Composer, Fixups, Origin, SignedBy, SigningRule, SigningRules, addresses,
};

use super::{content, dkim, split_byte, whole_lines};

pub(super) fn check(input: &[u8]) {
    let (flags, input) = split_byte(input);
    let content = content(input);
    let whole = compose(flags, &content, content.len().max(1));
    for step in [1, 7] {
        assert_eq!(compose(flags, &content, step), whole, "in pieces of {step}");
    }
    let Some(message) = whole else { return };
    whole_lines(&message);
    if flags & MENDS == 0 {
        assert!(message.ends_with(&content), "a relay changes nothing");
        // Then the first line goes on with our own field, at every mail server.
        if content.starts_with(b" ") || content.starts_with(b"\t") {
            return;
        }
    }
    let (fields, rest) = header_fields(&message);
    let (given, body) = header_fields(&content);
    assert_eq!(
        rest.strip_prefix(b"\r\n").unwrap_or(rest),
        body.strip_prefix(b"\r\n").unwrap_or(body)
    );
    if flags & MENDS != 0 {
        mended(&fields, &given);
    }
    for field in &given {
        if field.is("From") {
            let _ = addresses(field.value());
        }
    }
    if fields.first().is_some_and(|f| f.is("DKIM-Signature")) && flags & SIGNS != 0 {
        dkim::verify(&message);
        if flags & LIMITED != 0 {
            only_own(&fields);
        }
    }
}

/// Nobody else is signed for.
fn only_own(fields: &[Field<'_>]) {
    for author in fields
        .iter()
        .filter(|f| f.is("From"))
        .flat_map(|f| addresses(f.value()))
    {
        let Some((local_part, domain)) = author.rsplit_once('@') else {
            continue;
        };
        let own = Domain::parse(domain).is_ok_and(|d| d.as_str() == "football.example.com");
        assert!(!own || local_part.eq_ignore_ascii_case("ann"), "{author}");
    }
}

fn mended(fields: &[Field<'_>], given: &[Field<'_>]) {
    let count = |list: &[Field<'_>], name: &str| list.iter().filter(|f| f.is(name)).count();
    let signed = given
        .iter()
        .any(|f| f.is("DKIM-Signature") || f.is("ARC-Message-Signature"));
    if !signed {
        for name in ["Date", "Message-ID"] {
            assert!(count(fields, name) >= 1, "no {name}");
        }
        for name in ["Bcc", "Resent-Bcc", "Return-Path"] {
            assert_eq!(count(fields, name), 0, "{name} was left");
        }
    }
    // What is ours is not said by anybody else.
    for field in fields.iter().filter(|f| f.is("Authentication-Results")) {
        let value = String::from_utf8_lossy(field.value());
        assert_ne!(
            value.split([';', ' ']).find(|w| !w.is_empty()),
            Some("relay.test")
        );
    }
}

/// The stored form; `None` if it is refused.
fn compose(flags: u8, content: &[u8], step: usize) -> Option<Vec<u8>> {
    let fixups = (flags & MENDS != 0).then(|| {
        Arc::new(Fixups {
            hostname: Domain::parse("relay.test").unwrap(),
            require_from: flags & REQUIRES_FROM != 0,
            add_sender: flags & ADDS_SENDER != 0,
        })
    });
    let by = if flags & BY_SENDER != 0 {
        SignedBy::Sender
    } else {
        SignedBy::From
    };
    let rule = SigningRule {
        signer: dkim::signer(),
        by,
        subdomains: true,
        networks: Vec::new(),
    };
    let rules = if flags & SIGNS != 0 {
        vec![rule]
    } else {
        Vec::new()
    };
    let origin = Origin {
        submitted: true,
        client: IpAddr::from([192, 0, 2, 1]),
        identity: Some("ann".into()),
        senders: if flags & LIMITED != 0 {
            Senders::Only([SenderPattern::parse("ann@football.example.com").unwrap()].into())
        } else {
            Senders::Any
        },
        sender: ReversePath::Mailbox("ann@football.example.com".parse().unwrap()),
        id: QueueId::from_raw(1),
        at: Timestamp::from_secs(1_772_366_400),
    };
    let trace = b"Received: from x by relay.test\r\n";
    let Some(mut composer) =
        Composer::new(fixups, Arc::new(SigningRules::new(rules)), origin, trace)
    else {
        return Some([trace, content].concat());
    };
    let (mut room, mut stored) = (0, Vec::new());
    let mut store = |composed: Composed<'_>| match composed {
        Composed::Nothing => {}
        Composed::Start { reserve, octets } => {
            room = reserve;
            stored.extend_from_slice(&octets);
        }
        Composed::Body(octets) => stored.extend_from_slice(octets),
    };
    for piece in content.chunks(step) {
        store(composer.feed(piece).ok()?);
    }
    store(composer.end().ok()?);
    let top = composer.sign().expect("the key signs");
    assert_eq!(top.len(), room, "the room that was left");
    Some([top, stored].concat())
}

const MENDS: u8 = 1;
const SIGNS: u8 = 2;
const REQUIRES_FROM: u8 = 4;
const ADDS_SENDER: u8 = 8;
const BY_SENDER: u8 = 16;
const LIMITED: u8 = 32;
