//! As whom somebody may send.

use std::sync::Arc;

use crate::mailbox::least_quoted;
use crate::{Domain, Host, Mailbox, ReversePath};

/// As whom an identity may send (RFC 6409 section 6.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub enum Senders {
    /// As anybody.
    #[default]
    Any,
    /// As these, and with the null reverse-path, which notifications of mail programs need (RFC
    /// 8098 section 3).
    Only(Arc<[SenderPattern]>),
}

/// Which reverse-paths are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SenderPattern {
    /// This address; the case of its local part does not count.
    Mailbox(Mailbox),
    /// Every address in this domain.
    Domain(Domain),
    /// Every address in a domain below this one.
    Below(Domain),
}

impl Senders {
    /// Whether a reverse-path is among them.
    #[must_use]
    pub fn include(&self, path: &ReversePath) -> bool {
        match (self, path) {
            (Self::Any, _) | (Self::Only(_), ReversePath::Null) => true,
            (Self::Only(patterns), ReversePath::Mailbox(mailbox)) => {
                patterns.iter().any(|pattern| pattern.matches(mailbox))
            }
        }
    }

    /// Whether an address in a header is among them. It may be longer than any in an envelope: RFC
    /// 5322 knows nothing of SMTP's limits.
    #[must_use]
    pub fn include_author(&self, local_part: &str, domain: &Domain) -> bool {
        match self {
            Self::Any => true,
            Self::Only(patterns) => {
                let local_part = least_quoted(local_part);
                patterns.iter().any(|p| p.covers(&local_part, domain))
            }
        }
    }
}

impl SenderPattern {
    /// `user@example.org`, `example.org` or `*.example.org`.
    ///
    /// # Errors
    /// What it would have to be, in words.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "is no address, no domain and no \"*.domain\"";
        if text.contains('@') {
            return Mailbox::parse(text).map(Self::Mailbox).map_err(|_| WRONG);
        }
        let (domain, below) = match text.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (text, false),
        };
        let domain = Domain::parse(domain).map_err(|_| WRONG)?;
        Ok(if below {
            Self::Below(domain)
        } else {
            Self::Domain(domain)
        })
    }

    fn matches(&self, sender: &Mailbox) -> bool {
        match (sender.host(), self) {
            (Host::Domain(domain), _) => self.covers(sender.local_part(), domain),
            (Host::Address(_), Self::Mailbox(one)) => {
                one.host() == sender.host()
                    && one.local_part().eq_ignore_ascii_case(sender.local_part())
            }
            (Host::Address(_), Self::Domain(_) | Self::Below(_)) => false,
        }
    }

    fn covers(&self, local_part: &str, domain: &Domain) -> bool {
        match self {
            Self::Mailbox(one) => {
                one.domain() == Some(domain) && one.local_part().eq_ignore_ascii_case(local_part)
            }
            Self::Domain(own) => own == domain,
            Self::Below(above) => domain
                .as_str()
                .strip_suffix(above.as_str())
                .is_some_and(|front| front.ends_with('.')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g3_07_which_senders_an_identity_has() {
        let only = |patterns: &[&str]| {
            let all = patterns.iter().map(|p| SenderPattern::parse(p).unwrap());
            Senders::Only(all.collect())
        };
        let from = |text: &str| ReversePath::Mailbox(text.parse().unwrap());
        let some = only(&["Ann@a.test", "b.test", "*.c.test"]);
        for yes in [
            "ann@a.test",
            "ANN@A.test",
            "x@b.test",
            "x@d.c.test",
            "x@e.d.c.test",
            "\"ann\"@a.test",
        ] {
            assert!(some.include(&from(yes)), "{yes}");
        }
        for no in [
            "bob@a.test",
            "x@sub.b.test",
            "x@c.test",
            "x@evilc.test",
            "x@xb.test",
            "\"ann@a.test\"@evil.test",
            "x@[192.0.2.1]",
        ] {
            assert!(!some.include(&from(no)), "{no}");
        }
        let long = "b".repeat(70);
        for (local_part, domain, want) in [
            ("ANN", "a.test", true),
            ("\"a\\nn\"", "a.test", true),
            ("\"ann \"", "a.test", false),
            ("bob", "a.test", false),
            (&*long, "b.test", true),
            (&*long, "x.c.test", true),
            (&*long, "a.test", false),
        ] {
            let domain = Domain::parse(domain).unwrap();
            assert_eq!(some.include_author(local_part, &domain), want, "{domain}");
            assert!(Senders::Any.include_author(local_part, &domain));
        }
        assert!(some.include(&ReversePath::Null));
        assert!(Senders::Any.include(&from("x@y.test")));
        assert!(!only(&[]).include(&from("x@y.test")));
        for wrong in ["", "a@", "*.", "*", "a b", "@x.test"] {
            assert!(SenderPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
