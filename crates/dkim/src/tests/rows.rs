//! Requirement rows, with both algorithms.

use super::*;
use crate::{HeaderNameError, KeyError, OVERSIGNED_BY_DEFAULT};

#[test]
fn g4_09_signatures_verify_and_have_the_length_that_was_foretold() {
    for key in [ed25519(), rsa()] {
        for message in [
            MESSAGE.to_owned(),
            MESSAGE.replace("Hi.\r\n", &"Hi. \t x\r\n".repeat(5_000)),
            "From: a@d.test\r\n\r\n".to_owned(),
            "From: a@d.test\r\n".to_owned(),
            "From: a@d.test\r\nTo: b@d.test\r\n\r\nno line end".to_owned(),
            "From:\r\n\ta@d.test\r\nReceived: x\r\nreceived: y\r\n\r\n \r\n".to_owned(),
        ] {
            let (field, len) = sign(&signer(&key), &message);
            assert_eq!(field.len(), len, "{field}");
            let signed = format!("{field}{message}");
            assert!(verifies(&signed, &key), "{signed}");
            assert!(field.lines().all(|line| line.len() <= 78), "{field}");
            assert!(!verifies(
                &signed.replace("d.test", "e.test").replace("joe@", "eve@"),
                &key
            ));
        }
    }
}

#[test]
fn g4_09_from_and_the_published_list_are_oversigned() {
    let key = ed25519();
    let (field, _) = sign(&signer(&key), MESSAGE);
    let fields = header_fields(field.as_bytes()).0;
    let tags = tags(&fields[0]);
    let list = &tags.iter().find(|(name, _)| name == "h").unwrap().1;
    let count = |name: &str| {
        list.split(':')
            .filter(|n| n.eq_ignore_ascii_case(name))
            .count()
    };
    for name in OVERSIGNED_BY_DEFAULT {
        let stands = usize::from(MESSAGE.contains(&format!("{name}: ")));
        assert_eq!(count(name), stands + 1, "{name}");
    }
    assert_eq!(count("Sender"), 0);
    // A second From, above or below, breaks the signature.
    for message in [
        format!("{field}From: eve@evil.test\r\n{MESSAGE}"),
        format!(
            "{field}{}",
            MESSAGE.replace("\r\n\r\nHi", "\r\nFrom: eve@evil.test\r\n\r\nHi")
        ),
    ] {
        assert!(!verifies(&message, &key));
    }
    let moved = format!("{field}List-Id: <l.test>\r\n{MESSAGE}");
    assert!(verifies(&moved, &key), "what is not listed may be added");
}

#[test]
fn g4_09_several_fields_of_a_name_are_taken_from_below() {
    let key = ed25519();
    let message = "To: 1@d.test\r\nFrom: a@d.test\r\nTo: 2@d.test\r\n\r\nx\r\n";
    let (field, _) = sign(&signer(&key), message);
    assert!(verifies(&format!("{field}{message}"), &key));
    let swapped = "To: 2@d.test\r\nFrom: a@d.test\r\nTo: 1@d.test\r\n\r\nx\r\n";
    assert!(!verifies(&format!("{field}{swapped}"), &key));
}

#[test]
fn g4_10_b4_12_no_length_tag_and_only_sha256() {
    for key in [ed25519(), rsa()] {
        let (field, _) = sign(&signer(&key), MESSAGE);
        let (fields, _) = header_fields(field.as_bytes());
        let tags = tags(&fields[0]);
        assert!(
            tags.iter().all(|(name, _)| name != "l"),
            "RFC 6376 section 8.2"
        );
        let algorithm = &tags.iter().find(|(name, _)| name == "a").unwrap().1;
        assert_eq!(algorithm, key.algorithm().tag());
        assert!(algorithm.ends_with("-sha256"), "RFC 8301 section 3.1");
    }
}

#[test]
fn g4_10_keys_that_are_refused() {
    let pem =
        |kind: &str, text: &str| format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n");
    let read = |pem: &str| SigningKey::from_pem(pem.as_bytes()).map(|key| key.algorithm());
    assert_eq!(read(&pem("PRIVATE KEY", SHORT)), Err(KeyError::TooShort));
    assert_eq!(read("nothing"), Err(KeyError::Missing));
    assert_eq!(read(&pem("CERTIFICATE", "AAAA")), Err(KeyError::Missing));
    assert_eq!(read(&pem("PRIVATE KEY", "AAAA")), Err(KeyError::Kind));
    assert_eq!(
        read(&pem("ENCRYPTED PRIVATE KEY", "AAAA")),
        Err(KeyError::Encrypted)
    );
    let key = format!("{:?}", ed25519());
    assert_eq!(key, "SigningKey(Ed25519Sha256)", "no secret in it");
}

#[test]
fn g4_09_expiry() {
    let signer = signer(&ed25519()).with_expiry(std::time::Duration::from_secs(60));
    let (field, len) = sign(&signer, MESSAGE);
    assert!(field.contains("t=1528637909; x=1528637969;"), "{field}");
    assert_eq!(field.len(), len);
}

#[test]
fn field_lists_are_checked() {
    let with = |signed: &[&str], oversigned: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        signer(&ed25519()).with_fields(&owned(signed), &owned(oversigned))
    };
    let (field, _) = sign(
        &with(&["subject", "To", "to"], &["Subject"]).unwrap(),
        MESSAGE,
    );
    assert!(field.contains("h=From:From:Subject:Subject:To;"), "{field}");
    for name in ["Received", "bcc", "return-path"] {
        let refused = with(&[name], &[]).map(|_| ());
        assert_eq!(refused, Err(HeaderNameError::Volatile(name.into())));
    }
    for name in ["", "a b", "x:", "y;"] {
        let refused = with(&[], &[name]).map(|_| ());
        assert_eq!(refused, Err(HeaderNameError::Name(name.into())));
    }
}

#[test]
fn records_are_split_for_dns() {
    let record = rsa().record().unwrap();
    let strings: Vec<&str> = record.strings().collect();
    assert_eq!(strings.concat(), record.as_str());
    assert!(strings.len() == 2 && strings.iter().all(|s| s.len() <= 255));
    let line = record.zone_line("s1", &Domain::parse("d.test").unwrap());
    assert!(line.starts_with("s1._domainkey.d.test. IN TXT ( \"v=DKIM1; h=sha256; k=rsa; p=MII"));
}

/// 1024 bits, made for this test.
const SHORT: &str = "MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAMquAIYXPZ7St97h6erd2DiQjZo+qUvgewvfp3Is1PWwDhY9gGM12Y/+UK9djX8DXkoSt9+gUXO/TmbCoNCe7RwXl0px8b1cuvp50VdSSTVRuzJGPlgtHvGGPK83HPn7ePe0TiO0OjbioEJYDfvv0luAHNpBjEooLSzxv4dAfw8PAgMBAAECgYAusStZuNzvS+gkJrN28iivz01v7WOfIVX3hEzVFtLwzuBP61c6g9tdOt9npwvD6Qi909YcZJifK8FqFwhpR1OkLbI+rK3lrasIlKpXqkWIkkynLJY5n8dr5RbsnOxljQ0UyzIWMKzbog7O9vgMq1ZhD0rNaqCHc+oLHzbv9lkj8QJBAPrWPuoLhxE/XEzfZK1Cuy/eOTTffREaIXsN8CgYESzHTottsZf+I4Ldn8pX79YQBY3drxETHCT4USS1rnQsRtsCQQDO2f9xTeiCNFTC/TNwiyAqy40bC6qu8NgbJCMRLCMlH9e/8FOtssurRjqvgQPwMw0+uFt9SNH37CJZmg2/HOzdAkB8s2hBqIt0aqBzYxfE/wjaKkscWwLtLqV4bJx5AkX/kfIdZOJGYsS6uX1H9eG49Owd9Bilj2+NfZmxe1UIUj7DAkEAoVKTTiKcuy9lC829WICozbeCjR1EOLvNTx2X28S4hDOZaDBekpFnFmTnUAkmsSafpdLSR5uLZffbslXbcrl0YQJAN3ayDJHSWPcncUvSsaVl4k5R2MuqvGfeSV4y9+/FM2KnQEPQxaCGXAkRXZZzbuKQuH0D9Z9gdP1Jcjyw0nOnOA==";
