//! An SMTP server that keeps what it gets, and misbehaves as its script says.

mod login;
mod script;
mod session;
mod wire;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::board::Board;
use crate::ca::Leaf;
use crate::listen;
pub use login::Login;
pub use script::{Action, Banner, Extensions, Rule, Script, StartTls};

/// The server. It and its sessions stop when it is dropped.
pub struct FakeMx {
    address: SocketAddr,
    board: Arc<Board<State>>,
    accepting: Mutex<JoinHandle<()>>,
}

/// A message that was answered with 250 (or would have been, but for [`Action::AcceptThenClose`]).
#[derive(Clone, Debug)]
pub struct ReceivedMessage {
    /// Number of its session, from 0.
    pub session: usize,
    /// The client's EHLO name.
    pub helo: String,
    /// Reverse-path without brackets.
    pub from: String,
    /// The parameters of MAIL FROM, as they came.
    pub from_params: String,
    /// Accepted forward-paths without brackets, each with its parameters.
    pub to: Vec<(String, String)>,
    /// The content after unstuffing, octet for octet.
    pub data: Vec<u8>,
    /// Whether it came by BDAT.
    pub chunked: bool,
    /// The session's TLS, if it had any.
    pub tls: Option<TlsSeen>,
    /// Whence it came.
    pub peer: SocketAddr,
    /// When it was complete, just before the reply.
    pub at: std::time::Instant,
}

/// What was agreed upon in the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSeen {
    /// For instance `TLSv1_3`.
    pub version: String,
    /// For instance `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The key exchange group.
    pub group: String,
    /// Server name indication.
    pub sni: Option<String>,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// The client's certificates, if it sent any.
    pub client_chain: Vec<CertificateDer<'static>>,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct SessionSeen {
    /// The client's address.
    pub peer: SocketAddr,
    /// How many messages this server had taken when it began.
    pub after: usize,
    /// The session's TLS, if a handshake succeeded.
    pub tls: Option<TlsSeen>,
    /// Why a handshake failed, if one did.
    pub handshake_error: Option<String>,
    /// What the client sent in clear behind STARTTLS, which it must not.
    pub plain_after_starttls: Vec<u8>,
    /// Whether the client said QUIT.
    pub quit: bool,
    /// Whether it is over.
    pub closed: bool,
}

/// What was written at once, or one line read.
#[derive(Clone, Debug)]
pub struct Line {
    /// Number of the session, from 0.
    pub session: usize,
    /// Whose line it is.
    pub way: Way,
    /// Whether it went through TLS.
    pub tls: bool,
    /// Whether it is content of a message.
    pub body: bool,
    /// The octets, line ends included.
    pub bytes: Vec<u8>,
}

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The client.
    Client,
    /// This server.
    Server,
}

/// Everything that a test may look at.
struct State {
    script: Script,
    sessions: Vec<SessionSeen>,
    transcript: Vec<Line>,
    messages: Vec<ReceivedMessage>,
    greylisted: HashSet<(String, String)>,
    most_open: usize,
}

impl FakeMx {
    /// Listens on `ip:port` (25 in a namespace) under this host name. With a certificate it offers
    /// STARTTLS, without one it does not.
    pub async fn start(address: &str, hostname: &str, leaf: Option<&Leaf>) -> Self {
        let listener = listen::tcp(address, "SMTP").await;
        let address = listener.local_addr().expect("a bound socket");
        let board = Arc::new(Board::new(State {
            script: Script::new(hostname, leaf),
            sessions: Vec::new(),
            transcript: Vec::new(),
            messages: Vec::new(),
            greylisted: HashSet::new(),
            most_open: 0,
        }));
        let accepting = Mutex::new(tokio::spawn(accept(listener, Arc::clone(&board))));
        Self {
            address,
            board,
            accepting,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the script; sessions take it up at their next command.
    pub fn script(&self, change: impl FnOnce(&mut Script)) -> &Self {
        self.board.update(|s| change(&mut s.script));
        self
    }

    /// Adds a rule; earlier rules come first.
    pub fn rule(&self, rule: Rule) -> &Self {
        self.script(|s| s.rules.push(rule))
    }

    /// Back to good behaviour, with the certificate it has.
    pub fn behave(&self) -> &Self {
        self.script(|s| {
            let offered = s.tls.is_some();
            s.rules.clear();
            s.banner = Banner::Greeting;
            s.starttls = if offered {
                StartTls::Offer
            } else {
                StartTls::Off
            };
            s.greylist = false;
            s.max_recipients = None;
            s.tls_required = false;
        })
    }

    /// Uses this certificate from now on, and offers STARTTLS.
    pub fn certificate(&self, leaf: &Leaf) -> &Self {
        self.script(|s| {
            s.tls = Some(leaf.server_config());
            s.starttls = StartTls::Offer;
        })
    }

    /// The messages so far.
    pub fn messages(&self) -> Vec<ReceivedMessage> {
        self.board.read(|s| s.messages.clone())
    }

    /// Waits for the first message.
    ///
    /// # Panics
    /// After `timeout`, with the transcript.
    pub async fn wait_for_message(&self, timeout: Duration) -> ReceivedMessage {
        self.wait_for_messages(1, timeout).await.remove(0)
    }

    /// Waits until there are at least `n` messages, and returns all.
    ///
    /// # Panics
    /// After `timeout`, with the transcript.
    pub async fn wait_for_messages(&self, n: usize, timeout: Duration) -> Vec<ReceivedMessage> {
        let enough = |s: &State| (s.messages.len() >= n).then(|| s.messages.clone());
        match self.board.wait(timeout, enough).await {
            Some(messages) => messages,
            None => panic!(
                "{} of {n} messages came within {timeout:?}:\n{}",
                self.messages().len(),
                self.transcript_text()
            ),
        }
    }

    /// Waits until at least `n` sessions are over.
    ///
    /// # Panics
    /// After `timeout`, with the transcript.
    pub async fn wait_for_sessions(&self, n: usize, timeout: Duration) -> Vec<SessionSeen> {
        let over = |s: &State| {
            let closed = s.sessions.iter().filter(|s| s.closed).count();
            (closed >= n).then(|| s.sessions.clone())
        };
        match self.board.wait(timeout, over).await {
            Some(sessions) => sessions,
            None => panic!(
                "not {n} sessions ended within {timeout:?}:\n{}",
                self.transcript_text()
            ),
        }
    }

    /// Waits until the client has said a command that starts with `start`.
    ///
    /// # Panics
    /// After `timeout`, with the transcript.
    pub async fn wait_for_command(&self, start: &str, timeout: Duration) {
        self.wait_for_commands(start, 1, timeout).await;
    }

    /// Waits until the client has said so many commands that start with `start`.
    ///
    /// # Panics
    /// After `timeout`, with the transcript.
    pub async fn wait_for_commands(&self, start: &str, n: usize, timeout: Duration) {
        let said = |s: &State| {
            let said = s.transcript.iter().filter(|l| l.is_command(start));
            (said.count() >= n).then_some(())
        };
        if self.board.wait(timeout, said).await.is_none() {
            panic!("no {n} times {start} came:\n{}", self.transcript_text());
        }
    }

    /// The connections so far.
    pub fn sessions(&self) -> Vec<SessionSeen> {
        self.board.read(|s| s.sessions.clone())
    }

    /// The most connections that were open at one time.
    pub fn most_open(&self) -> usize {
        self.board.read(|s| s.most_open)
    }

    /// All that was said.
    pub fn transcript(&self) -> Vec<Line> {
        self.board.read(|s| s.transcript.clone())
    }

    /// All that was said, to be read by people: session, `T` for TLS, `C` or `S`, line.
    pub fn transcript_text(&self) -> String {
        self.board.read(|s| {
            let mut text = String::new();
            for line in &s.transcript {
                let _ = writeln!(text, "{line}");
            }
            text
        })
    }

    /// The client's commands, of all sessions, without bodies.
    pub fn commands(&self) -> Vec<String> {
        self.transcript()
            .iter()
            .filter(|l| l.way == Way::Client && !l.body)
            .map(|l| String::from_utf8_lossy(&l.bytes).trim_end().to_owned())
            .collect()
    }

    /// Forgets what it saw.
    pub fn forget(&self) {
        self.board.update(|s| {
            s.transcript.clear();
            s.messages.clear();
        });
    }

    /// # Panics
    /// If a client said MAIL outside of TLS.
    pub fn assert_no_mail_in_clear(&self) {
        let leak = |l: &Line| !l.tls && l.is_command("MAIL");
        assert!(
            !self.transcript().iter().any(leak),
            "MAIL FROM in clear:\n{}",
            self.transcript_text()
        );
    }

    /// # Panics
    /// If a client said MAIL at all.
    pub fn assert_no_mail(&self) {
        assert!(
            !self.transcript().iter().any(|l| l.is_command("MAIL")),
            "MAIL FROM was said:\n{}",
            self.transcript_text()
        );
    }

    /// Stops listening and cuts all sessions: connections are refused until [`FakeMx::resume`].
    pub async fn pause(&self) {
        let task = {
            let mut slot = self.accepting.lock();
            std::mem::replace(&mut *slot, tokio::spawn(async {}))
        };
        task.abort();
        // The listener is closed when the task has ended.
        let _ = task.await;
    }

    /// Listens again.
    pub async fn resume(&self) {
        let listener = listen::tcp(&self.address.to_string(), "SMTP").await;
        *self.accepting.lock() = tokio::spawn(accept(listener, Arc::clone(&self.board)));
    }
}

impl Drop for FakeMx {
    fn drop(&mut self) {
        self.accepting.lock().abort();
    }
}

impl ReceivedMessage {
    /// The forward-paths without their parameters.
    pub fn recipients(&self) -> Vec<&str> {
        self.to.iter().map(|(path, _)| path.as_str()).collect()
    }

    /// The content as text, for error messages and simple checks.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }

    /// What follows the trace header fields at the top (`Return-Path`, `Received` and their
    /// continuation lines): the message as the sender wrote it.
    pub fn without_trace(&self) -> &[u8] {
        let mut rest = &self.data[..];
        let mut in_trace = false;
        loop {
            let end = rest.iter().position(|b| *b == b'\n').map_or(0, |i| i + 1);
            let line = &rest[..end];
            let folded = in_trace && matches!(line.first(), Some(b' ' | b'\t'));
            let starts = |name: &str| {
                line.get(..name.len())
                    .is_some_and(|l| l.eq_ignore_ascii_case(name.as_bytes()))
            };
            in_trace = folded || starts("received:") || starts("return-path:");
            if !in_trace {
                return rest;
            }
            rest = &rest[end..];
        }
    }
}

impl Line {
    fn is_command(&self, start: &str) -> bool {
        self.way == Way::Client
            && !self.body
            && self
                .bytes
                .get(..start.len())
                .is_some_and(|b| b.eq_ignore_ascii_case(start.as_bytes()))
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = match self.way {
            Way::Client => 'C',
            Way::Server => 'S',
        };
        let tls = if self.tls { 'T' } else { ' ' };
        let shown = &self.bytes[..self.bytes.len().min(SHOWN)];
        write!(f, "{} {tls}{who} {}", self.session, shown.escape_ascii())
    }
}

async fn accept(listener: TcpListener, board: Arc<Board<State>>) {
    // Aborting this task drops the set, and with it the sessions.
    let mut sessions = JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        // Each reply is written by itself: without this the second waits for the client's delayed ACK.
        let _ = stream.set_nodelay(true);
        while sessions.try_join_next().is_some() {}
        sessions.spawn(session::serve(stream, peer, Arc::clone(&board)));
    }
}

/// Octets of a line that the readable transcript shows.
const SHOWN: usize = 300;

#[cfg(test)]
mod tests;
