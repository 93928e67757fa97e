//! What delivery tells the rest of the process.

use std::net::IpAddr;
use std::time::Duration;

use attempt::{DsnKind, DsnSent, Record, Removed};
use mail_types::{HostName, Mailbox, QueueId};

use crate::decide::destination::Suspension;
use crate::worker::steps::Story;
use dsn::{NoticeSummary, Withheld};

/// Is told of everything that happens to mail. Called from the workers: it must not block.
pub trait Observer: Send + Sync {
    /// One attempt on one recipient.
    fn attempt(&self, record: &Record<'_>);

    /// Nothing is left to be done for a message.
    fn removed(&self, event: &Removed<'_>);

    /// A notification was put into the queue.
    fn dsn_sent(&self, event: &DsnSent<'_>);

    /// A notification was not made, since there are too many of them already.
    fn notice_withheld(&self, event: &NoticeWithheld<'_>);

    /// A sender's window has ended: what he was not told in it.
    fn notices_summarised(&self, summary: &NoticeSummary);

    /// A session was opened, or not.
    fn session(&self, session: SessionEvent);

    /// A host may have taken a message without saying so.
    fn possible_duplicate(&self, event: &PossibleDuplicate<'_>);

    /// A destination is being left alone from now on for a while: the recipients' host and the next hop of
    /// its route, as people name them.
    fn suspended(&self, host: &str, route: Option<&str>, suspension: &Suspension, pause: Duration);

    /// A domain's MX records name so many `hosts`; only the best `tried` of them count (row H1-17).
    fn hosts_cut(&self, domain: &str, hosts: usize, tried: usize);

    /// `absent` of the `asked` domains that were looked up last are said not to exist: that is not
    /// believed, and their mail waits.
    fn dns_doubted(&self, absent: usize, asked: usize);

    /// NXDOMAIN is believed again.
    fn dns_believed(&self);

    /// Whether [findings](Self::tls_finding) are wanted: asked for each message.
    fn reports_tls(&self) -> bool {
        false
    }

    /// What a session showed about a policy, for a TLS report (RFC 8460): once for each session and policy,
    /// and where none could be opened for want of TLS. Never of mail that is such a report.
    fn tls_finding(&self, _finding: &tls_rpt::Finding<'_>) {}

    /// Whether anything is traced now. Asked often: it must cost nothing.
    fn traces(&self) -> bool {
        false
    }

    /// Whether the times of attempts are wanted: asked a few times for each message.
    fn times_attempts(&self) -> bool {
        false
    }

    /// What an attempt did and when, told after its records if that is wanted.
    fn attempt_timed(&self, _story: &Story<'_>) {}

    /// A part of an attempt, told while something is traced.
    fn traced(&self, _part: &TracedPart<'_>) {}
}

/// A part of an attempt for those who trace a domain, a host or a message. Never content, never
/// credentials.
#[derive(Clone, Copy, Debug)]
pub struct TracedPart<'a> {
    /// The message.
    pub queue_id: QueueId,
    /// The recipients' domain.
    pub domain: &'a str,
    /// The host, for a session.
    pub mx: Option<&'a HostName>,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Lines: the plan, or the dialogue.
    pub text: &'a str,
}

/// A connection attempt, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// Opened; with TLS of this version and this authentication, or without.
    Opened {
        /// For instance `TLSv1.3`.
        tls: Option<Box<str>>,
        /// The certificate was valid for the host.
        verified: bool,
        /// How long it took.
        took: Duration,
    },
    /// The handshake or the verification failed.
    HandshakeFailed,
    /// It did not get that far.
    Failed,
    /// Taken from the pool.
    Reused,
}

/// A host may have taken a message without saying so: it may come twice (row E5-12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PossibleDuplicate<'a> {
    /// The message.
    pub queue_id: QueueId,
    /// The host.
    pub mx: &'a HostName,
    /// Its address.
    pub ip: IpAddr,
    /// What ended the session.
    pub cause: &'a str,
}

/// A notification that was not made (row F4-06).
#[derive(Clone, Debug)]
pub struct NoticeWithheld<'a> {
    /// The message that it was about.
    pub queue_id: QueueId,
    /// Whom it would have told.
    pub to: &'a Mailbox,
    /// What it would have told.
    pub kind: DsnKind,
    /// Of how many recipients.
    pub recipients: usize,
    /// Why not.
    pub limit: Withheld,
}
