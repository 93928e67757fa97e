//! Mailboxes: `local-part@domain` or `local-part@[address]` (RFC 5321 section 4.1.2, RFC 6531).

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::{Domain, DomainError};

/// Where a mailbox is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A mail domain.
    Domain(Domain),
    /// An address literal (RFC 5321 section 4.1.3).
    Address(IpAddr),
}

/// A mail address. The spelling given at parse is kept (RFC 5321 section 2.4: local parts keep
/// their case; row F1-26), but for what a strict peer would refuse or take for another address: quoting
/// is the least there can be (section 4.1.2; row E3-15), and the domain has no dot at its end. The host
/// is in normal form beside it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mailbox {
    text: Box<str>,
    /// Index of the `@` that separates the parts.
    at: usize,
    host: Host,
}

/// Why a text is not a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailboxError {
    /// There is no `@`, or nothing before it.
    #[error("not of the form local-part@domain")]
    Form,
    /// The local part breaks the grammar of RFC 5321 section 4.1.2.
    #[error("the local part is not a dot-string or a quoted string")]
    LocalPart,
    /// The local part is longer than 64 octets (RFC 5321 section 4.5.3.1.1).
    #[error("the local part is longer than 64 octets")]
    LocalPartTooLong,
    /// The whole is longer than 254 octets (RFC 5321 section 4.5.3.1.3).
    #[error("the address is longer than 254 octets")]
    TooLong,
    /// The domain is not valid.
    #[error("the domain is not valid: {0}")]
    Domain(#[from] DomainError),
    /// `[…]` holds no IPv4 or `IPv6:` address.
    #[error("the address literal is not of the form [IPv4] or [IPv6:address]")]
    Literal,
}

impl Host {
    /// Parses what stands behind the `@`: a domain, or an address literal in brackets.
    ///
    /// # Errors
    /// [`MailboxError::Domain`] or [`MailboxError::Literal`].
    pub fn parse(text: &str) -> Result<Self, MailboxError> {
        match text.strip_prefix('[') {
            Some(rest) => {
                let literal = rest.strip_suffix(']').ok_or(MailboxError::Literal)?;
                Ok(Self::Address(parse_literal(literal)?))
            }
            None => Ok(Self::Domain(Domain::parse(text)?)),
        }
    }
}

impl Mailbox {
    /// Parses the text between `<` and `>`, without a source route.
    ///
    /// # Errors
    /// Says which part breaks which rule.
    pub fn parse(text: &str) -> Result<Self, MailboxError> {
        if text.len() > MAX_MAILBOX {
            return Err(MailboxError::TooLong);
        }
        let at = text.rfind('@').ok_or(MailboxError::Form)?;
        let (local, host) = (&text[..at], &text[at + 1..]);
        // An `@` inside a literal is not a separator: `a@[x@y]` has a broken literal either way.
        if local.is_empty() || host.is_empty() {
            return Err(MailboxError::Form);
        }
        check_local(local)?;
        // RFC 5321 section 4.1.2 has no place for the dot that ends a name in DNS.
        let spelling = host.strip_suffix('.').unwrap_or(host);
        let host = Host::parse(host)?;
        let least = least_quoted(local);
        let text = match &least {
            Cow::Borrowed(_) => text[..at + 1 + spelling.len()].into(),
            Cow::Owned(local) => format!("{local}@{spelling}").into(),
        };
        let at = least.len();
        Ok(Self { text, at, host })
    }

    /// As given at parse.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The local part as given, quotes included.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.text[..self.at]
    }

    /// The host in normal form.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The domain, unless the host is an address literal.
    #[must_use]
    pub const fn domain(&self) -> Option<&Domain> {
        match &self.host {
            Host::Domain(d) => Some(d),
            Host::Address(_) => None,
        }
    }

    /// The address in ASCII (A-label domain), or `None` if the local part is not ASCII and so
    /// needs SMTPUTF8 (RFC 6531 section 3.2).
    #[must_use]
    pub fn to_ascii(&self) -> Option<Cow<'_, str>> {
        if self.text.is_ascii() {
            return Some(self.text.as_ref().into());
        }
        let local = self.local_part();
        local
            .is_ascii()
            .then(|| format!("{local}@{}", self.host).into())
    }
}

/// A local part with the least quoting that says the same (RFC 5321 section 4.1.2): `"a"` is `a`, and
/// `"a\ b"` is `"a b"`. What is no local part comes back as it is.
pub(crate) fn least_quoted(local: &str) -> Cow<'_, str> {
    let inner = local.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
    let Some(inner) = inner.filter(|_| check_local(local).is_ok()) else {
        return local.into();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut quoted = String::with_capacity(local.len());
    quoted.push('"');
    let mut chars = inner.chars();
    while let Some(mut c) = chars.next() {
        if c == '\\' {
            c = chars.next().unwrap_or(c);
        }
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
        plain.push(c);
    }
    quoted.push('"');
    match plain.split('.').all(is_atom) {
        true => plain.into(),
        false if quoted == local => local.into(),
        false => quoted.into(),
    }
}

/// Dot-string or quoted-string; UTF-8 beyond ASCII is allowed as in RFC 6531 section 3.3.
fn check_local(local: &str) -> Result<(), MailboxError> {
    if local.len() > MAX_LOCAL {
        return Err(MailboxError::LocalPartTooLong);
    }
    if let Some(inner) = local.strip_prefix('"') {
        let inner = inner
            .strip_suffix('"')
            .filter(|_| local.len() >= 2)
            .ok_or(MailboxError::LocalPart)?;
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            let fine = match c {
                '\\' => chars.next().is_some_and(|e| matches!(e, ' '..='~')),
                '"' => false,
                ' '..='~' => true,
                _ => !c.is_ascii() && !c.is_control(),
            };
            if !fine {
                return Err(MailboxError::LocalPart);
            }
        }
        return Ok(());
    }
    if local.split('.').all(is_atom) {
        Ok(())
    } else {
        Err(MailboxError::LocalPart)
    }
}

fn is_atom(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_atext)
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(c)
        || (!c.is_ascii() && !c.is_control())
}

fn parse_literal(text: &str) -> Result<IpAddr, MailboxError> {
    let v6 = text
        .get(..5)
        .filter(|tag| tag.eq_ignore_ascii_case("IPv6:"));
    let address = match v6 {
        Some(_) => text[5..].parse::<Ipv6Addr>().map(IpAddr::V6),
        None => text.parse::<Ipv4Addr>().map(IpAddr::V4),
    };
    address.map_err(|_| MailboxError::Literal)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(d) => d.fmt(f),
            Self::Address(IpAddr::V4(a)) => write!(f, "[{a}]"),
            Self::Address(IpAddr::V6(a)) => write!(f, "[IPv6:{a}]"),
        }
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Mailbox {
    type Err = MailboxError;
    fn from_str(s: &str) -> Result<Self, MailboxError> {
        Self::parse(s)
    }
}

const MAX_LOCAL: usize = 64;
const MAX_MAILBOX: usize = 254;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn e3_14_keeps_the_spelling_and_normalises_the_domain() {
        let m = Mailbox::parse("Bob.X@D.Test").unwrap();
        assert_eq!((m.as_str(), m.local_part()), ("Bob.X@D.Test", "Bob.X"));
        assert_eq!(m.domain().map(Domain::as_str), Some("d.test"));
    }

    #[test]
    fn e3_15_the_least_quoting_and_no_dot_at_the_end() {
        for (text, want) in [
            (r#""limited"@d.test"#, "limited@d.test"),
            (r#""a.b"@D.Test"#, "a.b@D.Test"),
            (r#""\a\ b"@d.test"#, r#""a b"@d.test"#),
            (r#""a\"\\b"@d.test"#, r#""a\"\\b"@d.test"#),
            (r#""a..b"@d.test"#, r#""a..b"@d.test"#),
            (r#"""@d.test"#, r#"""@d.test"#),
            ("a@D.test.", "a@D.test"),
            (r#""x"@d.test."#, "x@d.test"),
            (r#""x"@[192.0.2.1]"#, "x@[192.0.2.1]"),
        ] {
            let m = Mailbox::parse(text).unwrap();
            assert_eq!(m.as_str(), want, "{text}");
            assert_eq!(
                Some((m.local_part(), m.as_str())),
                want.rsplit_once('@').map(|(l, _)| (l, want))
            );
            assert_eq!(Mailbox::parse(want).as_ref(), Ok(&m), "{text}");
        }
    }

    #[test]
    fn e3_15_quoted_local_parts() {
        for good in [
            r#""a b"@d.test"#,
            r#""a\"b"@d.test"#,
            r#""a@b"@d.test"#,
            r#"""@d.test"#,
        ] {
            assert_eq!(
                Mailbox::parse(good).map(|m| m.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            r#""a@d.test"#,
            r#"""a"@d.test"#,
            "\"a\u{7}\"@d.test",
            r#""a\"@d.test"#,
            "\"@d.test",
        ] {
            assert!(Mailbox::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn e1_21_address_literals() {
        let v4 = Mailbox::parse("a@[192.0.2.1]").unwrap();
        assert_eq!(v4.host(), &Host::Address("192.0.2.1".parse().unwrap()));
        let v6 = Mailbox::parse("a@[ipv6:2001:db8::1]").unwrap();
        assert_eq!(v6.host().to_string(), "[IPv6:2001:db8::1]");
        for bad in [
            "a@[192.0.2]",
            "a@[2001:db8::1]",
            "a@[192.0.2.1",
            "a@192.0.2.1",
            "a@[]",
        ] {
            assert!(Mailbox::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn e4_07_h5_07_refuses_bad_addresses() {
        let long = format!("{}@d.test", "a".repeat(65));
        for bad in [
            "",
            "a",
            "@d.test",
            "a@",
            "a..b@d.test",
            ".a@d.test",
            "a b@d.test",
            "a\0@d.test",
            "a@d_x.test",
            "a@-d.test",
            "a@b@c d",
            &long,
        ] {
            assert!(Mailbox::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn e2_41_ascii_form() {
        assert_eq!(
            Mailbox::parse("a@bücher.test")
                .unwrap()
                .to_ascii()
                .as_deref(),
            Some("a@xn--bcher-kva.test")
        );
        assert_eq!(Mailbox::parse("ü@d.test").unwrap().to_ascii(), None);
    }

    proptest! {
        #[test]
        fn never_panics(s in "\\PC{0,100}") {
            if let Ok(m) = Mailbox::parse(&s) {
                prop_assert_eq!(Mailbox::parse(m.as_str()), Ok(m.clone()));
            }
        }
    }
}
