//! The port: names in, answers out, each within the limit.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::time::{Duration, Instant};

use dns_health::{Absence, Kind, Outcome, Path, Silence, Stats};
use futures_util::future::{Either, select};
use hickory_resolver::proto::rr::{RData, RecordType};
use mail_types::{
    Answer, BoxFuture, DnsError, Domain, HostName, MxRecord, Resolver, Security, TlsaRecord,
};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::chain::{Cache, Upstream};
use crate::config::{BuildError, Config, Dnssec};
use crate::path::{IMPATIENT, Rest};
use crate::records;

/// Asks the configured name servers and remembers what they said for the TTL.
pub struct DnsResolver {
    upstream: Upstream,
    limit: Duration,
}

impl DnsResolver {
    /// Reads the server list; asks nobody yet. Look-ups must run on a tokio runtime.
    ///
    /// # Errors
    /// The configuration is at fault: no servers, servers that `trust-ad` must not trust, or trust
    /// anchors that cannot be read.
    pub fn new(config: &Config) -> Result<Self, BuildError> {
        Ok(Self {
            upstream: Upstream::new(config)?,
            limit: config.limit,
        })
    }

    /// Reads the name servers of `/etc/resolv.conf` anew, if those are asked. Says whether others are from now on;
    /// where the list is of no use, the same are asked as before.
    ///
    /// # Errors
    /// Why it is of no use.
    pub fn reread(&self) -> Result<bool, BuildError> {
        self.upstream.reread()
    }

    /// Whether DNSSEC reaches us, now and whenever that changes. Look-ups find out by themselves;
    /// [`DnsResolver::look_at_path`] does without one.
    #[must_use]
    pub fn path(&self) -> watch::Receiver<Path> {
        self.upstream.probe.subscribe()
    }

    /// Asks for the keys that DNSSEC begins with (decision AMB-34), and sets
    /// [`DnsResolver::path`] accordingly.
    pub async fn look_at_path(&self) {
        let _ = self.upstream.look(Rest::Asked).await;
    }

    /// The same for whoever has seen the name servers come back: some come and go, and are not asked for the
    /// keys at each turn.
    pub async fn look_at_path_rested(&self) {
        self.upstream.look_rested(IMPATIENT).await;
    }

    /// Whether what [`DnsResolver::path`] says is for a reason that may pass without anything to be seen of that: look again
    /// soon.
    #[must_use]
    pub fn path_may_pass(&self) -> bool {
        self.upstream.path_may_pass()
    }

    /// Whether any name server serves us, now and whenever that changes; known from the look-ups that
    /// are made and from [`DnsResolver::knock`].
    #[must_use]
    pub fn silence(&self) -> watch::Receiver<Option<Silence>> {
        self.upstream.servers().subscribe()
    }

    /// Why nothing is looked up although name servers answer: DNSSEC cannot be validated here.
    #[must_use]
    pub fn barred(&self) -> Option<String> {
        self.upstream.barred()
    }

    /// Asks the name servers for something that they know, to learn whether they answer again.
    pub async fn knock(&self) {
        self.upstream.servers().knock().await;
    }

    /// Whom it asks, for a reader: `192.0.2.1 and 192.0.2.2`.
    #[must_use]
    pub fn servers(&self) -> String {
        self.upstream.servers().names()
    }

    /// The counters so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.upstream.counters.snapshot()
    }

    async fn timed<T>(
        &self,
        kind: Kind,
        name: &str,
        lookup: impl Future<Output = Result<T, DnsError>>,
    ) -> Result<T, DnsError> {
        let start = Instant::now();
        let result = match special(name, kind) {
            Some(denial) => Err(denial),
            None => match timeout(self.limit, lookup).await {
                Ok(result) => result,
                Err(_elapsed) => Err(DnsError::Temporary(format!(
                    "no answer from the name servers for {name} within {} s",
                    self.limit.as_secs_f32()
                ))),
            },
        };
        let took = start.elapsed();
        self.upstream.counters.record(kind, outcome(&result), took);
        if let Err(e @ (DnsError::Temporary(_) | DnsError::Bogus(_) | DnsError::Local(_))) = &result
        {
            tracing::debug!(?kind, name, error = %e, ?took, "look-up failed");
        }
        result
    }

    async fn txt_records(
        &self,
        name: &HostName,
        cache: Cache,
    ) -> Result<Answer<Vec<Vec<u8>>>, DnsError> {
        let name = name.as_str();
        let lookup = self
            .upstream
            .follow(name, RecordType::TXT, cache, records::txt);
        self.timed(Kind::Txt, name, lookup).await
    }

    async fn both_families(&self, host: &str) -> Result<Answer<Vec<IpAddr>>, DnsError> {
        if is_localhost(host) {
            return Ok(localhost());
        }
        let family = |kind| {
            self.upstream
                .follow(host, kind, Cache::Use, records::address)
        };
        let (v6, v4) = neither_holds_up(family(RecordType::AAAA), family(RecordType::A)).await;
        let mut answer = match (v6, v4) {
            (Ok(v6), Ok(v4)) => both(v6, v4),
            (Ok(mut one), Err(other)) | (Err(other), Ok(mut one)) => {
                // The other family may be there the next time.
                if !other.is_definite() {
                    one.ttl = Duration::ZERO;
                }
                one
            }
            (Err(v6), Err(v4)) => return Err(neither(v6, v4)),
        };
        let ad_hides_it = self.upstream.dnssec == Dnssec::TrustAd;
        if ad_hides_it && answer.canonical.is_some() && answer.security == Security::Insecure {
            answer.origin = self.upstream.alias(host).await?;
        }
        Ok(answer)
    }
}

/// Both, unless one has answered and the other is late: some name servers never answer for AAAA, and addresses that are
/// there are not given up for that.
async fn neither_holds_up<T>(
    v6: impl Future<Output = Result<T, DnsError>>,
    v4: impl Future<Output = Result<T, DnsError>>,
) -> (Result<T, DnsError>, Result<T, DnsError>) {
    match select(pin!(v6), pin!(v4)).await {
        Either::Left((Ok(v6), v4)) => (Ok(v6), before_long(v4).await),
        Either::Left((v6, v4)) => (v6, v4.await),
        Either::Right((Ok(v4), v6)) => (before_long(v6).await, Ok(v4)),
        Either::Right((v4, v6)) => (v6.await, v4),
    }
}

async fn before_long<T>(family: impl Future<Output = Result<T, DnsError>>) -> Result<T, DnsError> {
    let late = |_| Err(DnsError::Temporary("no answer in time".to_owned()));
    timeout(LATE, family).await.unwrap_or_else(late)
}

/// How long the family that has answered waits for the other.
const LATE: Duration = Duration::from_secs(2);

/// Both families gave addresses. If the verdicts differ, the secure one stands, with its alias:
/// it decides only whether TLSA records are asked for, and these then bind whatever address is
/// used (RFC 7672 section 2.2.2 spares unsigned zones that question; one signed answer shows that
/// the zone is none).
fn both(v6: Answer<Vec<IpAddr>>, v4: Answer<Vec<IpAddr>>) -> Answer<Vec<IpAddr>> {
    let first_counts = v6.security == Security::Secure || v4.security != Security::Secure;
    let (security, canonical, origin) = if first_counts {
        (v6.security, v6.canonical, v6.origin)
    } else {
        (v4.security, v4.canonical, v4.origin)
    };
    Answer {
        value: interleave(v6.value, v4.value),
        ttl: v6.ttl.min(v4.ttl),
        security,
        canonical,
        origin,
    }
}

impl Resolver for DnsResolver {
    fn fault(&self) -> Option<String> {
        match self.upstream.servers().silence() {
            Some(silence) => Some(match silence.how {
                Absence::Silent => format!("{}.", silence.sentence()),
                _ => format!("{}; {}.", silence.sentence(), silence.remedy()),
            }),
            None => self.barred().map(|why| {
                format!("Nothing is looked up, because DNSSEC cannot be validated here: {why}.")
            }),
        }
    }

    fn mx<'a>(
        &'a self,
        domain: &'a Domain,
    ) -> BoxFuture<'a, Result<Answer<Vec<MxRecord>>, DnsError>> {
        let name = domain.as_str();
        let lookup = self
            .upstream
            .follow(name, RecordType::MX, Cache::Use, records::mx);
        Box::pin(self.timed(Kind::Mx, name, lookup))
    }

    fn addresses<'a>(
        &'a self,
        host: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<IpAddr>>, DnsError>> {
        let name = host.as_str();
        Box::pin(self.timed(Kind::Address, name, self.both_families(name)))
    }

    fn txt<'a>(
        &'a self,
        name: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
        Box::pin(self.txt_records(name, Cache::Use))
    }

    fn tlsa<'a>(
        &'a self,
        host: &'a HostName,
        port: u16,
    ) -> BoxFuture<'a, Result<Answer<Vec<TlsaRecord>>, DnsError>> {
        Box::pin(async move {
            let name = format!("_{port}._tcp.{host}");
            let lookup = self
                .upstream
                .follow(&name, RecordType::TLSA, Cache::Use, records::tlsa);
            self.timed(Kind::Tlsa, &name, lookup).await
        })
    }

    fn txt_uncached<'a>(
        &'a self,
        name: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
        Box::pin(self.txt_records(name, Cache::Bypass))
    }

    fn zone<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<(), DnsError>> {
        let lookup = async {
            let (name, any) = (name.as_str(), |_: &RData| Some(()));
            let soa = (self.upstream).follow(name, RecordType::SOA, Cache::Bypass, any);
            soa.await.map(|_| ())
        };
        Box::pin(async move {
            let late = |_| Err(DnsError::Temporary("no answer in time".to_owned()));
            timeout(self.limit, lookup).await.unwrap_or_else(late)
        })
    }
}

/// RFC 6724 prefers IPv6 where both families reach; alternating bounds what a dead family costs
/// (row E1-22). Within a family the resolver's order stays (row E1-10).
fn interleave(v6: Vec<IpAddr>, v4: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut all = Vec::with_capacity(v6.len() + v4.len());
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    loop {
        match (v6.next(), v4.next()) {
            (None, None) => return all,
            (six, four) => all.extend(six.into_iter().chain(four)),
        }
    }
}

/// The failure of both families: definite only if both are (row H1-12's rule, for addresses).
fn neither(v6: DnsError, v4: DnsError) -> DnsError {
    match (v6, v4) {
        (bogus @ DnsError::Bogus(_), _) | (_, bogus @ DnsError::Bogus(_)) => bogus,
        (ours @ DnsError::Local(_), _) | (_, ours @ DnsError::Local(_)) => ours,
        (temporary @ DnsError::Temporary(_), _) | (_, temporary @ DnsError::Temporary(_)) => {
            temporary
        }
        (
            DnsError::NoSuchName { ttl, security },
            DnsError::NoSuchName {
                ttl: other,
                security: second,
            },
        ) => DnsError::NoSuchName {
            ttl: ttl.min(other),
            security: security.and(second),
        },
        (
            DnsError::NoSuchName { ttl, security } | DnsError::NoRecords { ttl, security },
            DnsError::NoSuchName {
                ttl: other,
                security: second,
            }
            | DnsError::NoRecords {
                ttl: other,
                security: second,
            },
        ) => DnsError::NoRecords {
            ttl: ttl.min(other),
            security: security.and(second),
        },
    }
}

/// Names that no name server is asked for (RFC 6761 sections 6.3 and 6.4, RFC 7686 section 2).
fn special(name: &str, kind: Kind) -> Option<DnsError> {
    let ttl = Duration::ZERO;
    let security = Security::Unchecked;
    if ["invalid", "onion"].iter().any(|top| is_below(name, top)) {
        return Some(DnsError::NoSuchName { ttl, security });
    }
    (is_localhost(name) && kind != Kind::Address).then_some(DnsError::NoRecords { ttl, security })
}

fn is_localhost(name: &str) -> bool {
    is_below(name, "localhost")
}

fn is_below(name: &str, top: &str) -> bool {
    name.strip_suffix(top)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn localhost() -> Answer<Vec<IpAddr>> {
    Answer {
        value: vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
        ttl: LOCALHOST_TTL,
        security: Security::Unchecked,
        canonical: None,
        origin: Security::Unchecked,
    }
}

fn outcome<T>(result: &Result<T, DnsError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Answer,
        Err(DnsError::NoSuchName { .. }) => Outcome::NoSuchName,
        Err(DnsError::NoRecords { .. }) => Outcome::NoRecords,
        Err(DnsError::Temporary(_) | DnsError::Local(_)) => Outcome::Temporary,
        Err(DnsError::Bogus(_)) => Outcome::Bogus,
    }
}

const LOCALHOST_TTL: Duration = Duration::from_secs(3600);
