//! The settings as the daemon uses them: every value parsed, every default filled in.
//!
//! The names are those of the keys with `-` written `_`; what a key means is said once, in the
//! table of keys, which also makes the sample file and `docs/configuration.md`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use mail_types::{Domain, HostName, Mailbox, Timestamp};

use super::inbound::{ClientLimits, NamedCertificate};
use super::signing::{Dkim, ListenerContent};

/// A complete, checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file it was read from; `None` if only defaults and the environment were used.
    pub file: Option<PathBuf>,
    /// `server.*`
    pub server: Server,
    /// `[[listener]]`, at least one.
    pub listeners: Vec<Listener>,
    /// `[[certificate]]`, for all listeners with TLS.
    pub certificates: Vec<NamedCertificate>,
    /// `[[dkim]]`
    pub dkim: Vec<Dkim>,
    /// `access.*`
    pub access: Access,
    /// `access.*` about logins.
    pub logins: super::Logins,
    /// `[[identity]]`, names distinct.
    pub identities: Vec<super::Identity>,
    /// `dns.*`
    pub dns: Dns,
    /// `tls.*`
    pub tls: Tls,
    /// `egress.*`
    pub egress: Egress,
    /// `[[route]]`, in the order of the file: of equally specific ones the first counts.
    pub routes: Vec<Route>,
    /// `[[domain]]`, names distinct.
    pub domains: Vec<DomainRule>,
    /// `queue.*`
    pub queue: Queue,
    /// `delivery.*`
    pub delivery: Delivery,
    /// `policy-cache.*`
    pub policy_cache: PolicyCache,
    /// `reporting.*`
    pub reporting: super::Reporting,
    /// `admin.*`
    pub admin: Admin,
    /// `log.*`
    pub log: Log,
    /// `telemetry.otlp.*`
    pub otlp: super::Otlp,
}

/// `server.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Fully qualified: EHLO name, `Received`, `Reporting-MTA`.
    pub hostname: Domain,
    /// Queue, bodies, policies.
    pub data_dir: PathBuf,
    /// Where mail for `postmaster` goes.
    pub postmaster: Option<Mailbox>,
    /// Addresses that are us though no listener has them.
    pub own_addresses: Vec<IpAddr>,
    /// How long running deliveries may take on shutdown.
    pub drain_timeout: Duration,
}

/// One `[[listener]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// For the log; distinct.
    pub name: String,
    /// Where it listens, at least one; distinct over all listeners.
    pub addresses: Vec<SocketAddr>,
    /// What clients may do here.
    pub role: ListenerRole,
    /// Whether STARTTLS is offered or demanded.
    pub tls: ListenerTls,
    /// Present unless `tls` is `Off`.
    pub key_pair: Option<KeyPair>,
    /// Authorities of client certificates; `None`: clients are not asked for any.
    pub client_ca: Option<PathBuf>,
    /// What it does to a message; only a submission listener does anything.
    pub content: ListenerContent,
    /// Bytes (RFC 1870).
    pub max_message_size: u64,
    /// Recipients of one transaction (RFC 5321 section 4.5.3.1.8: at least 100).
    pub max_recipients: usize,
    /// What happens to a bare CR or LF in message data.
    pub bare_newline: BareNewline,
    /// Time to wait for the client's next command (RFC 5321 section 4.5.3.2.7).
    pub idle_timeout: Duration,
    /// DSN is offered (RFC 3461).
    pub dsn: bool,
    /// Nobody is served; why.
    pub closed: Option<String>,
}

/// What clients of a listener may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerRole {
    /// Relays for `access.relay-networks` and for those who log in.
    Relay,
    /// Takes mail of those who log in, and of nobody else (RFC 6409).
    Submission,
}

/// TLS on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    /// STARTTLS is not offered.
    Off,
    /// STARTTLS is offered.
    Optional,
    /// Nothing but STARTTLS and QUIT before TLS (530 5.7.0).
    Required,
    /// TLS from the first byte (RFC 8314).
    Implicit,
}

/// A certificate chain and its key, PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub private_key: PathBuf,
}

/// What happens to a bare CR or LF (decision AMB-26).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareNewline {
    /// 550 5.5.2.
    Reject,
    /// A stray CR or LF becomes a space; never an end of data.
    Normalize,
}

/// `access.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Who may relay without authentication.
    pub relay_networks: Vec<IpNet>,
    /// Clients whose mail is tagged REQUIRETLS.
    pub requiretls_networks: Vec<IpNet>,
    /// Domains of envelope senders whose mail is tagged REQUIRETLS.
    pub requiretls_senders: Vec<Domain>,
    /// Who may use XFORWARD.
    pub xforward_hosts: Vec<IpNet>,
    /// Who may use XCLIENT.
    pub xclient_hosts: Vec<IpNet>,
    /// Who begins with a PROXY header.
    pub proxy_hosts: Vec<IpNet>,
    /// Who needs no TLS where others do.
    pub dangerous_plaintext_networks: Vec<IpNet>,
    /// From whom bare CR and LF become spaces.
    pub normalize_networks: Vec<IpNet>,
    /// Inbound connections in all; over it 421 4.7.0.
    pub connections: usize,
    /// Inbound connections of one client address; over it 421 4.7.0.
    pub connections_per_client: usize,
    /// What one client may use.
    pub limits: ClientLimits,
    /// Refuses recipients of domains that do not exist or take no mail.
    pub check_recipient_domains: bool,
    /// Refuses senders of domains that take no mail.
    pub check_sender_domains: bool,
}

/// `dns.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Whom to ask.
    pub servers: DnsServers,
    /// Who validates.
    pub dnssec: Dnssec,
    /// Files of DNSKEY records; none means the root's keys as built in.
    pub trust_anchors: Vec<PathBuf>,
    /// One query to one server.
    pub timeout: Duration,
}

/// `dns.servers`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsServers {
    /// Those of `/etc/resolv.conf`.
    System,
    /// These, at least one.
    Addresses(Vec<SocketAddr>),
}

/// `dns.dnssec`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dnssec {
    /// Answers are validated here.
    Validate,
    /// The AD bit of a loopback resolver is believed.
    TrustAd,
    /// Nobody looks.
    Off,
}

/// `tls.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Mozilla's roots, built in.
    pub webpki_roots: bool,
    /// The system's trust store.
    pub system_roots: bool,
    /// PEM files added to them for every destination.
    pub dangerous_extra_roots: Vec<PathBuf>,
    /// Files with certificate revocation lists.
    pub crls: Vec<PathBuf>,
    /// What a missing or outdated list means.
    pub crl_failure: CrlFailure,
}

/// `tls.crl-failure`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrlFailure {
    /// The certificate passes; the log says so.
    Soft,
    /// The certificate is refused.
    Hard,
}

/// `egress.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Special-use space that MX and policy hosts may resolve to.
    pub allow_special_use: Vec<IpNet>,
    /// Local addresses to send from; the system chooses if there are none of the family.
    pub source_addresses: Vec<IpAddr>,
    /// What the world sees of them.
    pub public_addresses: Vec<IpAddr>,
}

/// One `[[route]]`: an explicit next hop instead of MX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which recipients; `None` matches all.
    pub recipient_domain: Option<DomainMatch>,
    /// Which senders; `None` matches all, the null reverse-path included.
    pub sender_domain: Option<DomainMatch>,
    /// Where to.
    pub relay: Relay,
    /// What is asked of the next hop.
    pub tls: RouteTls,
    /// The name that its certificate must have, if not the relay's.
    pub tls_name: Option<HostName>,
    /// PEM files trusted for this route only, instead of `tls.roots`.
    pub roots: Vec<PathBuf>,
    /// AUTH at the next hop; only with [`RouteTls::Verified`].
    pub credentials: Option<Credentials>,
}

/// Which domains a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainMatch {
    /// `*`: every domain.
    Any,
    /// `example.org`: this one.
    Exact(Domain),
    /// `*.example.org`: every name below it, at any depth, but not itself.
    Below(Domain),
}

/// A next hop (decision AMB-29).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Name or address.
    pub host: RelayHost,
    /// 25 unless given.
    pub port: u16,
}

/// The host of a next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayHost {
    /// `host`: MX records are looked up, its own addresses are used if there are none.
    Domain(Domain),
    /// `[host]`: that host, no MX look-up.
    Host(HostName),
    /// `[192.0.2.1]`, `[2001:db8::1]`.
    Address(IpAddr),
}

/// `tls` of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTls {
    /// STARTTLS and a valid certificate, else defer.
    Verified,
    /// What the relay's own domain publishes.
    Policy,
    /// TLS with any certificate.
    DangerousUnverified,
    /// No TLS.
    DangerousOff,
}

/// AUTH at a next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// A file with the password on its first line, readable by us alone.
    pub password_file: PathBuf,
}

/// One `[[domain]]`: local rules for one recipient domain (decision AMB-33).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainRule {
    /// The recipient domain.
    pub name: Domain,
    /// What becomes of its MTA-STS policy.
    pub mta_sts: DomainMtaSts,
    /// MX patterns as in a policy (`mx1.example.org`, `*.example.org`), for `Require`.
    pub mx: Vec<String>,
    /// What becomes of the TLSA records of its mail exchangers.
    pub dane: DomainDane,
    /// TLS asked of it beyond what it publishes.
    pub tls: Option<RequiredTls>,
    /// End of a weakening; always present for one.
    pub until: Option<Timestamp>,
    /// Why; always present for a weakening.
    pub reason: Option<String>,
}

/// `mta-sts` of a domain rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainMtaSts {
    /// As published.
    Policy,
    /// Enforced whether published or not.
    Require,
    /// Evaluated and logged, never enforced.
    DangerousAudit,
}

/// `dane` of a domain rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainDane {
    /// As published.
    Policy,
    /// Mail waits for a mail exchanger that DNSSEC vouches for and TLSA records authenticate.
    Require,
    /// Evaluated and logged, never enforced.
    DangerousAudit,
    /// Not looked at.
    DangerousOff,
}

/// TLS asked of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequiredTls {
    /// TLS with any certificate, never plain text.
    Encrypted,
    /// STARTTLS and a valid certificate.
    Verified,
}

/// `queue.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How long mail is tried (RFC 5321 section 4.5.4.1).
    pub lifetime: Duration,
    /// The same for bounces.
    pub bounce_lifetime: Duration,
    /// When the sender is told of a delay; `None` for never.
    pub delay_warning: Option<Duration>,
    /// Delays between attempts, at least one; the last repeats.
    pub retry: Vec<Duration>,
    /// Below this much free space `MAIL` is answered 452 4.3.1. Bytes.
    pub minimum_free_space: u64,
    /// Bodies kept in memory for their first attempt. Bytes.
    pub body_memory: u64,
    /// Messages in memory beyond which new ones wait.
    pub messages_in_memory: usize,
    /// Records that wait for the disk beyond which new ones wait. Bytes.
    pub journal_memory: u64,
    /// Mail found at start is held.
    pub hold_at_start: bool,
    /// Held mail, and that of paused destinations, is given up at the end of its lifetime.
    pub expire_held: bool,
    /// Notifications to one sender; `None` for no limit.
    pub notifications_per_sender: Option<Rate>,
    /// Notifications to all of them; `None` for no limit.
    pub notifications_in_all: Option<Rate>,
    /// Larger messages are not returned whole. Bytes.
    pub max_returned_size: u64,
    /// More `Received` fields than this are a loop (RFC 5321 section 6.3: at least 100).
    pub max_hops: usize,
}

/// `delivery.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What is asked of a destination without any policy; `None` is `"policy"`.
    pub tls: Option<RequiredTls>,
    /// A host that its TLSA records authenticate meets an enforced MTA-STS policy without a
    /// certificate of a public authority (decision AMB-14).
    pub dane_satisfies_sts: bool,
    /// Whose `TLS-Required: No` counts (decision AMB-32).
    pub dangerous_tls_required_no: TlsRequiredNo,
    /// How long mail waits for what would make it fit, if it does not fit the hosts that answer.
    pub patience: Duration,
    /// Outbound connections in all.
    pub connections: usize,
    /// To one destination (recipient domain or route).
    pub connections_per_destination: usize,
    /// To one MX host, whatever the destinations.
    pub connections_per_host: usize,
    /// Transactions started at one MX host per period.
    pub rate_per_host: Option<Rate>,
    /// Transactions on one connection before it is closed.
    pub messages_per_connection: usize,
    /// How long a connection is used.
    pub connection_lifetime: Duration,
    /// Recipients of one transaction.
    pub recipients_per_transaction: usize,
    /// Addresses tried in one attempt, over all MX hosts (RFC 5321 section 5.1: at least two).
    pub max_addresses: usize,
    /// Recipients get the address under which they came as ORCPT, if they have none.
    pub add_orcpt: bool,
    /// `delivery.timeouts.*`
    pub timeouts: Timeouts,
}

/// `delivery.dangerous-tls-required-no`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsRequiredNo {
    /// Nobody's.
    Never,
    /// That of authenticated submitters.
    Authenticated,
    /// Everybody's, as RFC 8689 has it.
    All,
}

/// So many per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In which time.
    pub period: Duration,
}

/// `delivery.timeouts.*` (RFC 5321 section 4.5.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connection to one address.
    pub connect: Duration,
    /// The 220 greeting.
    pub banner: Duration,
    /// EHLO or HELO.
    pub ehlo: Duration,
    /// The reply to STARTTLS.
    pub starttls: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
    /// The replies to AUTH.
    pub auth: Duration,
    /// The reply to MAIL.
    pub mail: Duration,
    /// The reply to each RCPT.
    pub rcpt: Duration,
    /// The 354.
    pub data_init: Duration,
    /// Progress on each block of data.
    pub data_block: Duration,
    /// The reply to the final dot or BDAT LAST.
    pub data_done: Duration,
    /// All of one transaction.
    pub transaction: Duration,
    /// The reply to RSET.
    pub rset: Duration,
    /// The reply to QUIT.
    pub quit: Duration,
    /// How long an idle connection is kept for the next message.
    pub idle: Duration,
}

/// `policy-cache.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyCache {
    /// Background HTTPS refresh of each stored policy.
    pub refresh_interval: Duration,
    /// One fetch, DNS included (RFC 8461 section 3.3 suggests one minute).
    pub fetch_timeout: Duration,
    /// Fetches at the same time.
    pub fetches: usize,
}

/// `admin.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The control socket.
    pub socket: PathBuf,
    /// HTTP for the web page, the API, `/metrics`, `/healthz`, `/readyz`; `None` is `"off"`.
    pub http: Option<SocketAddr>,
    /// Names by which HTTP may be addressed, besides the bound address.
    pub names: Vec<String>,
    /// Who may use page and API: lines of `name:role:sha256`.
    pub token_file: Option<PathBuf>,
    /// With it HTTP is served over TLS.
    pub key_pair: Option<KeyPair>,
    /// Whether each start prints a link that logs in once.
    pub login_link: bool,
    /// Whether plain HTTP may leave the loopback.
    pub dangerous_plain_http: bool,
}

/// `log.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How events are written.
    pub format: LogFormat,
    /// A tracing filter for diagnostics.
    pub level: String,
    /// A file instead of standard output.
    pub file: Option<PathBuf>,
    /// The program name in the postfix format.
    pub syslog_name: String,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// One JSON object a line.
    Json,
    /// Lines as Postfix writes them.
    Postfix,
    /// For people.
    Text,
    /// Native fields of the systemd journal.
    Journald,
}

/// As it is written in the file.
impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            RelayHost::Domain(domain) => write!(f, "{domain}")?,
            RelayHost::Host(host) => write!(f, "[{host}]")?,
            RelayHost::Address(address) => write!(f, "[{address}]")?,
        }
        write!(f, ":{}", self.port)
    }
}
