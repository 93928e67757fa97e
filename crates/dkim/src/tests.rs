//! The vector of RFC 8463, and a verifier of our own that reads what a signer wrote.

mod rows;
mod vector;

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use data_encoding::BASE64;
use mail_types::{Domain, Field, Timestamp, header_fields};

use crate::header::{relaxed, relaxed_value};
use crate::{Algorithm, BodyHash, Signer, SigningKey};

const MESSAGE: &str = "From: Joe SixPack <joe@football.example.com>\r\n\
To: Suzie Q <suzie@shopping.example.net>\r\n\
Subject: Is dinner ready?\r\n\
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\
\r\n\
Hi.\r\n\
\r\n\
We lost the game.  Are you hungry yet?\r\n\
\r\n\
Joe.\r\n";

/// RFC 8463 appendix A.2, wrapped as PKCS #8.
fn ed25519() -> Arc<SigningKey> {
    let seed = BASE64
        .decode(b"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
        .unwrap();
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend_from_slice(&seed);
    Arc::new(SigningKey::from_pkcs8(&der).unwrap())
}

fn rsa() -> Arc<SigningKey> {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().unwrap();
    Arc::new(SigningKey::from_pkcs8(der.as_ref()).unwrap())
}

fn signer(key: &Arc<SigningKey>) -> Signer {
    let domain = Domain::parse("football.example.com").unwrap();
    Signer::new(domain, "brisbane", Arc::clone(key))
}

/// Signs a whole message; the field and the length that was foretold.
fn sign(signer: &Signer, message: &str) -> (String, usize) {
    let (fields, rest) = header_fields(message.as_bytes());
    let pending = signer.begin(&fields, Timestamp::from_secs(1_528_637_909));
    let mut hash = BodyHash::new();
    hash.update(rest.strip_prefix(b"\r\n").unwrap_or_default());
    let len = pending.len();
    (pending.finish(hash.finish()).unwrap(), len)
}

fn tags(field: &Field<'_>) -> Vec<(String, String)> {
    let value = String::from_utf8(field.value().to_vec()).unwrap();
    let parts = value.split(';').map(|part| {
        let (name, value) = part.split_once('=').unwrap();
        (name.trim().to_owned(), value.split_whitespace().collect())
    });
    parts.collect()
}

/// RFC 6376 section 6.1.3, for a message whose first field is the signature.
fn verifies(message: &str, key: &SigningKey) -> bool {
    let (fields, rest) = header_fields(message.as_bytes());
    let (own, others) = fields.split_first().unwrap();
    let tags = tags(own);
    let tag = |name: &str| tags.iter().find(|(n, _)| n == name).unwrap().1.clone();
    let mut hash = BodyHash::new();
    hash.update(rest.strip_prefix(b"\r\n").unwrap_or_default());
    if BASE64.encode(&hash.finish().0) != tag("bh") {
        return false;
    }
    let mut signed = Vec::new();
    let mut used = vec![false; others.len()];
    for name in tag("h").split(':') {
        let from_below = (0..others.len())
            .rev()
            .find(|n| !used[*n] && others[*n].is(name));
        if let Some(n) = from_below {
            used[n] = true;
            relaxed(&others[n], &mut signed);
        }
    }
    let raw = String::from_utf8(own.raw().to_vec()).unwrap();
    let without = &raw[..raw.rfind("b=").unwrap() + 2];
    signed.extend_from_slice(b"dkim-signature:");
    relaxed_value(&without.as_bytes()["DKIM-Signature:".len()..], &mut signed);
    let signature = BASE64.decode(tag("b").as_bytes()).unwrap();
    let record = key.record().unwrap();
    let public = BASE64
        .decode(record.as_str().split("p=").nth(1).unwrap().as_bytes())
        .unwrap();
    match key.algorithm() {
        Algorithm::RsaSha256 => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
            .verify(&signed, &signature)
            .is_ok(),
        Algorithm::Ed25519Sha256 => {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &signed);
            UnparsedPublicKey::new(&ED25519, public)
                .verify(digest.as_ref(), &signature)
                .is_ok()
        }
    }
}
