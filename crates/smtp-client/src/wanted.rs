//! What a host wants that answers 530: TLS, or a login.

use smtp_proto::Reply;

/// "Must issue a STARTTLS command first" (RFC 3207 section 4, row D2-08). The same code may want a login
/// (RFC 4954 section 6), and only its words say which.
#[must_use]
pub fn wants_tls(reply: &Reply) -> bool {
    let text = reply.to_string().to_ascii_lowercase();
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    reply.code() == REQUIRED
        && words.any(|word| {
            matches!(
                word,
                "starttls" | "tls" | "ssl" | "encryption" | "encrypted"
            )
        })
}

/// The host takes mail only from its own users.
#[must_use]
pub fn wants_a_login(reply: &Reply) -> bool {
    reply.code() == REQUIRED && !wants_tls(reply)
}

/// A login (RFC 4954 section 6), or STARTTLS before anything else (RFC 3207 section 4).
const REQUIRED: u16 = 530;
