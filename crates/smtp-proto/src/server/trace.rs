//! The trace header: one `Received` field (RFC 5321 section 4.4, RFC 3848, RFC 6531 section 3.7.3).

use std::fmt::Write;
use std::net::IpAddr;

use mail_types::{Domain, Host, Mailbox, QueueId, Timestamp};

/// What goes into the field.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// What the client called itself, as [`trace_name`] has it, and its address; `None` for submitters
    /// whose whereabouts are nobody's business (row G5-02; RFC 5321 section 7.6).
    pub from: Option<(&'a str, IpAddr)>,
    /// Who authenticated, if that is to be shown (row G5-01).
    pub user: Option<&'a str>,
    /// Our name.
    pub hostname: &'a Domain,
    /// How the message came in.
    pub protocol: Protocol,
    /// The id that the queue gave.
    pub id: QueueId,
    /// The recipient, only if there is exactly one: more would betray the blind ones (RFC 5321
    /// section 7.2, row E4-32).
    pub only_recipient: Option<&'a Mailbox>,
    /// When.
    pub at: Timestamp,
}

/// The parts of the `with` keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The client said EHLO.
    pub extended: bool,
    /// Inside TLS.
    pub tls: bool,
    /// After AUTH.
    pub authenticated: bool,
    /// The transaction has SMTPUTF8.
    pub utf8: bool,
}

impl Trace<'_> {
    /// The field with its CRLF, folded, without characters that a header may not have.
    #[must_use]
    pub fn header(&self) -> String {
        let mut text = String::with_capacity(256);
        text.push_str("Received: ");
        // Writing to a String does not fail.
        match self.from {
            Some((name, client)) => {
                let address = Host::Address(client.to_canonical());
                push_all(&mut text, &["from ", name, " ("]);
                let _ = write!(text, "{address})\r\n\t");
            }
            // RFC 5321 section 4.4 wants a FROM clause all the same.
            None => text.push_str("from unknown\r\n\t"),
        }
        if let Some(user) = self.user {
            let user = comment(user);
            push_all(&mut text, &["(Authenticated sender: ", &user, ")\r\n\t"]);
        }
        let (hostname, keyword) = (self.hostname.as_str(), self.protocol.keyword());
        push_all(&mut text, &["by ", hostname, " with ", keyword, " id "]);
        let _ = write!(text, "{}", self.id);
        if let Some(recipient) = self.only_recipient.and_then(|m| self.for_clause(m)) {
            push_all(&mut text, &["\r\n\tfor <", &recipient, ">"]);
        }
        push_all(&mut text, &[";\r\n\t", &self.at.rfc5322(), "\r\n"]);
        text
    }

    /// In ASCII where that can be, so that the field alone never makes a message need SMTPUTF8. Without
    /// SMTPUTF8 a header is ASCII: an address that is not has no clause.
    fn for_clause<'m>(&self, recipient: &'m Mailbox) -> Option<std::borrow::Cow<'m, str>> {
        let utf8 = self.protocol.utf8.then(|| recipient.as_str().into());
        recipient.to_ascii().or(utf8)
    }
}

impl Protocol {
    /// RFC 3848 section 1 and RFC 6531 section 4.3.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match (self.utf8, self.tls, self.authenticated) {
            (true, false, false) => "UTF8SMTP",
            (true, true, false) => "UTF8SMTPS",
            (true, false, true) => "UTF8SMTPA",
            (true, true, true) => "UTF8SMTPSA",
            (false, true, false) => "ESMTPS",
            (false, false, true) => "ESMTPA",
            (false, true, true) => "ESMTPSA",
            (false, false, false) if self.extended => "ESMTP",
            (false, false, false) => "SMTP",
        }
    }
}

/// A text that may stand in a comment: printable ASCII, without parentheses and backslashes.
fn comment(text: &str) -> String {
    let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '(' | ')' | '\\');
    let chars = text.chars().map(|c| if plain(c) { c } else { '?' });
    chars.take(MAX_USER).collect()
}

fn push_all(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
}

/// The name if it is a domain or an address literal; the client may have said anything.
pub fn trace_name(helo: &str) -> std::borrow::Cow<'_, str> {
    let literal = || Mailbox::parse(&format!("x@{helo}")).is_ok_and(|m| m.domain().is_none());
    match Domain::parse(helo) {
        Ok(_) if helo.is_ascii() && !helo.ends_with('.') => helo.into(),
        Ok(domain) => domain.as_str().to_owned().into(),
        Err(_) if helo.starts_with('[') && literal() => helo.into(),
        // Names with underscores, and addresses without brackets: wrong, common, and worth to be known.
        Err(_) if is_name_like(helo) => helo.into(),
        Err(_) => "unknown".into(),
    }
}

/// Words with dots between, of what stands in names: nothing that a reader of the field could take for
/// the field's own syntax.
fn is_name_like(helo: &str) -> bool {
    let label = |l: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        !l.is_empty() && l.len() <= 63 && l.bytes().all(plain)
    };
    helo.len() <= 253 && helo.split('.').all(label)
}

const MAX_USER: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Protocol = Protocol {
        extended: true,
        tls: false,
        authenticated: false,
        utf8: false,
    };

    fn header(helo: &str, client: &str, protocol: Protocol, to: Option<&str>) -> String {
        let to = to.map(|t| Mailbox::parse(t).unwrap());
        Trace {
            from: Some((&trace_name(helo), client.parse().unwrap())),
            user: None,
            hostname: &Domain::parse("relay.test").unwrap(),
            protocol,
            id: QueueId::from_raw(7),
            only_recipient: to.as_ref(),
            at: Timestamp::from_secs(1_772_366_400),
        }
        .header()
    }

    #[test]
    fn e4_30_e4_32_the_field() {
        assert_eq!(
            header("mx.d.test", "192.0.2.1", PLAIN, Some("a@d.test")),
            "Received: from mx.d.test ([192.0.2.1])\r\n\tby relay.test with ESMTP id 000000000007\
             \r\n\tfor <a@d.test>;\r\n\tSun, 01 Mar 2026 12:00:00 +0000\r\n"
        );
        assert!(!header("x", "192.0.2.1", PLAIN, None).contains("for <"));
        assert!(header("x", "::ffff:192.0.2.1", PLAIN, None).contains("x ([192.0.2.1])"));
        assert!(header("x", "2001:db8::1", PLAIN, None).contains("x ([IPv6:2001:db8::1])"));
    }

    #[test]
    fn e4_30_names_that_are_none() {
        for (helo, want) in [
            ("[192.0.2.7]", "from [192.0.2.7] ("),
            ("[IPv6:2001:db8::7]", "from [IPv6:2001:db8::7] ("),
            ("my_pc.d.test", "from my_pc.d.test ("),
            ("192.0.2.7", "from 192.0.2.7 ("),
            ("a..b", "from unknown ("),
            ("x;y", "from unknown ("),
            ("x(y)", "from unknown ("),
            ("[junk]", "from unknown ("),
            ("bücher.test", "from xn--bcher-kva.test ("),
            ("D.Test", "from D.Test ("),
        ] {
            assert!(
                header(helo, "192.0.2.1", PLAIN, None).contains(want),
                "{helo}"
            );
        }
    }

    #[test]
    fn g5_01_g5_02_the_client_can_be_hidden_and_the_user_shown() {
        let hostname = Domain::parse("relay.test").unwrap();
        let trace = Trace {
            from: None,
            user: None,
            hostname: &hostname,
            protocol: Protocol {
                tls: true,
                authenticated: true,
                ..PLAIN
            },
            id: QueueId::from_raw(7),
            only_recipient: None,
            at: Timestamp::from_secs(1_772_366_400),
        };
        let rest =
            "by relay.test with ESMTPSA id 000000000007;\r\n\tSun, 01 Mar 2026 12:00:00 +0000\r\n";
        assert_eq!(
            trace.header(),
            format!("Received: from unknown\r\n\t{rest}")
        );
        let user = |user| {
            Trace {
                user: Some(user),
                ..trace
            }
            .header()
        };
        let shown = user("alice@d.test");
        assert_eq!(
            shown,
            format!("Received: from unknown\r\n\t(Authenticated sender: alice@d.test)\r\n\t{rest}")
        );
        assert!(user("a)(\r\nX: \\ü").contains("(Authenticated sender: a????X: ??)"));
        let from = Some(("pc.d.test", "192.0.2.1".parse().unwrap()));
        let both = Trace {
            from,
            user: Some("alice"),
            ..trace
        }
        .header();
        let both = both.replace("\r\n\t", " ");
        assert!(both.starts_with(
            "Received: from pc.d.test ([192.0.2.1]) (Authenticated sender: alice) by relay.test"
        ));
    }

    #[test]
    fn e4_31_keywords() {
        let of = |extended, tls, authenticated, utf8| {
            Protocol {
                extended,
                tls,
                authenticated,
                utf8,
            }
            .keyword()
        };
        assert_eq!(of(false, false, false, false), "SMTP");
        assert_eq!(of(true, false, false, false), "ESMTP");
        assert_eq!(of(true, true, false, false), "ESMTPS");
        assert_eq!(of(true, false, true, false), "ESMTPA");
        assert_eq!(of(true, true, true, false), "ESMTPSA");
        assert_eq!(of(true, false, false, true), "UTF8SMTP");
        assert_eq!(of(true, true, false, true), "UTF8SMTPS");
        assert_eq!(of(true, true, true, true), "UTF8SMTPSA");
    }

    #[test]
    fn utf8_addresses_only_with_smtputf8() {
        assert!(!header("x", "192.0.2.1", PLAIN, Some("ü@d.test")).contains("for"));
        let utf8 = Protocol {
            utf8: true,
            ..PLAIN
        };
        assert!(header("x", "192.0.2.1", utf8, Some("ü@d.test")).contains("for <ü@d.test>"));
        // Row E2-42: an address that has an ASCII form must not make the message need SMTPUTF8.
        let host = header("x", "192.0.2.1", utf8, Some("a@bücher.test"));
        assert!(host.contains("for <a@xn--bcher-kva.test>"), "{host}");
    }
}
