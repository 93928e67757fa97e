//! Who a client is, once it has proved it, and what it may do for that (pure).

use std::sync::Arc;

use mail_types::{Domain, Host, Mailbox, ReversePath};

/// Somebody who logged in, or whose certificate is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, as the users file or the identity's entry has it.
    pub name: Box<str>,
    /// As whom it may send.
    pub senders: Senders,
    /// Octets of a message at most, where that is less than the listener's limit (row G3-09).
    pub max_message_size: Option<u64>,
    /// Whether its word on who submitted a message is passed on (RFC 4954 section 5).
    pub names_submitters: bool,
}

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
        match self {
            Self::Mailbox(one) => {
                one.host() == sender.host()
                    && one.local_part().eq_ignore_ascii_case(sender.local_part())
            }
            Self::Domain(domain) => sender.domain() == Some(domain),
            Self::Below(domain) => match sender.host() {
                Host::Domain(d) => d
                    .as_str()
                    .strip_suffix(domain.as_str())
                    .is_some_and(|front| front.ends_with('.')),
                Host::Address(_) => false,
            },
        }
    }
}

/// Why a client may send mail to the world, or that it may not. There is no other ground (row
/// G3-01): no name from reverse DNS, no EHLO name, no sender address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ground {
    /// Its address is in a network that may relay; does not count on a submission listener.
    Network,
    /// It logged in.
    Login,
    /// Its certificate belongs to an identity.
    Certificate,
    /// None: it is a stranger.
    Nothing,
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
        assert!(some.include(&ReversePath::Null));
        assert!(Senders::Any.include(&from("x@y.test")));
        assert!(!only(&[]).include(&from("x@y.test")));
        for wrong in ["", "a@", "*.", "*", "a b", "@x.test"] {
            assert!(SenderPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
