//! The rows of the policy journal: what is on disk, and how rows add up to a state.
//!
//! A journal record's kind says which row it is, its meta is a CBOR map with numbered fields (new
//! fields get new numbers, so that old and new releases read each other), its body is the text of a
//! policy. Each row has a sequence number; of the rows about one domain the highest counts, in
//! whatever order they are read, so that compaction may copy rows while new ones are written.

use bytes::Bytes;
use mail_types::{Domain, Timestamp};
use minicbor::{Decode, Encode};
use mta_sts::{MxPattern, Policy, PolicyId};

use crate::contact::Contact;
use crate::discovery::{Exemption, LocalRules, Order, Pin, StoredPolicy};

/// One change, to be made durable.
#[derive(Clone, Debug)]
pub(crate) enum Row {
    /// A policy with its text.
    Policy(std::sync::Arc<StoredPolicy>),
    /// The same text was fetched again.
    Renewed(std::sync::Arc<StoredPolicy>),
    /// An operator removed the policy.
    Forgotten(Domain),
    /// First-contact trouble, or its end.
    Contact(Domain, Option<Contact>),
    /// Pin and exemption as they are now.
    Local(Domain, LocalRules),
}

/// A row as it is written.
pub(crate) struct Encoded {
    pub(crate) kind: u8,
    pub(crate) key: u64,
    pub(crate) meta: Vec<u8>,
    pub(crate) body: Option<Bytes>,
}

/// A row as it was read; the text of a policy is read later, and only if it counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decoded {
    Policy(PolicyMeta),
    Renewed(PolicyMeta),
    Forgotten,
    Contact(Option<Contact>),
    Local(LocalRules),
}

/// What is written about a policy beside its text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PolicyMeta {
    pub(crate) id: Option<PolicyId>,
    pub(crate) fetched_at: Timestamp,
    /// Of the text.
    pub(crate) digest: u64,
}

/// A row that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadRow(String);

pub(crate) const POLICY: u8 = 1;
pub(crate) const RENEWED: u8 = 2;
pub(crate) const FORGOTTEN: u8 = 3;
pub(crate) const CONTACT: u8 = 4;
pub(crate) const LOCAL: u8 = 5;
/// The first record of a store; it says nothing but that the store is there.
pub(crate) const BIRTH: u8 = 6;
/// Says that everything before it was synced, so that a policy at the end of the journal that was
/// damaged later is not taken for one that was never finished.
pub(crate) const MARK: u8 = 7;

impl Row {
    pub(crate) fn domain(&self) -> &Domain {
        match self {
            Self::Policy(p) | Self::Renewed(p) => &p.domain,
            Self::Forgotten(d) | Self::Contact(d, _) | Self::Local(d, _) => d,
        }
    }

    pub(crate) fn encode(&self, seq: u64) -> Encoded {
        let mut meta = Meta {
            domain: self.domain().as_str().to_owned(),
            seq,
            ..Meta::default()
        };
        let mut body = None;
        let kind = match self {
            Self::Policy(p) | Self::Renewed(p) => {
                meta.fetched_at = Some(p.fetched_at.as_millis());
                meta.id = p.id.as_ref().map(|id| id.as_str().to_owned());
                meta.digest = Some(digest(p.policy.text().as_bytes()));
                if matches!(self, Self::Policy(_)) {
                    body = Some(Bytes::copy_from_slice(p.policy.text().as_bytes()));
                    POLICY
                } else {
                    RENEWED
                }
            }
            Self::Forgotten(_) => FORGOTTEN,
            Self::Contact(_, contact) => {
                meta.contact = contact.map(ContactMeta::from);
                CONTACT
            }
            Self::Local(_, rules) => {
                meta.pin = rules.pin.as_ref().map(PinMeta::from);
                meta.exemption = rules.exemption.as_ref().map(ExemptionMeta::from);
                LOCAL
            }
        };
        let mut bytes = Vec::with_capacity(96);
        // Writing to a vector does not fail.
        let written = minicbor::encode(&meta, &mut bytes);
        debug_assert!(written.is_ok());
        Encoded {
            kind,
            key: digest(meta.domain.as_bytes()),
            meta: bytes,
            body,
        }
    }
}

/// Reads a row: its domain, its sequence number, what it says. `Ok(None)`: a kind of a later
/// release, which is left alone.
pub(crate) fn decode(kind: u8, meta: &[u8]) -> Result<Option<(Domain, u64, Decoded)>, BadRow> {
    if !matches!(kind, POLICY | RENEWED | FORGOTTEN | CONTACT | LOCAL) {
        return Ok(None);
    }
    let m: Meta = minicbor::decode(meta).map_err(|e| BadRow(e.to_string()))?;
    let domain = Domain::parse(&m.domain).map_err(|e| BadRow(e.to_string()))?;
    let row = match kind {
        POLICY => Decoded::Policy(m.policy()?),
        RENEWED => Decoded::Renewed(m.policy()?),
        FORGOTTEN => Decoded::Forgotten,
        CONTACT => Decoded::Contact(m.contact.map(Contact::from)),
        LOCAL => Decoded::Local(LocalRules {
            pin: m.pin.map(Pin::try_from).transpose()?,
            exemption: m.exemption.map(Exemption::from),
        }),
        _ => return Ok(None),
    };
    Ok(Some((domain, m.seq, row)))
}

/// A policy from its two parts.
pub(crate) fn restore(
    domain: &Domain,
    meta: &PolicyMeta,
    text: &[u8],
) -> Result<StoredPolicy, BadRow> {
    if digest(text) != meta.digest {
        return Err(BadRow("the text is not the one that was stored".into()));
    }
    let policy = Policy::parse(text)
        .map_err(|e| BadRow(e.to_string()))?
        .policy;
    Ok(StoredPolicy {
        domain: domain.clone(),
        expires_at: meta.fetched_at + policy.max_age(),
        fetched_at: meta.fetched_at,
        id: meta.id.clone(),
        policy,
    })
}

/// FNV-1a, 64 bits: tells texts apart; no defence against anybody who can write to our disk.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[derive(Default, Encode, Decode)]
#[cbor(map)]
struct Meta {
    #[n(0)]
    domain: String,
    #[n(1)]
    seq: u64,
    /// Milliseconds since 1970.
    #[n(2)]
    fetched_at: Option<u64>,
    #[n(3)]
    id: Option<String>,
    #[n(4)]
    digest: Option<u64>,
    #[n(5)]
    contact: Option<ContactMeta>,
    #[n(6)]
    pin: Option<PinMeta>,
    #[n(7)]
    exemption: Option<ExemptionMeta>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct ContactMeta {
    #[n(0)]
    since: u64,
    #[n(1)]
    last: u64,
    #[n(2)]
    failures: u32,
    #[n(3)]
    opened: Option<u64>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct PinMeta {
    #[n(0)]
    mx: Vec<String>,
    #[n(1)]
    order: OrderMeta,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct ExemptionMeta {
    #[n(0)]
    until: u64,
    #[n(1)]
    order: OrderMeta,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct OrderMeta {
    #[n(0)]
    by: String,
    #[n(1)]
    reason: String,
    #[n(2)]
    at: u64,
}

impl Meta {
    fn policy(&self) -> Result<PolicyMeta, BadRow> {
        let id = self.id.as_deref().map(PolicyId::parse).transpose();
        let missing = || BadRow("a field is missing".into());
        Ok(PolicyMeta {
            id: id.map_err(|e| BadRow(e.to_string()))?,
            fetched_at: Timestamp::from_millis(self.fetched_at.ok_or_else(missing)?),
            digest: self.digest.ok_or_else(missing)?,
        })
    }
}

impl From<Contact> for ContactMeta {
    fn from(c: Contact) -> Self {
        Self {
            since: c.since.as_millis(),
            last: c.last.as_millis(),
            failures: c.failures,
            opened: c.opened.map(Timestamp::as_millis),
        }
    }
}

impl From<ContactMeta> for Contact {
    fn from(c: ContactMeta) -> Self {
        Self {
            since: Timestamp::from_millis(c.since),
            last: Timestamp::from_millis(c.last),
            failures: c.failures,
            opened: c.opened.map(Timestamp::from_millis),
        }
    }
}

impl From<&Order> for OrderMeta {
    fn from(o: &Order) -> Self {
        Self {
            by: o.by.clone(),
            reason: o.reason.clone(),
            at: o.at.as_millis(),
        }
    }
}

impl From<OrderMeta> for Order {
    fn from(o: OrderMeta) -> Self {
        Self {
            by: o.by,
            reason: o.reason,
            at: Timestamp::from_millis(o.at),
        }
    }
}

impl From<&Pin> for PinMeta {
    fn from(p: &Pin) -> Self {
        Self {
            mx: p.mx.iter().map(|m| m.as_str().to_owned()).collect(),
            order: OrderMeta::from(&p.order),
        }
    }
}

impl TryFrom<PinMeta> for Pin {
    type Error = BadRow;
    fn try_from(p: PinMeta) -> Result<Self, BadRow> {
        let mx: Result<_, _> = p.mx.iter().map(|m| MxPattern::parse(m)).collect();
        Ok(Self {
            mx: mx.map_err(|e| BadRow(e.to_string()))?,
            order: p.order.into(),
        })
    }
}

impl From<&Exemption> for ExemptionMeta {
    fn from(e: &Exemption) -> Self {
        Self {
            until: e.until.as_millis(),
            order: OrderMeta::from(&e.order),
        }
    }
}

impl From<ExemptionMeta> for Exemption {
    fn from(e: ExemptionMeta) -> Self {
        Self {
            until: Timestamp::from_millis(e.until),
            order: e.order.into(),
        }
    }
}

#[cfg(test)]
mod tests;
