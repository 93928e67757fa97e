//! One question, followed through its CNAMEs: queries, cache, TTLs, and which failure is which.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hickory_resolver::config::NameServerConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError as NetDnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{DnsRequestOptions, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, ResponseCache, TlsConfig, TtlConfig};
use mail_types::{Answer, DnsError, HostName, Security};

use crate::config::{BuildError, Config};
use crate::records::printable;
use crate::stats::Counters;

/// Name servers and the memory of their answers.
pub(crate) struct Upstream {
    all: Servers,
    /// Each server by itself; empty if there is but one.
    each: Vec<Servers>,
    retries: usize,
    cache: Option<ResponseCache>,
    options: DnsRequestOptions,
    pub(crate) counters: Arc<Counters>,
}

type Servers = NameServerPool<TokioRuntimeProvider>;

/// Whether memory may answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    Use,
    /// Ask a server now; what it says is remembered.
    Bypass,
}

impl Upstream {
    pub(crate) fn new(config: &Config) -> Result<Self, BuildError> {
        let servers = config.name_servers()?;
        let settings = config.options();
        let mut options = DnsRequestOptions::default();
        options.recursion_desired = true;
        options.use_edns = true;
        options.edns_payload_len = settings.edns_payload_len;
        let cache = (config.cache_size > 0)
            .then(|| ResponseCache::new(config.cache_size, TtlConfig::from_opts(&settings)));
        let tls = TlsConfig::new().map_err(|e| BuildError::System(e.to_string()))?;
        let context = Arc::new(PoolContext::new(settings, tls));
        let pool = |servers: Vec<NameServerConfig>| {
            let provider = TokioRuntimeProvider::default();
            NameServerPool::from_config(servers, Arc::clone(&context), provider)
        };
        let each = match servers.len() {
            1 => Vec::new(),
            _ => servers.iter().map(|s| pool(vec![s.clone()])).collect(),
        };
        Ok(Self {
            all: pool(servers),
            each,
            retries: config.retries,
            cache,
            options,
            counters: Arc::default(),
        })
    }

    /// All records of one type at a name, or at the end of its CNAME chain. `pick` chooses what the
    /// answer holds; records that it does not know are left out.
    pub(crate) async fn follow<T>(
        &self,
        name: &str,
        kind: RecordType,
        cache: Cache,
        pick: fn(&RData) -> Option<T>,
    ) -> Result<Answer<Vec<T>>, DnsError> {
        let mut chain = Chain::new(absolute(name)?);
        loop {
            let question = Query::query(chain.end().clone(), kind);
            let message = match self.ask(question, cache).await {
                Ok(message) => message,
                Err(e) => return Err(chain.failure(e)),
            };
            let asked = chain.links();
            chain.walk(&message.answers)?;
            let found: Vec<&Record> = message
                .answers
                .iter()
                .filter(|r| r.record_type() == kind && r.name == *chain.end())
                .collect();
            let values: Vec<T> = found.iter().filter_map(|r| pick(&r.data)).collect();
            if !values.is_empty() {
                let ttl = found.iter().map(|r| r.ttl).fold(chain.ttl, u32::min);
                return Ok(Answer {
                    value: values,
                    ttl: seconds(ttl),
                    security: Security::Unchecked,
                    canonical: chain.canonical(),
                });
            }
            if chain.links() == asked {
                return Err(chain.denial(&message));
            }
            // The answer ends in a CNAME whose target it does not hold: ask for that. So is the
            // denial that counts always the one for the name at the end (RFC 2308 section 2.1).
        }
    }

    async fn ask(&self, question: Query, cache: Cache) -> Result<Message, NetError> {
        if cache == Cache::Use
            && let Some(memory) = &self.cache
            && let Some(remembered) = memory.get(&question, Instant::now())
        {
            self.counters.cache_hits.fetch_add(1, Ordering::Relaxed);
            return remembered;
        }
        self.counters.queries.fetch_add(1, Ordering::Relaxed);
        let result = self.query(&question).await;
        if let Some(memory) = &self.cache {
            memory.insert(question, result.clone(), Instant::now());
        }
        result
    }

    /// hickory takes the first reply for the answer, also one that says SERVFAIL or REFUSED, and
    /// its own retries ask the same servers again. Here such a reply sends the question once to
    /// each server by itself, and only silence is a reason to repeat it.
    async fn query(&self, question: &Query) -> Result<Message, NetError> {
        let mut result = self.send(&self.all, question).await;
        for _ in 0..self.retries {
            match &result {
                Ok(_) | Err(NetError::Dns(_)) => break,
                Err(_) => result = self.send(&self.all, question).await,
            }
        }
        if matches!(result, Err(NetError::Dns(NetDnsError::ResponseCode(_)))) {
            for server in &self.each {
                let other = self.send(server, question).await;
                if matches!(
                    other,
                    Ok(_) | Err(NetError::Dns(NetDnsError::NoRecordsFound(_)))
                ) {
                    return other;
                }
            }
        }
        result
    }

    async fn send(&self, servers: &Servers, question: &Query) -> Result<Message, NetError> {
        let response = servers.lookup(question.clone(), self.options);
        Ok(response.first_answer().await?.into_message())
    }
}

/// The names that led from the question to its end.
struct Chain {
    names: Vec<Name>,
    ttl: u32,
}

impl Chain {
    fn new(start: Name) -> Self {
        Self {
            names: vec![start],
            ttl: u32::MAX,
        }
    }

    fn end(&self) -> &Name {
        // `names` starts with one name and only grows.
        &self.names[self.names.len() - 1]
    }

    fn links(&self) -> usize {
        self.names.len() - 1
    }

    fn canonical(&self) -> Option<HostName> {
        (self.links() > 0)
            .then(|| HostName::parse(&printable(self.end())).ok())
            .flatten()
    }

    /// Follows the CNAMEs that the answer section holds, in whatever order they stand there.
    fn walk(&mut self, answers: &[Record]) -> Result<(), DnsError> {
        while let Some((target, ttl)) = cname(answers, self.end()) {
            if self.names.contains(target) {
                return Err(DnsError::Temporary(format!(
                    "CNAME loop: {} leads back to {}",
                    printable(&self.names[0]),
                    printable(target)
                )));
            }
            if self.links() == MAX_CNAMES {
                return Err(DnsError::Temporary(format!(
                    "more than {MAX_CNAMES} CNAMEs follow one another from {}",
                    printable(&self.names[0])
                )));
            }
            self.names.push(target.clone());
            self.ttl = self.ttl.min(ttl);
        }
        Ok(())
    }

    /// hickory calls every answer without records an error; those with a reason are ours.
    fn failure(&self, error: NetError) -> DnsError {
        let NetError::Dns(NetDnsError::NoRecordsFound(denied)) = error else {
            return DnsError::Temporary(plain(&error, self.end()));
        };
        if is_referral(&denied) {
            return DnsError::Temporary(format!(
                "the name server does not resolve {}: it only refers to other servers",
                printable(self.end())
            ));
        }
        let ttl = denied.negative_ttl.unwrap_or(0);
        self.denied(denied.response_code, ttl)
    }

    /// A message with records, none of them an answer to the question.
    fn denial(&self, message: &Message) -> DnsError {
        let ttl = message
            .authorities
            .iter()
            .find_map(|r| match &r.data {
                RData::SOA(soa) => Some(r.ttl.min(soa.minimum)),
                _ => None,
            })
            .unwrap_or(0);
        self.denied(message.metadata.response_code, ttl)
    }

    fn denied(&self, code: ResponseCode, ttl: u32) -> DnsError {
        // RFC 2308 section 5: without a SOA record a denial is not kept (TTL 0).
        let ttl = seconds(ttl.min(self.ttl));
        let security = Security::Unchecked;
        match code {
            ResponseCode::NXDomain => DnsError::NoSuchName { ttl, security },
            ResponseCode::NoError => DnsError::NoRecords { ttl, security },
            other => DnsError::Temporary(format!(
                "the name server answered {other} for {}",
                printable(self.end())
            )),
        }
    }
}

fn cname<'a>(answers: &'a [Record], name: &Name) -> Option<(&'a Name, u32)> {
    answers.iter().find_map(|r| match &r.data {
        RData::CNAME(target) if r.name == *name => Some((&target.0, r.ttl)),
        _ => None,
    })
}

/// RFC 2308 section 2.2: NS records without a SOA record are a referral, not a denial.
fn is_referral(denied: &NoRecords) -> bool {
    denied.response_code == ResponseCode::NoError && denied.soa.is_none() && denied.ns.is_some()
}

fn plain(error: &NetError, name: &Name) -> String {
    let name = printable(name);
    match error {
        NetError::Timeout => format!("no answer from the name servers for {name}"),
        NetError::Dns(NetDnsError::ResponseCode(code)) => {
            let word = match *code {
                ResponseCode::ServFail => "SERVFAIL",
                ResponseCode::Refused => "REFUSED",
                ResponseCode::FormErr => "FORMERR",
                ResponseCode::NotImp => "NOTIMP",
                other => return format!("the name server answered {other} for {name}"),
            };
            format!("the name server answered {word} for {name}")
        }
        NetError::Io(e) => format!("cannot talk to the name servers about {name}: {e}"),
        NetError::NoConnections => {
            format!("cannot talk to the name servers about {name}: no connection")
        }
        NetError::Truncated => {
            format!("the answer for {name} is too long for UDP and does not come over TCP")
        }
        NetError::Busy => format!("too many questions are open: {name} was not asked for"),
        other => format!("the answer for {name} is broken: {other}"),
    }
}

fn absolute(name: &str) -> Result<Name, DnsError> {
    // E1-20: with the root at its end no search list applies.
    let mut absolute = Name::from_ascii(name)
        .map_err(|e| DnsError::Temporary(format!("{name} cannot be asked for: {e}")))?;
    absolute.set_fqdn(true);
    Ok(absolute)
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

/// Rows H1-10, H1-11.
const MAX_CNAMES: usize = 12;
