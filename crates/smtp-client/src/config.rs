//! What a connector is told: names, time limits, the clock.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dane::HostRecords;
use mail_types::{HostName, Timestamp};
use smtp_proto::ReplyLimits;

use crate::Account;

/// Tells the wall-clock time; certificates are judged by it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a connector is told.
#[derive(Clone)]
pub struct ConnectorConfig {
    /// What we call ourselves in EHLO: our FQDN as A-labels, or an address literal
    /// (RFC 5321 section 4.1.1.1).
    pub ehlo_name: Arc<str>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Local addresses to send from: the first of the peer's family is used; without one the
    /// system chooses.
    pub sources: Vec<IpAddr>,
    /// How much a peer may say.
    pub replies: ReplyLimits,
    /// Contents up to this many octets travel with their envelope in one flight when PIPELINING
    /// and CHUNKING are offered; larger ones wait for the replies to RCPT.
    pub one_flight_max: u64,
    /// The route's name, if this connector serves an explicit route: part of the pool key.
    pub route: Option<Arc<str>>,
    /// What to log in with; only ever over TLS to a verified host.
    pub account: Option<Account>,
    /// The wall clock.
    pub clock: Clock,
}

impl ConnectorConfig {
    /// The defaults, with our name and a clock.
    #[must_use]
    pub fn new(ehlo_name: &str, clock: Clock) -> Self {
        Self {
            ehlo_name: ehlo_name.into(),
            timeouts: Timeouts::default(),
            sources: Vec::new(),
            replies: ReplyLimits::default(),
            one_flight_max: 256 * 1024,
            route: None,
            account: None,
            clock,
        }
    }
}

impl ConnectorConfig {
    /// The local address for a connection to `peer`.
    pub(crate) fn source(&self, peer: SocketAddr) -> Option<IpAddr> {
        let mut sources = self.sources.iter().copied();
        sources.find(|ip| ip.is_ipv4() == peer.is_ipv4())
    }
}

/// Time limits for each step (RFC 5321 section 4.5.3.2 gives the minimum of most). They run per
/// command, from the moment it is sent, whatever trickles in (rows E2-17, E2-18, H3-09).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connection.
    pub connect: Duration,
    /// The banner.
    pub banner: Duration,
    /// EHLO, HELO.
    pub ehlo: Duration,
    /// The reply to STARTTLS.
    pub starttls: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
    /// Each reply to AUTH.
    pub auth: Duration,
    /// RSET.
    pub other: Duration,
    /// MAIL.
    pub mail: Duration,
    /// RCPT, each.
    pub rcpt: Duration,
    /// The reply to DATA.
    pub data: Duration,
    /// Each block of content written.
    pub block: Duration,
    /// The reply to the final dot or the last BDAT.
    pub dot: Duration,
    /// The reply to QUIT; nothing depends on it.
    pub quit: Duration,
    /// One transaction, however it trickles.
    pub transaction: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self {
            connect: Duration::from_secs(30),
            banner: minutes(5),
            ehlo: minutes(5),
            starttls: minutes(2),
            handshake: minutes(1),
            auth: minutes(2),
            other: minutes(5),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            block: minutes(3),
            dot: minutes(10),
            quit: Duration::from_secs(5),
            transaction: minutes(4 * 60),
        }
    }
}

/// One address of one MX host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The MX record's exchange as published (decision AMB-13), or the hop's name.
    pub mx: HostName,
    /// The name in SNI and the only name that the certificate may be for: `mx`, or the `tls-name`
    /// of a route.
    pub tls_name: HostName,
    /// Where to connect.
    pub addr: SocketAddr,
    /// Another address of another family waits behind this one: the connection may take no longer
    /// than this, if that is less than the usual limit (row E1-22).
    pub connect_within: Option<Duration>,
    /// Its usable TLSA records. With them the TLSA base domain is the name in SNI (RFC 7672
    /// section 8.1). The postures that demand DANE need them; under others it is recorded what
    /// they would have said.
    pub dane: Option<Arc<HostRecords>>,
}

impl Peer {
    /// A host whose certificate has to be for its own name (decision AMB-12).
    #[must_use]
    pub fn new(mx: HostName, addr: SocketAddr) -> Self {
        Self {
            tls_name: mx.clone(),
            mx,
            addr,
            connect_within: None,
            dane: None,
        }
    }
}
