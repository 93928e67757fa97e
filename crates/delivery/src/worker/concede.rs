//! What every attempt on a message is made with, and demands that are conceded step by step.

use bytes::Bytes;
use mail_types::{MessageClass, Timestamp};
use outbound_queue::{Leased, QueueStore};

use crate::decide::demand::Requirement;
use crate::decide::hosts::Candidate;
use crate::engine::Inner;
use crate::engine::lane::Lane;
use crate::settings::Settings;
use crate::worker::concession::{Concession, Step};
use crate::worker::content;
use crate::worker::findings::Findings;
use crate::worker::sessions::Session;
use crate::worker::steps::Steps;
use crate::worker::work::Attempt;

/// What every attempt on a message needs, whatever is required of it.
pub(crate) struct Tools<'a, S> {
    pub(crate) inner: &'a Inner<S>,
    pub(crate) lane: &'a Lane,
    pub(crate) settings: &'a Settings,
    pub(crate) leased: &'a Leased,
    pub(crate) domain: &'a str,
    /// Whose reports tell what is seen of TLS, if anybody's.
    pub(crate) reports: Option<&'a str>,
    pub(crate) now: Timestamp,
}

impl<'a, S: QueueStore> Tools<'a, S> {
    /// For this message; nothing is reported yet.
    pub(crate) const fn new(
        inner: &'a Inner<S>,
        lane: &'a Lane,
        settings: &'a Settings,
        (leased, domain): (&'a Leased, &'a str),
        now: Timestamp,
    ) -> Self {
        Self {
            inner,
            lane,
            settings,
            leased,
            domain,
            reports: None,
            now,
        }
    }

    /// Demands that may be set aside, from the strictest on until a host meets them.
    pub(crate) async fn concede(
        &self,
        concession: &Concession,
        candidates: &[Candidate],
        held: &mut Option<Session>,
    ) -> (Findings, Requirement) {
        let redacted = self.redacted().await;
        let mut last = None;
        let mut steps = None;
        for step in concession.steps() {
            let content = redacted.clone().filter(|_| concession.redacts(*step));
            if concession.redacts(*step) && *step == Step::Whatever && content.is_none() {
                break; // Somebody else's notification: not in plain text as it is.
            }
            let requirement = Requirement::of(&concession.demands(*step));
            let attempt = self.attempt(&requirement, content);
            let mut found = attempt.run(candidates, held).await;
            Steps::gather(&mut steps, &mut found);
            let is_last = self.inner.now().wall >= self.leased.expires;
            let goes_on = concession.goes_on(*step, &found, is_last);
            if found.alive && concession.redacts(*step) {
                tracing::warn!(queue_id = %self.leased.id, domain = self.domain,
                    "requiretls.set-aside: no host offers REQUIRETLS for a notification about REQUIRETLS mail; \
                     it was sent without, and without the header of the message");
            }
            last = Some((found, requirement));
            if !goes_on {
                break;
            }
        }
        let (mut found, requirement) = last.unwrap_or_else(|| {
            let requirement = Requirement::of(&concession.demands(Step::Strict));
            let found = Findings::new(self.leased.recipients.len(), None);
            (found, requirement)
        });
        found.steps = steps;
        (found, requirement)
    }

    /// A notification of ours without what its original said.
    async fn redacted(&self) -> Option<Bytes> {
        let envelope = &self.leased.envelope;
        if envelope.class != MessageClass::Dsn {
            return None;
        }
        let size = usize::try_from(envelope.size).ok()?;
        let whole = content::head(&*self.inner.queue, self.leased, size).await;
        dsn::redact(&whole.ok()?).map(Bytes::from)
    }

    pub(crate) fn attempt<'b>(
        &self,
        requirement: &'b Requirement,
        redacted: Option<Bytes>,
    ) -> Attempt<'b, S>
    where
        'a: 'b,
    {
        Attempt {
            queue: &*self.inner.queue,
            sessions: &self.inner.sessions,
            connector: self.inner.connector(&self.lane.destination),
            requirement,
            leased: self.leased,
            domain: self.domain,
            reports: self.reports,
            routed: self.lane.destination.route.is_some(),
            max_addresses: self.settings.max_addresses,
            per_transaction: self.settings.recipients_per_transaction,
            add_orcpt: self.settings.add_orcpt,
            patience: self.settings.patience,
            redacted,
            timed: self.inner.observer.times_attempts(),
            dice: &self.inner.dice,
            now: self.now,
        }
    }
}
