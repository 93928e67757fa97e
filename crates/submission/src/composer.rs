//! Between a session and the queue: header mended, body passed through, signature at the top.

use std::net::IpAddr;
use std::sync::Arc;

use dkim::{BodyHash, Pending, SignError};
use mail_types::{QueueId, ReversePath, Senders, Timestamp, header_fields};

use crate::collector::Collector;
use crate::{Fixups, Rejection, SigningRules};

/// Where a message comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// It came in on a submission listener.
    pub submitted: bool,
    /// The client's address.
    pub client: IpAddr,
    /// Who authenticated.
    pub identity: Option<Box<str>>,
    /// As whom it may send. What it may not send as is not signed for it either.
    pub senders: Senders,
    /// The envelope sender.
    pub sender: ReversePath,
    /// The message's queue id.
    pub id: QueueId,
    /// When its content began.
    pub at: Timestamp,
}

/// Makes the final form of one message, piece by piece.
#[derive(Debug)]
pub struct Composer {
    fixups: Option<Arc<Fixups>>,
    rules: Arc<SigningRules>,
    origin: Origin,
    stage: Stage,
    message_id: Option<Box<str>>,
}

#[derive(Debug)]
enum Stage {
    Header {
        /// Fields of ours that stand above all others.
        trace: Vec<u8>,
        collector: Collector,
    },
    Body {
        signatures: Vec<Pending>,
        hash: BodyHash,
    },
    /// Nothing more is changed.
    Open,
}

/// What to store now.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Composed<'a> {
    /// Nothing: the header is not complete.
    Nothing,
    /// The first octets. Before them so many are to be left free, for [`Composer::sign`].
    Start {
        /// Octets to leave free at the very top.
        reserve: usize,
        /// What follows them.
        octets: Vec<u8>,
    },
    /// The next octets.
    Body(&'a [u8]),
}

impl Composer {
    /// For a message whose trace header is `trace`. `None` if nothing is to be changed.
    #[must_use]
    pub fn new(
        fixups: Option<Arc<Fixups>>,
        rules: Arc<SigningRules>,
        origin: Origin,
        trace: &[u8],
    ) -> Option<Self> {
        if fixups.is_none() && !rules.concern(origin.submitted, origin.client) {
            return None;
        }
        Some(Self {
            fixups,
            rules,
            origin,
            stage: Stage::Header {
                trace: trace.to_vec(),
                collector: Collector::default(),
            },
            message_id: None,
        })
    }

    /// The next octets of the content, in pieces of any size, without bare CR or LF.
    ///
    /// # Errors
    /// The message cannot be taken.
    pub fn feed<'a>(&mut self, octets: &'a [u8]) -> Result<Composed<'a>, Rejection> {
        match &mut self.stage {
            Stage::Header { collector, .. } => {
                if collector.feed(octets)? {
                    return self.start();
                }
                Ok(Composed::Nothing)
            }
            Stage::Body { hash, .. } => {
                hash.update(octets);
                Ok(Composed::Body(octets))
            }
            Stage::Open => Ok(Composed::Body(octets)),
        }
    }

    /// There is no more content: what was held back of a message that is all header.
    ///
    /// # Errors
    /// The message cannot be taken.
    pub fn end(&mut self) -> Result<Composed<'static>, Rejection> {
        match &self.stage {
            Stage::Header { .. } => self.start(),
            Stage::Body { .. } | Stage::Open => Ok(Composed::Nothing),
        }
    }

    /// Octets held back: the header, until it is complete.
    #[must_use]
    pub const fn held(&self) -> usize {
        match &self.stage {
            Stage::Header { trace, collector } => trace.capacity() + collector.held(),
            Stage::Body { .. } | Stage::Open => 0,
        }
    }

    /// The Message-ID that was added, if one was.
    pub fn take_message_id(&mut self) -> Option<Box<str>> {
        self.message_id.take()
    }

    /// Whether [`Composer::sign`] has something to do.
    #[must_use]
    pub const fn signs(&self) -> bool {
        matches!(self.stage, Stage::Body { .. })
    }

    /// After [`Composer::end`]: exactly the octets that were left free. It may take a
    /// millisecond or two for each RSA key.
    ///
    /// # Errors
    /// A key could not sign; then the message must not be sent.
    pub fn sign(self) -> Result<Vec<u8>, SignError> {
        let Stage::Body { signatures, hash } = self.stage else {
            return Ok(Vec::new());
        };
        let digest = hash.finish();
        let mut octets = Vec::new();
        for pending in signatures {
            octets.extend_from_slice(pending.finish(digest)?.as_bytes());
        }
        Ok(octets)
    }

    /// The header is complete.
    fn start(&mut self) -> Result<Composed<'static>, Rejection> {
        let stage = std::mem::replace(&mut self.stage, Stage::Open);
        let Stage::Header { trace, collector } = stage else {
            return Ok(Composed::Nothing);
        };
        let Origin { id, at, .. } = self.origin;
        let content = collector.into_octets();
        let (fields, rest) = header_fields(&content);
        let mut octets = trace;
        match &self.fixups {
            Some(fixups) => {
                let identity = self.origin.identity.as_deref();
                // Queue ids are never used twice, and our name is nobody else's.
                let mended = fixups.mend(&fields, identity, &id.to_string(), at)?;
                octets.extend_from_slice(mended.added.as_bytes());
                for field in &mended.kept {
                    octets.extend_from_slice(field.raw());
                }
                self.message_id = mended.message_id;
                if !rest.is_empty() && !rest.starts_with(b"\r\n") {
                    // The body began without the empty line that RFC 5322 section 2.1 asks for.
                    octets.extend_from_slice(b"\r\n");
                }
            }
            None => fields
                .iter()
                .for_each(|f| octets.extend_from_slice(f.raw())),
        }
        let head = octets.len();
        octets.extend_from_slice(rest);
        // RFC 6376 section 5.3: on the form that is sent, after all changes (row G4-08).
        let (fields, _) = header_fields(octets.get(..head).unwrap_or_default());
        let chosen = self.rules.select(&self.origin, &fields)?;
        let signatures: Vec<Pending> = chosen.iter().map(|r| r.signer.begin(&fields, at)).collect();
        let reserve = signatures.iter().map(Pending::len).sum();
        if !signatures.is_empty() {
            let mut hash = BodyHash::new();
            hash.update(rest.strip_prefix(b"\r\n").unwrap_or(rest));
            self.stage = Stage::Body { signatures, hash };
        }
        Ok(Composed::Start { reserve, octets })
    }
}

#[cfg(test)]
mod tests;
