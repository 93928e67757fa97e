//! One mail transaction as it is asked for, and whether a peer can take it.

use mail_types::{BodyType, Mailbox, Recipient, Ret, ReversePath, Submitter};

use super::{Extensions, SizeLimit};

/// A mail transaction: everything but the content (RFC 5321 section 3.3).
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    /// `MAIL FROM`.
    pub reverse_path: &'a ReversePath,
    /// `RCPT TO`, in this order; at least one.
    pub recipients: &'a [&'a Recipient],
    /// [`BodyType::EightBit`] if the content has octets beyond 127.
    pub body: BodyType,
    /// The content needs SMTPUTF8 (headers in UTF-8). Addresses are looked at here, so that an
    /// ASCII message is relayed without it (RFC 6531 section 3.4, row E2-42).
    pub smtputf8: bool,
    /// Send `REQUIRETLS` (RFC 8689 section 4.2.1).
    pub requiretls: bool,
    /// `RET=`, sent to peers that offer DSN.
    pub ret: Option<Ret>,
    /// `ENVID=` in xtext, sent unchanged to peers that offer DSN (RFC 3461 section 5.2.1).
    pub envid: Option<&'a str>,
    /// `AUTH=`, sent to peers that offer AUTH (RFC 4954 section 5).
    pub submitter: Option<&'a Submitter>,
    /// Octets of the content with its CRLFs, before dot-stuffing (RFC 1870 section 6).
    pub size: u64,
}

/// How the content travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// DATA: dot-stuffed, ended by a line with a dot (RFC 5321 section 4.5.2).
    Data,
    /// One `BDAT n LAST` (RFC 3030 section 2).
    Bdat,
}

/// The message needs something that the peer does not offer; nothing of it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[must_use]
pub enum MissingExtension {
    /// 8BITMIME (row E2-39).
    #[error("the message has 8-bit content and the host does not offer 8BITMIME")]
    EightBitMime,
    /// SMTPUTF8 (row E2-41).
    #[error("the message needs SMTPUTF8 and the host does not offer it")]
    SmtpUtf8,
    /// SIZE is smaller than the message (row E2-37).
    #[error("the message has {size} octets and the host takes at most {limit}")]
    Size {
        /// Octets of the message.
        size: u64,
        /// The host's limit.
        limit: u64,
    },
    /// REQUIRETLS (RFC 8689 section 4.2.1).
    #[error("the message requires REQUIRETLS and the host does not offer it")]
    RequireTls,
}

impl Transaction<'_> {
    /// Whether the MAIL command has to carry SMTPUTF8: the content needs it, or a local part is
    /// not ASCII. A domain alone is sent as A-labels.
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        let needs = |m: &Mailbox| m.to_ascii().is_none();
        self.smtputf8
            || self.reverse_path.mailbox().is_some_and(needs)
            || self.recipients.iter().any(|r| needs(&r.mailbox))
    }

    /// Whether a peer with these extensions can take the message at all.
    ///
    /// # Errors
    /// The first thing that is missing.
    pub fn fits(&self, offered: &Extensions) -> Result<(), MissingExtension> {
        // RFC 8689 section 4.2.1: only to a peer that offers REQUIRETLS.
        if self.requiretls && !offered.requiretls {
            return Err(MissingExtension::RequireTls);
        }
        // RFC 1870 section 4: the declared maximum is fixed.
        match offered.size {
            SizeLimit::Octets(limit) if self.size > limit => {
                return Err(MissingExtension::Size {
                    size: self.size,
                    limit,
                });
            }
            SizeLimit::Octets(_) | SizeLimit::Unlimited | SizeLimit::NotOffered => {}
        }
        // RFC 6531 section 3.2: no UTF-8 to a peer without SMTPUTF8.
        if self.needs_smtputf8() && !offered.smtputf8 {
            return Err(MissingExtension::SmtpUtf8);
        }
        // RFC 6152 section 3: MUST NOT send 8-bit content raw.
        if self.body == BodyType::EightBit && !offered.eight_bit_mime {
            return Err(MissingExtension::EightBitMime);
        }
        Ok(())
    }
}
