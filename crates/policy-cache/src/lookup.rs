//! One look at a domain: TXT, fetch if needed, decision, store, answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mail_types::{DnsError, Domain, Timestamp};
use mta_sts::{Mode, PolicyId, Record, Selection, Warning};

use crate::cache::{FreshLook, Inner};
use crate::contact::Contact;
use crate::decide::{Cached, Decision, Fetched, Need, Purpose, Txt, decide, need};
use crate::discovery::{
    Applied, Fallback, NoPolicy, Origin, Outcome, RecordTrouble, StoredPolicy, Waiting,
};
use crate::event::EventKind;
use crate::row::Row;
use clocks::Clock;
use policy_fetch::{BACK_OFF, FetchError, FetchFailure, Pass, PkixError, Stage};

/// Who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// Mail is to be delivered.
    Mail,
    /// Somebody wants to see what mail would meet.
    Shown,
    /// The daily refresh.
    Refresh,
    /// A delivery failed because of the policy.
    Forced,
    /// A bounce is near.
    Fresh,
    /// An operator says: now.
    Operator,
}

impl Trigger {
    pub(crate) const fn purpose(self) -> Purpose {
        match self {
            Self::Mail | Self::Shown => Purpose::Mail,
            Self::Refresh | Self::Forced | Self::Fresh | Self::Operator => Purpose::Check,
        }
    }
}

/// A fetched policy that is not in force yet.
struct Fresh {
    stored: Arc<StoredPolicy>,
    warnings: Vec<Warning>,
    /// [`crate::book::Entry::forgotten`] when the look began.
    forgotten: u64,
}

/// What was known when a look began.
struct Known {
    cached: Cached,
    contact: Option<Contact>,
    forgotten: u64,
}

impl Inner {
    /// The whole look. Runs in a task of its own, once per domain and purpose at a time.
    pub(crate) async fn look(&self, domain: &Domain, trigger: Trigger) -> FreshLook {
        let started = self.clock.monotonic();
        let (txt, ttl) = self.txt(domain).await;
        let now = self.now();
        let Known {
            cached,
            contact,
            forgotten,
        } = self.known(domain, now);
        let first_contact = !matches!(cached, Cached::Unexpired { .. });
        let id = match &txt {
            Txt::Found(id) => Some(id.clone()),
            Txt::NoRecord(_) | Txt::Failed(_) => None,
        };
        let answered = !matches!(txt, Txt::Failed(_));
        let mut fresh = None;
        let mut recently_checked = false;
        let fetched = match need(trigger.purpose(), &txt, &cached) {
            Need::Nothing => Fetched::NotNeeded,
            Need::Fetch => match self.pass(domain, id.as_ref(), trigger) {
                Pass::HeldBack { cause, until } => {
                    recently_checked =
                        self.held_back(domain, trigger, &cause, until, id.as_ref(), &cached);
                    match cause {
                        _ if recently_checked => Fetched::NotNeeded,
                        FetchError::ClockDoubted(_) => Fetched::Doubted(until, cause),
                        cause if cause.is_ours() => Fetched::Local(cause),
                        FetchError::RateLimited { .. } => match self.owed(domain) {
                            Some(until) if first_contact => Fetched::Owed(until),
                            _ => Fetched::Failed(self.after(until)),
                        },
                        _ => Fetched::Failed(cause),
                    }
                }
                Pass::Go => match self.fetch(domain, id.clone(), trigger, started).await {
                    Ok(fetched) => {
                        fresh = Some(Fresh {
                            forgotten,
                            ..fetched
                        });
                        Fetched::Valid
                    }
                    Err(cause @ FetchError::ClockDoubted(_)) => {
                        Fetched::Doubted(self.clock.monotonic() + BACK_OFF, cause)
                    }
                    Err(cause) if cause.is_ours() => Fetched::Local(cause),
                    Err(cause) => {
                        if first_contact && answered {
                            let result = "fetch-failure";
                            self.tell(domain, EventKind::FirstContact { result });
                        }
                        Fetched::Failed(cause)
                    }
                },
            },
        };
        let confirmed = answered
            && match &fetched {
                Fetched::Valid => true,
                Fetched::NotNeeded => recently_checked || first_contact,
                Fetched::Failed(_)
                | Fetched::Owed(_)
                | Fetched::Local(_)
                | Fetched::Doubted(..) => false,
            };
        let decided = (decide(txt, fetched, &cached), fresh);
        let outcome = self.outcome(domain, decided, contact, trigger).await;
        if answered && contact.is_some() {
            self.dns_answers_again(domain).await;
        }
        let answer = (outcome, first_contact, confirmed);
        self.settle(domain, answer, ttl, forgotten)
    }

    /// What a decision, with the policy that was fetched, means for whoever asked.
    async fn outcome(
        &self,
        domain: &Domain,
        decided: (Decision, Option<Fresh>),
        contact: Option<Contact>,
        trigger: Trigger,
    ) -> Outcome {
        // Of now: the clock may have been set back, and believed, while the look was made.
        let (now, mono) = self.clocks();
        match decided {
            (Decision::UseFetched, Some(fresh)) => {
                let policy = self.adopt(fresh).await;
                Outcome::Policy(Applied {
                    policy,
                    from: Origin::Live,
                    fallback: None,
                })
            }
            // `UseFetched` without a policy cannot be: the table asks for a valid fetch.
            (Decision::UseFetched, None) => self.cached_policy(domain, None),
            (Decision::UseCached(fallback), _) => self.cached_policy(domain, fallback),
            (Decision::NoPolicy(why), _) => {
                self.tell_unusable(domain, &why);
                Outcome::NoPolicy(why)
            }
            (Decision::Wait(until), _) => Outcome::Wait {
                until: now + until.saturating_sub(mono),
                why: Waiting::FetchLimit,
            },
            (Decision::Doubted(until, cause), _) => Outcome::Wait {
                until: now + until.saturating_sub(mono),
                why: Waiting::Clock(cause),
            },
            (Decision::Local(what), _) => Outcome::Wait {
                until: now + DNS_RETRY,
                why: Waiting::Local(what),
            },
            (Decision::Unknown(cause), _) => self.unknown(domain, contact, cause, trigger).await,
        }
    }

    fn known(&self, domain: &Domain, now: Timestamp) -> Known {
        let book = self.book.read();
        let entry = book.entries.get(domain);
        Known {
            cached: entry.map_or(Cached::Absent, |e| e.cached(now)),
            contact: entry.and_then(|e| e.contact),
            forgotten: entry.map_or(0, |e| e.forgotten),
        }
    }

    /// The record, and how long that may be believed.
    async fn txt(&self, domain: &Domain) -> (Txt, Duration) {
        let Ok(name) = domain.prefixed("_mta-sts") else {
            return (Txt::NoRecord(RecordTrouble::NameTooLong), TTL_MAX);
        };
        // Our own memory of the answer counts its TTL: behind another cache it would count twice.
        let look = tokio::time::timeout(TXT_TIMEOUT, self.resolver.txt_uncached(&name)).await;
        match look {
            Ok(Ok(answer)) => {
                let texts = answer.value.iter().map(Vec::as_slice);
                let txt = match Record::select(texts) {
                    Selection::Found(record) => Txt::Found(record.id().clone()),
                    Selection::None(why) => Txt::NoRecord(RecordTrouble::NoRecord(why)),
                };
                (txt, answer.ttl.clamp(TTL_MIN, TTL_MAX))
            }
            Ok(Err(DnsError::NoSuchName { ttl, .. })) => (
                Txt::NoRecord(RecordTrouble::NoSuchName),
                ttl.clamp(TTL_MIN, TTL_MAX),
            ),
            Ok(Err(DnsError::NoRecords { ttl, .. })) => (
                Txt::NoRecord(RecordTrouble::NoRecord(mta_sts::NoRecord::Absent)),
                ttl.clamp(TTL_MIN, TTL_MAX),
            ),
            Ok(Err(e)) => (Txt::Failed(e), DNS_RETRY),
            Err(_) => (
                Txt::Failed(DnsError::Temporary("no answer within 10 s".into())),
                DNS_RETRY,
            ),
        }
    }

    fn pass(&self, domain: &Domain, id: Option<&PolicyId>, trigger: Trigger) -> Pass {
        let mono = self.clock.monotonic();
        let doubted = self.clock_held().is_some();
        let mut book = self.book.write();
        let gate = &mut book.entries.entry(domain.clone()).or_default().gate;
        if !doubted {
            gate.forget_doubt();
        }
        match trigger {
            Trigger::Forced => gate.ask_forced(id, mono),
            Trigger::Mail | Trigger::Shown | Trigger::Fresh => gate.ask(id, mono),
            Trigger::Refresh => gate.ask_refresh(id, mono),
            Trigger::Operator => gate.open(mono),
        }
    }

    /// That our limits allow no fetch before this monotonic time, by the clock that people read.
    fn after(&self, until: Duration) -> FetchError {
        let (now, mono) = self.clocks();
        let after = Some(now + until.saturating_sub(mono));
        FetchError::RateLimited { after }
    }

    /// See [`policy_fetch::Gate::owes`].
    fn owed(&self, domain: &Domain) -> Option<Duration> {
        let mono = self.clock.monotonic();
        let book = self.book.read();
        book.entries.get(domain).and_then(|e| e.gate.owes(mono))
    }

    /// A fetch may not be made now. Whether the last full check is so recent that it counts.
    fn held_back(
        &self,
        domain: &Domain,
        trigger: Trigger,
        cause: &FetchError,
        until: Duration,
        id: Option<&PolicyId>,
        cached: &Cached,
    ) -> bool {
        let mono = self.clock.monotonic();
        let checked = self.book.read().entries.get(domain).and_then(|e| e.checked);
        let same_id = match cached {
            Cached::Unexpired { id: known } => id.is_none() || known.as_ref() == id,
            Cached::Expired | Cached::Absent => false,
        };
        if trigger == Trigger::Refresh {
            self.book.write().schedule.later(domain, self.now());
        }
        if same_id && checked.is_some_and(|at| mono < at + CHECK_COUNTS_FOR) {
            return true;
        }
        if matches!(cause, FetchError::RateLimited { .. }) && trigger == Trigger::Mail {
            let wait = until.saturating_sub(mono);
            tracing::debug!(%domain, wait_s = wait.as_secs(), "fetch held back");
            self.tell(domain, EventKind::RateLimited);
        }
        false
    }

    async fn fetch(
        &self,
        domain: &Domain,
        id: Option<PolicyId>,
        trigger: Trigger,
        started: Duration,
    ) -> Result<Fresh, FetchError> {
        if trigger == Trigger::Forced {
            self.tell(domain, EventKind::Refetch);
        }
        let slots = match trigger {
            Trigger::Refresh => &self.background_slots,
            Trigger::Mail
            | Trigger::Shown
            | Trigger::Forced
            | Trigger::Fresh
            | Trigger::Operator => &self.fetch_slots,
        };
        let within = self.config.fetch_timeout;
        let left = || within.saturating_sub(self.clock.monotonic().saturating_sub(started));
        let asked = self.clock.monotonic();
        let result = match tokio::time::timeout(left(), slots.acquire()).await {
            Ok(slot) => {
                let waited = self.clock.monotonic().saturating_sub(asked);
                self.counters.fetches.fetch_add(1, Ordering::Relaxed);
                let _running = self.counters.running(trigger == Trigger::Refresh);
                let mut result = self.fetcher.fetch(domain, left()).await;
                drop(slot);
                if waited > within / 2
                    && let Err(failure) = &mut result
                    && let FetchError::Timeout { bytes, .. } = *failure.cause.main()
                {
                    // Most of the time had gone by before the host was asked, and not with the domain's own DNS.
                    let stage = Stage::Queue;
                    failure.cause = FetchError::Timeout { stage, bytes };
                }
                result
            }
            Err(_) => Err(FetchError::Timeout {
                stage: Stage::Queue,
                bytes: 0,
            }
            .into()),
        };
        match result {
            Ok(parsed) => {
                self.systemic.works();
                let now = self.now();
                let id = id.or_else(|| self.stored(domain).and_then(|p| p.id.clone()));
                Ok(Fresh {
                    stored: Arc::new(StoredPolicy {
                        domain: domain.clone(),
                        expires_at: now + parsed.policy.max_age(),
                        fetched_at: now,
                        id,
                        policy: parsed.policy,
                    }),
                    warnings: parsed.warnings,
                    forgotten: 0,
                })
            }
            Err(mut failure) => {
                self.doubt(&mut failure);
                self.counters.fetch_failures.fetch_add(1, Ordering::Relaxed);
                let back_off = self.back_off(domain, id.as_ref(), &failure, trigger);
                self.fetch_failed(domain, id, &failure.cause, back_off, trigger);
                Err(failure.cause)
            }
        }
    }

    /// Certificates are judged by the wall clock. While that is doubted, what it says of their times
    /// says nothing: a wrong clock must not make mail go without the protection that it is owed.
    fn doubt(&self, failure: &mut FetchFailure) {
        if let FetchError::Certificate(
            fault @ (PkixError::Expired { .. } | PkixError::NotYetValid { .. }),
        ) = failure.cause.main()
            && self.clock_held().is_some()
        {
            failure.cause = FetchError::ClockDoubted(fault.clone());
        }
    }

    /// Puts a fetched policy on disk and then in force. If the disk fails the policy counts all the
    /// same, for as long as this process lives.
    async fn adopt(&self, fresh: Fresh) -> Arc<StoredPolicy> {
        let Fresh {
            stored,
            warnings,
            forgotten,
        } = fresh;
        let domain = stored.domain.clone();
        // Before anything is read: what is on disk must not change until we are in the book.
        let _commit = self.commits.read().await;
        let old = self.stored(&domain);
        let enforced = stored.mode() == Mode::Enforce;
        if old.is_none() && self.is_full() {
            if let Some(entry) = self.book.write().entries.get_mut(&domain) {
                entry.gate.succeeded(enforced);
            }
            self.tell_of(&stored, EventKind::Full);
            return stored;
        }
        let Some((row, seq)) = self.enter(&stored, old.as_deref(), forgotten) else {
            return stored;
        };
        let saved = self.store.append(&row, seq).await;
        if let Err(e) = &saved {
            self.tell_of(
                &stored,
                EventKind::StoreFailed {
                    error: e.to_string(),
                },
            );
        }
        let substance = old.as_ref().is_none_or(|o| {
            !o.policy.same_meaning(&stored.policy) || o.is_expired(stored.fetched_at)
        });
        {
            let mut book = self.book.write();
            let entry = book.entries.entry(domain.clone()).or_default();
            entry.adopting = entry.adopting.saturating_sub(1);
            if seq <= entry.seq {
                // A later fetch was faster; its policy is the newer one.
                return entry.policy.clone().unwrap_or(stored);
            }
            entry.policy = Some(Arc::clone(&stored));
            entry.seq = seq;
            entry.unsaved = saved.is_err();
            entry.expiry_told = false;
            entry.expired_before = false;
            entry.memo = None;
            entry.checked = Some(self.clock.monotonic());
            entry.gate.succeeded(enforced);
            let jitter = self.jitter();
            let interval = self.config.refresh_interval;
            book.schedule
                .fetched(&domain, stored.life(), interval, jitter);
            self.ends.add(stored.expires_at);
        }
        self.negatives.write().remove(&domain);
        if substance {
            self.generation.fetch_add(1, Ordering::Release);
        }
        self.wake.notify_one();
        self.tell_adopted(old.as_deref(), &stored, warnings);
        stored
    }

    /// The row of a policy and its number, unless the domain was forgotten since the fetch began. The text
    /// goes without saying only if it is known to be on disk already.
    fn enter(
        &self,
        stored: &Arc<StoredPolicy>,
        old: Option<&StoredPolicy>,
        forgotten: u64,
    ) -> Option<(Row, u64)> {
        let mut book = self.book.write();
        let entry = book.entries.entry(stored.domain.clone()).or_default();
        if entry.forgotten != forgotten {
            return None;
        }
        let same_text = old.is_some_and(|o| o.policy.text() == stored.policy.text());
        let on_disk = !entry.unsaved && entry.adopting == 0;
        entry.adopting += 1;
        let row = if same_text && on_disk {
            Row::Renewed(Arc::clone(stored))
        } else {
            Row::Policy(Arc::clone(stored))
        };
        Some((row, self.next_seq()))
    }

    fn is_full(&self) -> bool {
        let (book, most) = (self.book.read(), self.config.max_policies);
        // Counting is seldom needed: an entry is more than enough for a policy.
        book.entries.len() >= most && book.policies().count() >= most
    }

    fn tell_adopted(&self, old: Option<&StoredPolicy>, new: &StoredPolicy, warnings: Vec<Warning>) {
        let broad = warnings.iter().find_map(|w| match w {
            Warning::BroadPattern(p) => Some(p.to_string()),
            Warning::BlankLine(_)
            | Warning::TrailingDot(_)
            | Warning::MaxAgeClamped(_)
            | Warning::AddressPattern(_) => None,
        });
        match old {
            None => {
                self.counters.first_contacts.fetch_add(1, Ordering::Relaxed);
                self.tell_of(new, EventKind::FirstContact { result: "found" });
                self.tell_of(new, EventKind::Fetched { warnings });
            }
            Some(old) if old.policy.text() == new.policy.text() => {
                self.tell_of(new, EventKind::Refreshed);
                return;
            }
            Some(old) => {
                let (old_mode, old_max_age) = (old.mode(), old.policy.max_age());
                let kind = EventKind::Changed {
                    old_mode,
                    old_max_age,
                    texts: (old.policy.text().into(), new.policy.text().into()),
                    warnings,
                };
                self.tell_of(new, kind);
                if new.policy.is_weaker_than(&old.policy) && !old.is_expired(new.fetched_at) {
                    let kind = EventKind::Weakened {
                        old_mode,
                        old_max_age,
                    };
                    self.tell_of(new, kind);
                }
            }
        }
        if let Some(pattern) = broad {
            self.tell_of(new, EventKind::Broad { pattern });
        }
    }

    fn cached_policy(&self, domain: &Domain, fallback: Option<Fallback>) -> Outcome {
        // Read again: a fetch for another purpose may have replaced it meanwhile.
        match self.stored(domain) {
            Some(policy) => {
                // One of mode none promises nothing that this could take away (row A6-23).
                let tells = policy.mode() != Mode::None;
                if let Some(cause) = fallback.as_ref().filter(|_| tells) {
                    let cause = cause.clone();
                    self.tell_of(&policy, EventKind::FallbackToCache { cause });
                }
                Outcome::Policy(Applied {
                    policy,
                    from: Origin::Cache,
                    fallback,
                })
            }
            // An operator has just ordered it to be forgotten.
            None => Outcome::NoPolicy(NoPolicy::Record(RecordTrouble::NoRecord(
                mta_sts::NoRecord::Absent,
            ))),
        }
    }

    /// Remembers the answer, unless the domain was forgotten since the look began, and hands it out.
    fn settle(
        &self,
        domain: &Domain,
        (outcome, first_contact, confirmed): (Outcome, bool, bool),
        ttl: Duration,
        forgotten: u64,
    ) -> FreshLook {
        let (now, mono) = self.clocks();
        let until = mono + self.reuse_for(&outcome, ttl, now);
        let mut book = self.book.write();
        let is_new = !book.entries.contains_key(domain);
        if let (Outcome::NoPolicy(NoPolicy::Record(why)), true) = (&outcome, is_new) {
            drop(book);
            let mut negatives = self.negatives.write();
            negatives.insert(domain.clone(), *why, until, mono);
        } else {
            let entry = book.entries.entry(domain.clone()).or_default();
            if is_new || entry.forgotten == forgotten {
                entry.remember(&outcome, until);
            }
            drop(book);
            // It is no longer what was last found.
            self.negatives.write().remove(domain);
        }
        FreshLook {
            discovery: self.discovery(domain, outcome, first_contact, until, now, mono),
            confirmed,
        }
    }

    fn reuse_for(&self, outcome: &Outcome, ttl: Duration, now: Timestamp) -> Duration {
        match outcome {
            Outcome::Policy(applied) => match applied.fallback {
                Some(Fallback::Fetch { ref cause, .. }) => ttl.min(retry(cause)),
                Some(Fallback::Record(_) | Fallback::Dns(_)) | None => ttl,
            }
            .min(applied.policy.expires_at.since(now)),
            Outcome::NoPolicy(NoPolicy::Fetch { cause, .. }) => ttl.min(retry(cause)),
            Outcome::Wait {
                until,
                why: Waiting::FetchLimit | Waiting::Clock(_) | Waiting::Local(_),
            } => ttl.min(until.since(now)),
            Outcome::NoPolicy(NoPolicy::Record(_) | NoPolicy::Unknown { .. })
            | Outcome::Wait {
                why: Waiting::Dns { .. },
                ..
            } => ttl,
        }
    }
}

/// When a failed fetch is worth asking for again: when the gate opens.
const fn retry(cause: &FetchError) -> Duration {
    match cause {
        FetchError::RateLimited { .. } => DNS_RETRY,
        _ => Duration::from_mins(5),
    }
}

/// A TXT answer is reused for its TTL within these (row A2-20).
pub(crate) const TTL_MIN: Duration = Duration::from_secs(30);
const TTL_MAX: Duration = Duration::from_hours(1);
/// Row H1-02.
const TXT_TIMEOUT: Duration = Duration::from_secs(10);
const DNS_RETRY: Duration = Duration::from_mins(1);
const CHECK_COUNTS_FOR: Duration = Duration::from_mins(5);
