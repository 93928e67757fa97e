//! Questions to the name servers and their replies: which server, how often, with which flags.

mod look;

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dns_health::{Conduct, Silence};
use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError as NetDnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::{
    DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode,
};
use hickory_resolver::proto::rr::Name;
use hickory_resolver::{ConnectionProvider, NameServerPool, PoolContext, TlsConfig};
use tokio::sync::watch;

use crate::board::Board;
use crate::config::{BuildError, Config};
use crate::trouble::{Trouble, ours};

/// The name servers. Clones share connections.
#[derive(Clone)]
pub struct NameServers(Arc<Inner>);

struct Inner {
    all: Pool,
    /// Each server by itself; empty if there is but one.
    each: Vec<Pool>,
    retries: usize,
    /// How long silence is waited for where it is but one of several signs.
    briefly: Duration,
    options: DnsRequestOptions,
    names: String,
    addresses: Vec<SocketAddr>,
    board: Board,
    /// When the last look at who answers began; held by whoever looks.
    looked: tokio::sync::Mutex<Option<Instant>>,
}

/// What we want to know about DNSSEC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing.
    Nothing,
    /// What the resolver thinks of the answer.
    Ad,
    /// The signatures.
    Signatures,
}

/// What somebody resolves for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Served {
    /// The root, or other names in spite of an error there.
    Root,
    /// Names, but the root is refused.
    OwnZones,
    /// Nothing that we know of.
    Nothing,
}

/// A pool with what its sockets have met.
struct Pool {
    pool: NameServerPool<Transport>,
    trouble: Trouble,
}

impl NameServers {
    /// Reads the server list; asks nobody yet. Questions must be put on a tokio runtime.
    ///
    /// # Errors
    /// The configuration is at fault: no servers, or servers that must not be believed.
    pub fn new(config: &Config) -> Result<Self, BuildError> {
        let servers = config.name_servers()?;
        let settings = config.options();
        let mut options = DnsRequestOptions::default();
        options.recursion_desired = true;
        options.use_edns = true;
        options.edns_payload_len = settings.edns_payload_len;
        let tls = TlsConfig::new().map_err(|e| BuildError::System(e.to_string()))?;
        let context = Arc::new(PoolContext::new(settings, tls));
        let believe_ad = config.believe_ad;
        let pool = |servers: Vec<NameServerConfig>| {
            let trouble = Trouble::default();
            let transport = Transport {
                runtime: TokioRuntimeProvider::default(),
                believe_ad,
                trouble: trouble.clone(),
            };
            let pool = NameServerPool::from_config(servers, Arc::clone(&context), transport);
            Pool { pool, trouble }
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
            briefly: BRIEFLY.max(config.timeout * 2 / 5),
            options,
            names,
            addresses,
            board: Board::new(),
            looked: tokio::sync::Mutex::default(),
        })))
    }

    /// Whom we ask, for a reader: `192.0.2.1 and 192.0.2.2`.
    #[must_use]
    pub fn names(&self) -> &str {
        &self.0.names
    }

    /// Who has given an answer, for a reader: of several, nobody knows which.
    #[must_use]
    pub fn whoever(&self) -> String {
        let one_of = if self.0.each.is_empty() {
            ""
        } else {
            "one of "
        };
        format!("{one_of}{}", self.0.names)
    }

    /// What is said while none of them serves us; known from the questions that are put and from
    /// [`NameServers::knock`].
    #[must_use]
    pub fn silence(&self) -> Option<Silence> {
        self.0.board.silence()
    }

    /// The same, now and whenever that changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Silence>> {
        self.0.board.subscribe()
    }

    /// How many absences have ended. Read before [`NameServers::silence`], it counts one that ends meanwhile not yet.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.0.board.ended()
    }

    /// A name that is not asked for while nobody serves us: whoever knows something of it does.
    pub fn want(&self, name: &Name) {
        self.0.board.want(name);
    }

    /// Asks whether anybody answers.
    pub async fn knock(&self) {
        self.0.look().await;
    }

    /// Whether somebody resolves something for us now: an error code shows that nobody knows, not what there is.
    pub async fn serves(&self) -> Served {
        self.0.serves().await
    }

    /// Puts a question.
    ///
    /// # Errors
    /// No reply with records: denials are hickory's errors.
    pub async fn query(&self, question: &Query, want: Want) -> Result<DnsResponse, Failure> {
        let options = match want {
            Want::Nothing => self.0.options,
            Want::Ad | Want::Signatures => self.options_with_do(),
        };
        let mut request = DnsRequest::from_query(question.clone(), options);
        // RFC 6840 section 5.7: we want the AD bit, and say so.
        request.metadata.authentic_data = want == Want::Ad;
        if want == Want::Signatures {
            return self.ask_unchecked(request).await.map_err(Failure::Net);
        }
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
    ///
    /// # Errors
    /// As hickory's, denials among them.
    pub async fn ask_unchecked(&self, mut request: DnsRequest) -> Replied {
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
    ///
    /// # Errors
    /// As hickory's, denials among them.
    pub async fn ask_once(&self, request: &DnsRequest) -> Replied {
        let briefly = self.0.briefly;
        let reply = within(briefly, &self.0.all, request).await;
        if is_error_code(&reply) {
            return self.0.put_to_each(reply, request, Some(briefly)).await;
        }
        reply
    }

    /// How to ask for signatures.
    #[must_use]
    pub fn options_with_do(&self) -> DnsRequestOptions {
        let mut options = self.0.options;
        options.edns_set_dnssec_ok = true;
        options
    }
}

/// Why there is no reply to believe.
#[derive(Debug)]
pub enum Failure {
    /// What hickory says, denials among it.
    Net(NetError),
    /// There was one, and whoever validates for us says that it fails.
    Bogus(String),
}

fn is_servfail(reply: &Replied) -> bool {
    let Err(NetError::Dns(NetDnsError::ResponseCode(code))) = reply else {
        return false;
    };
    *code == ResponseCode::ServFail
}

/// What one server says so another need not.
const fn is_error_code(reply: &Replied) -> bool {
    matches!(reply, Err(NetError::Dns(NetDnsError::ResponseCode(_))))
}

fn has_reply(reply: &Replied) -> bool {
    matches!(
        reply,
        Ok(_) | Err(NetError::Dns(NetDnsError::NoRecordsFound(_)))
    )
}

impl Inner {
    /// REFUSED that is not for all we ask may have been the last of an outage, or come from a server that was
    /// about to end. It is put down to the name if it comes again after somebody has answered something else.
    async fn ask(self: &Arc<Self>, request: &DnsRequest) -> Replied {
        let mut result = self.put(request).await;
        if conduct(&result) == Some(Conduct::Refuses) {
            self.unanswered(Conduct::Refuses).await;
            if self.board.silence().is_some() {
                return result;
            }
            // A server that is silent beside it has had its time.
            if let Ok(again) = tokio::time::timeout(self.briefly, self.put(request)).await {
                result = again;
            }
        }
        match conduct(&result) {
            Some(Conduct::Answers) => self.answered(request),
            Some(absent) => self.unanswered(absent).await,
            None => {}
        }
        result
    }

    /// hickory takes the first reply for the answer, also one that says SERVFAIL or REFUSED, and
    /// its own retries ask the same servers again. Here such a reply sends the question once to
    /// each server by itself, and only silence is a reason to repeat it. What stands against one
    /// server that refuses is what another says, be it SERVFAIL.
    async fn put(self: &Arc<Self>, request: &DnsRequest) -> Replied {
        let mut result = send(&self.all, request).await;
        for _ in 0..self.retries {
            match &result {
                Ok(_) | Err(NetError::Dns(_)) => break,
                Err(error) => {
                    if ours(error).is_none() {
                        self.unanswered(Conduct::Silent).await;
                    }
                    result = send(&self.all, request).await;
                }
            }
        }
        if is_error_code(&result) {
            result = self.put_to_each(result, request, None).await;
        }
        result
    }

    /// All at once: one that is silent must not use up the time of a look-up. Records or their denial are enough.
    async fn put_to_each(
        &self,
        so_far: Replied,
        request: &DnsRequest,
        limit: Option<Duration>,
    ) -> Replied {
        let asked = self.each.iter().map(|server| async move {
            match limit {
                Some(limit) => within(limit, server, request).await,
                None => send(server, request).await,
            }
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut result = so_far;
        while let Some(other) = asked.next().await {
            let is_reply = has_reply(&other);
            result = better(result, other);
            if is_reply {
                break;
            }
        }
        result
    }

    fn answered(&self, request: &DnsRequest) {
        self.board.answered();
        if let Some(question) = request.queries.first() {
            self.board.has_answer(question);
        }
    }
}

/// What a reply shows about who gave it; `None` if nobody was asked.
fn conduct(reply: &Replied) -> Option<Conduct> {
    match reply {
        Err(NetError::Dns(NetDnsError::ResponseCode(ResponseCode::Refused))) => {
            Some(Conduct::Refuses)
        }
        Ok(_) | Err(NetError::Dns(_)) => Some(Conduct::Answers),
        Err(error) if ours(error).is_some() => None,
        Err(_) => Some(Conduct::Silent),
    }
}

/// Of two replies to one question the one that says more: records or their denial, an error code, REFUSED,
/// silence.
fn better(one: Replied, other: Replied) -> Replied {
    let rank = |reply: &Replied| (!has_reply(reply), conduct(reply).unwrap_or(Conduct::Silent));
    std::cmp::min_by_key(one, other, rank)
}

async fn within(limit: Duration, servers: &Pool, request: &DnsRequest) -> Replied {
    let reply = tokio::time::timeout(limit, send(servers, request)).await;
    reply.unwrap_or(Err(NetError::Timeout))
}

async fn send(servers: &Pool, request: &DnsRequest) -> Replied {
    let since = Instant::now();
    let reply = servers.pool.send(request.clone()).first_answer().await;
    reply.map_err(|error| servers.trouble.explain(error, since))
}

/// A reply, or hickory's reason why there is none; a denial is one.
pub type Replied = Result<DnsResponse, NetError>;
/// The same, as hickory's transports have it.
pub type Reply = Pin<Box<dyn Stream<Item = Replied> + Send>>;

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

/// The least of what follows from `dns.timeout`: two fifths of it, so that a look ends within a look-up.
const BRIEFLY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_servers_one_has_answered() {
        let whoever = |ports: &[u16]| {
            let addresses = ports.iter().map(|p| SocketAddr::from(([127, 0, 0, 1], *p)));
            let config = Config {
                servers: crate::Servers::List(addresses.collect()),
                believe_ad: false,
                timeout: Duration::from_secs(3600),
                retries: 2,
            };
            NameServers::new(&config).unwrap().whoever()
        };
        assert_eq!(whoever(&[53]), "127.0.0.1");
        let two = whoever(&[53, 5353]);
        assert_eq!(two, "one of 127.0.0.1 and 127.0.0.1:5353");
    }
}
