//! Values for the tests of this crate.
#![allow(
    clippy::unwrap_used,
    reason = "for tests: a panic is the failure report"
)]

use std::time::Duration;

use attempt::Reason;
use mail_types::{Arrival, Envelope, Notify, QueueId, Recipient, ReversePath, Timestamp};

use crate::{
    AttemptNote, Body, Destination, Done, Effort, Finish, Incoming, Leased, Now, Outcome,
    Placement, QueueError, QueueStore,
};

/// Every domain is a destination; mail lives for five days.
pub(crate) struct ByDomain;

impl Placement for ByDomain {
    fn destination(&self, _: &Envelope, recipient: &Recipient) -> Destination {
        Destination::of_host(recipient.mailbox.host())
    }

    fn expires(&self, envelope: &Envelope) -> Timestamp {
        envelope.arrival.at + Duration::from_hours(120)
    }
}

/// An envelope of plain mail; the empty sender is the null reverse-path.
///
/// # Panics
/// If one of them is no address.
pub fn envelope(sender: &str, recipients: &[&str]) -> Envelope {
    Envelope {
        reverse_path: if sender.is_empty() {
            ReversePath::Null
        } else {
            ReversePath::Mailbox(sender.parse().unwrap())
        },
        recipients: recipients
            .iter()
            .map(|r| Recipient {
                mailbox: r.parse().unwrap(),
                notify: Notify::Unspecified,
                orcpt: None,
            })
            .collect(),
        arrival: Arrival {
            at: Timestamp::from_secs(10),
            ..Arrival::default()
        },
        ..Envelope::default()
    }
}

pub(crate) fn at(secs: u64) -> Now {
    Now {
        wall: Timestamp::from_secs(secs),
        monotonic: Duration::from_secs(secs),
    }
}

pub(crate) fn to(name: &str) -> Destination {
    Destination::new(name)
}

/// Enqueues a message of this content, that arrives now.
pub(crate) async fn put(
    store: &impl QueueStore,
    sender: &str,
    recipients: &[&str],
    body: &[u8],
    claim: bool,
    now: Now,
) -> (QueueId, Vec<Leased>) {
    let mut incoming = store.begin(Some(body.len() as u64), now).unwrap();
    for piece in body.chunks(1000) {
        incoming.write(piece).await.unwrap();
    }
    assert_eq!(incoming.size(), body.len() as u64);
    let mut envelope = envelope(sender, recipients);
    envelope.size = incoming.size();
    envelope.arrival.at = now.wall;
    let id = incoming.id();
    let committed = incoming.commit(envelope, claim, now).await.unwrap();
    assert_eq!(committed.id, id);
    (id, committed.leases)
}

pub(crate) async fn read(mut body: Body) -> Result<Vec<u8>, QueueError> {
    let mut all = Vec::new();
    while let Some(chunk) = body.next().await? {
        all.extend_from_slice(&chunk);
    }
    assert_eq!(all.len() as u64, body.size());
    Ok(all)
}

/// Ends a lease with one outcome for all of its recipients.
pub(crate) fn ending(lease: &Leased, outcome: Outcome) -> Finish {
    Finish {
        lease: lease.token,
        outcomes: lease
            .recipients
            .iter()
            .map(|r| (r.index, outcome))
            .collect(),
        notes: vec![AttemptNote {
            reason: Some(Reason::Connect.into()),
            detail: "No answer\u{7} from mx.d.test.".into(),
            ..AttemptNote::default()
        }],
        told: Vec::new(),
        warned: Vec::new(),
        effort: Effort::Attempt,
        messages: Vec::new(),
    }
}

pub(crate) const DELIVERED: Outcome = Outcome::Done(Done::Delivered);

pub(crate) const fn deferred(secs: u64) -> Outcome {
    Outcome::Deferred {
        next_attempt: Timestamp::from_secs(secs),
        note: 0,
    }
}
