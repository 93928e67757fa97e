//! Whose mail a filter means.

use crate::{Domain, Mailbox, MailboxError};

/// One address, or all of a domain. Domains are compared in their normal form and local parts without
/// regard to case, since those who ask have an address from a log or from somebody's lips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// The null reverse-path.
    Null,
    /// This one.
    One(Mailbox),
    /// Every one at a domain.
    AllOf(Domain),
}

impl Addresses {
    /// `user@example.org`, `@example.org` for all of a domain, or nothing for the null reverse-path.
    ///
    /// # Errors
    /// Says why it is no address.
    pub fn parse(text: &str) -> Result<Self, MailboxError> {
        if text.is_empty() {
            return Ok(Self::Null);
        }
        match text.strip_prefix('@') {
            Some(domain) => Ok(Self::AllOf(Domain::parse(domain)?)),
            None => Mailbox::parse(text).map(Self::One),
        }
    }

    /// Whether this one is among them; without a mailbox it is the null reverse-path.
    #[must_use]
    pub fn include(&self, address: Option<&Mailbox>) -> bool {
        match (self, address) {
            (Self::Null, found) => found.is_none(),
            (Self::One(_) | Self::AllOf(_), None) => false,
            (Self::One(one), Some(found)) => {
                one.host() == found.host()
                    && one.local_part().eq_ignore_ascii_case(found.local_part())
            }
            (Self::AllOf(domain), Some(found)) => found.domain() == Some(domain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_an_address_is_written_it_is_the_same() {
        for (wanted, address, same) in [
            ("a@d.test", "a@d.test", true),
            ("A@D.Test.", "a@d.test", true),
            ("a@d.test", "A@D.test", true),
            ("a@bücher.example", "a@xn--bcher-kva.example", true),
            ("a@xn--bcher-kva.example", "a@BÜCHER.example", true),
            ("a@[IPv6:2001:DB8:0::1]", "a@[ipv6:2001:db8::1]", true),
            ("b@d.test", "a@d.test", false),
            ("a@x.d.test", "a@d.test", false),
            ("@d.test.", "a@D.test", true),
            ("@bücher.example", "a@xn--bcher-kva.example", true),
            ("@xn--bcher-kva.example", "a@bücher.example", true),
            ("@d.test", "a@x.d.test", false),
            ("@d.test", "a@evild.test", false),
            ("@d.test", "\"x@d.test\"@e.test", false),
        ] {
            let wanted = Addresses::parse(wanted).unwrap();
            let address: Mailbox = address.parse().unwrap();
            assert_eq!(wanted.include(Some(&address)), same, "{wanted:?} {address}");
            assert!(!wanted.include(None), "{wanted:?}");
        }
        let null = Addresses::parse("").unwrap();
        assert!(null.include(None) && !null.include(Some(&"a@d.test".parse().unwrap())));
        for bad in [
            "@",
            "@@",
            "d.test",
            "a@",
            "@[192.0.2.1]",
            "<a@d.test>",
            "<>",
        ] {
            assert!(Addresses::parse(bad).is_err(), "{bad}");
        }
    }
}
