//! Hands mail from the listeners to the queue, and from there straight to its first attempt.

use std::sync::Arc;

use arc_swap::ArcSwap;
use delivery::Delivery;
use mail_types::{Envelope, QueueId, Recipient, ReversePath};
use outbound_queue::{Incoming as _, Now, QueueError, QueueStore};
use policy_cache::Clock;
use smtp_server::{Incoming, Intake, Origin, Refusal};

use super::form::{Form, Forms};
use super::recipients::DomainCheck;

/// The queue behind the listeners.
pub(crate) struct QueueIntake<S> {
    pub(crate) queue: Arc<S>,
    /// `None` while nothing may be delivered: mail is accepted and waits.
    pub(crate) delivery: Option<Delivery<S>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rules: Arc<ArcSwap<Rules>>,
}

/// What a reload may change.
pub(crate) struct Rules {
    pub(crate) domains: DomainCheck,
    pub(crate) forms: Forms,
}

/// A message on its way from a listener to the queue.
pub(crate) struct QueueIncoming<S: QueueStore> {
    incoming: S::Incoming,
    delivery: Option<Delivery<S>>,
    clock: Arc<dyn Clock>,
    form: Form,
}

impl<S: QueueStore> Intake for QueueIntake<S> {
    type Incoming = QueueIncoming<S>;

    fn admit(&self, _size_hint: Option<u64>) -> Result<(), Refusal> {
        let health = self.queue.health();
        if health.failed.is_some() {
            return Err(Refusal::local_error());
        }
        match health.full {
            Some(lack) if lack.is_of_disk() => Err(Refusal::disk_full()),
            Some(_) => Err(Refusal::local_error()),
            None => Ok(()),
        }
    }

    async fn sender(&self, sender: &ReversePath) -> Result<(), Refusal> {
        self.rules.load_full().domains.sender(sender).await
    }

    async fn recipient(&self, recipient: &Recipient) -> Result<(), Refusal> {
        let rules = self.rules.load_full();
        rules.domains.recipient(&recipient.mailbox).await
    }

    fn begin(
        &self,
        size_hint: Option<u64>,
        origin: &Origin<'_>,
    ) -> Result<Self::Incoming, Refusal> {
        let now = now(self.delivery.as_ref(), &*self.clock);
        let incoming = self.queue.begin(size_hint, now).map_err(|e| refusal(&e))?;
        Ok(QueueIncoming {
            form: self.rules.load().forms.of(origin, incoming.id()),
            incoming,
            delivery: self.delivery.clone(),
            clock: Arc::clone(&self.clock),
        })
    }
}

impl<S: QueueStore> Incoming for QueueIncoming<S> {
    fn id(&self) -> QueueId {
        self.incoming.id()
    }

    fn held(&self) -> u64 {
        // What is larger is written to a file as it comes; a header that is held back has no more.
        (self.incoming.size() + self.form.held()).min(LARGE_BODY)
    }

    async fn write(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        self.form.write(chunk, &mut self.incoming).await
    }

    async fn seal(&mut self, envelope: &mut Envelope) -> Result<(), Refusal> {
        self.form.seal(envelope, &mut self.incoming).await
    }

    async fn commit(self, envelope: Arc<Envelope>) -> Result<QueueId, Refusal> {
        let now = now(self.delivery.as_ref(), &*self.clock);
        let claim = self.delivery.is_some();
        let committed = self
            .incoming
            .commit(envelope, claim, now)
            .await
            .map_err(|e| refusal(&e))?;
        if let Some(delivery) = &self.delivery {
            delivery.offer(committed.leases);
        }
        Ok(committed.id)
    }
}

/// The engine's time, so that queue and engine agree while a clock jump is being held.
fn now<S: QueueStore>(delivery: Option<&Delivery<S>>, clock: &dyn Clock) -> Now {
    delivery.map_or_else(
        || Now {
            wall: clock.wall(),
            monotonic: clock.monotonic(),
        },
        Delivery::now,
    )
}

pub(super) fn refusal(error: &QueueError) -> Refusal {
    tracing::error!(%error, "mail could not be taken");
    match error {
        QueueError::DiskFull(_) => Refusal::disk_full(),
        _ => Refusal::local_error(),
    }
}

/// As in [`outbound_queue::EmbeddedOptions::large_body`].
const LARGE_BODY: u64 = 256 << 10;
