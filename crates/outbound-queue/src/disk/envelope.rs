//! The envelope on disk.

use std::net::IpAddr;

use mail_types::{
    Arrival, BodyType, Envelope, MessageClass, Notify, Recipient, Ret, ReversePath, Submitter,
    Timestamp, TlsFacts,
};
use minicbor::{Decode, Encode};

use super::Unreadable;

#[derive(Encode, Decode)]
pub(super) struct EnvelopeForm<'a> {
    /// Empty: the null reverse-path (RFC 5321 section 4.5.5).
    #[b(0)]
    reverse_path: &'a str,
    #[b(1)]
    recipients: Vec<RecipientForm<'a>>,
    /// [`EIGHT_BIT`] and the other bits.
    #[n(2)]
    #[cbor(default)]
    flags: u32,
    #[b(3)]
    envid: Option<&'a str>,
    #[n(4)]
    #[cbor(default)]
    size: u64,
    /// 0 mail, 1 DSN, 2 report.
    #[n(5)]
    #[cbor(default)]
    class: u8,
    #[b(6)]
    arrival: ArrivalForm<'a>,
}

#[derive(Encode, Decode)]
struct RecipientForm<'a> {
    #[b(0)]
    mailbox: &'a str,
    /// 0 unspecified, 1 never, else 2 + success 4, failure 8, delay 16.
    #[n(1)]
    #[cbor(default)]
    notify: u8,
    #[b(2)]
    orcpt: Option<&'a str>,
}

#[derive(Encode, Decode)]
struct ArrivalForm<'a> {
    #[n(0)]
    at: u64,
    #[n(1)]
    #[cbor(default)]
    began: u64,
    #[b(2)]
    listener: Option<&'a str>,
    #[n(3)]
    client: Option<IpAddr>,
    #[b(4)]
    helo: Option<&'a str>,
    #[b(5)]
    upstream_id: Option<&'a str>,
    #[b(6)]
    message_id: Option<&'a str>,
    #[b(7)]
    identity: Option<&'a str>,
    #[b(8)]
    tls_version: Option<&'a str>,
    #[b(9)]
    tls_cipher: Option<&'a str>,
    /// Empty: said, but not believed (RFC 4954 section 5).
    #[b(10)]
    submitter: Option<&'a str>,
}

impl<'a> EnvelopeForm<'a> {
    pub(super) fn of(e: &'a Envelope) -> Self {
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        Self {
            reverse_path: e.reverse_path.mailbox().map_or("", |m| m.as_str()),
            recipients: e.recipients.iter().map(RecipientForm::of).collect(),
            flags: flag(e.body == BodyType::EightBit, EIGHT_BIT)
                | flag(e.smtputf8, SMTPUTF8)
                | flag(e.requiretls, REQUIRETLS)
                | flag(e.tls_required_no, TLS_REQUIRED_NO)
                | flag(e.ret == Some(Ret::Full), RET_FULL)
                | flag(e.ret == Some(Ret::Headers), RET_HEADERS),
            envid: e.envid.as_deref(),
            size: e.size,
            class: match e.class {
                MessageClass::Mail => 0,
                MessageClass::Dsn => 1,
                MessageClass::Report => 2,
            },
            arrival: ArrivalForm::of(&e.arrival),
        }
    }

    pub(super) fn value(self) -> Result<Envelope, Unreadable> {
        let has = |bit: u32| self.flags & bit != 0;
        Ok(Envelope {
            reverse_path: if self.reverse_path.is_empty() {
                ReversePath::Null
            } else {
                ReversePath::Mailbox(self.reverse_path.parse().map_err(|_| Unreadable)?)
            },
            body: if has(EIGHT_BIT) {
                BodyType::EightBit
            } else {
                BodyType::SevenBit
            },
            smtputf8: has(SMTPUTF8),
            requiretls: has(REQUIRETLS),
            tls_required_no: has(TLS_REQUIRED_NO),
            ret: match (has(RET_FULL), has(RET_HEADERS)) {
                (true, _) => Some(Ret::Full),
                (false, true) => Some(Ret::Headers),
                (false, false) => None,
            },
            envid: self.envid.map(Into::into),
            size: self.size,
            class: match self.class {
                1 => MessageClass::Dsn,
                2 => MessageClass::Report,
                _ => MessageClass::Mail,
            },
            arrival: self.arrival.value(),
            recipients: self
                .recipients
                .into_iter()
                .map(RecipientForm::value)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl<'a> RecipientForm<'a> {
    fn of(r: &'a Recipient) -> Self {
        Self {
            mailbox: r.mailbox.as_str(),
            notify: match r.notify {
                Notify::Unspecified => 0,
                Notify::Never => 1,
                Notify::On {
                    success,
                    failure,
                    delay,
                } => 2 | u8::from(success) << 2 | u8::from(failure) << 3 | u8::from(delay) << 4,
            },
            orcpt: r.orcpt.as_deref(),
        }
    }

    fn value(self) -> Result<Recipient, Unreadable> {
        Ok(Recipient {
            mailbox: self.mailbox.parse().map_err(|_| Unreadable)?,
            notify: match self.notify {
                0 => Notify::Unspecified,
                1 => Notify::Never,
                bits => Notify::On {
                    success: bits & 4 != 0,
                    failure: bits & 8 != 0,
                    delay: bits & 16 != 0,
                },
            },
            orcpt: self.orcpt.map(Into::into),
        })
    }
}

impl<'a> ArrivalForm<'a> {
    fn of(a: &'a Arrival) -> Self {
        let text = |t: &'a str| (!t.is_empty()).then_some(t);
        Self {
            at: a.at.as_millis(),
            began: a.began.as_millis(),
            listener: text(&a.listener),
            client: a.client,
            helo: text(&a.helo),
            upstream_id: a.upstream_id.as_deref(),
            message_id: a.message_id.as_deref(),
            identity: a.identity.as_deref(),
            tls_version: a.tls.as_ref().map(|t| &*t.version),
            tls_cipher: a.tls.as_ref().map(|t| &*t.cipher),
            submitter: a.submitter.as_ref().map(|submitter| match submitter {
                Submitter::Unknown => "",
                Submitter::Mailbox(mailbox) => mailbox.as_str(),
            }),
        }
    }

    fn value(self) -> Arrival {
        Arrival {
            at: Timestamp::from_millis(self.at),
            began: Timestamp::from_millis(self.began),
            listener: self.listener.unwrap_or_default().into(),
            client: self.client,
            helo: self.helo.unwrap_or_default().into(),
            upstream_id: self.upstream_id.map(Into::into),
            message_id: self.message_id.map(Into::into),
            identity: self.identity.map(Into::into),
            submitter: self.submitter.map(|text| {
                let mailbox = text.parse();
                mailbox.map_or(Submitter::Unknown, Submitter::Mailbox)
            }),
            tls: self.tls_version.map(|version| TlsFacts {
                version: version.into(),
                cipher: self.tls_cipher.unwrap_or_default().into(),
            }),
        }
    }
}

const EIGHT_BIT: u32 = 1;
const SMTPUTF8: u32 = 2;
const REQUIRETLS: u32 = 4;
const TLS_REQUIRED_NO: u32 = 8;
const RET_FULL: u32 = 16;
const RET_HEADERS: u32 = 32;
