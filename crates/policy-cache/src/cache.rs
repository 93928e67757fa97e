//! The cache as its users see it.
//!
//! On disk: `dir/journal` and its second copy `dir/index` (see `row.rs` and `disk.rs`). In memory: the book (see `book.rs`), which
//! holds every policy, so that no look-up ever reads the disk. Who calls: delivery asks [`PolicyCache::policy_for`]
//! for each batch; one task runs [`PolicyCache::run`]; the control socket gives orders. What can
//! fail: DNS, policy hosts, the disk; none of them takes a policy away. Deliberately absent: any
//! way to remove an unexpired policy but an operator's `forget --dangerous`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use journal::RealDisk;
use mail_types::{Domain, Resolver, Timestamp};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore};

use crate::book::{Book, Negatives};
use crate::discovery::{Discovery, NoPolicy, Outcome, StoredPolicy};
use crate::disk::{Disk, OpenStore, Repair};
use crate::event::{EventKind, EventSink, PolicyEvent, StorePart};
use crate::flight::Flights;
use crate::jitter::Jitter;
use crate::lookup::Trigger;
use crate::refresh::Ends;
use crate::stats::Counters;
use crate::store::{Loaded, Store};
use crate::systemic::Systemic;
use clocks::Clock;
use clocks::JudgedClock;
use clocks::{ClockHeld, ClockNews};
use policy_fetch::{FetchError, PolicyFetcher};

/// A handle; cloning shares.
#[derive(Clone)]
pub struct PolicyCache {
    pub(crate) inner: Arc<Inner>,
}

/// Settings of a cache. Start from [`Config::new`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Where `journal/` and `index/` lie: `DATA/policies`.
    pub dir: PathBuf,
    /// There has been a store before, so that an empty directory means that it is lost.
    pub expected: bool,
    /// `policy-cache.refresh-interval`: a day.
    pub refresh_interval: Duration,
    /// `policy-cache.fetch-timeout`: one deadline over TXT look-up, waiting for a slot, and the fetch
    /// (row A4-12, decision AMB-10).
    pub fetch_timeout: Duration,
    /// Fetches at the same time on behalf of mail: 64. Background refreshes have a quarter of that
    /// for themselves.
    pub max_fetches: usize,
    /// Policies that are kept at most: 500,000. Beyond that a new one applies once and is not kept,
    /// with an event; none that is kept is ever dropped for it (decision AMB-19).
    pub max_policies: usize,
    /// "No record" answers in memory: 200,000.
    pub max_negative: usize,
    /// Go on with what can be read although journal and index are damaged: protection is lost.
    pub dangerous_lose_policies: bool,
}

impl Config {
    /// The defaults, for this directory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            expected: false,
            refresh_interval: Duration::from_hours(24),
            fetch_timeout: Duration::from_mins(1),
            max_fetches: 64,
            max_policies: 500_000,
            max_negative: 200_000,
            dangerous_lose_policies: false,
        }
    }

    /// Fetches at the same time: on behalf of mail, and in the background.
    #[must_use]
    pub fn slots(&self) -> [usize; 2] {
        [self.max_fetches.max(1), (self.max_fetches / 4).max(1)]
    }
}

/// The result of opening the store.
#[must_use]
pub enum Opened {
    /// Ready.
    Ready(PolicyCache),
    /// The store cannot be read in full and policies would be lost: accept and hold mail until the operator says `--dangerous-lose-policies`.
    Lost {
        /// What is wrong, where, and the remedy.
        error: String,
    },
}

/// What a full check found.
#[derive(Clone, Debug)]
#[must_use]
pub struct FreshLook {
    /// What applies now.
    pub discovery: Discovery,
    /// The record was answered for, and the policy was fetched (now or within the last 5 minutes)
    /// or there is none to fetch: what applies is confirmed. If false, what applies could not be
    /// checked: defer rather than bounce (decision AMB-04).
    pub confirmed: bool,
}

/// Why the store could not be opened or an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Nothing is known about this domain.
    #[error("nothing is stored for {0}")]
    Unknown(Domain),
    /// Forgetting an unexpired enforce policy takes `--dangerous`.
    #[error(
        "{0} has an unexpired enforce policy: forgetting it lets mail go out unprotected; say --dangerous if you mean it"
    )]
    StillEnforced(Domain),
    /// At most 90 days.
    #[error("an exemption lasts at most 90 days, and ends in the future")]
    BadEnd,
    /// A reason is required.
    #[error("a reason is required")]
    NoReason,
    /// A pin needs patterns.
    #[error("a pin needs at least one MX pattern")]
    NoPatterns,
    /// The store did not take it; nothing has changed.
    #[error("the policy store failed: {0}")]
    Store(String),
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) fetcher: Arc<dyn PolicyFetcher>,
    pub(crate) clock: Arc<JudgedClock>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) book: RwLock<Book>,
    pub(crate) negatives: RwLock<Negatives>,
    pub(crate) counters: Counters,
    pub(crate) generation: AtomicU64,
    pub(crate) fetch_slots: Semaphore,
    pub(crate) background_slots: Semaphore,
    /// The driver has something to look at.
    pub(crate) wake: Notify,
    pub(crate) ends: Ends,
    pub(crate) index_failure_told: AtomicBool,
    /// Held to read from the append of a row until the book says the same; compaction writes.
    pub(crate) commits: tokio::sync::RwLock<()>,
    /// Held from the reading of a domain's rules until they are changed: two orders at once would each
    /// bring back what the other has ended.
    pub(crate) orders: tokio::sync::Mutex<()>,
    events: Arc<dyn EventSink>,
    /// By how much the stamps of policies have followed a clock that was set back.
    pub(crate) followed: Mutex<Duration>,
    jitter: Mutex<Jitter>,
    seq: AtomicU64,
    pub(crate) systemic: Systemic,
    pub(crate) flights: Flights,
}

/// What a cache works with.
pub struct Ports {
    /// DNS.
    pub resolver: Arc<dyn Resolver>,
    /// HTTPS.
    pub fetcher: Arc<dyn PolicyFetcher>,
    /// Time. Who writes to the same log has the same.
    pub clock: Arc<JudgedClock>,
    /// Chance.
    pub jitter: Jitter,
    /// The log.
    pub events: Arc<dyn EventSink>,
}

impl PolicyCache {
    /// Opens the store under `config.dir` and loads what is in it. Blocks on disk.
    ///
    /// # Errors
    /// The directory cannot be used, or was written by a newer release.
    pub fn open(config: Config, ports: Ports) -> Result<Opened, CacheError> {
        let disk = Arc::new(RealDisk);
        let lose = config.dangerous_lose_policies;
        match Disk::open(&config.dir, disk, config.expected, lose)? {
            OpenStore::Ready(disk, loaded, repair) => {
                let policies = loaded.policies();
                let cache = Self::with_store(config, ports, disk, loaded);
                cache.inner.tell_repair(repair, policies);
                Ok(Opened::Ready(cache))
            }
            OpenStore::Lost(error) => Ok(Opened::Lost { error }),
        }
    }

    /// Ends the store in order: brings its second copy up to date. What is fetched after that is in force,
    /// but not stored. Blocks on disk.
    pub fn close(&self) {
        self.inner.store.close();
    }

    pub(crate) fn with_store(
        config: Config,
        ports: Ports,
        store: Arc<dyn Store>,
        loaded: Loaded,
    ) -> Self {
        let [mail, background] = config.slots();
        let inner = Inner {
            fetch_slots: Semaphore::new(mail),
            background_slots: Semaphore::new(background),
            negatives: RwLock::new(Negatives::new(config.max_negative)),
            config,
            resolver: ports.resolver,
            fetcher: ports.fetcher,
            clock: ports.clock,
            store,
            book: RwLock::new(Book::default()),
            counters: Counters::default(),
            generation: AtomicU64::new(1),
            wake: Notify::new(),
            ends: Ends::default(),
            index_failure_told: AtomicBool::new(false),
            commits: tokio::sync::RwLock::new(()),
            orders: tokio::sync::Mutex::new(()),
            events: ports.events,
            followed: Mutex::default(),
            jitter: Mutex::new(ports.jitter),
            seq: AtomicU64::new(loaded.seq),
            systemic: Systemic::default(),
            flights: Flights::default(),
        };
        inner.take_over(loaded);
        Self {
            inner: Arc::new(inner),
        }
    }

    /// How many fetches there are at the same time at most: on behalf of mail, and in the background.
    #[must_use]
    pub fn fetch_limits(&self) -> [usize; 2] {
        self.inner.config.slots()
    }

    /// What does this domain demand? Answers from memory while the last answer is good, else asks
    /// DNS and, on a new id, fetches; `fetch_timeout` at most. Many callers share one look, and dropping the
    /// future does not end it. Needs a tokio runtime.
    pub async fn policy_for(&self, domain: &Domain) -> Discovery {
        let discovery = match self.cached(domain) {
            Some(known) => known,
            None => self.fly(domain, Trigger::Mail).await.discovery,
        };
        self.inner.counters.count(&discovery.outcome);
        discovery
    }

    /// As [`PolicyCache::policy_for`], for a reader: a look-up without an answer is not counted against the
    /// domain, of which decision AMB-01 lets mail go after three.
    pub async fn shown(&self, domain: &Domain) -> Discovery {
        match self.cached(domain) {
            Some(known) => known,
            None => self.fly(domain, Trigger::Shown).await.discovery,
        }
    }

    /// The answer from memory if it is still good; never waits.
    #[must_use]
    pub fn cached(&self, domain: &Domain) -> Option<Discovery> {
        let inner = &self.inner;
        let (now, mono) = inner.clocks();
        let (memo, local) = {
            let book = inner.book.read();
            let entry = book.entries.get(domain);
            (
                entry.and_then(|e| e.answer(now, mono)).cloned(),
                entry.and_then(|e| e.local.clone()),
            )
        };
        // What a doubted clock said ends with the doubt.
        let memo = memo.filter(|m| !m.is_doubt() || inner.clock_held().is_some());
        let (outcome, first_contact, until) = match memo {
            Some(memo) => (memo.outcome, memo.first_contact, memo.until),
            None => {
                let (why, until) = inner.negatives.read().get(domain, mono)?;
                (Outcome::NoPolicy(NoPolicy::Record(why)), false, until)
            }
        };
        Some(Discovery {
            valid_until: valid_until(&outcome, until, now, mono),
            generation: inner.generation.load(Ordering::Acquire),
            outcome,
            first_contact,
            local,
        })
    }

    /// The time that expiry is judged by: the wall clock, but a sudden jump is held until it has
    /// proved steady, so that it ends no policy (row H8-01).
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.now()
    }

    /// The same, with the monotonic time that belongs to it.
    #[must_use]
    pub fn clocks(&self) -> (Timestamp, Duration) {
        self.inner.clocks()
    }

    /// The doubts about the wall clock, if there are any: expiry is held then.
    #[must_use]
    pub fn clock(&self) -> Option<ClockHeld> {
        self.inner.clock_held()
    }

    /// An operator says that the wall clock is right. False if nobody doubts it.
    pub fn accept_clock(&self, by: &str) -> bool {
        let inner = &self.inner;
        let (wall, mono) = inner.clock.unjudged();
        let news = {
            let mut guard = inner.clock.guard();
            let Some(news) = guard.accept(wall, mono) else {
                return false;
            };
            inner.plan_anew_after(news);
            news
        };
        let accepted_by = Some(by.to_owned());
        inner.tell_all(wall, EventKind::Clock { news, accepted_by });
        inner.wake.notify_one();
        true
    }

    /// By how much the time that is judged by was set back in all: what was stamped before that lies
    /// in the future.
    #[must_use]
    pub fn clock_set_back(&self) -> Duration {
        self.inner.clock.guard().set_back()
    }

    /// Changes whenever the policy or a local rule of any domain has changed in substance, and when the clock
    /// is doubted no longer. A plan
    /// made under the same number and before its `valid_until` need not ask again.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.generation.load(Ordering::Acquire)
    }

    /// After a policy-caused delivery failure: looks at the record and fetches by HTTPS whatever
    /// the id says, at most every 5 minutes (decision AMB-18).
    pub async fn force_refresh(&self, domain: &Domain) -> FreshLook {
        self.fly(domain, Trigger::Forced).await
    }

    /// Before a bounce that a policy has a part in: an uncached TXT look-up, and an HTTPS fetch
    /// unless the last is under a minute old (RFC 8461 section 5, decision AMB-04).
    pub async fn fresh_look(&self, domain: &Domain) -> FreshLook {
        self.fly(domain, Trigger::Fresh).await
    }

    /// An operator's wish: looks at the record and fetches by HTTPS now, whatever was fetched when.
    /// Shares a full check that is under way, unless that is held back or fails.
    pub async fn refresh_now(&self, domain: &Domain) -> FreshLook {
        let (look, began) = self.flown(domain, Trigger::Operator).await;
        if look.confirmed || began == Trigger::Operator {
            return look;
        }
        // Somebody else's look was bound by the gate, which does not bind an operator.
        self.fly(domain, Trigger::Operator).await
    }
}

impl Inner {
    /// See [`PolicyCache::clock`].
    pub(crate) fn clock_held(&self) -> Option<ClockHeld> {
        let (wall, mono) = self.clock.unjudged();
        self.clock.guard().held(wall, mono)
    }

    /// The time that expiry is judged by.
    pub(crate) fn now(&self) -> Timestamp {
        self.clocks().0
    }

    /// That, and monotonic time.
    pub(crate) fn clocks(&self) -> (Timestamp, Duration) {
        let (wall, mono) = self.clock.unjudged();
        let (now, news) = {
            let mut guard = self.clock.guard();
            let (now, news) = guard.now(wall, mono);
            news.inspect(|news| self.plan_anew_after(*news));
            (now, news)
        };
        if let Some(news) = news {
            let accepted_by = None;
            self.tell_all(now, EventKind::Clock { news, accepted_by });
        }
        (now, mono)
    }

    /// Plans may say that mail waits because the clock is doubted, by the time that was judged by then. For
    /// whoever holds the guard: nobody is to see the new time under the old number.
    fn plan_anew_after(&self, news: ClockNews) {
        if news.ends_doubt() {
            self.generation.fetch_add(1, Ordering::Release);
            self.ends.moved();
        }
    }

    pub(crate) fn clock_set_back(&self) -> Duration {
        self.clock.guard().set_back()
    }

    pub(crate) fn jitter(&self) -> f64 {
        self.jitter.lock().fraction()
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.seq.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn stored(&self, domain: &Domain) -> Option<Arc<StoredPolicy>> {
        self.book.read().entries.get(domain)?.policy.clone()
    }

    pub(crate) fn discovery(
        &self,
        domain: &Domain,
        outcome: Outcome,
        first_contact: bool,
        until: Duration,
        now: Timestamp,
        mono: Duration,
    ) -> Discovery {
        let local = self
            .book
            .read()
            .entries
            .get(domain)
            .and_then(|e| e.local.clone());
        Discovery {
            valid_until: valid_until(&outcome, until, now, mono),
            generation: self.generation.load(Ordering::Acquire),
            outcome,
            first_contact,
            local,
        }
    }

    fn take_over(&self, loaded: Loaded) {
        let now = self.now();
        let mut book = self.book.write();
        for (domain, found) in loaded.domains {
            let jitter = self.jitter.lock().fraction();
            let entry = book.entries.entry(domain.clone()).or_default();
            entry.contact = found.contact.1;
            entry.local = found.local.1.map(Arc::new);
            let Some((seq, policy)) = found.policy else {
                continue;
            };
            // One that ran out long before this start was told of then.
            entry.expiry_told = now >= policy.expires_at + Duration::from_hours(24);
            entry.expired_before = policy.is_expired(now);
            entry.seq = seq;
            entry.policy = Some(Arc::clone(&policy));
            let interval = self.config.refresh_interval;
            book.schedule
                .loaded(&domain, policy.life(), interval, now, jitter);
        }
    }

    fn tell_repair(&self, repair: Repair, policies: usize) {
        let now = self.clock.wall();
        let repaired = [
            (StorePart::Index, repair.index_rebuilt),
            (StorePart::Journal, repair.journal_healed),
        ];
        for (part, cause) in repaired {
            if let Some(cause) = cause {
                let kind = EventKind::StoreRebuilt {
                    part,
                    cause,
                    policies,
                };
                self.tell_all(now, kind);
            }
        }
        if let Some(cause) = repair.lost {
            self.tell_all(now, EventKind::StoreLost { cause, policies });
        }
    }

    /// Counts a failed fetch and tells of it, as the trigger demands.
    pub(crate) fn fetch_failed(
        &self,
        domain: &Domain,
        id: Option<mta_sts::PolicyId>,
        cause: &FetchError,
        back_off: Duration,
        trigger: Trigger,
    ) {
        let now = self.now();
        if let Some(domains) = self.systemic.fails(domain) {
            self.tell_all(now, EventKind::AllFetchesFail { domains });
        }
        let policy = self.stored(domain);
        let cause = cause.clone();
        let is_refresh = |p: &StoredPolicy| match trigger {
            Trigger::Refresh => true,
            // Who asked is told also of what is not worth an alert.
            Trigger::Operator => !p.is_expired(now) && p.mode() != mta_sts::Mode::None,
            Trigger::Mail | Trigger::Shown | Trigger::Forced | Trigger::Fresh => false,
        };
        if let Some(policy) = policy.as_ref().filter(|p| is_refresh(p)) {
            let (failures, alert) = if trigger == Trigger::Refresh {
                let counter = &self.counters.refresh_failures;
                counter.fetch_add(1, Ordering::Relaxed);
                let jitter = self.jitter();
                let schedule = &mut self.book.write().schedule;
                let told = schedule.failed(domain, policy.life(), &cause, now, jitter);
                // It may have ended, or been forgotten, meanwhile.
                told.unwrap_or((1, false))
            } else {
                // However often somebody asks, that makes no alert.
                self.book.write().schedule.could_not_fetch(domain, &cause)
            };
            // Mode none is silent (row A7-02).
            if policy.mode() != mta_sts::Mode::None {
                let kind = EventKind::RefreshFailed {
                    cause,
                    failures,
                    alert,
                };
                self.tell_of(policy, kind);
            }
            return;
        }
        self.book.write().schedule.could_not_fetch(domain, &cause);
        let kind = EventKind::FetchFailed {
            cause,
            kept: policy.is_some_and(|p| !p.is_expired(now)),
            back_off,
        };
        let mut event = self.event(domain, kind);
        event.id = id.or(event.id);
        self.events.policy_event(&event);
    }

    pub(crate) fn tell(&self, domain: &Domain, kind: EventKind) {
        self.events.policy_event(&self.event(domain, kind));
    }

    pub(crate) fn tell_of(&self, policy: &StoredPolicy, kind: EventKind) {
        self.events.policy_event(&PolicyEvent {
            at: self.clock.wall(),
            domain: Some(policy.domain.clone()),
            id: policy.id.clone(),
            mode: Some(policy.mode()),
            expires_at: Some(policy.expires_at),
            kind,
        });
    }

    pub(crate) fn tell_all(&self, at: Timestamp, kind: EventKind) {
        self.events.policy_event(&PolicyEvent::of_all(at, kind));
    }

    fn event(&self, domain: &Domain, kind: EventKind) -> PolicyEvent {
        let policy = self.stored(domain);
        PolicyEvent {
            at: self.clock.wall(),
            domain: Some(domain.clone()),
            id: policy.as_ref().and_then(|p| p.id.clone()),
            mode: policy.as_ref().map(|p| p.mode()),
            expires_at: policy.as_ref().map(|p| p.expires_at),
            kind,
        }
    }
}

fn valid_until(outcome: &Outcome, until: Duration, now: Timestamp, mono: Duration) -> Timestamp {
    let reuse = now + until.saturating_sub(mono);
    match outcome {
        Outcome::Policy(applied) => reuse.min(applied.policy.expires_at),
        Outcome::NoPolicy(_) | Outcome::Wait { .. } => reuse,
    }
}
