//! What operators see and order: `policy list|show|forget|pin|exempt`.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mail_types::{Domain, Timestamp};
use mta_sts::{Mode, MxPattern};

use crate::book::Entry;
use crate::cache::{CacheError, PolicyCache};
use crate::discovery::{Exemption, LocalRules, Order, Pin, StoredPolicy};
use crate::event::EventKind;
use crate::row::Row;
use crate::schedule::Refresh;
use crate::stats::Stats;
use clocks::Clock;
use policy_fetch::FetchError;

/// What is stored about a domain.
#[derive(Clone, Debug)]
pub struct PolicyView {
    /// The domain.
    pub domain: Domain,
    /// The policy, maybe expired.
    pub policy: Option<Arc<StoredPolicy>>,
    /// Pin and exemption.
    pub local: Option<Arc<LocalRules>>,
    /// When the next background refresh is due.
    pub next_refresh: Option<Timestamp>,
    /// Refreshes that failed in a row.
    pub refresh_failures: u32,
    /// Why the last fetch failed, also one that a message or an operator asked for; none since one
    /// succeeded.
    pub last_failure: Option<FetchError>,
    /// The last delivery that enforcing the policy would have stopped, in mode testing.
    pub testing: Option<TestingFailure>,
    /// Since when first-contact look-ups have failed (decision AMB-01).
    pub dns_failing_since: Option<Timestamp>,
}

/// What enforcing a policy in mode testing would have stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestingFailure {
    /// When.
    pub at: Timestamp,
    /// The MX host.
    pub mx: Box<str>,
    /// The reason key of what failed.
    pub reason: Box<str>,
}

/// A delivery that enforcing the policy would have stopped.
#[derive(Clone, Copy, Debug)]
pub struct WouldFail<'a> {
    /// The MX host.
    pub mx: &'a str,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// The reason key of what failed.
    pub reason: &'a str,
    /// One or two sentences.
    pub detail: &'a str,
}

impl PolicyCache {
    /// A delivery under mode testing would have failed had the policy been enforced: tells the log.
    pub fn report_testing_failure(&self, domain: &Domain, failure: &WouldFail<'_>) {
        let kind = EventKind::TestingWouldFail {
            mx: failure.mx.to_owned(),
            ip: failure.ip,
            reason: failure.reason.to_owned(),
            detail: failure.detail.to_owned(),
        };
        let last = TestingFailure {
            at: self.inner.clock.wall(),
            mx: failure.mx.into(),
            reason: failure.reason.into(),
        };
        if let Some(entry) = self.inner.book.write().entries.get_mut(domain) {
            entry.testing = Some(last);
        }
        self.inner.tell(domain, kind);
    }

    /// All domains with a policy or a local rule, by name.
    #[must_use]
    pub fn list(&self) -> Vec<PolicyView> {
        let book = self.inner.book.read();
        let mut views: Vec<_> = book
            .entries
            .iter()
            .filter(|(_, e)| e.policy.is_some() || e.local.is_some())
            .map(|(domain, entry)| view(domain, entry, book.schedule.get(domain)))
            .collect();
        drop(book);
        views.sort_by(|a, b| a.domain.cmp(&b.domain));
        views
    }

    /// What is stored about a domain.
    #[must_use]
    pub fn show(&self, domain: &Domain) -> Option<PolicyView> {
        let book = self.inner.book.read();
        let entry = book.entries.get(domain)?;
        Some(view(domain, entry, book.schedule.get(domain)))
    }

    /// Removes the policy of a domain; an unexpired enforce policy only with `dangerous`. The next
    /// look-up is a first contact.
    ///
    /// # Errors
    /// Says why not; nothing has changed then.
    pub async fn forget(
        &self,
        domain: &Domain,
        order: Order,
        dangerous: bool,
    ) -> Result<(), CacheError> {
        check_reason(&order)?;
        let inner = &self.inner;
        let policy = inner
            .stored(domain)
            .ok_or_else(|| CacheError::Unknown(domain.clone()))?;
        if policy.mode() == Mode::Enforce && !policy.is_expired(inner.now()) && !dangerous {
            return Err(CacheError::StillEnforced(domain.clone()));
        }
        // Alone: what is being put on disk is forgotten with the rest, and what was fetched before this is
        // not put there after it.
        let _commit = inner.commits.write().await;
        self.save(Row::Forgotten(domain.clone())).await?;
        {
            let mut book = inner.book.write();
            book.schedule.remove(domain);
            if let Some(entry) = book.entries.get_mut(domain) {
                entry.policy = None;
                entry.memo = None;
                entry.checked = None;
                // Mail of the next moment must not go unprotected because of the last fetch.
                entry.gate = policy_fetch::Gate::default();
                // A fetch that is under way must not bring it back.
                entry.forgotten = inner.next_seq();
                entry.forgotten_at = Some(inner.clock.monotonic());
            }
        }
        inner.generation.fetch_add(1, Ordering::Release);
        let Order { by, reason, .. } = order;
        inner.tell_of(&policy, EventKind::Forgotten { by, reason });
        Ok(())
    }

    /// An operator has mail tried again: that DNS did not answer about these domains, or about any, is not
    /// believed any longer, and whoever asks next looks. Only time counts for how long mail waits in all.
    pub fn forget_failed_look_ups(&self, of: Option<&[Domain]>) {
        let mut book = self.inner.book.write();
        match of {
            None => book.entries.values_mut().for_each(Entry::forget_failure),
            Some(domains) => {
                for domain in domains {
                    if let Some(entry) = book.entries.get_mut(domain) {
                        entry.forget_failure();
                    }
                }
            }
        }
    }

    /// Pins a minimum: enforce with these patterns, whatever the domain publishes (row A7-08).
    /// `None` removes the pin.
    ///
    /// # Errors
    /// Says why not; nothing has changed then.
    pub async fn pin(
        &self,
        domain: &Domain,
        mx: Option<Vec<MxPattern>>,
        order: Order,
    ) -> Result<(), CacheError> {
        check_reason(&order)?;
        if mx.as_ref().is_some_and(Vec::is_empty) {
            return Err(CacheError::NoPatterns);
        }
        let _alone = self.inner.orders.lock().await;
        let mut rules = self.local(domain);
        if mx.is_none() && rules.pin.is_none() {
            return Err(CacheError::Unknown(domain.clone()));
        }
        let kind = EventKind::Pinned {
            by: order.by.clone(),
            reason: order.reason.clone(),
            set: mx.is_some(),
        };
        rules.pin = mx.map(|mx| Pin { mx, order });
        self.set_local(domain, rules, kind).await
    }

    /// Switches enforcement off for a domain until a time, 90 days at most (row A7-09). `None` ends
    /// it now.
    ///
    /// # Errors
    /// Says why not; nothing has changed then.
    pub async fn dangerous_exempt(
        &self,
        domain: &Domain,
        until: Option<Timestamp>,
        order: Order,
    ) -> Result<(), CacheError> {
        check_reason(&order)?;
        let now = self.inner.now();
        if until.is_some_and(|u| u <= now || u > now + MAX_EXEMPTION) {
            return Err(CacheError::BadEnd);
        }
        let _alone = self.inner.orders.lock().await;
        let mut rules = self.local(domain);
        if until.is_none() && rules.exemption.is_none() {
            return Err(CacheError::Unknown(domain.clone()));
        }
        let kind = EventKind::Exempted {
            by: order.by.clone(),
            reason: order.reason.clone(),
            until,
        };
        rules.exemption = until.map(|until| Exemption { until, order });
        self.set_local(domain, rules, kind).await
    }

    /// Numbers for metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let inner = &self.inner;
        let now = inner.now();
        let mut stats = Stats::default();
        inner.counters.fill(&mut stats);
        stats.negative_entries = inner.negatives.read().len() as u64;
        let book = inner.book.read();
        [stats.enforce, stats.testing, stats.none] = book.by_mode(now);
        stats.at_risk = book.schedule.at_risk() as u64;
        let local = book.entries.values().filter_map(|e| e.local.as_ref());
        let exempt = local.filter_map(|local| local.exemption.as_ref());
        for exemption in exempt.filter(|e| e.is_active(now)) {
            stats.exempt += 1;
            stats.exempt_until = stats.exempt_until.max(Some(exemption.until));
        }
        // What is meant to end by itself (some minutes' life) is no loss.
        let over = book.policies().filter(|p| p.is_expired(now));
        let lost = over.filter(|p| p.mode() != Mode::None && p.life().is_lasting());
        stats.ran_out = lost.count() as u64;
        stats.soonest_unrefreshed_expiry = book
            .policies()
            .filter(|p| p.mode() != Mode::None && p.life().is_lasting() && !p.is_expired(now))
            .filter(|p| book.schedule.is_unrefreshed(&p.domain, now))
            .map(|p| p.expires_at.since(now))
            .min();
        stats
    }

    fn local(&self, domain: &Domain) -> LocalRules {
        let book = self.inner.book.read();
        let local = book.entries.get(domain).and_then(|e| e.local.as_deref());
        local.cloned().unwrap_or_default()
    }

    async fn set_local(
        &self,
        domain: &Domain,
        rules: LocalRules,
        kind: EventKind,
    ) -> Result<(), CacheError> {
        let _commit = self.inner.commits.read().await;
        self.save(Row::Local(domain.clone(), rules.clone())).await?;
        let is_empty = rules == LocalRules::default();
        {
            let mut book = self.inner.book.write();
            let entry = book.entries.entry(domain.clone()).or_default();
            entry.local = (!is_empty).then(|| Arc::new(rules));
        }
        self.inner.generation.fetch_add(1, Ordering::Release);
        self.inner.tell(domain, kind);
        Ok(())
    }

    async fn save(&self, row: Row) -> Result<(), CacheError> {
        let seq = self.inner.next_seq();
        let saved = self.inner.store.append(&row, seq).await;
        saved.map_err(|e| CacheError::Store(e.to_string()))
    }
}

fn view(domain: &Domain, entry: &Entry, refresh: Option<&Refresh>) -> PolicyView {
    PolicyView {
        domain: domain.clone(),
        policy: entry.policy.clone(),
        local: entry.local.clone(),
        next_refresh: refresh.map(|r| r.next),
        refresh_failures: refresh.map_or(0, |r| r.failures),
        last_failure: refresh.and_then(|r| r.last_failure.clone()),
        testing: entry.testing.clone(),
        dns_failing_since: entry.contact.map(|c| c.since),
    }
}

fn check_reason(order: &Order) -> Result<(), CacheError> {
    if order.reason.trim().is_empty() {
        return Err(CacheError::NoReason);
    }
    Ok(())
}

const MAX_EXEMPTION: Duration = Duration::from_hours(90 * 24);
