//! How a handshake ended.

/// The connection ended.
pub const CLOSED: &str = "the host closed the connection during the handshake";
/// The connection was reset.
pub const RESET: &str = "the connection was reset during the handshake";
/// Something else came than TLS.
pub const NOT_TLS: &str = "the host sent something that is not TLS";

/// The name of an alert, as the RFCs spell it: `HandshakeFailure` becomes `handshake-failure`, `UnknownCA`
/// becomes `unknown-ca`.
#[must_use]
pub fn alert(name: &str) -> Box<str> {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && text.ends_with(|before: char| before.is_ascii_lowercase()) {
            text.push('-');
        }
        text.push(c);
    }
    text.make_ascii_lowercase();
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_spelt_as_the_rfcs_do() {
        for (name, want) in [
            ("HandshakeFailure", "handshake-failure"),
            ("UnknownCA", "unknown-ca"),
            ("BadCertificateHashValue", "bad-certificate-hash-value"),
        ] {
            assert_eq!(&*alert(name), want);
        }
    }
}
