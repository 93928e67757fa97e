//! Any message: its signature has the length that was foretold and verifies, by a verifier that
//! reads the RFC's words plainly and shares no code with the signer.

use std::sync::{Arc, OnceLock};

use ::dkim::{BodyHash, Signer, SigningKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::BASE64;
use mail_types::{Domain, Timestamp, header_fields};

use super::content;

pub(super) fn check(input: &[u8]) {
    let message = content(input);
    // It would go on with the signature's own field. In a queue the trace header stands between.
    if message.starts_with(b" ") || message.starts_with(b"\t") {
        return;
    }
    let (fields, rest) = header_fields(&message);
    let body = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    let pending = signer().begin(&fields, Timestamp::from_secs(1_528_637_909));
    let len = pending.len();
    let field = pending
        .finish(hashed(body, body.len().max(1)))
        .expect("the key signs");
    assert_eq!(field.len(), len);
    for step in [1, 5] {
        assert_eq!(
            hashed(body, step),
            hashed(body, body.len().max(1)),
            "in pieces of {step}"
        );
    }
    verify(&[field.as_bytes(), &message].concat());
}

/// With the key of RFC 8463 appendix A.2.
pub(super) fn signer() -> Signer {
    static KEY: OnceLock<Arc<SigningKey>> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
        der.extend(
            BASE64
                .decode(b"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
                .unwrap(),
        );
        Arc::new(SigningKey::from_pkcs8(&der).unwrap())
    });
    let domain = Domain::parse("football.example.com").unwrap();
    Signer::new(domain, "brisbane", Arc::clone(key))
}

/// RFC 6376 section 6.1.3, for a message whose first field is the signature.
pub(super) fn verify(message: &[u8]) {
    let (own, others, body) = split(message);
    let value = String::from_utf8(after_colon(own).to_vec()).unwrap();
    let tag = |name: &str| -> String {
        let mut tags = value.split(';').filter_map(|t| t.split_once('='));
        let (_, value) = tags
            .find(|(n, _)| n.trim() == name)
            .expect("each tag is there");
        value.split_whitespace().collect()
    };
    assert_eq!(
        tag("bh"),
        BASE64.encode(digest(&SHA256, &relaxed_body(body)).as_ref()),
        "body"
    );
    let mut left: Vec<&[u8]> = others;
    let mut signed = Vec::new();
    for name in tag("h").split(':') {
        let named = |f: &&[u8]| name_of(f).eq_ignore_ascii_case(name.as_bytes());
        if let Some(n) = left.iter().rposition(named) {
            relaxed_field(left.remove(n), &mut signed);
            signed.extend_from_slice(b"\r\n");
        }
    }
    let text = std::str::from_utf8(own).unwrap();
    let without = &text[..text.rfind("b=").unwrap() + 2];
    relaxed_field(without.as_bytes(), &mut signed);
    let key = BASE64
        .decode(b"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
        .unwrap();
    UnparsedPublicKey::new(&ED25519, key)
        .verify(
            digest(&SHA256, &signed).as_ref(),
            &BASE64.decode(tag("b").as_bytes()).unwrap(),
        )
        .expect("the signature verifies");
}

/// The first field, the others, and the body.
fn split(message: &[u8]) -> (&[u8], Vec<&[u8]>, &[u8]) {
    let (mut fields, mut rest) = (Vec::<&[u8]>::new(), message);
    while !rest.is_empty() && !rest.starts_with(b"\r\n") {
        let mut len = line(rest);
        while matches!(rest.get(len), Some(b' ' | b'\t')) {
            len += line(&rest[len..]);
        }
        let field = &rest[..len];
        // Its colon stands in its first line: one that does not end the header.
        let first = &field[..line(field)];
        let name = name_of(first);
        if !first.contains(&b':') || name.is_empty() || !name.iter().all(|b| (33..=126).contains(b))
        {
            break;
        }
        fields.push(field);
        rest = &rest[len..];
    }
    let own = fields.remove(0);
    (own, fields, rest.strip_prefix(b"\r\n").unwrap_or(rest))
}

fn line(text: &[u8]) -> usize {
    text.windows(2)
        .position(|w| w == b"\r\n")
        .map_or(text.len(), |n| n + 2)
}

fn name_of(field: &[u8]) -> &[u8] {
    field
        .split(|b| *b == b':')
        .next()
        .unwrap_or_default()
        .trim_ascii_end()
}

fn after_colon(field: &[u8]) -> &[u8] {
    let colon = field.iter().position(|b| *b == b':').unwrap_or_default();
    &field[colon + 1..]
}

/// RFC 6376 section 3.4.2: name in lower case, unfolded, white space as one space, none at the
/// value's ends.
fn relaxed_field(field: &[u8], out: &mut Vec<u8>) {
    out.extend(name_of(field).to_ascii_lowercase());
    out.push(b':');
    let mut unfolded = after_colon(field).to_vec();
    while let Some(n) = unfolded.windows(2).position(|w| w == b"\r\n") {
        unfolded.drain(n..n + 2);
    }
    let mut value = squeeze(&unfolded);
    if value.first() == Some(&b' ') {
        value.remove(0);
    }
    out.extend(value);
}

/// Runs of white space as one space, none at the end.
fn squeeze(text: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for b in text {
        match b {
            b' ' | b'\t' if out.last() == Some(&b' ') => {}
            b' ' | b'\t' => out.push(b' '),
            b => out.push(*b),
        }
    }
    if out.last() == Some(&b' ') {
        out.pop();
    }
    out
}

/// RFC 6376 section 3.4.4.
fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let (mut lines, mut rest) = (Vec::new(), body);
    while !rest.is_empty() {
        let len = line(rest);
        lines.push(squeeze(
            rest[..len].strip_suffix(b"\r\n").unwrap_or(&rest[..len]),
        ));
        rest = &rest[len..];
    }
    while lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
        .into_iter()
        .flat_map(|l| [l, b"\r\n".to_vec()].concat())
        .collect()
}

fn hashed(body: &[u8], step: usize) -> ::dkim::BodyDigest {
    let mut hash = BodyHash::new();
    body.chunks(step).for_each(|piece| hash.update(piece));
    hash.finish()
}
