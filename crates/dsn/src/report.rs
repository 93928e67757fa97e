//! What a notification is made from.

use std::net::IpAddr;

use mail_types::{Domain, EnhancedStatus, Envelope, Mailbox, QueueId, Recipient, Timestamp};

/// One notification about one message: what happened to the recipients named in it.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// The queue id of the message that it speaks of.
    pub queue_id: QueueId,
    /// That message's envelope; its reverse-path is where the notification goes.
    pub envelope: &'a Envelope,
    /// The recipients that it speaks of: those [`crate::entitled`] said yes to. One at least.
    pub recipients: &'a [RecipientReport<'a>],
    /// What there is of the message.
    pub original: Original<'a>,
    /// What the way back can carry.
    pub return_path: ReturnPath,
}

/// Who reports.
#[derive(Clone, Copy, Debug)]
pub struct Reporter<'a> {
    /// Our fully qualified name: `Reporting-MTA` (row F1-24) and the right side of Message-ID.
    pub hostname: &'a Domain,
    /// The address a person answers: usually `MAILER-DAEMON@hostname` or the postmaster (row F2-03).
    pub from: &'a Mailbox,
    /// Whole messages of more octets than this are not returned, only their headers (row F1-22).
    pub max_returned: usize,
}

/// What happened to one recipient.
#[derive(Clone, Copy, Debug)]
pub struct RecipientReport<'a> {
    /// As in the envelope.
    pub recipient: &'a Recipient,
    /// What happened.
    pub action: Action,
    /// The enhanced status code. Its class is made to agree with the action (row F2-07); an
    /// expired recipient always gets 4.4.7 (decision AMB-28).
    pub status: EnhancedStatus,
    /// The host that gave the diagnostic, or took the mail; `None` if no host was involved
    /// (row F2-08).
    pub remote_mta: Option<&'a str>,
    /// The last cause in detail.
    pub diagnostic: Option<Diagnostic<'a>>,
    /// The end of the last attempt; `None` if there was none.
    pub last_attempt: Option<Timestamp>,
    /// It was held here, on purpose, until its time was over.
    pub held: bool,
    /// When the message expires. Shown only for [`Action::Delayed`] (row F2-10).
    pub will_retry_until: Option<Timestamp>,
    /// What went wrong, one sentence in plain words without codes; may be empty.
    pub summary: &'a str,
    /// What was tried and what the recipient's administrator should know, if there is more to say.
    pub story: Option<Story<'a>>,
}

/// What happened to a recipient (RFC 3464 section 2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A permanent failure: `failed`.
    Failed,
    /// Given up after trying for the message's lifetime: `failed` with status 4.4.7.
    Expired,
    /// Not delivered yet; attempts go on: `delayed`.
    Delayed,
    /// Handed to a host that sends no notifications: `relayed`.
    Relayed,
}

/// The last cause of a failure (RFC 3464 section 2.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagnostic<'a> {
    /// The remote host's reply, code first; lines separated by CR, LF or both. Exactly as it came.
    Smtp(&'a str),
    /// Our own words: never labelled as the remote's (row F2-09).
    Local(&'a str),
}

/// What was tried on behalf of a recipient (row F3-01).
#[derive(Clone, Copy, Debug)]
pub struct Story<'a> {
    /// The recipient's domain.
    pub domain: &'a str,
    /// The policies that the delivery had to meet.
    pub policies: &'a [Policy<'a>],
    /// The hosts of the last attempt in the order tried.
    pub hosts: &'a [Host<'a>],
    /// What the recipient's administrator should do, in plain words; may be empty.
    pub advice: &'a str,
}

/// A policy that a delivery had to meet.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// `MTA-STS`, `DANE`, `REQUIRETLS`, `local rule`, `route`.
    pub source: &'a str,
    /// For instance `enforce`.
    pub mode: &'a str,
    /// The policy's id, if it has one.
    pub id: Option<&'a str>,
    /// Where it was published, for instance the policy's URL; may be empty.
    pub published_at: &'a str,
    /// When it was fetched.
    pub fetched_at: Option<Timestamp>,
    /// Until when it binds.
    pub expires_at: Option<Timestamp>,
}

/// One host that was tried.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// Its name.
    pub name: &'a str,
    /// The address tried.
    pub ip: Option<IpAddr>,
    /// What failed there, in plain words.
    pub failure: &'a str,
}

/// What there is of the original message. CRLF line ends; the header ends at the first empty line.
#[derive(Clone, Copy, Debug)]
pub enum Original<'a> {
    /// The header section only.
    Headers(&'a [u8]),
    /// The whole message. Returned whole only if the sender asked (`RET=FULL`), for a failure,
    /// below the size cap, and if the way back can carry it unchanged; else its header.
    Whole(&'a [u8]),
    /// Nothing may be shown, or the content could not be read.
    Withheld,
}

/// What the way back to the sender can carry (rows F2-12, F2-13; decision AMB-35 says what is assumed).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReturnPath {
    /// Only US-ASCII: always safe.
    #[default]
    SevenBit,
    /// 8BITMIME.
    EightBit,
    /// 8BITMIME and SMTPUTF8. Always assumed if the reverse-path itself needs it.
    Utf8,
}
