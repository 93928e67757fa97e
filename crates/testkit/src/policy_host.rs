//! An HTTPS server for MTA-STS policies (RFC 8461 section 3.3), good or bad for each domain.
//!
//! The HTTP is written by hand, because a proper library refuses to write what a test needs.

mod serve;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::task::JoinHandle;

use crate::board::Board;
use crate::ca::TestCa;
use crate::listen;

/// The server. It stops when it is dropped.
pub struct PolicyHost {
    address: SocketAddr,
    ca: Arc<TestCa>,
    board: Arc<Board<State>>,
    accepting: Mutex<JoinHandle<()>>,
}

/// What goes wrong for a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyFault {
    /// This status, with the policy as body.
    Status(u16),
    /// This `Content-Type`; an empty one leaves the field out.
    ContentType(String),
    /// 301 to this URL.
    Redirect(String),
    /// Nothing for so long, then the policy.
    Delay(Duration),
    /// One octet of the body each time.
    SlowBody(Duration),
    /// A valid policy followed by so many octets of padding.
    Oversize(usize),
    /// Half of the body that `Content-Length` announced.
    CutBody,
    /// The body in chunks, without `Content-Length`.
    Chunked,
    /// A certificate for another name.
    WrongCertificate,
    /// A certificate that is no longer valid.
    ExpiredCertificate,
    /// A certificate of another authority.
    UntrustedCertificate,
    /// A certificate signed by itself.
    SelfSigned,
    /// A TCP reset when the client hello has come.
    Reset,
    /// The handshake succeeds, and nothing more comes.
    Stall,
}

/// One request that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRequest {
    /// The name in the client hello.
    pub sni: Option<String>,
    /// For instance `GET`.
    pub method: String,
    /// For instance `/.well-known/mta-sts.txt`.
    pub path: String,
    /// Names in lower case, and values, in order.
    pub headers: Vec<(String, String)>,
}

struct State {
    domains: HashMap<String, Domain>,
    requests: Vec<PolicyRequest>,
    /// Handshakes begun, by the name asked for.
    hellos: Vec<Option<String>>,
    handshake_errors: Vec<String>,
}

#[derive(Clone)]
struct Domain {
    policy: String,
    fault: Option<PolicyFault>,
    tls: Arc<ServerConfig>,
}

/// A policy in the form of RFC 8461 section 3.2, with CRLF.
pub fn policy_text(mode: &str, mx: &[&str], max_age: u64) -> String {
    let mut text = format!("version: STSv1\r\nmode: {mode}\r\n");
    for pattern in mx {
        let _ = write!(text, "mx: {pattern}\r\n");
    }
    let _ = write!(text, "max_age: {max_age}\r\n");
    text
}

impl PolicyHost {
    /// Listens on `ip:port` (443 in a namespace); its certificates come from `ca`.
    pub async fn start(address: &str, ca: &Arc<TestCa>) -> Self {
        let listener = listen::tcp(address, "HTTPS").await;
        let board = Arc::new(Board::new(State {
            domains: HashMap::new(),
            requests: Vec::new(),
            hellos: Vec::new(),
            handshake_errors: Vec::new(),
        }));
        Self {
            address: listener.local_addr().expect("a bound socket"),
            ca: Arc::clone(ca),
            accepting: Mutex::new(tokio::spawn(serve::accept(listener, Arc::clone(&board)))),
            board,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves this text for a domain, at `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`. A fault
    /// that the domain has stays.
    pub fn policy(&self, domain: &str, text: &str) -> &Self {
        let known = self.board.update(|s| {
            let found = s.domains.get_mut(domain);
            found.map(|d| d.policy = text.to_owned()).is_some()
        });
        if !known {
            let tls = self.certificate(domain, None);
            let new = Domain {
                policy: text.to_owned(),
                fault: None,
                tls,
            };
            self.board.update(|s| s.domains.insert(domain.into(), new));
        }
        self
    }

    /// Serves an enforce policy with these MX patterns, valid for a week.
    pub fn enforce(&self, domain: &str, mx: &[&str]) -> &Self {
        self.policy(domain, &policy_text("enforce", mx, WEEK))
    }

    /// Serves a testing policy.
    pub fn testing(&self, domain: &str, mx: &[&str]) -> &Self {
        self.policy(domain, &policy_text("testing", mx, WEEK))
    }

    /// Serves a policy of mode none.
    pub fn none(&self, domain: &str) -> &Self {
        self.policy(domain, &policy_text("none", &[], WEEK))
    }

    /// From now on this goes wrong for the domain, which must have a policy.
    pub fn fault(&self, domain: &str, fault: PolicyFault) -> &Self {
        self.set_fault(domain, Some(fault))
    }

    /// Mends what [`PolicyHost::fault`] broke.
    pub fn heal(&self, domain: &str) -> &Self {
        self.set_fault(domain, None)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<PolicyRequest> {
        self.board.read(|s| s.requests.clone())
    }

    /// How many requests there were for a domain's policy.
    pub fn count(&self, domain: &str) -> usize {
        self.board.read(|s| s.count(domain))
    }

    /// How many handshakes were begun, whatever came of them.
    pub fn handshakes(&self) -> usize {
        self.board.read(|s| s.hellos.len())
    }

    /// Why handshakes failed, as this side saw it.
    pub fn handshake_errors(&self) -> Vec<String> {
        self.board.read(|s| s.handshake_errors.clone())
    }

    /// Waits until a domain's policy has been asked for at least `times` times.
    ///
    /// # Panics
    /// After `timeout`, with the requests that came instead.
    pub async fn wait_for_requests(&self, domain: &str, times: usize, timeout: Duration) {
        let enough = |s: &State| (s.count(domain) >= times).then_some(());
        if self.board.wait(timeout, enough).await.is_none() {
            panic!(
                "the policy of {domain} was not asked for {times} times: {:?}",
                self.requests()
            );
        }
    }

    /// Stops listening: connections are refused until [`PolicyHost::resume`].
    pub async fn pause(&self) {
        let task = {
            let mut slot = self.accepting.lock();
            std::mem::replace(&mut *slot, tokio::spawn(async {}))
        };
        task.abort();
        let _ = task.await;
    }

    /// Listens again.
    pub async fn resume(&self) {
        let listener = listen::tcp(&self.address.to_string(), "HTTPS").await;
        *self.accepting.lock() = tokio::spawn(serve::accept(listener, Arc::clone(&self.board)));
    }

    fn set_fault(&self, domain: &str, fault: Option<PolicyFault>) -> &Self {
        let tls = self.certificate(domain, fault.as_ref());
        self.board.update(|s| {
            let Some(found) = s.domains.get_mut(domain) else {
                panic!("{domain} has no policy yet");
            };
            found.fault = fault;
            found.tls = tls;
        });
        self
    }

    fn certificate(&self, domain: &str, fault: Option<&PolicyFault>) -> Arc<ServerConfig> {
        let host = format!("mta-sts.{domain}");
        let good = self.ca.cert(&[&host]);
        let leaf = match fault {
            Some(PolicyFault::WrongCertificate) => self.ca.leaf(&["www.other.test"]),
            Some(PolicyFault::ExpiredCertificate) => good.expired().issue(),
            Some(PolicyFault::SelfSigned) => good.self_signed().issue(),
            Some(PolicyFault::UntrustedCertificate) => TestCa::new().leaf(&[&host]),
            _ => good.issue(),
        };
        leaf.server_config()
    }
}

impl Drop for PolicyHost {
    fn drop(&mut self) {
        self.accepting.lock().abort();
    }
}

impl PolicyRequest {
    /// The first value of a header field, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

impl State {
    fn count(&self, domain: &str) -> usize {
        let host = format!("mta-sts.{domain}");
        self.requests
            .iter()
            .filter(|r| r.header("host") == Some(&host))
            .count()
    }
}

const WEEK: u64 = 604_800;

#[cfg(test)]
mod tests;
