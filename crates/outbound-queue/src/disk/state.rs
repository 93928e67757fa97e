//! The state of a message on disk.

use std::net::IpAddr;
use std::sync::Arc;

use attempt::Reason;
use mail_types::{Envelope, QueueId, Timestamp};
use minicbor::{Decode, Encode};

use super::Unreadable;
use crate::history::History;
use crate::state::{RecipientEntry, Stored};
use crate::{AttemptEntry, AttemptNote, Demands, Destination, Done, HostNote, Keyed};

#[derive(Encode, Decode)]
pub(super) struct StateForm<'a> {
    #[n(0)]
    #[cbor(default)]
    revision: u32,
    /// [`HELD`], [`BOUNCE`]; from earlier versions [`WARNED`].
    #[n(1)]
    #[cbor(default)]
    flags: u8,
    /// Destination names, each once; others refer to them by index.
    #[b(2)]
    destinations: Vec<&'a str>,
    /// Reason keys, each once.
    #[b(3)]
    reasons: Vec<&'a str>,
    #[n(4)]
    recipients: Vec<RecipientStateForm>,
    #[b(5)]
    attempts: Vec<AttemptForm<'a>>,
    /// Key of the last [`DUE`](super::DUE) record that was applied.
    #[n(6)]
    retried: Option<u64>,
    /// Results of attempts that are not kept.
    #[n(7)]
    left_out: Option<u32>,
}

#[derive(Encode, Decode)]
struct RecipientStateForm {
    #[n(0)]
    destination: u32,
    #[n(1)]
    next: u64,
    #[n(2)]
    #[cbor(default)]
    attempts: u32,
    #[n(3)]
    reason: Option<u32>,
    #[n(4)]
    done: Option<u8>,
    #[n(5)]
    put_off: Option<bool>,
    #[n(6)]
    warned: Option<bool>,
}

#[derive(Encode, Decode)]
struct AttemptForm<'a> {
    #[b(0)]
    note: NoteForm<'a>,
    #[n(1)]
    destination: u32,
    #[n(2)]
    first: u64,
    #[n(3)]
    last: u64,
    #[n(4)]
    count: u32,
    /// Absent for an only recipient, and from earlier versions for all of several.
    #[n(5)]
    recipients: Option<Vec<u32>>,
}

#[derive(Encode, Decode)]
pub(super) struct NoteForm<'a> {
    #[b(0)]
    reason: &'a str,
    #[b(1)]
    detail: &'a str,
    #[n(2)]
    status: Option<(u8, u16, u16)>,
    #[b(3)]
    reply: Option<&'a str>,
    #[b(4)]
    mx: Option<&'a str>,
    #[n(5)]
    ip: Option<IpAddr>,
    #[b(6)]
    tls: Option<&'a str>,
    #[b(7)]
    policy: Option<&'a str>,
    #[b(8)]
    case: Option<&'a str>,
    #[b(9)]
    by: Option<&'a str>,
    #[b(10)]
    tried: Option<Vec<HostForm<'a>>>,
}

#[derive(Encode, Decode)]
struct HostForm<'a> {
    #[b(0)]
    mx: &'a str,
    #[n(1)]
    ip: Option<IpAddr>,
    #[b(2)]
    reason: &'a str,
    #[b(3)]
    case: Option<&'a str>,
}

impl<'a> StateForm<'a> {
    pub(super) fn of(m: &'a Stored) -> Self {
        let mut destinations = Names::default();
        let mut reasons = Names::default();
        let recipients = m
            .recipients
            .iter()
            .map(|r| RecipientStateForm {
                destination: destinations.index(r.destination.as_str()),
                next: r.next.as_millis(),
                attempts: r.attempts,
                reason: r.reason.as_ref().map(|x| reasons.index(x.key())),
                done: r.done.map(done_code),
                put_off: r.put_off.then_some(true),
                warned: r.warned.then_some(true),
            })
            .collect();
        let attempts = m
            .history
            .entries
            .iter()
            .map(|a| AttemptForm {
                note: NoteForm::of(&a.note),
                destination: destinations.index(a.destination.as_str()),
                first: a.first.as_millis(),
                last: a.last.as_millis(),
                count: a.count,
                recipients: a.recipients.as_deref().map(<[u32]>::to_vec),
            })
            .collect();
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        Self {
            revision: m.revision,
            flags: flag(m.held, HELD) | flag(m.bounce, BOUNCE),
            destinations: destinations.0,
            reasons: reasons.0,
            recipients,
            attempts,
            retried: (m.retried.raw() != 0).then(|| m.retried.raw()),
            left_out: (m.history.left_out != 0).then_some(m.history.left_out),
        }
    }

    pub(super) fn value(self, envelope: Arc<Envelope>) -> Result<Stored, Unreadable> {
        if self.recipients.len() != envelope.recipients.len() {
            return Err(Unreadable);
        }
        let destinations: Vec<Destination> = self
            .destinations
            .iter()
            .map(|d| Destination::new(d))
            .collect();
        let reasons: Vec<_> = self.reasons.iter().map(|r| reason(r)).collect();
        let named = |index: u32| destinations.get(index as usize).cloned().ok_or(Unreadable);
        let mut recipients = Vec::with_capacity(self.recipients.len());
        for r in &self.recipients {
            recipients.push(RecipientEntry {
                destination: named(r.destination)?,
                done: r.done.map(done_value),
                next: Timestamp::from_millis(r.next),
                attempts: r.attempts,
                reason: r.reason.and_then(|x| reasons.get(x as usize).cloned()?),
                put_off: r.put_off.unwrap_or(false),
                warned: r.warned.unwrap_or(false) || self.flags & WARNED != 0,
            });
        }
        let mut attempts = Vec::with_capacity(self.attempts.len());
        for a in self.attempts {
            attempts.push(AttemptEntry {
                destination: named(a.destination)?,
                note: a.note.value(),
                first: Timestamp::from_millis(a.first),
                last: Timestamp::from_millis(a.last),
                count: a.count,
                recipients: a.recipients.map(Vec::into),
            });
        }
        Ok(Stored {
            envelope,
            revision: self.revision,
            held: self.flags & HELD != 0,
            bounce: self.flags & BOUNCE != 0,
            recipients,
            history: History {
                entries: attempts,
                left_out: self.left_out.unwrap_or_default(),
            },
            retried: QueueId::from_raw(self.retried.unwrap_or_default()),
        })
    }
}

impl<'a> NoteForm<'a> {
    pub(super) fn of(n: &'a AttemptNote) -> Self {
        Self {
            reason: n.reason.as_ref().map_or("", Keyed::key),
            detail: &n.detail,
            status: n.status.map(status_numbers),
            reply: n.reply.as_deref(),
            mx: n.mx.as_deref(),
            ip: n.ip,
            tls: n.tls.as_deref(),
            policy: n.policy.as_ref().map(Demands::as_str),
            case: some(n.case.key()),
            by: some(n.by.key()),
            tried: (!n.tried.is_empty()).then(|| n.tried.iter().map(HostForm::of).collect()),
        }
    }

    pub(super) fn value(self) -> AttemptNote {
        let status = self.status.map(|(c, s, d)| format!("{c}.{s}.{d}"));
        AttemptNote {
            reason: reason(self.reason),
            status: status.and_then(|s| s.parse().ok()),
            reply: self.reply.map(Into::into),
            detail: self.detail.into(),
            mx: self.mx.map(Into::into),
            ip: self.ip,
            tls: self.tls.map(Into::into),
            policy: self.policy.map(Demands::from_line),
            case: Keyed::from_key(self.case.unwrap_or_default()),
            by: Keyed::from_key(self.by.unwrap_or_default()),
            tried: self
                .tried
                .unwrap_or_default()
                .into_iter()
                .map(HostForm::value)
                .collect(),
        }
    }
}

impl<'a> HostForm<'a> {
    fn of(host: &'a HostNote) -> Self {
        Self {
            mx: &host.mx,
            ip: host.ip,
            reason: host.reason.as_ref().map_or("", Keyed::key),
            case: some(host.case.key()),
        }
    }

    fn value(self) -> HostNote {
        HostNote {
            mx: self.mx.into(),
            ip: self.ip,
            reason: reason(self.reason),
            case: Keyed::from_key(self.case.unwrap_or_default()),
        }
    }
}

/// What did not fail has an empty one.
fn reason(key: &str) -> Option<Keyed<Reason>> {
    some(key).map(Keyed::from_key)
}

/// What is empty is not written.
fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Texts, each once, in the order of first use.
#[derive(Default)]
struct Names<'a>(Vec<&'a str>);

impl<'a> Names<'a> {
    fn index(&mut self, name: &'a str) -> u32 {
        // Recipients mostly come sorted by destination: look from the end.
        let found = self.0.iter().rposition(|n| *n == name);
        let index = found.unwrap_or_else(|| {
            self.0.push(name);
            self.0.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }
}

/// The status in numbers: its text is the only thing that shows them.
fn status_numbers(status: mail_types::EnhancedStatus) -> (u8, u16, u16) {
    let text = status.to_string();
    let mut numbers = text
        .split('.')
        .map(|n| n.parse::<u16>().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    let class = u8::try_from(next()).unwrap_or_default();
    (class, next(), next())
}

pub(super) const fn done_code(done: Done) -> u8 {
    match done {
        Done::Delivered => 0,
        Done::Bounced => 1,
        Done::Expired => 2,
        Done::Cancelled => 3,
        Done::Relayed => 4,
    }
}

/// A kind of a later version still means that nothing is left to be done.
pub(super) const fn done_value(code: u8) -> Done {
    match code {
        1 => Done::Bounced,
        2 => Done::Expired,
        3 => Done::Cancelled,
        4 => Done::Relayed,
        _ => Done::Delivered,
    }
}

const HELD: u8 = 1;
const BOUNCE: u8 = 2;
/// Of all recipients; no longer written.
const WARNED: u8 = 4;
