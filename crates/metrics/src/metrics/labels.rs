//! The fixed sets that labels come from.

use attempt::{DsnKind, Outcome, Reason, RefusedBy, Weakened};

/// A fixed set of label values.
pub trait Label: Copy + 'static {
    /// All of them, each at its index.
    const ALL: &'static [Self];

    /// The label's value.
    fn key(self) -> &'static str;

    /// Position in [`Label::ALL`].
    fn index(self) -> usize;

    /// What the value means, for the documentation; empty where another page says so.
    fn meaning(self) -> &'static str {
        ""
    }
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[doc = $vdoc:literal])+ $variant:ident => $key:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $vdoc])+ $variant,)+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn key(self) -> &'static str {
                match self { $(Self::$variant => $key,)+ }
            }

            fn index(self) -> usize {
                self as usize
            }

            fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($vdoc),+).trim_ascii(),)+ }
            }
        }
    )+};
}

labels! {
    /// Where the time of a delivery went.
    Stage {
        /// In the inbound transaction.
        BeforeQueue => "before_queue",
        /// In the queue until the attempt that delivered it.
        InQueue => "in_queue",
        /// DNS, connecting, EHLO, STARTTLS.
        Connect => "connect",
        /// From `MAIL FROM` to the last reply.
        Transmit => "transmit",
        /// From arrival to delivery.
        Total => "total",
    }

    /// What came of a login at a listener.
    LoginResult {
        /// Logged in.
        Accepted => "accepted",
        /// Wrong name or password.
        Rejected => "rejected",
        /// Right, but by a mechanism that the user may not use.
        TooWeak => "too-weak",
        /// Held off after failures, or too many at once.
        NotNow => "not-now",
    }

    /// What became of a span of a trace.
    SpanResult {
        /// The collector took it.
        Exported => "exported",
        /// It did not, or there were too many.
        Dropped => "dropped",
    }

    /// How an outbound session came about.
    SessionResult {
        /// Connected anew.
        Opened => "opened",
        /// Taken from the pool.
        Reused => "reused",
        /// The TLS handshake or the verification failed.
        HandshakeFailed => "handshake-failed",
        /// It did not get as far as TLS.
        Failed => "failed",
    }

    /// The version of TLS that a handshake agreed on.
    TlsVersion {
        /// TLS 1.3.
        Tls13 => "1.3",
        /// TLS 1.2.
        Tls12 => "1.2",
        /// None: the handshake failed before that.
        None => "none",
    }

    /// How a TLS handshake ended.
    TlsResult {
        /// The host was authenticated, by trust anchors or by DANE.
        Verified => "verified",
        /// Encrypted, but the certificate does not verify; nobody demanded that.
        Unverified => "unverified",
        /// No session.
        Failed => "failed",
    }

    /// What came of an attempt at a host with TLSA records.
    DaneResult {
        /// They accept its certificate.
        Authenticated => "authenticated",
        /// None of them can be used: TLS, unauthenticated.
        Encrypted => "encrypted",
        /// They do not accept it, there was no TLS, or they could not be looked up.
        Failed => "failed",
        /// It was not reached, or DANE was set aside.
        NotEvaluated => "not-evaluated",
    }

    /// The mode of a policy.
    PolicyMode {
        /// Mail waits rather than going out unprotected.
        Enforce => "enforce",
        /// What would fail is noted.
        Testing => "testing",
        /// It asks for nothing.
        None => "none",
    }

    /// Whether DNS answered at a first contact.
    Verified {
        /// The domain's policy was found.
        Yes => "yes",
        /// DNS did not answer; mail went all the same.
        No => "no",
    }

    /// What a look-up of a domain's policy came to.
    PolicyLookup {
        /// A policy, fetched for this look-up.
        Live => "live",
        /// The stored policy.
        Cache => "cache",
        /// The stored policy, because the record or the fetch failed.
        Fallback => "fallback",
        /// The domain has none.
        None => "none",
        /// Its record cannot be used: mail goes as if there were none.
        Unusable => "unusable",
        /// It announces one that could not be fetched, and none is stored.
        FetchFailed => "fetch-failed",
        /// DNS did not answer, or a policy that has run out may not be fetched again yet: mail waits.
        Wait => "wait",
        /// DNS did not answer for too long: mail goes as if there were none.
        Unknown => "unknown",
    }

    /// What was asked of DNS.
    DnsType {
        /// MX records.
        Mx => "mx",
        /// A and AAAA records, as one look-up.
        Address => "address",
        /// TXT records.
        Txt => "txt",
        /// TLSA records.
        Tlsa => "tlsa",
    }

    /// How a DNS look-up ended.
    DnsResult {
        /// With records.
        Answer => "answer",
        /// NXDOMAIN.
        NoSuchName => "no-such-name",
        /// No records of the type.
        NoRecords => "no-records",
        /// SERVFAIL, time-out and the like.
        Temporary => "temporary",
        /// DNSSEC validation failed.
        Bogus => "bogus",
    }

    /// What became of a TLS report.
    ReportResult {
        /// Delivered, or handed to the queue.
        Sent => "sent",
        /// Will be tried again.
        Retried => "retried",
        /// Given up.
        Failed => "failed",
    }

    /// What a message in the queue is doing.
    QueueState {
        /// Due, not yet taken up.
        Due => "due",
        /// In an attempt.
        Active => "active",
        /// Waiting for its next attempt.
        Deferred => "deferred",
        /// Held by an operator.
        Held => "held",
    }

    /// What stands on disk.
    Store {
        /// Segments and bodies of the queue.
        Queue => "queue",
        /// The queue's index.
        Index => "index",
        /// Policies.
        Policies => "policies",
        /// TLS reports.
        Reports => "reports",
    }

    /// Which limit turned a client's connection away.
    ConnectionLimit {
        /// `access.connections`.
        Connections => "connections",
        /// `access.connections-per-client`.
        PerClient => "connections-per-client",
        /// `access.connection-rate-per-client`.
        Rate => "connection-rate-per-client",
        /// The memory of our control group.
        Memory => "memory",
        /// `access.proxy-hosts`: a PROXY header from a stranger, or none from a proxy.
        Proxy => "proxy",
    }

    /// What a client did that it should not have done.
    ClientIncident {
        /// A bare CR or LF.
        BareNewline => "bare_newline",
        /// Bare CR and LF that became spaces.
        BareNewlineNormalized => "bare_newline_normalized",
        /// Lines of more than 998 octets.
        LongLines => "long_lines",
        /// A line that is a dot and NUL octets.
        NulDot => "nul_dot",
        /// Plain text behind STARTTLS.
        StartTlsInjection => "starttls_injection",
        /// HTTP.
        CrossProtocol => "cross_protocol",
        /// TLS where SMTP was expected.
        TlsOnPlainPort => "tls_on_plain_port",
        /// Talked before the greeting.
        EarlyTalker => "early_talker",
        /// XFORWARD from a stranger.
        XforwardDenied => "xforward_denied",
        /// XCLIENT from a stranger.
        XclientDenied => "xclient_denied",
        /// A PROXY header from a stranger.
        ProxyUntrusted => "proxy_untrusted",
        /// `access.errors-per-connection`.
        TooManyErrors => "too_many_errors",
        /// `access.messages-per-connection`.
        TooManyMessages => "too_many_messages",
        /// Another protocol by ALPN.
        AlpnMismatch => "alpn_mismatch",
        /// A TLS handshake that failed for another reason.
        TlsFailed => "tls_failed",
        /// No command for too long.
        TimeoutCommand => "timeout_command",
        /// Content that came too slowly.
        TimeoutData => "timeout_data",
        /// A TLS handshake that took too long.
        TimeoutHandshake => "timeout_handshake",
        /// Replies that were not taken.
        TimeoutWrite => "timeout_write",
    }

    /// Something that has a cap.
    Resource {
        /// Inbound connections.
        InboundConnections => "inbound-connections",
        /// Outbound connections, idle ones included.
        OutboundConnections => "outbound-connections",
        /// Attempts that are under way.
        Attempts => "attempts",
        /// Deliveries that wait for a place at a host that has as many sessions as it may, without a connection.
        WaitingForHosts => "waiting-for-hosts",
        /// Octets of messages in memory.
        BodyBytes => "body-bytes",
        /// Messages in memory: being delivered, or not yet in the queue's index.
        MessagesInMemory => "messages-in-memory",
        /// Octets that wait for the queue's journal.
        JournalBytes => "journal-bytes",
        /// Octets that messages on their way in take.
        InboundContent => "inbound-content",
        /// Policy fetches that are under way, but for those in the background.
        PolicyFetches => "policy-fetches",
        /// Refreshes of policies in the background that are under way.
        PolicyRefreshes => "policy-refreshes",
        /// Open file descriptors.
        Descriptors => "descriptors",
        /// Senders whose notifications are counted for their limits.
        NoticeSenders => "notice-senders",
        /// Destinations in memory: their health, their sessions, their plans.
        Destinations => "destinations",
        /// Octets of events that wait to be written to the log.
        LogBytes => "log-bytes",
    }
}

impl Resource {
    /// What sets the cap: a configuration key, or in words what does.
    #[must_use]
    pub const fn cap(self) -> Cap {
        match self {
            Self::InboundConnections => Cap::Key("access.connections"),
            Self::OutboundConnections | Self::Attempts | Self::WaitingForHosts => {
                Cap::Key("delivery.connections")
            }
            Self::BodyBytes => Cap::Key("queue.body-memory"),
            Self::MessagesInMemory => Cap::Key("queue.messages-in-memory"),
            Self::JournalBytes => Cap::Key("queue.journal-memory"),
            Self::InboundContent => Cap::Key("access.content-memory"),
            Self::PolicyFetches => Cap::Key("policy-cache.fetches"),
            Self::PolicyRefreshes => Cap::Fixed("a quarter of `policy-cache.fetches`"),
            Self::Descriptors => Cap::Fixed("the process's limit of open files (`LimitNOFILE`)"),
            Self::NoticeSenders => Cap::Fixed(
                "fixed; with more, those whose period is over are forgotten, and if none is, new ones share the limit in all only",
            ),
            Self::Destinations => {
                Cap::Fixed("fixed; with more, idle ones are forgotten and looked up again")
            }
            Self::LogBytes => Cap::Fixed("fixed; with more, events are dropped and counted"),
        }
    }
}

/// What sets a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// A configuration key.
    Key(&'static str),
    /// Something else.
    Fixed(&'static str),
}

impl TlsVersion {
    /// From the name that a record has, for instance `TLSv1.3`.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "TLSv1.3" => Self::Tls13,
            "TLSv1.2" => Self::Tls12,
            _ => Self::None,
        }
    }
}

impl Label for Reason {
    const ALL: &'static [Self] = &Self::ALL;

    fn key(self) -> &'static str {
        self.key()
    }

    fn index(self) -> usize {
        self.index()
    }
}

impl Label for RefusedBy {
    const ALL: &'static [Self] = &Self::ALL;

    fn key(self) -> &'static str {
        self.key()
    }

    fn index(self) -> usize {
        self.index()
    }
}

impl Label for Outcome {
    const ALL: &'static [Self] = &Self::ALL;

    fn key(self) -> &'static str {
        self.word()
    }

    fn index(self) -> usize {
        self as usize
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Sent => "The next hop has taken it.",
            Self::Deferred => "It failed for now; there is a next attempt.",
            Self::Bounced => "It failed for good.",
            Self::Expired => "It failed for now, and the message's lifetime is over.",
            Self::Held => "It waits until an operator releases it.",
        }
    }
}

impl Label for Weakened {
    const ALL: &'static [Self] = &Self::ALL;

    fn key(self) -> &'static str {
        self.key()
    }

    fn index(self) -> usize {
        self as usize
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::TlsRequiredNo => "The sender's `TLS-Required: No` (RFC 8689).",
            Self::Exempt => "An exemption of the domain, or `dane = \"dangerous-off\"`.",
            Self::Audit => "`mta-sts = \"dangerous-audit\"` or `dane = \"dangerous-audit\"`.",
            Self::Report => "The message is a TLS report of ours.",
        }
    }
}

impl Label for DsnKind {
    const ALL: &'static [Self] = &[Self::Failed, Self::Delayed, Self::Relayed];

    fn key(self) -> &'static str {
        self.key()
    }

    fn index(self) -> usize {
        self as usize
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Failed => "Delivery failed, or was given up.",
            Self::Delayed => "Delivery is late and goes on.",
            Self::Relayed => "The mail went on to a system that sends no notifications.",
        }
    }
}
