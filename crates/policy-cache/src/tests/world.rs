//! A world for one cache: what DNS says, what policy hosts serve, what time it is, what is on disk.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mail_types::{
    Answer, BoxFuture, DnsError, Domain, HostName, MxRecord, Resolver, Security, Timestamp,
    TlsaRecord,
};
use mta_sts::{Mode, Parsed, Policy};
use parking_lot::Mutex;

use crate::event::{EventKind, PolicyEvent};
use crate::jitter::Jitter;
use crate::row::{self, Decoded, Row};
use crate::store::{Loaded, LoadedDomain, Store, StoreError};
use crate::{Config, Discovery, JudgedClock, Outcome, PolicyCache, Ports};
use clocks::Clock;
use policy_fetch::{FetchError, FetchFailure, PolicyFetcher};

pub(super) struct World {
    pub(super) dns: Mutex<HashMap<String, Txt>>,
    pub(super) hosts: Mutex<HashMap<String, Result<String, FetchFailure>>>,
    pub(super) now: AtomicU64,
    /// By how much the wall clock is ahead.
    pub(super) skew: AtomicU64,
    pub(super) events: Mutex<Vec<PolicyEvent>>,
    pub(super) txt_queries: AtomicU64,
    pub(super) gets: AtomicU64,
    pub(super) disk: Mutex<Vec<(u64, Row)>>,
    pub(super) disk_fails: AtomicBool,
    /// While held, the disk takes nothing.
    pub(super) slow_disk: tokio::sync::Mutex<()>,
    /// How long the last fetch was given.
    pub(super) within: Mutex<Duration>,
    /// While held, fetches wait.
    pub(super) slow: tokio::sync::Mutex<()>,
    /// Fetches of this domain are never answered.
    pub(super) stalls: Mutex<Option<&'static str>>,
    /// Recording each event of a year takes gigabytes.
    pub(super) quiet: AtomicBool,
}

#[derive(Clone)]
pub(super) enum Txt {
    Records(&'static [&'static str], u64),
    Nxdomain,
    Servfail,
    Unasked,
}

pub(super) const START: u64 = 1_700_000_000;

impl World {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            dns: Mutex::default(),
            hosts: Mutex::default(),
            now: AtomicU64::new(START),
            skew: AtomicU64::new(0),
            events: Mutex::default(),
            txt_queries: AtomicU64::new(0),
            gets: AtomicU64::new(0),
            disk: Mutex::default(),
            disk_fails: AtomicBool::new(false),
            slow_disk: tokio::sync::Mutex::default(),
            within: Mutex::default(),
            slow: tokio::sync::Mutex::default(),
            stalls: Mutex::default(),
            quiet: AtomicBool::new(false),
        })
    }

    /// A cache that starts from what is on disk.
    pub(super) fn open(self: &Arc<Self>) -> PolicyCache {
        self.open_with(Config::new("unused"))
    }

    pub(super) fn open_with(self: &Arc<Self>, config: Config) -> PolicyCache {
        let store = Arc::new(Fake(Arc::clone(self)));
        PolicyCache::with_store(config, self.ports(), store, self.load())
    }

    /// Everything but the disk.
    pub(super) fn ports(self: &Arc<Self>) -> Ports {
        Ports {
            resolver: Arc::new(Fake(Arc::clone(self))),
            fetcher: Arc::new(Fake(Arc::clone(self))),
            clock: Arc::new(JudgedClock::new(Arc::new(Fake(Arc::clone(self))), None)),
            jitter: Jitter::seeded(7),
            events: {
                let world = Arc::clone(self);
                Arc::new(move |e: &PolicyEvent| {
                    if !world.quiet.load(Ordering::Relaxed) {
                        world.events.lock().push(e.clone());
                    }
                })
            },
        }
    }

    pub(super) fn txt(&self, domain: &str, txt: Txt) {
        self.dns.lock().insert(format!("_mta-sts.{domain}"), txt);
    }

    pub(super) fn serve(&self, domain: &str, mode: Mode, max_age: u64) {
        let text = policy_text(mode, max_age);
        self.hosts.lock().insert(domain.to_owned(), Ok(text));
    }

    pub(super) fn block(&self, domain: &str) {
        let refused = FetchError::Connect("connection refused".into());
        self.hosts
            .lock()
            .insert(domain.to_owned(), Err(refused.into()));
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(super) fn gets(&self) -> u64 {
        self.gets.load(Ordering::Relaxed)
    }

    pub(super) fn txt_queries(&self) -> u64 {
        self.txt_queries.load(Ordering::Relaxed)
    }

    /// The names of all events so far, which are then forgotten.
    pub(super) fn told(&self) -> Vec<&'static str> {
        let events = std::mem::take(&mut *self.events.lock());
        events.iter().map(|e| e.kind.name()).collect()
    }

    pub(super) fn kinds(&self) -> Vec<EventKind> {
        let events = std::mem::take(&mut *self.events.lock());
        events.into_iter().map(|e| e.kind).collect()
    }

    fn load(&self) -> Loaded {
        let mut loaded = Loaded::default();
        let mut policies: HashMap<Domain, u64> = HashMap::new();
        for (seq, row) in &*self.disk.lock() {
            loaded.seq = loaded.seq.max(*seq);
            let entry: &mut LoadedDomain = loaded.domains.entry(row.domain().clone()).or_default();
            match row {
                Row::Policy(p) | Row::Renewed(p) => {
                    if policies.get(&p.domain).is_none_or(|s| s < seq) {
                        policies.insert(p.domain.clone(), *seq);
                        entry.policy = Some((*seq, Arc::clone(p)));
                    }
                }
                Row::Forgotten(_) => entry.policy = None,
                Row::Contact(_, contact) => entry.contact = (*seq, *contact),
                Row::Local(_, rules) => entry.local = (*seq, Some(rules.clone())),
            }
        }
        loaded
    }
}

pub(super) fn policy_text(mode: Mode, max_age: u64) -> String {
    format!("version: STSv1\nmode: {mode}\nmx: mx.d.test\nmax_age: {max_age}\n")
}

pub(super) fn name(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// The mode in force, or none.
pub(super) fn mode(d: &Discovery) -> Option<Mode> {
    match &d.outcome {
        Outcome::Policy(applied) => Some(applied.policy.mode()),
        Outcome::NoPolicy(_) | Outcome::Wait { .. } => None,
    }
}

struct Fake(Arc<World>);

impl Clock for Fake {
    fn wall(&self) -> Timestamp {
        let (now, skew) = (&self.0.now, &self.0.skew);
        Timestamp::from_secs(now.load(Ordering::Relaxed) + skew.load(Ordering::Relaxed))
    }
    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.now.load(Ordering::Relaxed) - START + 1)
    }
}

impl PolicyFetcher for Fake {
    fn fetch<'a>(
        &'a self,
        domain: &'a Domain,
        within: Duration,
    ) -> BoxFuture<'a, Result<Parsed, FetchFailure>> {
        Box::pin(async move {
            self.0.gets.fetch_add(1, Ordering::Relaxed);
            *self.0.within.lock() = within;
            drop(self.0.slow.lock().await);
            if *self.0.stalls.lock() == Some(domain.as_str()) {
                std::future::pending::<()>().await;
            }
            let served = self.0.hosts.lock().get(domain.as_str()).cloned();
            let text = served.unwrap_or_else(|| {
                let dns = DnsError::Temporary("no such host".into());
                Err(FetchError::Dns(dns).into())
            })?;
            Policy::parse(text.as_bytes()).map_err(|e| FetchError::Policy(e).into())
        })
    }
}

impl Store for Fake {
    fn append<'a>(&'a self, row: &'a Row, seq: u64) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            drop(self.0.slow_disk.lock().await);
            if self.0.disk_fails.load(Ordering::Relaxed) {
                return Err(StoreError("no space left".into()));
            }
            // What would not survive the disk would not survive here either.
            let encoded = row.encode(seq);
            let (domain, read, decoded) =
                row::decode(encoded.kind, &encoded.meta).unwrap().unwrap();
            assert_eq!((&domain, read), (row.domain(), seq));
            if let (Decoded::Policy(meta), Some(text)) = (decoded, encoded.body) {
                assert!(row::restore(&domain, &meta, &text).is_ok());
            }
            self.0.disk.lock().push((seq, row.clone()));
            Ok(())
        })
    }
    fn wants_compaction(&self) -> bool {
        self.0.disk.lock().len() > 100_000
    }
    fn rotate(&self) -> Result<u32, StoreError> {
        Ok(u32::try_from(self.0.disk.lock().len()).unwrap())
    }
    fn rewrite(&self, mark: u32, rows: Vec<(u64, Row)>, _: u64) -> Result<(), StoreError> {
        let mut disk = self.0.disk.lock();
        let later = disk.split_off(mark as usize);
        *disk = rows;
        disk.extend(later);
        Ok(())
    }
}

impl Resolver for Fake {
    fn mx<'a>(&'a self, _: &'a Domain) -> BoxFuture<'a, Result<Answer<Vec<MxRecord>>, DnsError>> {
        Box::pin(async { Err(unasked()) })
    }
    fn addresses<'a>(
        &'a self,
        _: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<IpAddr>>, DnsError>> {
        Box::pin(async { Err(unasked()) })
    }
    fn txt<'a>(
        &'a self,
        name: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
        self.txt_uncached(name)
    }
    fn tlsa<'a>(
        &'a self,
        _: &'a HostName,
        _: u16,
    ) -> BoxFuture<'a, Result<Answer<Vec<TlsaRecord>>, DnsError>> {
        Box::pin(async { Err(unasked()) })
    }
    fn txt_uncached<'a>(
        &'a self,
        name: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
        Box::pin(async move {
            self.0.txt_queries.fetch_add(1, Ordering::Relaxed);
            let txt = self.0.dns.lock().get(name.as_str()).cloned();
            match txt.unwrap_or(Txt::Nxdomain) {
                Txt::Records(records, ttl) => Ok(Answer {
                    value: records.iter().map(|r| r.as_bytes().to_vec()).collect(),
                    ttl: Duration::from_secs(ttl),
                    security: Security::Insecure,
                    canonical: None,
                    origin: Security::Insecure,
                }),
                Txt::Nxdomain => Err(DnsError::NoSuchName {
                    ttl: Duration::from_secs(300),
                    security: Security::Insecure,
                }),
                Txt::Servfail => Err(DnsError::Temporary("SERVFAIL".into())),
                Txt::Unasked => Err(DnsError::Local(
                    "this process has no file descriptor left (EMFILE)".into(),
                )),
            }
        })
    }
}

fn unasked() -> DnsError {
    DnsError::Temporary("not a question that the cache asks".into())
}
