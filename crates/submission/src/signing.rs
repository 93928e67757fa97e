//! Which mail is signed, and for whom.

use std::net::IpAddr;
use std::sync::Arc;

use dkim::Signer;
use ipnet::IpNet;
use mail_types::{Domain, Field, Mailbox, Senders};

use crate::fixups::{Author, from};
use crate::{Origin, Rejection};

/// One key and the mail that it signs.
#[derive(Clone, Debug)]
pub struct SigningRule {
    /// Domain, selector, key.
    pub signer: Signer,
    /// Whose domain is looked at.
    pub by: SignedBy,
    /// Mail of names below the signer's domain is signed too.
    pub subdomains: bool,
    /// Clients of relay listeners whose mail is signed too.
    pub networks: Vec<IpNet>,
}

/// Whose domain decides whether a key signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignedBy {
    /// The address in the From field.
    #[default]
    From,
    /// The envelope sender.
    Sender,
}

/// All keys.
#[derive(Clone, Debug, Default)]
pub struct SigningRules(Vec<Arc<SigningRule>>);

impl SigningRules {
    /// Of these rules; all that match sign, in this order.
    #[must_use]
    pub fn new(rules: Vec<SigningRule>) -> Self {
        Self(rules.into_iter().map(Arc::new).collect())
    }

    /// Whether mail that comes in here may have to be signed.
    #[must_use]
    pub fn concern(&self, submitted: bool, client: IpAddr) -> bool {
        self.candidates(submitted, client).next().is_some()
    }

    /// Whether nothing is signed at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who signs mail that we write ourselves, with this domain in From and the null reverse-path.
    pub fn of_our_own<'a>(&'a self, domain: &'a Domain) -> impl Iterator<Item = &'a Signer> {
        let rules = self.0.iter().filter(|r| r.by == SignedBy::From);
        rules.filter(|r| r.covers(domain)).map(|r| &r.signer)
    }

    /// Who signs this message.
    pub(crate) fn select(
        &self,
        origin: &Origin,
        fields: &[Field<'_>],
    ) -> Result<Vec<Arc<SigningRule>>, Rejection> {
        let from = from(fields);
        let authors: Vec<Author<'_>> = from.authors().collect();
        let sender = origin.sender.mailbox().and_then(Mailbox::domain);
        let mut chosen = Vec::new();
        for rule in self.candidates(origin.submitted, origin.client) {
            let matches = match rule.by {
                // With several From fields nobody can say which one a reader will see.
                SignedBy::From if from.fields > 1 => authors.iter().any(|a| rule.covers(&a.domain)),
                SignedBy::From => authors.first().is_some_and(|a| rule.covers(&a.domain)),
                SignedBy::Sender => sender.is_some_and(|d| rule.covers(d)),
            };
            if matches {
                // RFC 6376 section 5.4: From is always signed, so there has to be one.
                from.check()?;
                // Row G3-07: the envelope alone says nothing of whom the reader sees.
                let may_be =
                    |a: &Author<'_>| origin.senders.include_author(a.local_part, &a.domain);
                // Whom a reader takes what is no address for, nobody knows.
                let unclear = origin.senders != Senders::Any && from.is_unclear();
                let another = |a: &Author<'_>| rule.vouches_for(&a.domain) && !may_be(a);
                if unclear || authors.iter().any(another) {
                    return Err(Rejection::OtherAuthor);
                }
                chosen.push(Arc::clone(rule));
            }
        }
        Ok(chosen)
    }

    fn candidates(
        &self,
        submitted: bool,
        client: IpAddr,
    ) -> impl Iterator<Item = &Arc<SigningRule>> {
        self.0
            .iter()
            .filter(move |r| submitted || r.networks.iter().any(|n| n.contains(&client)))
    }
}

impl SigningRule {
    fn covers(&self, domain: &Domain) -> bool {
        let own = self.signer.domain();
        domain == own || (self.subdomains && is_below(domain, own))
    }

    /// Whether receivers may take the signature for the word of an author in this domain. DMARC's
    /// relaxed alignment (RFC 7489 section 3.1.1) asks only for the same organizational domain: that
    /// is one above the signer's, one below it, or one beside it. Which one it is only a list of
    /// public suffixes tells. Without that list, names that end in the same two labels are taken for
    /// one organization's: under a suffix of two labels that is too many, and never too few.
    fn vouches_for(&self, author: &Domain) -> bool {
        let own = self.signer.domain();
        let same_end = last_two(author).is_some_and(|end| last_two(own) == Some(end));
        author == own || same_end || is_below(author, own) || is_below(own, author)
    }
}

/// The last two labels.
fn last_two(domain: &Domain) -> Option<&str> {
    let text = domain.as_str();
    let mut dots = text.rmatch_indices('.').map(|(at, _)| at);
    dots.next()?;
    Some(dots.next().map_or(text, |dot| &text[dot + 1..]))
}

fn is_below(domain: &Domain, above: &Domain) -> bool {
    domain
        .as_str()
        .strip_suffix(above.as_str())
        .is_some_and(|below| below.ends_with('.'))
}
