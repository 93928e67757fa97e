//! RFC 8463 appendix A.

use aws_lc_rs::digest::{SHA256, digest};

use super::*;

const FIELD: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n \
d=football.example.com; i=@football.example.com;\r\n \
q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n \
subject : date : message-id : from : subject : date;\r\n \
bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n \
b=";
const SIGNATURE: &str =
    "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==";

#[test]
fn the_published_signature_is_ours() {
    let key = ed25519();
    assert_eq!(
        key.record().unwrap().as_str(),
        "v=DKIM1; h=sha256; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    );
    let (fields, rest) = header_fields(MESSAGE.as_bytes());
    let mut hash = BodyHash::new();
    hash.update(&rest[2..]);
    assert!(FIELD.contains(&BASE64.encode(&hash.finish().0)));
    let mut signed = Vec::new();
    for name in ["from", "to", "subject", "date", "message-id"] {
        relaxed(fields.iter().find(|f| f.is(name)).unwrap(), &mut signed);
    }
    signed.extend_from_slice(b"dkim-signature:");
    relaxed_value(&FIELD.as_bytes()["DKIM-Signature:".len()..], &mut signed);
    let signature = key.sign(&digest(&SHA256, &signed)).unwrap();
    assert_eq!(BASE64.encode(&signature), SIGNATURE);
    let message = format!("{FIELD}{SIGNATURE}\r\n{MESSAGE}");
    assert!(verifies(&message, &key), "our verifier reads theirs");
}
