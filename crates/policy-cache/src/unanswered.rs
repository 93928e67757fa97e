//! First contact without a policy: what is counted, kept and said while DNS does not answer (decision
//! AMB-01), and of records that cannot be used.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mail_types::{DnsError, Domain, Timestamp};

use crate::cache::Inner;
use crate::contact::{self, Contact, ContactVerdict};
use crate::discovery::{NoPolicy, Outcome, RecordTrouble, Waiting};
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
                    last: contact.last,
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
        let was_open = contact.is_some_and(|c| c.opened.is_some() && !c.is_over(now));
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
        } else if contact.opened.is_some() && !was_open {
            let result = "unverified";
            self.tell(domain, EventKind::FirstContact { result });
        }
        contact
    }

    /// A record is there, and it is worth nothing: said when it is first met, and when what is wrong with
    /// it changes. Each delivery that goes without a policy for it says so too.
    pub(crate) fn tell_unusable(&self, domain: &Domain, why: &NoPolicy) {
        let NoPolicy::Record(trouble @ RecordTrouble::NoRecord(cause)) = why else {
            return;
        };
        if !trouble.is_of_a_record() || self.last_trouble(domain) == Some(*trouble) {
            return;
        }
        self.tell(domain, EventKind::RecordUnusable { cause: *cause });
    }

    fn last_trouble(&self, domain: &Domain) -> Option<RecordTrouble> {
        let kept = self.negatives.read().last(domain);
        kept.or_else(|| {
            let book = self.book.read();
            let memo = book.entries.get(domain)?.memo.as_ref()?;
            match &memo.outcome {
                Outcome::NoPolicy(NoPolicy::Record(trouble)) => Some(*trouble),
                Outcome::NoPolicy(_) | Outcome::Policy(_) | Outcome::Wait { .. } => None,
            }
        })
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
