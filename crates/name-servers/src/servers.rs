//! Questions to the name servers and their replies: which server, how often, with which flags.

mod group;
mod look;
mod replies;
mod transport;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dns_health::{Conduct, Silence};
use futures_util::stream::Stream;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query};
use hickory_resolver::proto::rr::Name;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::board::Board;
use crate::config::{BuildError, Config, Servers};
use group::Group;
use replies::{conduct, has_reply, is_servfail, may_be_one_servers};

pub use replies::{code_name, does_not_recurse};

/// The name servers. Clones share connections.
#[derive(Clone)]
pub struct NameServers(Arc<Inner>);

struct Inner {
    group: RwLock<Arc<Group>>,
    config: Config,
    /// How long silence is waited for where it is but one of several signs.
    briefly: Duration,
    options: DnsRequestOptions,
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

impl NameServers {
    /// Reads the server list; asks nobody yet. Questions must be put on a tokio runtime.
    ///
    /// # Errors
    /// The configuration is at fault: no servers, or servers that must not be believed.
    pub fn new(config: &Config) -> Result<Self, BuildError> {
        let settings = config.options();
        let mut options = DnsRequestOptions::default();
        options.recursion_desired = true;
        options.use_edns = true;
        options.edns_payload_len = settings.edns_payload_len;
        Ok(Self(Arc::new(Inner {
            group: RwLock::new(Arc::new(Group::new(config)?)),
            config: config.clone(),
            briefly: BRIEFLY.max(config.timeout * 2 / 5),
            options,
            board: Board::new(),
            looked: tokio::sync::Mutex::default(),
        })))
    }

    /// Whom we ask, for a reader: `192.0.2.1 and 192.0.2.2`.
    #[must_use]
    pub fn names(&self) -> String {
        self.0.group().names.clone()
    }

    /// Who has given an answer, for a reader: of several, nobody knows which.
    #[must_use]
    pub fn whoever(&self) -> String {
        let group = self.0.group();
        let one_of = if group.each.is_empty() { "" } else { "one of " };
        format!("{one_of}{}", group.names)
    }

    /// Reads the system's list anew, if it is the one that counts. Says whether others are asked from now on; if it
    /// cannot be read, the same are asked as before.
    ///
    /// # Errors
    /// The list is of no use.
    pub fn reread(&self) -> Result<bool, BuildError> {
        if self.0.config.servers != Servers::System {
            return Ok(false);
        }
        let Some(renewed) = self.0.group().renewed(&self.0.config)? else {
            return Ok(false);
        };
        *self.0.group.write() = Arc::new(renewed);
        self.0.board.replaced();
        Ok(true)
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
                    self.whoever()
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
        let group = self.0.group();
        let reply = group.all.within(briefly, request).await;
        if may_be_one_servers(&reply) {
            return group.put_to_each(reply, request, Some(briefly)).await;
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

impl Inner {
    fn group(&self) -> Arc<Group> {
        Arc::clone(&self.group.read())
    }

    /// REFUSED that is not for all we ask may have been the last of an outage, or come from a server that was
    /// about to end. It is put down to the name if it comes again after somebody has answered something else.
    async fn ask(self: &Arc<Self>, request: &DnsRequest) -> Replied {
        let began = Instant::now();
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
            // Many a domain's own servers are broken: who has answered somebody else meanwhile need not be asked.
            Some(Conduct::Fails(_)) if self.board.has_answered_since(began) => {}
            Some(absent) => self.unanswered(absent).await,
            None => {}
        }
        result
    }

    /// hickory takes the first reply for the answer, also one that says SERVFAIL or REFUSED, and
    /// its own retries ask the same servers again. Here such a reply sends the question once to
    /// each server by itself, and only silence is a reason to repeat it, or what cannot be read and may have come from
    /// anybody. What stands against one server that refuses is what another says, be it SERVFAIL.
    async fn put(self: &Arc<Self>, request: &DnsRequest) -> Replied {
        let group = self.group();
        let mut result = group.all.send(request).await;
        for _ in 0..self.config.retries {
            match conduct(&result) {
                Some(absent @ (Conduct::Silent | Conduct::Unreadable)) => {
                    self.unanswered(absent).await;
                }
                Some(_) => break,
                None => {}
            }
            result = group.all.send(request).await;
        }
        if may_be_one_servers(&result) {
            result = group.put_to_each(result, request, None).await;
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

/// A reply, or hickory's reason why there is none; a denial is one.
pub type Replied = Result<DnsResponse, NetError>;
/// The same, as hickory's transports have it.
pub type Reply = Pin<Box<dyn Stream<Item = Replied> + Send>>;

/// The least of what follows from `dns.timeout`: two fifths of it, so that a look ends within a look-up.
const BRIEFLY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn of_several_servers_one_has_answered() {
        let whoever = |ports: &[u16]| {
            let addresses = ports.iter().map(|p| SocketAddr::from(([127, 0, 0, 1], *p)));
            let config = Config {
                servers: Servers::List(addresses.collect()),
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
