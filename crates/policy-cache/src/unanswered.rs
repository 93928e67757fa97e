//! First contact while DNS does not answer: what is counted, kept and said of it (decision AMB-01).

use std::sync::atomic::Ordering;
use std::time::Duration;

use mail_types::{DnsError, Domain, Timestamp};

use crate::cache::Inner;
use crate::contact::{self, Contact, ContactVerdict};
use crate::discovery::{NoPolicy, Outcome, Waiting};
use crate::event::EventKind;
use crate::lookup::Trigger;
use crate::row::Row;

impl Inner {
    /// One more look-up without an answer, and nothing known (decision AMB-01).
    pub(crate) async fn unknown(
        &self,
        domain: &Domain,
        contact: Option<Contact>,
        cause: DnsError,
        trigger: Trigger,
    ) -> Outcome {
        let now = self.now();
        let had_policy = self.stored(domain).is_some();
        let hold = contact::hold(had_policy);
        // Looking must not bring mail nearer to going without protection: it does not count.
        let contact = match trigger {
            Trigger::Shown => contact
                .filter(|contact| !contact.is_over(now))
                .unwrap_or_else(|| Contact::after_failure(None, hold, now)),
            _ => self.failed_contact(domain, contact, hold, now).await,
        };
        let (since, failures) = (contact.since, contact.failures);
        match contact.verdict(hold, now) {
            ContactVerdict::Wait(until) => Outcome::Wait {
                until,
                why: Waiting::Dns {
                    since,
                    failures,
                    cause,
                },
            },
            ContactVerdict::Open(_) => {
                self.counters.unverified.fetch_add(1, Ordering::Relaxed);
                Outcome::NoPolicy(NoPolicy::Unknown {
                    since,
                    failures,
                    cause,
                })
            }
        }
    }

    async fn failed_contact(
        &self,
        domain: &Domain,
        contact: Option<Contact>,
        hold: Duration,
        now: Timestamp,
    ) -> Contact {
        let contact = Contact::after_failure(contact, hold, now);
        let _commit = self.commits.read().await;
        let seq = self.next_seq();
        let row = Row::Contact(domain.clone(), Some(contact));
        if let Err(e) = self.store.append(&row, seq).await {
            // The waiting starts anew after a restart: mail waits longer, never less.
            tracing::warn!(%domain, error = %e, "first-contact state not stored");
        }
        let first = contact.failures == 1;
        self.book
            .write()
            .entries
            .entry(domain.clone())
            .or_default()
            .contact = Some(contact);
        if first {
            let result = "dns-failure";
            self.tell(domain, EventKind::FirstContact { result });
        }
        contact
    }

    pub(crate) async fn dns_answers_again(&self, domain: &Domain) {
        let _commit = self.commits.read().await;
        if let Some(entry) = self.book.write().entries.get_mut(domain) {
            entry.contact = None;
        }
        let row = Row::Contact(domain.clone(), None);
        let seq = self.next_seq();
        if let Err(e) = self.store.append(&row, seq).await {
            tracing::warn!(%domain, error = %e, "first-contact state not stored");
        }
    }
}
