//! PLAIN: `[authzid] NUL authcid NUL passwd` (RFC 4616 section 2).

use zeroize::Zeroizing;

/// What PLAIN said.
pub(in crate::server) struct Plain<'a> {
    /// Who acts, if it is said.
    pub(in crate::server) authzid: &'a str,
    /// Whose password it is.
    pub(in crate::server) authcid: &'a str,
    pub(in crate::server) password: Zeroizing<String>,
}

/// The three parts, which may be empty; `None` if there are fewer or more, or one is not UTF-8.
pub(in crate::server) fn plain(message: &[u8]) -> Option<Plain<'_>> {
    let mut parts = str::from_utf8(message).ok()?.split('\0');
    let (authzid, authcid, password) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let password = Zeroizing::new(password.to_owned());
    Some(Plain {
        authzid,
        authcid,
        password,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g2_06_three_parts_and_no_more() {
        for (message, want) in [
            (&b"\0ann\0secret"[..], Some(("", "ann", "secret"))),
            (b"bob\0ann\0secret", Some(("bob", "ann", "secret"))),
            (b"\0\0", Some(("", "", ""))),
            ("\0\u{e4}nn\0\u{20ac}".as_bytes(), Some(("", "änn", "€"))),
            (b"", None),
            (b"ann\0secret", None),
            (b"\0ann\0secret\0", None),
            (b"\0ann\0sec\0ret", None),
            (b"\0ann\0\xff", None),
            (b"\xff\0ann\0secret", None),
        ] {
            let got = plain(message);
            let got = got
                .as_ref()
                .map(|p| (p.authzid, p.authcid, p.password.as_str()));
            assert_eq!(got, want, "{message:?}");
        }
    }
}
