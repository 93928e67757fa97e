//! Names of users, as logins are compared (RFC 4013, RFC 4616 section 2).

/// What SASLprep makes of a name; `None` if it forbids it, or nothing is left.
#[must_use]
pub fn prepared_name(name: &str) -> Option<String> {
    let name = stringprep::saslprep(name).ok()?;
    (!name.is_empty()).then(|| name.into_owned())
}

/// Whether two names are the same user's. One that SASLprep forbids is only itself.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one == other || prepared_name(one).is_some_and(|one| prepared_name(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g2_06_names_are_compared_after_saslprep() {
        assert_eq!(
            prepared_name("Mu\u{308}ller\u{a0}GmbH").as_deref(),
            Some("M\u{fc}ller GmbH")
        );
        assert_eq!(prepared_name("\u{ad}"), None, "nothing is left");
        assert_eq!(prepared_name("a\u{7}"), None);
        for (one, other, want) in [
            ("ann", "ann", true),
            ("\u{2168}", "IX", true),
            ("ann", "Ann", false),
            ("a\u{7}", "a\u{7}", true),
            ("a\u{7}", "b\u{7}", false),
            ("\u{ad}", "", false),
        ] {
            assert_eq!(is_same(one, other), want, "{one:?} {other:?}");
        }
    }
}
