use std::num::NonZeroU32;

use super::*;
use crate::scram::ScramKeys;

/// RFC 7677 section 3.
const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn secret() -> ScramSecret {
    let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let rounds = NonZeroU32::new(4096).unwrap();
    ScramSecret {
        keys: ScramKeys::derive(b"pencil", &salt, rounds),
        salt: salt.into(),
        rounds,
    }
}

fn exchange() -> Exchange {
    let first = ClientFirst::parse(CLIENT_FIRST, false, None).unwrap();
    let (exchange, challenge) = first.challenge(secret(), NONCE);
    assert_eq!(challenge, SERVER_FIRST);
    exchange
}

#[test]
fn g2_07_the_vector_of_rfc_7677() {
    let exchange = exchange();
    assert_eq!(&*exchange.user, "user");
    let judged = exchange.judge(CLIENT_FINAL.as_bytes());
    assert_eq!(judged, Ok(Some(SERVER_FINAL.to_owned())));
}

#[test]
fn g2_07_whatever_is_changed_is_noticed() {
    let exchange = exchange();
    for n in 0..CLIENT_FINAL.len() {
        let mut changed = CLIENT_FINAL.as_bytes().to_vec();
        changed[n] ^= 1;
        let judged = exchange.judge(&changed);
        assert!(matches!(judged, Ok(None) | Err(_)), "octet {n}: {judged:?}");
    }
    for final_message in ["", "c=biws", "p=AAAA", "c=biws,r=x,p=AAAA", "c=,r=,p="] {
        let judged = exchange.judge(final_message.as_bytes());
        assert!(matches!(judged, Ok(None) | Err(_)), "{final_message}");
    }
}

#[test]
fn g2_07_a_right_proof_over_another_binding_or_nonce_is_refused() {
    // A client that knows the password, but signed what belongs to another connection.
    for (binding, nonce) in [("eSws", SERVER_FIRST), ("biws", "r=other,")] {
        let nonce = nonce.strip_prefix("r=").unwrap().split(',').next().unwrap();
        let exchange = exchange();
        let without_proof = format!("c={binding},r={nonce}");
        let message = format!("{},{without_proof}", exchange.so_far);
        let salted = crate::scram::salted(b"pencil", &secret().salt, secret().rounds);
        let client_key = crate::scram::sign(&*salted, b"Client Key");
        let signature = crate::scram::sign(secret().keys.stored(), message.as_bytes());
        let pairs = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = pairs.map(|(k, s)| k ^ s).collect();
        let last = format!("{without_proof},p={}", BASE64.encode(&proof));
        assert_eq!(exchange.judge(last.as_bytes()), Ok(None), "{without_proof}");
    }
}

#[test]
fn g2_07_first_messages() {
    let parse = |text: &str, plus, exporter: Option<&[u8]>| {
        ClientFirst::parse(text.as_bytes(), plus, exporter).map(|first| first.user)
    };
    let exporter = Some(&[7u8; 32][..]);
    for (text, plus, exporter, want) in [
        ("n,,n=a,r=x", false, None, Ok("a")),
        ("n,,n=a,r=x", false, exporter, Ok("a")),
        ("y,,n=a,r=x", false, None, Ok("a")),
        ("y,,n=a,r=x", false, exporter, Err(ScramError::Downgraded)),
        ("p=tls-exporter,,n=a,r=x", true, exporter, Ok("a")),
        (
            "p=tls-exporter,,n=a,r=x",
            true,
            None,
            Err(ScramError::Binding),
        ),
        (
            "p=tls-unique,,n=a,r=x",
            true,
            exporter,
            Err(ScramError::Binding),
        ),
        ("n,,n=a,r=x", true, exporter, Err(ScramError::Binding)),
        (
            "p=tls-exporter,,n=a,r=x",
            false,
            exporter,
            Err(ScramError::Binding),
        ),
        ("n,a=a,n=a,r=x", false, None, Ok("a")),
        ("n,a=b,n=a,r=x", false, None, Err(ScramError::OtherIdentity)),
        ("n,,n=a=2Cb=3Dc,r=x", false, None, Ok("a,b=c")),
        ("n,,n=a=2cb,r=x", false, None, Err(ScramError::Malformed)),
        ("n,,n=a=,r=x", false, None, Err(ScramError::Malformed)),
        ("n,,n=,r=x", false, None, Err(ScramError::Malformed)),
        ("n,,n=a,r=", false, None, Err(ScramError::Malformed)),
        ("n,,n=a,r=x y", false, None, Err(ScramError::Malformed)),
        ("n,,m=e,n=a,r=x", false, None, Err(ScramError::Malformed)),
        ("n,b,n=a,r=x", false, None, Err(ScramError::Malformed)),
        ("x,,n=a,r=x", false, None, Err(ScramError::Malformed)),
        ("", false, None, Err(ScramError::Malformed)),
    ] {
        let want = want.map(Into::into);
        assert_eq!(parse(text, plus, exporter), want, "{text}");
    }
    assert_eq!(
        ClientFirst::parse(b"n,,n=\xff,r=x", false, None),
        Err(ScramError::Malformed)
    );
}
