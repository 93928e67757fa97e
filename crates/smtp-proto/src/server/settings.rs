//! What a session is told: the listener's settings and who the peer is.

use std::net::IpAddr;

use mail_types::{Domain, Mailbox};

use super::Logins;
use crate::BareNewline;

/// Settings of one listener, shared by its sessions.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our name in greeting, EHLO reply and trace header.
    pub hostname: Domain,
    /// The listener's name, for [`mail_types::Arrival::listener`].
    pub listener: Box<str>,
    /// What the listener is for.
    pub role: Role,
    /// TLS on this listener.
    pub tls: TlsMode,
    /// Octets of content at most (RFC 1870); 0 means no limit.
    pub max_message_size: u64,
    /// Recipients of one message at most; at least 100 (RFC 5321 section 4.5.3.1.8).
    pub max_recipients: usize,
    /// After so many refused commands the session is closed with 421.
    pub max_errors: u32,
    /// After so many messages the client is sent away with 421, and may come again.
    pub max_messages: u64,
    /// `Received` fields at most (RFC 5321 section 6.3).
    pub max_hops: u32,
    /// Leaves the client's name and address out of the trace header.
    pub hide_client: bool,
    /// Names whoever authenticated in the trace header.
    pub show_user: bool,
    /// Which logins are taken.
    pub logins: Logins,
    /// Offers DSN (RFC 3461).
    pub dsn: bool,
    /// Whose `TLS-Required: No` counts (RFC 8689 section 4.1, decision AMB-32).
    pub dangerous_tls_required_no: TlsRequiredNo,
    /// Domains of reverse-paths whose mail is tagged REQUIRETLS (RFC 8689 section 4.3).
    pub requiretls_senders: Vec<Domain>,
    /// Where mail for postmaster and MAILER-DAEMON goes, without a domain or at our
    /// [`Settings::hostname`]; `None`: where mail for that name goes.
    pub postmaster: Option<Mailbox>,
    /// Greets clients that talk before the greeting with 554 (row E4-23).
    pub refuse_early_talkers: bool,
    /// Greets everybody with 554 and this text (RFC 5321 section 3.1).
    pub closed: Option<Box<str>>,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Takes mail of other servers, and changes nothing but the trace header.
    #[default]
    Relay,
    /// Takes mail of users (RFC 6409).
    Submission,
}

/// TLS on a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub enum TlsMode {
    /// No certificate, no STARTTLS.
    #[default]
    Off,
    /// STARTTLS is offered.
    Optional,
    /// STARTTLS is offered, and there is no mail without it (530 5.7.0).
    Required,
    /// TLS before the first octet (RFC 8314 section 3).
    Implicit,
}

/// Whose `TLS-Required: No` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub enum TlsRequiredNo {
    /// Nobody's.
    Never,
    /// That of clients which authenticated.
    #[default]
    Authenticated,
    /// Everybody's.
    All,
}

/// Whether a client may send mail to the world through us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Relaying {
    /// Its address is in a network that may relay.
    Allowed,
    /// It is a stranger.
    Refused,
}

/// Who the client is, as far as its address tells.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address; IPv4 addresses never in their IPv6-mapped form.
    pub address: IpAddr,
    /// Whether it may relay.
    pub relaying: Relaying,
    /// It may say XFORWARD.
    pub xforward: bool,
    /// It need not use TLS where others must.
    pub plaintext: bool,
    /// It may say XCLIENT.
    pub xclient: bool,
    /// Its mail is tagged REQUIRETLS, whatever it says (RFC 8689 section 4.3).
    pub adds_requiretls: bool,
    /// What happens to bare CR and LF from its network.
    pub bare_newline: BareNewline,
}

impl Settings {
    /// The default limits, for a listener of this name.
    #[must_use]
    pub fn new(hostname: Domain, listener: &str) -> Self {
        Self {
            hostname,
            listener: listener.into(),
            role: Role::Relay,
            tls: TlsMode::Off,
            max_message_size: 50 << 20,
            max_recipients: 1000,
            max_errors: 50,
            max_messages: u64::MAX,
            max_hops: 100,
            hide_client: false,
            show_user: false,
            logins: Logins::default(),
            dsn: true,
            dangerous_tls_required_no: TlsRequiredNo::Authenticated,
            requiretls_senders: Vec::new(),
            postmaster: None,
            refuse_early_talkers: false,
            closed: None,
        }
    }
}
