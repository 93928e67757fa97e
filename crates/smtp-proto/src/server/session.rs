//! The session: lines in, replies and actions out.

mod commands;
mod content;
mod errors;
mod login;
mod tally;
mod xclient;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::BytesMut;
use mail_types::{EnhancedStatus, Envelope, QueueId, Recipient, ReversePath, Timestamp, TlsFacts};
use memchr::memchr_iter;

use self::content::Content;
use self::login::{Dialogue, Login};
pub use self::tally::Tally;
use super::{
    Cause, ClaimedClient, ClientCertificate, Forwarded, Identity, Incident, Notice, Peer, Refusal,
    Settings, TlsMode, trace_name,
};
use crate::{BareNewline, MailCommand, write_reply};

/// One inbound session. See the [module](super) for how to drive it.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    peer: Peer,
    state: State,
    output: BytesMut,
    notices: Vec<Notice>,
    /// What the client called itself, and how.
    helo: Option<Helo>,
    tls: Option<TlsFacts>,
    /// Who logged in.
    identity: Option<Identity>,
    certificate: ClientCertificate,
    /// XCLIENT has been said: the connection, and what was proved on it, is the proxy's.
    impersonates: bool,
    /// `tls-exporter` of the connection (RFC 9266).
    exporter: Option<[u8; 32]>,
    /// Logins that failed.
    attempts: u32,
    forwarded: Forwarded,
    transaction: Option<Transaction>,
    /// Content was begun and is not wanted any more.
    abandon: bool,
    errors: u32,
    /// Messages accepted.
    messages: u64,
    tally: Tally,
}

/// What the driver has to do next.
#[derive(Debug)]
pub enum Action<'i> {
    /// Write [`Session::output`], then read more input.
    Read,
    /// `MAIL` came: answer with [`Session::admitted`].
    Admit {
        /// `SIZE=`.
        size: Option<u64>,
    },
    /// `RCPT` came and is otherwise fine: look at [`Session::candidate`], answer with
    /// [`Session::recipient_checked`].
    CheckRecipient,
    /// XCLIENT came: answer with [`Session::impersonated`].
    Xclient(Box<ClaimedClient>),
    /// `AUTH` came: take [`Session::take_auth_request`] and answer it.
    Authenticate,
    /// Content begins: answer with [`Session::begun`].
    Begin {
        /// `SIZE=`, or the size of a chunk.
        size: Option<u64>,
    },
    /// Content, to be stored behind the trace header that [`Session::begun`] returned.
    Body(&'i [u8]),
    /// What was begun is refused: forget it.
    Abandon,
    /// All content is there: make it durable, answer with [`Session::committed`].
    Commit(Box<Envelope>),
    /// Write [`Session::output`], shake hands, call [`Session::tls_started`]; on failure close.
    StartTls,
    /// Write [`Session::output`] and close. Content that was begun is forgotten.
    Close,
}

#[derive(Debug)]
struct Helo {
    name: Box<str>,
    /// The name in trace headers, if that is another.
    traced: Option<Box<str>>,
    extended: bool,
}

impl Helo {
    fn new(name: Box<str>, extended: bool) -> Self {
        let traced = trace_name(&name);
        Self {
            traced: (*traced != *name).then(|| traced.into()),
            name,
            extended,
        }
    }

    fn traced(&self) -> &str {
        self.traced.as_deref().unwrap_or(&self.name)
    }
}

/// From `MAIL` to the end of the content.
#[derive(Debug)]
struct Transaction {
    mail: MailCommand,
    recipients: Vec<Recipient>,
    /// A RCPT came, whatever became of it.
    had_rcpt: bool,
    began: Timestamp,
    content: Option<Content>,
}

#[derive(Debug)]
enum State {
    /// Before [`Session::greet`].
    New,
    Command,
    /// Within a line that is too long and was answered already.
    SkipLine {
        skipped: usize,
    },
    /// Within the dialogue of AUTH.
    Auth(Box<Dialogue>),
    /// Within content.
    Content,
    /// Within a chunk that nobody wants; the refusal, unless sent already, follows at its end.
    SkipChunk {
        remaining: u64,
        refusal: Option<Refusal>,
    },
    /// The driver owes an answer.
    Answer(Pending),
    Closed,
}

#[derive(Debug)]
enum Pending {
    Admit(Box<MailCommand>, Timestamp),
    Recipient(Box<Recipient>),
    Data,
    Chunk { size: u64, last: bool },
    Commit,
    StartTls,
    Xclient(Box<ClaimedClient>),
    Login(Box<Login>),
}

impl Session {
    /// A session with a client that just connected, in clear. Under [`TlsMode::Implicit`] call
    /// [`Session::tls_started`] before [`Session::greet`].
    #[must_use]
    pub fn new(settings: Arc<Settings>, peer: Peer) -> Self {
        Self {
            settings,
            peer,
            state: State::New,
            output: BytesMut::new(),
            notices: Vec::new(),
            helo: None,
            tls: None,
            identity: None,
            certificate: ClientCertificate::None,
            impersonates: false,
            exporter: None,
            attempts: 0,
            forwarded: Forwarded::default(),
            transaction: None,
            abandon: false,
            errors: 0,
            messages: 0,
            tally: Tally::default(),
        }
    }

    /// Writes the greeting. `early`: the first octets of what the client said before it, empty if
    /// it waited (row E4-23).
    pub fn greet(&mut self, early: &[u8]) {
        self.state = State::Command;
        let refused = !early.is_empty() && self.settings.refuse_early_talkers;
        // Otherwise the header is found behind the greeting.
        if refused && is_proxy_header(early) {
            return self.proxy_untrusted();
        }
        if !early.is_empty() {
            self.incident(Incident::EarlyTalker);
        }
        let settings = Arc::clone(&self.settings);
        let name = &settings.hostname;
        // RFC 2034 section 4: no enhanced status in a greeting.
        if refused {
            self.reply(554, None, &format!("{name} You talk before the greeting"));
            self.state = State::Closed;
        } else if let Some(why) = &settings.closed {
            self.reply(554, None, &format!("{name} No service: {why}"));
        } else {
            self.reply(220, None, &format!("{name} ESMTP Sealpost"));
        }
    }

    /// Uses what it can of the front of `input`; says how many octets are done with, and what to
    /// do now. What is not done with must be there again at the next call, with more behind it
    /// after [`Action::Read`].
    pub fn handle<'i>(&mut self, input: &'i [u8], now: Timestamp) -> (usize, Action<'i>) {
        let mut done = 0;
        loop {
            let rest = &input[done..];
            if std::mem::take(&mut self.abandon) {
                return (done, Action::Abandon);
            }
            let (used, action) = match &mut self.state {
                State::New | State::Answer(_) => (0, Some(Action::Read)),
                State::Command | State::Auth(_) => self.line(rest, now),
                State::SkipLine { .. } => self.skip_line(rest),
                State::Content => self.content(rest, now),
                State::SkipChunk { .. } => self.skip_chunk(rest),
                State::Closed => (0, Some(Action::Close)),
            };
            done += used;
            if let Some(action) = action {
                return (done, action);
            }
        }
    }

    /// Replies that wait to be written. The driver takes them with `split` or `clear`.
    pub const fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// What happened since the last call.
    pub fn take_notices(&mut self) -> impl Iterator<Item = Notice> + '_ {
        self.notices.drain(..)
    }

    /// Answers [`Action::Admit`].
    pub fn admitted(&mut self, answer: Result<(), Refusal>) {
        let State::Answer(Pending::Admit(..)) = &self.state else {
            return;
        };
        let State::Answer(Pending::Admit(mail, began)) = self.take_state() else {
            return;
        };
        match answer {
            Ok(()) => {
                self.begin_transaction(*mail, began);
                self.reply(250, Some(EnhancedStatus::success(1, 0)), "Sender ok");
            }
            Err(refusal) => self.refuse_sender(mail.path, refusal),
        }
    }

    /// The sender that [`Action::Admit`] is about.
    #[must_use]
    pub fn candidate_sender(&self) -> Option<&ReversePath> {
        match &self.state {
            State::Answer(Pending::Admit(mail, _)) => Some(&mail.path),
            _ => None,
        }
    }

    /// The recipient that [`Action::CheckRecipient`] is about.
    #[must_use]
    pub const fn candidate(&self) -> Option<&Recipient> {
        match &self.state {
            State::Answer(Pending::Recipient(recipient)) => Some(recipient),
            _ => None,
        }
    }

    /// Answers [`Action::CheckRecipient`].
    pub fn recipient_checked(&mut self, answer: Result<(), Refusal>) {
        let State::Answer(Pending::Recipient(_)) = &self.state else {
            return;
        };
        if let State::Answer(Pending::Recipient(recipient)) = self.take_state() {
            self.settle_recipient(*recipient, answer);
        }
    }

    /// Answers [`Action::Begin`]. Returns the trace header, the first octets to store.
    #[must_use]
    pub fn begun(&mut self, answer: Result<QueueId, Refusal>, now: Timestamp) -> Option<String> {
        match &self.state {
            State::Answer(Pending::Data) => self.begin_data(answer, now),
            State::Answer(Pending::Chunk { size, last }) => {
                let (size, last) = (*size, *last);
                self.begin_first_chunk(answer, now, size, last)
            }
            _ => None,
        }
    }

    /// The content could not be stored: what is left of it is read and forgotten, then the
    /// refusal is sent.
    pub fn body_refused(&mut self, refusal: Refusal) {
        if let Some(content) = self.transaction.as_mut().and_then(|t| t.content.as_mut()) {
            content.refuse(Cause::of_intake(&refusal), refusal);
            content.abandoned = true;
        }
    }

    /// Answers [`Action::Commit`]: the message is durable, or refused.
    pub fn committed(&mut self, answer: Result<QueueId, Refusal>) {
        let State::Answer(Pending::Commit) = self.state else {
            return;
        };
        self.state = State::Command;
        match answer {
            Ok(id) => {
                self.end_transaction();
                self.messages += 1;
                let ok = EnhancedStatus::success(0, 0);
                self.reply(250, Some(ok), &format!("Ok: queued as {id}"));
            }
            Err(refusal) => self.refuse_content(Cause::of_intake(&refusal), refusal),
        }
    }

    /// The handshake after [`Action::StartTls`] (or before the greeting) is done. What the client
    /// said before it is forgotten (RFC 3207 section 4.2).
    pub fn tls_started(&mut self, facts: TlsFacts) {
        self.tls = Some(facts);
        self.helo = None;
        // RFC 3207 section 4.2, row G2-01: a login too. There is none in clear.
        self.identity = None;
        self.certificate = ClientCertificate::None;
        self.exporter = None;
        self.forwarded = Forwarded::default();
        self.transaction = None;
        if let State::Answer(Pending::StartTls) = self.state {
            self.state = State::Command;
            self.tally.done();
        }
    }

    /// Ends the session with this reply, for instance 421 on shutdown or time-out. Nothing is
    /// added if it is closed already. Not between a commit and its answer.
    pub fn end(&mut self, refusal: &Refusal) {
        if !self.is_closed() {
            self.reply_refusal(refusal);
            self.state = State::Closed;
        }
    }

    /// Whether content is on its way in or being stored, so that ending now would lose work.
    #[must_use]
    pub const fn is_in_content(&self) -> bool {
        match &self.state {
            State::Content | State::SkipChunk { .. } => true,
            State::Answer(Pending::Commit | Pending::Data | Pending::Chunk { .. }) => true,
            _ => match &self.transaction {
                Some(t) => t.content.is_some(), // between two chunks
                None => false,
            },
        }
    }

    /// Whether the next action is [`Action::Close`].
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// What the client called itself; empty before EHLO.
    #[must_use]
    pub fn helo(&self) -> &str {
        self.helo.as_ref().map_or("", |h| &h.name)
    }

    /// TLS of the session.
    #[must_use]
    pub const fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Command)
    }

    fn proxy_untrusted(&mut self) {
        self.incident(Incident::ProxyUntrusted);
        self.state = State::Closed;
    }

    /// One command line, if it is there.
    fn line<'i>(&mut self, input: &'i [u8], now: Timestamp) -> (usize, Option<Action<'i>>) {
        if input.is_empty() {
            return (0, Some(Action::Read));
        }
        // A ClientHello: record type 22, version 3.x (row G1-03).
        if self.helo.is_none() && self.tls.is_none() && matches!(input, [0x16, 0x03, ..]) {
            self.incident(Incident::TlsOnPlainPort);
            self.end(&errors::tls_on_plain_port());
            return (0, None);
        }
        // Only proxies that are known send such a header, and their sessions begin behind it (row
        // H5-08).
        if self.helo.is_none() && is_proxy_header(input) {
            self.proxy_untrusted();
            return (input.len(), None);
        }
        let auth = self.is_auth_line(input);
        let limit = if auth {
            MAX_AUTH_LINE
        } else {
            MAX_COMMAND_LINE
        };
        let mut strays = 0u64;
        for lf in memchr_iter(b'\n', input) {
            if lf == 0 || input[lf - 1] != b'\r' {
                strays += 1;
                match self.peer.bare_newline {
                    BareNewline::Reject => return self.bare_newline(input.len()),
                    BareNewline::Normalize => continue,
                }
            }
            if lf + 1 > limit {
                break;
            }
            let line = &input[..lf - 1];
            strays += memchr_iter(b'\r', line).count() as u64;
            let behind = &input[lf + 1..];
            if strays == 0 {
                return (lf + 1, self.whole_line(line, behind, now));
            }
            return match self.peer.bare_newline {
                BareNewline::Reject => self.bare_newline(input.len()),
                BareNewline::Normalize => {
                    self.incident(Incident::BareNewlineNormalized { count: strays });
                    let mut clean = line.to_vec();
                    for b in &mut clean {
                        if matches!(b, b'\r' | b'\n') {
                            *b = b' ';
                        }
                    }
                    (lf + 1, self.whole_line(&clean, behind, now))
                }
            };
        }
        if input.len() < limit {
            return (0, Some(Action::Read));
        }
        if auth {
            self.state = State::Command;
            self.refusal(&errors::auth_line_too_long());
        } else {
            self.tally.said(b"");
            // RFC 5321 section 4.5.3.1.9.
            self.error(500, EnhancedStatus::permanent(5, 2), "Line too long");
        }
        if !self.is_closed() {
            self.state = State::SkipLine { skipped: 0 };
        }
        (0, None)
    }

    fn whole_line(
        &mut self,
        line: &[u8],
        behind: &[u8],
        now: Timestamp,
    ) -> Option<Action<'static>> {
        match &self.state {
            State::Auth(_) => self.response(line),
            _ => self.command(line, behind, now),
        }
    }

    /// Whether the line may have a secret in it: AUTH, or the answer to a challenge. The driver
    /// wipes its octets once they are used.
    #[must_use]
    pub fn is_auth_line(&self, input: &[u8]) -> bool {
        let is_auth = |verb: &[u8]| verb.eq_ignore_ascii_case(b"AUTH ");
        match &self.state {
            State::Auth(_) => true,
            _ => input.get(..5).is_some_and(is_auth),
        }
    }

    /// Passes over the rest of a line that is too long.
    fn skip_line(&mut self, input: &[u8]) -> (usize, Option<Action<'static>>) {
        let end = memchr_iter(b'\n', input).find(|lf| *lf > 0 && input[lf - 1] == b'\r');
        if let Some(lf) = end {
            self.state = State::Command;
            return (lf + 1, None);
        }
        // Keep a CR whose LF may follow.
        let used = input.len() - usize::from(input.last() == Some(&b'\r'));
        if let State::SkipLine { skipped } = &mut self.state {
            *skipped += used;
            if *skipped > MAX_SKIPPED {
                self.end(&errors::endless_line());
                return (used, None);
            }
        }
        (used, Some(Action::Read))
    }

    /// Row E3-06: answered at once, then the session is closed; what else came is dropped.
    fn bare_newline(&mut self, received: usize) -> (usize, Option<Action<'static>>) {
        self.incident(Incident::BareNewline);
        if self.is_in_content() {
            self.refuse_content(Cause::BareNewline, errors::bare_newline());
            self.abandon = false; // closing forgets the content anyway
        } else {
            self.reply_refusal(&errors::bare_newline());
        }
        self.state = State::Closed;
        (received, None)
    }

    fn offers_starttls(&self) -> bool {
        self.tls.is_none()
            && match self.settings.tls {
                TlsMode::Optional | TlsMode::Required => true,
                TlsMode::Off | TlsMode::Implicit => false,
            }
    }

    fn begin_transaction(&mut self, mail: MailCommand, began: Timestamp) {
        self.transaction = Some(Transaction {
            mail,
            recipients: Vec::new(),
            had_rcpt: false,
            began,
            content: None,
        });
    }

    /// Forgets the transaction, and the XFORWARD attributes with it (as Postfix does).
    fn end_transaction(&mut self) {
        self.forwarded = Forwarded::default();
        if let Some(Transaction {
            content: Some(content),
            ..
        }) = self.transaction.take()
        {
            self.abandon = content.is_open();
        }
    }

    fn reply(&mut self, code: u16, status: Option<EnhancedStatus>, text: &str) {
        self.tally.replied(code);
        write_reply(&mut self.output, code, status, text.split('\n'));
    }

    fn reply_refusal(&mut self, refusal: &Refusal) {
        self.reply(refusal.code(), Some(refusal.status()), refusal.text());
    }

    /// A command that is the client's mistake.
    fn error(&mut self, code: u16, status: EnhancedStatus, text: &str) {
        if self.count_error() {
            self.reply(code, Some(status), text);
        }
    }

    /// Counts a mistake; after too many the reply is 421 instead, and the session ends.
    fn count_error(&mut self) -> bool {
        self.errors += 1;
        if self.errors < self.settings.max_errors {
            return true;
        }
        self.incident(Incident::TooManyErrors);
        self.end(&errors::too_many());
        false
    }

    fn incident(&mut self, incident: Incident) {
        self.notices.push(Notice::Incident(incident));
    }
}

fn is_proxy_header(input: &[u8]) -> bool {
    PROXY_HEADERS.iter().any(|h| input.starts_with(h))
}

/// Octets of a command line with CRLF. RFC 5321 section 4.5.3.1.4 asks for 512; with DSN, SIZE,
/// SMTPUTF8, REQUIRETLS and AUTH parameters a line may have about 1,600 (rows E3-11, F1-08).
const MAX_COMMAND_LINE: usize = 2048;
/// What versions 1 and 2 of the PROXY protocol begin with; the second is no text that a client
/// could mean.
const PROXY_HEADERS: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];
/// Octets of a line of AUTH with CRLF (RFC 4954 section 4).
const MAX_AUTH_LINE: usize = 12_288 + 2;
/// Octets of an overlong line after which nobody listens any more.
const MAX_SKIPPED: usize = 1 << 20;
