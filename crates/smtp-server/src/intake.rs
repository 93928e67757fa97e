//! The port through which mail is handed over. The queue stands behind it.

use std::future::{Future, ready};

use std::net::IpAddr;
use std::sync::Arc;

use mail_types::{Envelope, QueueId, Recipient, ReversePath, Senders, Timestamp};
use smtp_proto::server::{Refusal, Role};

/// Takes mail.
pub trait Intake: Send + Sync + 'static {
    /// One message on its way in.
    type Incoming: Incoming;

    /// At `MAIL`: whether mail is taken now.
    ///
    /// # Errors
    /// For instance [`Refusal::disk_full`], [`Refusal::overloaded`], [`Refusal::shutting_down`].
    fn admit(&self, size_hint: Option<u64>) -> Result<(), Refusal>;

    /// At `MAIL`, after [`Intake::admit`]: whether mail of this sender is taken. By default all is.
    ///
    /// # Errors
    /// What the client is told.
    fn sender(&self, sender: &ReversePath) -> impl Future<Output = Result<(), Refusal>> + Send {
        let _ = sender;
        ready(Ok(()))
    }

    /// At `RCPT`, after the access rules: whether this recipient is taken. By default all are.
    ///
    /// # Errors
    /// What the client is told; other recipients are not affected.
    fn recipient(&self, recipient: &Recipient) -> impl Future<Output = Result<(), Refusal>> + Send {
        let _ = recipient;
        ready(Ok(()))
    }

    /// At `DATA` or the first `BDAT`: a new message. Its queue id goes into the trace header.
    ///
    /// # Errors
    /// As [`Intake::admit`].
    fn begin(&self, size_hint: Option<u64>, origin: &Origin<'_>)
    -> Result<Self::Incoming, Refusal>;
}

/// Where a message comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The listener's name.
    pub listener: &'a str,
    /// What the listener is for.
    pub role: Role,
    /// The client's address; IPv4 addresses never in their IPv6-mapped form.
    pub client: IpAddr,
    /// Who authenticated.
    pub identity: Option<&'a str>,
    /// As whom that identity may send; `None` without one.
    pub senders: Option<&'a Senders>,
    /// The envelope sender.
    pub sender: &'a ReversePath,
    /// When the content began.
    pub at: Timestamp,
}

/// One message on its way in. Dropping it without [`Incoming::commit`] forgets the message.
pub trait Incoming: Send {
    /// The id that the message will have.
    fn id(&self) -> QueueId;

    /// Octets of it in memory now, for [`Limits::content_memory`](crate::Limits::content_memory).
    fn held(&self) -> u64 {
        0
    }

    /// The next octets, the trace header first. They have no bare CR or LF.
    ///
    /// # Errors
    /// The rest of the message is then read and dropped, and the client gets the refusal at its
    /// end; nothing else is called but `drop`.
    fn write(&mut self, chunk: &[u8]) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// All content is there: the last chance to refuse it, or to note in the envelope what was
    /// changed in it (size, Message-ID). By default nothing was.
    ///
    /// # Errors
    /// What the client is told.
    fn seal(
        &mut self,
        envelope: &mut Envelope,
    ) -> impl Future<Output = Result<(), Refusal>> + Send {
        let _ = envelope;
        ready(Ok(()))
    }

    /// Makes body and envelope durable. Only after `Ok` is the client told 250 (RFC 5321
    /// section 6.1), and never after `Err`.
    ///
    /// # Errors
    /// What the client is told. Nothing of the message may then be delivered.
    fn commit(
        self,
        envelope: Arc<Envelope>,
    ) -> impl Future<Output = Result<QueueId, Refusal>> + Send;
}
