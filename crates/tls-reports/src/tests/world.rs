//! A clock, a resolver, and two ways out that do as they are told.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clocks::Clock;
use journal::{SimulatedDisk, Storage};
use mail_types::{
    Answer, BoxFuture, DnsError, Domain, HostName, Mailbox, MxRecord, Resolver, Security,
    Timestamp, TlsaRecord,
};
use parking_lot::Mutex;
use tls_rpt::{Day, Endpoint, Failure, Finding, Identity, Policy, ResultType};

use crate::{
    Addresses, BoxError, Events, ListFilter, Mail, Options, Ports, Post, ReportEvent, ReportView,
    Reports, Trouble, What,
};

pub(super) const DIR: &str = "/data/reports";

/// A relay's reports and all that they see.
pub(super) struct World {
    pub(super) reports: Arc<Reports>,
    pub(super) ports: Ports,
    pub(super) outside: Arc<Outside>,
}

#[derive(Default)]
pub(super) struct Outside {
    /// Milliseconds since 1970.
    now: AtomicU64,
    /// TXT records by name; a name without an entry does not exist.
    pub(super) txt: Mutex<BTreeMap<String, Vec<String>>>,
    /// Look-ups that fail before one is answered.
    pub(super) servfail: AtomicU64,
    /// What does not exist is not believed.
    pub(super) doubted: AtomicBool,
    pub(super) asked: Mutex<Vec<String>>,
    /// What becomes of the next requests; then all are taken.
    pub(super) posts_fail: Mutex<VecDeque<&'static str>>,
    pub(super) always_fails: Mutex<Option<&'static str>>,
    pub(super) posted: Mutex<Vec<(String, &'static str, Vec<u8>)>>,
    pub(super) mailed: Mutex<Vec<(String, String, String)>>,
    pub(super) events: Mutex<Vec<ReportEvent>>,
}

impl Clock for Outside {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::Relaxed))
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now.load(Ordering::Relaxed))
    }
}

impl Resolver for Outside {
    fn mx<'a>(&'a self, _: &'a Domain) -> BoxFuture<'a, Result<Answer<Vec<MxRecord>>, DnsError>> {
        Box::pin(async { Err(DnsError::Temporary("not asked".into())) })
    }
    fn addresses<'a>(
        &'a self,
        _: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<IpAddr>>, DnsError>> {
        Box::pin(async { Err(DnsError::Temporary("not asked".into())) })
    }
    fn txt<'a>(
        &'a self,
        name: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
        Box::pin(async {
            self.asked.lock().push(name.to_string());
            let left = self.servfail.load(Ordering::Relaxed);
            if left > 0 {
                self.servfail.store(left - 1, Ordering::Relaxed);
                return Err(DnsError::Temporary("SERVFAIL".into()));
            }
            let ttl = Duration::from_secs(60);
            let security = Security::Insecure;
            let found = self.txt.lock().get(name.as_str()).cloned();
            let texts = found.ok_or(DnsError::NoSuchName { ttl, security })?;
            Ok(Answer {
                value: texts.into_iter().map(String::into_bytes).collect(),
                ttl,
                security,
                canonical: None,
                origin: security,
            })
        })
    }
    fn tlsa<'a>(
        &'a self,
        _: &'a HostName,
        _: u16,
    ) -> BoxFuture<'a, Result<Answer<Vec<TlsaRecord>>, DnsError>> {
        Box::pin(async { Err(DnsError::Temporary("not asked".into())) })
    }
    fn txt_uncached<'a>(
        &'a self,
        name: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
        self.txt(name)
    }
}

impl Post for Outside {
    fn post<'a>(
        &'a self,
        to: &'a Endpoint,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            let url = format!("https://{}{}", to.host, to.path_and_query);
            self.posted.lock().push((url, media_type, body));
            let next = self.posts_fail.lock().pop_front();
            match next.or_else(|| *self.always_fails.lock()) {
                Some(why) => Err(why.into()),
                None => Ok(()),
            }
        })
    }
}

impl Mail for Outside {
    fn submit<'a>(
        &'a self,
        from: &'a Mailbox,
        to: &'a Mailbox,
        message: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            let text = String::from_utf8(message)?;
            let mail = (from.to_string(), to.to_string(), text);
            self.mailed.lock().push(mail);
            Ok(())
        })
    }
}

impl Events for Outside {
    fn report_event(&self, event: &ReportEvent) {
        self.events.lock().push(event.clone());
    }
}

pub(super) fn identity() -> Identity {
    Identity {
        organization_name: "Example".to_owned(),
        contact_info: "tls@example.test".parse().unwrap(),
        gzip: true,
    }
}

pub(super) fn options() -> Options {
    Options {
        identity: Some(identity()),
        by_mail: true,
        addresses: Addresses::default(),
    }
}

pub(super) fn day() -> Day {
    "2026-03-01".parse().unwrap()
}

impl World {
    /// At noon of [`day`].
    pub(super) fn new() -> Self {
        let noon = day().begin() + Duration::from_hours(12);
        Self::on(&SimulatedDisk::new(1), noon).0
    }

    pub(super) fn on(disk: &SimulatedDisk, now: Timestamp) -> (Self, Vec<Trouble>) {
        let outside = Arc::new(Outside::default());
        outside.now.store(now.as_millis(), Ordering::Relaxed);
        Self::with(disk, outside)
    }

    /// As after a restart, in the same world.
    pub(super) fn with(disk: &SimulatedDisk, outside: Arc<Outside>) -> (Self, Vec<Trouble>) {
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let (reports, troubles) =
            Reports::open_on(storage, Path::new(DIR), options(), outside.wall()).unwrap();
        let ports = Ports {
            resolver: Arc::clone(&outside) as _,
            post: Arc::clone(&outside) as _,
            mail: Arc::clone(&outside) as _,
            events: Arc::clone(&outside) as _,
            clock: Arc::clone(&outside) as _,
            doubted: {
                let outside = Arc::clone(&outside);
                Arc::new(move || outside.doubted.load(Ordering::Relaxed))
            },
        };
        let _ = reports.clock.set(Arc::clone(&ports.clock));
        let world = Self {
            reports,
            ports,
            outside,
        };
        (world, troubles)
    }

    pub(super) fn publish(&self, domain: &str, record: &str) {
        let name = format!("_smtp._tls.{domain}");
        let mut txt = self.outside.txt.lock();
        txt.insert(name, vec![record.to_owned()]);
    }

    pub(super) fn success(&self, domain: &str) {
        self.reports.note(&Finding {
            at: self.outside.wall(),
            domain,
            policy: Policy::Sts("version: STSv1\nmode: enforce\nmx: mx.test\nmax_age: 86400\n"),
            failure: None,
        });
    }

    pub(super) fn failure(&self, domain: &str) {
        self.reports.note(&Finding {
            at: self.outside.wall(),
            domain,
            policy: Policy::NoPolicyFound,
            failure: Some(Failure {
                result: ResultType::StarttlsNotSupported,
                sending_ip: None,
                mx: Some("mx.test"),
                helo: None,
                receiving_ip: None,
                reason: None,
            }),
        });
    }

    pub(super) fn fetch_failed(&self, domain: &str) {
        self.reports.note(&Finding {
            at: self.outside.wall(),
            domain,
            policy: Policy::Sts(""),
            failure: Some(Failure {
                result: ResultType::StsPolicyFetchError,
                sending_ip: None,
                mx: None,
                helo: None,
                receiving_ip: None,
                reason: Some("http-404".into()),
            }),
        });
    }

    pub(super) fn go_on(&self, by: Duration) {
        let now = self.outside.wall() + by;
        self.outside.now.store(now.as_millis(), Ordering::Relaxed);
    }

    pub(super) fn go_to(&self, at: Timestamp) {
        self.outside.now.store(at.as_millis(), Ordering::Relaxed);
    }

    /// Writes, closes, and sends what is due.
    pub(super) async fn pass(&self) {
        self.pass_of(usize::MAX).await;
    }

    /// So many reports at most.
    pub(super) async fn pass_of(&self, room: usize) {
        // Disks that fail are told of.
        let _ = self.reports.turn(self.outside.wall());
        let jobs = self.reports.take_due(self.outside.wall(), room);
        for job in jobs {
            Arc::clone(&self.reports).send(&self.ports, job).await;
        }
    }

    /// Time goes on for so long, minute by minute.
    pub(super) async fn live(&self, long: Duration) {
        let end = self.outside.wall() + long;
        while self.outside.wall() < end {
            self.go_on(Duration::from_mins(1));
            self.pass().await;
        }
    }

    pub(super) fn list(&self) -> Vec<ReportView> {
        self.reports.list(&ListFilter::default())
    }

    /// Names of what was told.
    pub(super) fn told(&self) -> Vec<&'static str> {
        let events = self.outside.events.lock();
        let name = |e: &ReportEvent| match e.what {
            What::Sent { .. } => "sent",
            What::Deferred { .. } => "deferred",
            What::Dropped { .. } => "dropped",
            What::RuaSkipped { .. } => "skipped",
        };
        events.iter().map(name).collect()
    }
}
