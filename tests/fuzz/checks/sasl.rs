//! Any login inside TLS: nobody is logged in whose password or proof is not right, even if whoever
//! knows the users agrees to everything.

use std::num::NonZeroU32;
use std::sync::OnceLock;

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use mail_types::Senders;
use smtp_proto::server::{AuthAnswer, AuthRequest, Identity, SaslMechanism, Session};
use smtp_proto::{BareNewline, ScramKeys, ScramSecret};

use super::driver::{self, EXPORTER, drive, peer};
use super::split_byte;

pub(super) fn check(input: &[u8]) {
    let (how, rest) = split_byte(input);
    // As it comes, or a mechanism with responses that are base64 at least.
    let lines: Vec<Vec<u8>> = match SaslMechanism::ALL.get(usize::from(how)) {
        None => rest.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect(),
        Some(mechanism) => {
            let first = format!("AUTH {}", mechanism.name()).into_bytes();
            let responses = rest.split(|b| *b == b'\n');
            let encoded = responses.map(|r| BASE64.encode(r).into_bytes());
            std::iter::once(first).chain(encoded).collect()
        }
    };
    let mut text = b"EHLO client.test\r\n".to_vec();
    lines
        .iter()
        .for_each(|l| text.extend([l, &b"\r\n"[..]].concat()));
    let whole = run(&text, text.len());
    assert_eq!(run(&text, 3), whole, "in pieces");
    if let Some(Known::Scram { user }) = &whole {
        assert!(user == "ann", "{user} has no keys");
        assert!(proof_is_right(&lines), "a wrong proof");
    }
}

/// How the client came to be logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Password,
    Scram { user: String },
}

fn run(text: &[u8], step: usize) -> Option<Known> {
    let mut last = None;
    let mut authority = |session: &mut Session, request: AuthRequest| match request {
        AuthRequest::Password { user, password } => {
            if &*user == "ann" && *password == PASSWORD {
                last = Some(Known::Password);
                session.authenticated(AuthAnswer::Accepted(ann()));
            } else {
                session.authenticated(AuthAnswer::Rejected);
            }
        }
        AuthRequest::Scram { user } => {
            let mut secret = secret().clone();
            if &*user != "ann" {
                secret.keys = ScramKeys::new([1; 32], [2; 32]);
            }
            session.scram_secret(secret, NONCE);
        }
        // Agrees whether it holds or not: the session knows better.
        AuthRequest::Proof { user, .. } => {
            last = Some(Known::Scram { user: user.into() });
            session.authenticated(AuthAnswer::Accepted(ann()));
        }
        AuthRequest::Certificate { identity } => {
            assert_eq!(identity, None, "the certificate is nobody's");
            session.authenticated(AuthAnswer::Rejected);
        }
    };
    let session = driver::session(peer(BareNewline::Reject), true);
    let driven = drive(session, text, step, &mut authority);
    driven.session.identity()?;
    Some(last.expect("somebody agreed"))
}

/// RFC 5802 section 3 in plain words, on what the client said.
fn proof_is_right(lines: &[Vec<u8>]) -> bool {
    let decoded = |l: &[u8]| {
        BASE64
            .decode(l)
            .ok()
            .and_then(|m| String::from_utf8(m).ok())
    };
    let mut words = lines
        .iter()
        .flat_map(|l| l.split(|b| *b == b' '))
        .filter_map(decoded);
    // The last first message before the last final one.
    let all: Vec<String> = words.by_ref().collect();
    let finals = all.iter().enumerate().filter(|(_, m)| m.starts_with("c="));
    finals.into_iter().any(|(n, last)| {
        all[..n].iter().any(|first| {
            let Some(bare) = first.splitn(3, ',').nth(2) else {
                return false;
            };
            let gs2 = &first[..first.len() - bare.len()];
            let Some((without, proof)) = last.rsplit_once(",p=") else {
                return false;
            };
            let Some(theirs) = bare.split(',').find_map(|p| p.strip_prefix("r=")) else {
                return false;
            };
            let server = format!("r={theirs}{NONCE},s={},i={ROUNDS}", BASE64.encode(SALT));
            let message = format!("{bare},{server},{without}");
            let mut binding = gs2.as_bytes().to_vec();
            if gs2.starts_with("p=") {
                binding.extend(EXPORTER);
            }
            let bound = format!("c={},r={theirs}{NONCE}", BASE64.encode(&binding));
            without.starts_with(&bound) && proof == BASE64.encode(&proof_of(&message))
        })
    })
}

fn proof_of(message: &str) -> [u8; 32] {
    let sign = |key: &[u8], text: &[u8]| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
        <[u8; 32]>::try_from(tag.as_ref()).unwrap()
    };
    let salted = salted();
    let client = sign(salted, b"Client Key");
    let signature = sign(secret().keys.stored(), message.as_bytes());
    std::array::from_fn(|n| client[n] ^ signature[n])
}

fn salted() -> &'static [u8; 32] {
    static SALTED: OnceLock<[u8; 32]> = OnceLock::new();
    SALTED.get_or_init(|| {
        let mut salted = [0; 32];
        let rounds = NonZeroU32::new(ROUNDS).unwrap();
        let algorithm = aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256;
        aws_lc_rs::pbkdf2::derive(algorithm, rounds, SALT, PASSWORD.as_bytes(), &mut salted);
        salted
    })
}

fn secret() -> &'static ScramSecret {
    static SECRET: OnceLock<ScramSecret> = OnceLock::new();
    SECRET.get_or_init(|| {
        let rounds = NonZeroU32::new(ROUNDS).unwrap();
        ScramSecret {
            salt: SALT.into(),
            rounds,
            keys: ScramKeys::derive(PASSWORD.as_bytes(), SALT, rounds),
        }
    })
}

fn ann() -> Identity {
    Identity {
        name: "ann".into(),
        senders: Senders::Any,
        max_message_size: None,
        names_submitters: false,
    }
}

const PASSWORD: &str = "secret";
const SALT: &[u8] = b"0123456789abcdef";
const ROUNDS: u32 = 4096;
const NONCE: &str = "0123456789abcdefghij";
