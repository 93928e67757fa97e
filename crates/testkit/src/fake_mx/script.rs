//! How the server behaves.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use super::login::Login;
use crate::ca::Leaf;

/// The whole behaviour; a new one is that of a correct server.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its name in the greeting and the EHLO reply.
    pub hostname: String,
    /// What it offers beside STARTTLS.
    pub extensions: Extensions,
    /// How it greets.
    pub banner: Banner,
    /// What it does about STARTTLS.
    pub starttls: StartTls,
    /// Certificate and TLS versions.
    pub tls: Option<Arc<ServerConfig>>,
    /// MAIL outside of TLS gets 530 5.7.0 (RFC 3207 section 4).
    pub tls_required: bool,
    /// AUTH is offered inside TLS, and wanted before MAIL.
    pub login: Option<Login>,
    /// RCPT after so many accepted ones gets 452 4.5.3 (RFC 5321 section 4.5.3.1.10).
    pub max_recipients: Option<usize>,
    /// The first try of each pair of sender and recipient gets 451 4.7.1.
    pub greylist: bool,
    /// Exceptions: the first that matches acts.
    pub rules: Vec<Rule>,
}

/// Extensions in the EHLO reply.
#[derive(Clone, Debug)]
pub struct Extensions {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870, with the limit; larger messages get 552 5.3.4.
    pub size: Option<u64>,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 3030.
    pub chunking: bool,
    /// RFC 2034.
    pub enhanced_status: bool,
    /// RFC 8689; offered inside TLS only.
    pub requiretls: bool,
    /// EHLO gets 502, so that the client has to try HELO.
    pub none_at_all: bool,
    /// Further lines.
    pub more: Vec<String>,
    /// Further lines outside of TLS only.
    pub more_in_clear: Vec<String>,
}

/// The greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Banner {
    /// 220.
    Greeting,
    /// 220 for so many sessions at once; 421 for those beyond.
    AtMost(usize),
    /// Something else, for instance `554 5.3.2 no`; then it closes, unless it is a 2xx reply.
    Reply(String),
    /// Nothing: the client waits.
    Silence,
    /// Closes at once.
    Close,
}

/// What comes of STARTTLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartTls {
    /// Not offered; the command gets 502.
    Off,
    /// Offered and done.
    Offer,
    /// Offered, but the command gets this reply.
    Refuse(String),
    /// 220 with these octets behind it in clear, then the handshake (CVE-2011-0411's kind).
    Inject(Vec<u8>),
    /// 220, then a TCP reset when the client hello comes.
    ResetInHandshake,
    /// 220, then octets that are no TLS, when the client hello comes.
    Garbage,
    /// 220, then these octets in answer to the client hello, for instance an alert.
    Answer(Vec<u8>),
    /// 220, then silence.
    Stall,
}

/// An exception from good behaviour.
#[derive(Clone, Debug)]
pub struct Rule {
    verb: String,
    about: Option<String>,
    nth: Option<usize>,
    action: Action,
    seen: usize,
}

/// What a rule does instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// This reply, of one line or several; the command has no other effect.
    Reply(String),
    /// This reply, then the end of the connection.
    ReplyThenClose(String),
    /// The end of the connection, without a reply.
    Close,
    /// A TCP reset.
    Reset,
    /// No reply; the connection stays open until the client ends it.
    Stall,
    /// Waits, then behaves.
    Delay(Duration),
    /// Waits until no rule says so any more ([`FakeMx::behave`](super::FakeMx::behave)), then behaves.
    Hold,
    /// At the end of a message: keeps it, but closes instead of answering 250.
    AcceptThenClose,
}

impl Script {
    pub(super) fn new(hostname: &str, leaf: Option<&Leaf>) -> Self {
        Self {
            hostname: hostname.to_owned(),
            extensions: Extensions::default(),
            banner: Banner::Greeting,
            starttls: match leaf {
                Some(_) => StartTls::Offer,
                None => StartTls::Off,
            },
            tls: leaf.map(Leaf::server_config),
            tls_required: false,
            login: None,
            max_recipients: None,
            greylist: false,
            rules: Vec::new(),
        }
    }

    /// The action for this command line, if a rule has one.
    pub(super) fn exception(&mut self, verb: &str, line: &str) -> Option<Action> {
        self.rules
            .iter_mut()
            .find_map(|rule| rule.apply(verb, line))
    }

    /// Whether some rule [holds](Action::Hold) what it is about.
    pub(super) fn holds(&self) -> bool {
        self.rules.iter().any(|rule| rule.action == Action::Hold)
    }
}

impl Default for Extensions {
    fn default() -> Self {
        Self {
            pipelining: true,
            size: Some(50 * 1024 * 1024),
            eight_bit_mime: true,
            smtputf8: true,
            dsn: true,
            chunking: true,
            enhanced_status: true,
            requiretls: false,
            none_at_all: false,
            more: Vec::new(),
            more_in_clear: Vec::new(),
        }
    }
}

impl Extensions {
    /// Nothing but EHLO itself.
    pub fn none() -> Self {
        Self {
            pipelining: false,
            size: None,
            eight_bit_mime: false,
            smtputf8: false,
            dsn: false,
            chunking: false,
            enhanced_status: false,
            requiretls: false,
            none_at_all: false,
            more: Vec::new(),
            more_in_clear: Vec::new(),
        }
    }

    pub(super) fn lines(&self, tls: bool) -> Vec<String> {
        let known = [
            (self.pipelining, "PIPELINING"),
            (self.eight_bit_mime, "8BITMIME"),
            (self.smtputf8, "SMTPUTF8"),
            (self.dsn, "DSN"),
            (self.chunking, "CHUNKING"),
            (self.enhanced_status, "ENHANCEDSTATUSCODES"),
            (self.requiretls && tls, "REQUIRETLS"),
        ];
        known
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, word)| (*word).to_owned())
            .chain(self.size.map(|limit| format!("SIZE {limit}")))
            .chain(self.more.iter().cloned())
            .chain(self.more_in_clear.iter().filter(|_| !tls).cloned())
            .collect()
    }
}

impl Rule {
    /// Each time. Verbs are those of the commands in upper case; `.` is the end of a message after
    /// DATA or the last BDAT, `BODY` the first octets of one.
    pub fn always(verb: &str, action: Action) -> Self {
        Self {
            verb: verb.to_ascii_uppercase(),
            about: None,
            nth: None,
            action,
            seen: 0,
        }
    }

    /// Only the `n`-th time, from 1, counted over all sessions since the rule was added.
    pub fn nth(verb: &str, n: usize, action: Action) -> Self {
        Self {
            nth: Some(n),
            ..Self::always(verb, action)
        }
    }

    /// Only the first time.
    pub fn once(verb: &str, action: Action) -> Self {
        Self::nth(verb, 1, action)
    }

    /// Only for command lines with this in them.
    #[must_use]
    pub fn about(mut self, text: &str) -> Self {
        self.about = Some(text.to_owned());
        self
    }

    fn apply(&mut self, verb: &str, line: &str) -> Option<Action> {
        let concerned = self.verb == verb
            && self
                .about
                .as_ref()
                .is_none_or(|text| line.contains(text.as_str()));
        if !concerned {
            return None;
        }
        self.seen += 1;
        self.nth
            .is_none_or(|n| n == self.seen)
            .then(|| self.action.clone())
    }
}
