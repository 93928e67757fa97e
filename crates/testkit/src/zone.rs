//! A DNS server whose records and faults a test sets while it runs.
//!
//! It answers as a resolver would: for every name there is, with CNAMEs followed. The protocol is
//! hickory-server's.

mod handler;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::proto::rr::rdata::{A, AAAA, CNAME, MX, TLSA, TXT};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::{TcpListener, UdpSocket};

use crate::board::Board;
use crate::listen;
use handler::{Handler, State};

/// The server. It stops when it is dropped.
pub struct Zone {
    address: SocketAddr,
    board: Arc<Board<State>>,
    _server: Server<Handler>,
}

/// How a question goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneFault {
    /// SERVFAIL.
    ServFail,
    /// FORMERR.
    FormErr,
    /// REFUSED.
    Refused,
    /// No answer at all.
    Drop,
    /// NXDOMAIN, whatever records there are.
    NxDomain,
    /// NOERROR without records, whatever records there are.
    NoData,
    /// Over UDP truncated, over TCP as usual.
    Truncate,
    /// Over UDP truncated, over TCP no answer.
    TruncateWithoutTcp,
    /// A CNAME is answered without its target's records, as by a server of another zone.
    CnameOnly,
    /// NS records of somewhere else instead of an answer, as by a server that does not recurse.
    Referral,
}

/// One question that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuerySeen {
    /// In lower case, without the trailing dot.
    pub name: String,
    /// The type asked for.
    pub kind: RecordType,
    /// Whether it came over TCP.
    pub tcp: bool,
    /// Whether the DO bit was set: the asker can do DNSSEC (RFC 3225).
    pub dnssec_ok: bool,
    /// Whether the CD bit was set: the asker validates by itself.
    pub checking_disabled: bool,
}

/// What a validating resolver thinks of a part of the name space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Secure,
    Insecure,
    Bogus,
}

impl Zone {
    /// Listens on 127.0.0.53:53, which a test has for itself in a namespace.
    pub async fn start() -> Self {
        Self::start_on("127.0.0.53:53").await
    }

    /// Listens on this address, UDP and TCP; port 0 takes a free one.
    pub async fn start_on(address: &str) -> Self {
        let (udp, tcp) = bind(address).await;
        let address = tcp.local_addr().expect("a bound socket");
        let board = Arc::new(Board::new(State::default()));
        let mut server = Server::new(Handler(Arc::clone(&board)));
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(30), 64);
        Self {
            address,
            board,
            _server: server,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The TTL of records added from now on, in seconds (300 at first).
    pub fn ttl(&self, seconds: u32) -> &Self {
        self.board.update(|s| s.ttl = seconds);
        self
    }

    /// The TTL of denials, in seconds (60 at first); `None` leaves the SOA record out.
    pub fn negative_ttl(&self, seconds: Option<u32>) -> &Self {
        self.board.update(|s| s.negative_ttl = seconds);
        self
    }

    /// `name MX preference exchange`; the exchange `.` is the null MX.
    pub fn mx(&self, name: &str, preference: u16, exchange: &str) -> &Self {
        self.add(name, RData::MX(MX::new(preference, absolute(exchange))))
    }

    /// `name A` or `name AAAA`, as the address is.
    pub fn a(&self, name: &str, address: &str) -> &Self {
        let data = match address.parse().expect("an IP address") {
            IpAddr::V4(v4) => RData::A(A(v4)),
            IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
        };
        self.add(name, data)
    }

    /// `name TXT` of one string; one of more than 255 octets is cut into several.
    pub fn txt(&self, name: &str, text: &str) -> &Self {
        let parts: Vec<&[u8]> = text.as_bytes().chunks(255).collect();
        self.add(name, RData::TXT(TXT::from_bytes(parts)))
    }

    /// `name TXT` of these strings.
    pub fn txt_strings(&self, name: &str, strings: &[&str]) -> &Self {
        let parts = strings.iter().map(|s| s.as_bytes()).collect();
        self.add(name, RData::TXT(TXT::from_bytes(parts)))
    }

    /// `name CNAME target`.
    pub fn cname(&self, name: &str, target: &str) -> &Self {
        self.add(name, RData::CNAME(CNAME(absolute(target))))
    }

    /// `_port._tcp.host TLSA usage selector matching data`.
    pub fn tlsa(&self, host: &str, port: u16, fields: (u8, u8, u8), data: &[u8]) -> &Self {
        let (usage, selector, matching) = fields;
        let tlsa = TLSA::new(
            usage.into(),
            selector.into(),
            matching.into(),
            data.to_vec(),
        );
        self.add(&format!("_{port}._tcp.{host}"), RData::TLSA(tlsa))
    }

    /// This name and those below it are signed and valid: the server says so with AD=1, as a
    /// validating resolver does to whoever asks with DO or AD. The longest name decides.
    pub fn secure(&self, name: &str) -> &Self {
        self.judge(name, Verdict::Secure)
    }

    /// This name and those below it are not signed, as everything is at first.
    pub fn insecure(&self, name: &str) -> &Self {
        self.judge(name, Verdict::Insecure)
    }

    /// This name and those below it fail validation: SERVFAIL, except to whoever asks with CD.
    pub fn bogus(&self, name: &str) -> &Self {
        self.judge(name, Verdict::Bogus)
    }

    fn judge(&self, name: &str, verdict: Verdict) -> &Self {
        let name = absolute(name);
        self.board.update(|s| s.verdicts.insert(name, verdict));
        self
    }

    /// Any record.
    pub fn add(&self, name: &str, data: RData) -> &Self {
        let name = absolute(name);
        self.board.update(|s| {
            let record = Record::from_rdata(name, s.ttl, data);
            s.records.push(record);
        });
        self
    }

    /// A mail domain in one line: `domain MX 10 host`, `host A address`.
    pub fn mail_domain(&self, domain: &str, host: &str, address: &str) -> &Self {
        self.mx(domain, 10, host).a(host, address)
    }

    /// The MTA-STS record of a domain, and the address of its policy host.
    pub fn mta_sts(&self, domain: &str, id: &str, policy_host: &str) -> &Self {
        let name = format!("_mta-sts.{domain}");
        self.remove(&name, RecordType::TXT);
        self.txt(&name, &format!("v=STSv1; id={id};"));
        let host = format!("mta-sts.{domain}");
        self.remove(&host, RecordType::A);
        self.a(&host, policy_host)
    }

    /// Takes the records of one type at a name away.
    pub fn remove(&self, name: &str, kind: RecordType) -> &Self {
        let name = absolute(name);
        self.board.update(|s| {
            s.records
                .retain(|r| r.name != name || r.record_type() != kind);
        });
        self
    }

    /// Questions for this name and type go wrong from now on.
    pub fn fault(&self, name: &str, kind: RecordType, fault: ZoneFault) -> &Self {
        let name = absolute(name);
        self.board.update(|s| s.faults.insert((name, kind), fault));
        self
    }

    /// All questions go wrong from now on, until [`Zone::heal_all`].
    pub fn fault_all(&self, fault: ZoneFault) -> &Self {
        self.board.update(|s| s.fault_all = Some(fault));
        self
    }

    /// Mends what [`Zone::fault`] broke.
    pub fn heal(&self, name: &str, kind: RecordType) -> &Self {
        let name = absolute(name);
        self.board.update(|s| s.faults.remove(&(name, kind)));
        self
    }

    /// Mends everything.
    pub fn heal_all(&self) -> &Self {
        self.board.update(|s| {
            s.faults.clear();
            s.fault_all = None;
        });
        self
    }

    /// The questions so far, in order.
    pub fn queries(&self) -> Vec<QuerySeen> {
        self.board.read(|s| s.queries.clone())
    }

    /// How often this was asked.
    pub fn count(&self, name: &str, kind: RecordType) -> usize {
        self.board.read(|s| s.count(name, kind))
    }

    /// Empties the list of questions.
    pub fn forget_queries(&self) {
        self.board.update(|s| s.queries.clear());
    }

    /// Waits until this has been asked at least `times` times.
    ///
    /// # Panics
    /// After `timeout`, with the questions that came instead.
    pub async fn wait_for_query(
        &self,
        name: &str,
        kind: RecordType,
        times: usize,
        timeout: Duration,
    ) {
        let asked = |s: &State| (s.count(name, kind) >= times).then_some(());
        if self.board.wait(timeout, asked).await.is_none() {
            panic!(
                "{kind} {name} was not asked {times} times: {:?}",
                self.queries()
            );
        }
    }
}

fn absolute(name: &str) -> Name {
    // Names that are none, like `-x.test` or `a b.test`, are wanted as well.
    let mut name = Name::from_ascii(name).unwrap_or_else(|_| {
        let labels = name.split('.').filter(|l| !l.is_empty());
        Name::from_labels(labels.map(str::as_bytes)).expect("labels of 1 to 63 octets")
    });
    name.set_fqdn(true);
    name.to_lowercase()
}

/// UDP and TCP on the same port, which for port 0 takes a few tries.
async fn bind(address: &str) -> (UdpSocket, TcpListener) {
    let wanted: SocketAddr = address.parse().expect("ip:port");
    let mut last = None;
    for _ in 0..200 {
        let tcp = listen::tcp(address, "DNS").await;
        match UdpSocket::bind(tcp.local_addr().expect("a bound socket")).await {
            Ok(udp) => return (udp, tcp),
            Err(e) => last = Some(e),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("cannot listen on {wanted} for DNS over UDP: {last:?}");
}
