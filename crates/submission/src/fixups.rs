//! The fix-ups of RFC 6409 section 8, on a complete header.

use mail_types::{Domain, Field, Mailbox, Timestamp};

use crate::signed::Covered;
use crate::{Rejection, addresses};

/// What a submission listener mends.
#[derive(Clone, Debug)]
pub struct Fixups {
    /// Our name: in Message-ID, and the one that no Authentication-Results may claim.
    pub hostname: Domain,
    /// Messages need exactly one From, with an address in it (RFC 6409 section 6).
    pub require_from: bool,
    /// Names the authenticated user in Sender if From does not (RFC 6409 section 8.1).
    pub add_sender: bool,
}

/// A header that was mended.
#[derive(Debug, Default)]
pub struct Mended<'a> {
    /// New fields, to stand above the others.
    pub added: String,
    /// Those that stay, in their order.
    pub kept: Vec<Field<'a>>,
    /// The Message-ID, if it is new.
    pub message_id: Option<Box<str>>,
}

impl Fixups {
    /// Mends a header; `identity` is who authenticated, and `unique` a word that no other message
    /// of this host has.
    ///
    /// # Errors
    /// The message cannot be taken.
    pub fn mend<'a>(
        &self,
        fields: &[Field<'a>],
        identity: Option<&str>,
        unique: &str,
        at: Timestamp,
    ) -> Result<Mended<'a>, Rejection> {
        let from = from(fields);
        if self.require_from {
            from.check()?;
        }
        let covered = Covered::by(fields);
        let stands = |name: &str| fields.iter().filter(|f| f.is(name)).count();
        let missing = |name: &str| stands(name) == 0 && !covered.forbids_another(name, 0);
        let mut mended = Mended::default();
        // RFC 6409 section 8.2.
        if missing("Date") {
            mended
                .added
                .push_str(&format!("Date: {}\r\n", at.rfc5322()));
        }
        // RFC 6409 section 8.3.
        if missing("Message-ID") {
            let message_id = format!("<{unique}@{}>", self.hostname);
            mended
                .added
                .push_str(&format!("Message-ID: {message_id}\r\n"));
            mended.message_id = Some(message_id.into());
        }
        let sender = self.sender(&from, identity);
        if let Some(sender) = &sender {
            if covered.holds("Sender") || covered.forbids_another("Sender", stands("Sender")) {
                return Err(Rejection::SignedSender);
            }
            mended.added.push_str(&format!("Sender: {sender}\r\n"));
        }
        let dropped = |field: &Field<'_>| {
            (field.is("Sender") && sender.is_some())
                // RFC 5321 section 4.4 and RFC 5322 section 3.6.3.
                || (field.is("Return-Path") && !covered.holds("Return-Path"))
                || (field.is("Bcc") && !covered.holds("Bcc"))
                || (field.is("Resent-Bcc") && !covered.holds("Resent-Bcc"))
                || (field.is("Authentication-Results") && self.claims_to_be_ours(field))
        };
        mended.kept = fields.iter().filter(|f| !dropped(f)).copied().collect();
        Ok(mended)
    }

    /// The Sender to write: the identity, unless From names it.
    fn sender(&self, from: &From, identity: Option<&str>) -> Option<Mailbox> {
        let identity = identity.filter(|_| self.add_sender)?;
        let mailbox = Mailbox::parse(identity)
            .or_else(|_| Mailbox::parse(&format!("{identity}@{}", self.hostname)))
            .ok()
            // A header is ASCII here: such an identity cannot be shown.
            .filter(|m| m.as_str().is_ascii())?;
        let same = |text: &String| {
            Mailbox::parse(text).is_ok_and(|m| {
                m.host() == mailbox.host()
                    && m.local_part().eq_ignore_ascii_case(mailbox.local_part())
            })
        };
        let named = matches!(from.addresses.as_slice(), [one] if same(one));
        (!named || from.fields != 1).then_some(mailbox)
    }

    /// RFC 8601 section 5: a field with our id that we did not write.
    fn claims_to_be_ours(&self, field: &Field<'_>) -> bool {
        let value = String::from_utf8_lossy(field.value());
        authserv_id(&value).is_some_and(|id| {
            id.eq_ignore_ascii_case(self.hostname.as_str())
                || Domain::parse(&id).is_ok_and(|d| d == self.hostname)
        })
    }
}

/// The From fields of a header.
#[derive(Debug)]
pub(crate) struct From {
    pub(crate) fields: usize,
    pub(crate) addresses: Vec<String>,
}

pub(crate) fn from(fields: &[Field<'_>]) -> From {
    let all: Vec<&Field<'_>> = fields.iter().filter(|f| f.is("From")).collect();
    From {
        fields: all.len(),
        addresses: all.iter().flat_map(|f| addresses(f.value())).collect(),
    }
}

/// An address in From with a domain (RFC 5322 section 3.4.1). It need not fit into an envelope: for
/// headers there are no limits such as SMTP's.
pub(crate) struct Author<'f> {
    pub(crate) local_part: &'f str,
    pub(crate) domain: Domain,
}

impl From {
    /// In their order; what has no domain is left out.
    pub(crate) fn authors(&self) -> impl Iterator<Item = Author<'_>> {
        self.addresses.iter().filter_map(|address| {
            let (local_part, domain) = address.rsplit_once('@')?;
            let domain = Domain::parse(domain).ok()?;
            Some(Author { local_part, domain })
        })
    }

    /// Whether something in it looks like an address and is none.
    pub(crate) fn is_unclear(&self) -> bool {
        self.addresses
            .iter()
            .any(|a| a.contains('@') && !is_address(a))
    }

    /// RFC 5322 section 3.6; an address has a domain (section 3.4.1). SMTP's limits on lengths are
    /// none of a header's: they are not asked for here.
    pub(crate) fn check(&self) -> Result<(), Rejection> {
        let named = self.addresses.iter().any(|a| is_address(a));
        match (self.fields, named) {
            (0, _) => Err(Rejection::NoFrom),
            (1, false) => Err(Rejection::EmptyFrom),
            (1, true) => Ok(()),
            _ => Err(Rejection::SeveralFrom),
        }
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(local_part, host)| {
        let is_literal = || host.starts_with('[') && host.ends_with(']');
        !local_part.is_empty()
            && !has_gap(local_part)
            && (is_literal() || Domain::parse(host).is_ok())
    })
}

/// Whether there is white space outside of quotes: two words, of which nobody knows whose address it is.
fn has_gap(local_part: &str) -> bool {
    let mut quoted = false;
    let mut chars = local_part.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => drop(chars.next()),
            '"' => quoted = !quoted,
            ' ' if !quoted => return true,
            _ => {}
        }
    }
    false
}

/// The first word behind white space and comments (RFC 8601 section 2.2), and behind semicolons: one
/// in front breaks the grammar, but who knows what a reader makes of it.
fn authserv_id(value: &str) -> Option<String> {
    let mut chars = value.chars().peekable();
    let mut depth = 0usize;
    while let Some(c) = chars.peek().copied() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '\\' if depth > 0 => drop(chars.next()),
            _ if depth > 0 || c.is_ascii_whitespace() || c == ';' => {}
            '"' => {
                chars.next();
                return Some(quoted(chars));
            }
            _ => {
                let ends = |c: &char| !(c.is_ascii_whitespace() || matches!(c, ';' | '('));
                return Some(chars.take_while(ends).collect());
            }
        }
        chars.next();
    }
    None
}

fn quoted(mut chars: impl Iterator<Item = char>) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => text.extend(chars.next()),
            '\r' | '\n' => {}
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests;
