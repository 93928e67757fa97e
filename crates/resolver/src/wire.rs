//! Questions to the name servers and their replies: which server, how often, with which flags.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{Stream, StreamExt};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError as NetDnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::{
    DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode,
};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{ConnectionProvider, NameServerPool, PoolContext, TlsConfig};
use tokio::sync::watch;

use crate::closed::why_silent;
use crate::config::{BuildError, Config, Dnssec};
use crate::silence::{Quiet, Silence};
use crate::trouble::{Trouble, ours};

/// The name servers. Clones share connections.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Inner>);

struct Inner {
    all: Servers,
    /// Each server by itself; empty if there is but one.
    each: Vec<Servers>,
    retries: usize,
    options: DnsRequestOptions,
    names: String,
    addresses: Vec<SocketAddr>,
    quiet: Quiet,
    /// Held by whoever finds out whether that is everybody's silence.
    asking: tokio::sync::Mutex<()>,
}

/// What we want to know about DNSSEC.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Nothing.
    Nothing,
    /// What the resolver thinks of the answer.
    Ad,
    /// The signatures.
    Signatures,
}

/// A pool with what its sockets have met.
struct Servers {
    pool: NameServerPool<Transport>,
    trouble: Trouble,
}

impl Wire {
    pub(crate) fn new(config: &Config) -> Result<Self, BuildError> {
        let servers = config.name_servers()?;
        let settings = config.options();
        let mut options = DnsRequestOptions::default();
        options.recursion_desired = true;
        options.use_edns = true;
        options.edns_payload_len = settings.edns_payload_len;
        let tls = TlsConfig::new().map_err(|e| BuildError::System(e.to_string()))?;
        let context = Arc::new(PoolContext::new(settings, tls));
        let believe_ad = config.dnssec == Dnssec::TrustAd;
        let pool = |servers: Vec<NameServerConfig>| {
            let trouble = Trouble::default();
            let transport = Transport {
                runtime: TokioRuntimeProvider::default(),
                believe_ad,
                trouble: trouble.clone(),
            };
            let pool = NameServerPool::from_config(servers, Arc::clone(&context), transport);
            Servers { pool, trouble }
        };
        let names = names(&servers);
        let addresses = servers.iter().map(address).collect();
        let each = match servers.len() {
            1 => Vec::new(),
            _ => servers.iter().map(|s| pool(vec![s.clone()])).collect(),
        };
        Ok(Self(Arc::new(Inner {
            all: pool(servers),
            each,
            retries: config.retries,
            options,
            names,
            addresses,
            quiet: Quiet::new(),
            asking: tokio::sync::Mutex::new(()),
        })))
    }

    /// Whom we ask, for a reader: `192.0.2.1 and 192.0.2.2`.
    pub(crate) fn names(&self) -> &str {
        &self.0.names
    }

    /// Who has given an answer, for a reader: of several, nobody knows which.
    pub(crate) fn whoever(&self) -> String {
        let one_of = if self.0.each.is_empty() {
            ""
        } else {
            "one of "
        };
        format!("{one_of}{}", self.0.names)
    }

    /// Whether anybody answers.
    pub(crate) fn quiet(&self) -> watch::Receiver<Option<Silence>> {
        self.0.quiet.subscribe()
    }

    /// What is said of the servers, if none has answered.
    pub(crate) fn silent(&self) -> Option<String> {
        let quiet = self.0.quiet.subscribe();
        let silence = quiet.borrow();
        silence.as_ref().map(|silence| silence.why.clone())
    }

    /// Asks whether anybody answers.
    pub(crate) async fn knock(&self) {
        let since = Instant::now();
        match self.0.is_anybody_there().await {
            Some(true) => self.0.quiet.answered(),
            Some(false) => {
                let why = why_silent(&self.0.addresses).await;
                self.0.quiet.nobody_answered(since, why);
            }
            None => {}
        }
    }

    pub(crate) async fn query(&self, question: &Query, want: Want) -> Result<DnsResponse, Failure> {
        let options = match want {
            Want::Nothing => self.0.options,
            Want::Ad | Want::Signatures => self.options_with_do(),
        };
        let mut request = DnsRequest::from_query(question.clone(), options);
        // RFC 6840 section 5.7: we want the AD bit, and say so.
        request.metadata.authentic_data = want == Want::Ad;
        let reply = self.0.ask(&request).await;
        if want == Want::Ad && is_servfail(&reply) {
            request.metadata.checking_disabled = true;
            if has_reply(&self.0.ask(&request).await) {
                return Err(Failure::Bogus(format!(
                    "{} answered SERVFAIL, and gives an answer only with checking disabled",
                    self.0.names
                )));
            }
        }
        reply.map_err(Failure::Net)
    }

    /// For the validator: a resolver that validates as well hides bad answers behind SERVFAIL, and
    /// with CD shows them to whoever wants to see for himself (RFC 4035 section 3.2.2).
    pub(crate) async fn ask_unchecked(
        &self,
        mut request: DnsRequest,
    ) -> Result<DnsResponse, NetError> {
        let reply = self.0.ask(&request).await;
        if !is_servfail(&reply) {
            return reply;
        }
        request.metadata.checking_disabled = true;
        let unchecked = self.0.ask(&request).await;
        if has_reply(&unchecked) {
            unchecked
        } else {
            reply
        }
    }

    /// Silence is not asked again, nor waited for at length.
    pub(crate) async fn ask_once(&self, request: &DnsRequest) -> Result<DnsResponse, NetError> {
        let reply = tokio::time::timeout(BRIEFLY, send(&self.0.all, request)).await;
        reply.unwrap_or(Err(NetError::Timeout))
    }

    pub(crate) fn options_with_do(&self) -> DnsRequestOptions {
        let mut options = self.0.options;
        options.edns_set_dnssec_ok = true;
        options
    }
}

/// Why there is no reply to believe.
pub(crate) enum Failure {
    /// What hickory says, denials among it.
    Net(NetError),
    /// What the validator needs besides could not be had.
    Chain(Box<(Query, NetError)>),
    /// Nothing was asked: DNSSEC has stopped reaching us, or nobody knows yet; why.
    Barred(String),
    /// There was one, and it fails validation: what is wrong with it.
    Bogus(String),
}

fn is_servfail(reply: &Result<DnsResponse, NetError>) -> bool {
    let Err(NetError::Dns(NetDnsError::ResponseCode(code))) = reply else {
        return false;
    };
    *code == ResponseCode::ServFail
}

fn has_reply(reply: &Result<DnsResponse, NetError>) -> bool {
    matches!(
        reply,
        Ok(_) | Err(NetError::Dns(NetDnsError::NoRecordsFound(_)))
    )
}

impl Inner {
    /// hickory takes the first reply for the answer, also one that says SERVFAIL or REFUSED, and
    /// its own retries ask the same servers again. Here such a reply sends the question once to
    /// each server by itself, and only silence is a reason to repeat it.
    async fn ask(&self, request: &DnsRequest) -> Result<DnsResponse, NetError> {
        let mut result = send(&self.all, request).await;
        for _ in 0..self.retries {
            match &result {
                Ok(_) | Err(NetError::Dns(_)) => break,
                Err(error) => {
                    self.unanswered(error).await;
                    result = send(&self.all, request).await;
                }
            }
        }
        match &result {
            Ok(_) | Err(NetError::Dns(_)) => self.quiet.answered(),
            Err(error) => self.unanswered(error).await,
        }
        if matches!(result, Err(NetError::Dns(NetDnsError::ResponseCode(_)))) {
            for server in &self.each {
                let other = send(server, request).await;
                if has_reply(&other) {
                    return other;
                }
            }
        }
        result
    }
}

impl Inner {
    /// A resolver is silent too when a zone's servers are: it is asked something that it knows.
    async fn unanswered(&self, error: &NetError) {
        // They were not asked at all.
        if ours(error).is_some() {
            return;
        }
        let Ok(_asking) = self.asking.try_lock() else {
            return;
        };
        if self.quiet.is_set() {
            return;
        }
        let since = Instant::now();
        if self.is_anybody_there().await == Some(false) {
            let why = why_silent(&self.addresses).await;
            self.quiet.nobody_answered(since, why);
        }
    }

    /// `None` if we cannot ask.
    async fn is_anybody_there(&self) -> Option<bool> {
        let root = Query::query(Name::root(), RecordType::SOA);
        let request = DnsRequest::from_query(root, self.options);
        match tokio::time::timeout(BRIEFLY, send(&self.all, &request)).await {
            Ok(Ok(_) | Err(NetError::Dns(_))) => Some(true),
            Ok(Err(error)) if ours(&error).is_some() => None,
            Ok(Err(_)) | Err(_) => Some(false),
        }
    }
}

async fn send(servers: &Servers, request: &DnsRequest) -> Result<DnsResponse, NetError> {
    let since = Instant::now();
    let reply = servers.pool.send(request.clone()).first_answer().await;
    reply.map_err(|error| servers.trouble.explain(error, since))
}

pub(crate) type Reply = Pin<Box<dyn Stream<Item = Result<DnsResponse, NetError>> + Send>>;

/// hickory's transports. With `dns.dnssec = "trust-ad"` the AD bit is noted on each record, where
/// our own verdicts stand too: hickory turns denials into errors, in which the bit is lost.
#[derive(Clone)]
struct Transport {
    runtime: TokioRuntimeProvider,
    believe_ad: bool,
    trouble: Trouble,
}

impl ConnectionProvider for Transport {
    type Conn = Connection;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Connection, NetError>> + Send>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        cx: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let opening = self.runtime.new_connection(ip, config, cx)?;
        let believe_ad = self.believe_ad;
        let trouble = self.trouble.clone();
        Ok(Box::pin(async move {
            let exchange = opening.await.inspect_err(|e| trouble.note(e))?;
            Ok(Connection {
                exchange,
                believe_ad,
                trouble,
            })
        }))
    }

    fn runtime_provider(&self) -> &Self::RuntimeProvider {
        &self.runtime
    }
}

#[derive(Clone)]
struct Connection {
    exchange: DnsExchange<TokioRuntimeProvider>,
    believe_ad: bool,
    trouble: Trouble,
}

impl DnsHandle for Connection {
    type Response = Reply;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let trouble = self.trouble.clone();
        let replies = self.exchange.send(request);
        let replies = replies.map(move |reply| reply.inspect_err(|e| trouble.note(e)));
        if !self.believe_ad {
            return Box::pin(replies);
        }
        Box::pin(replies.map(|reply| reply.map(note_ad)))
    }
}

fn note_ad(mut response: DnsResponse) -> DnsResponse {
    let proof = if response.metadata.authentic_data {
        Proof::Secure
    } else {
        Proof::Insecure
    };
    let message = &mut *response;
    for record in message.answers.iter_mut().chain(&mut message.authorities) {
        record.proof = proof;
    }
    response
}

fn address(server: &NameServerConfig) -> SocketAddr {
    let port = server.connections.first().map_or(53, |c| c.port);
    SocketAddr::new(server.ip, port)
}

fn names(servers: &[NameServerConfig]) -> String {
    let mut text = String::new();
    for (i, server) in servers.iter().enumerate() {
        let address = address(server);
        let and = match i {
            0 => "",
            _ if i + 1 == servers.len() => " and ",
            _ => ", ",
        };
        // Writing to a String does not fail.
        let _ = match address.port() {
            53 => write!(text, "{and}{}", server.ip),
            _ => write!(text, "{and}{address}"),
        };
    }
    text
}

const BRIEFLY: Duration = Duration::from_secs(2);
