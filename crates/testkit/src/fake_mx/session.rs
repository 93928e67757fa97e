//! One connection: commands in, replies out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::script::{Action, Banner, StartTls};
use super::wire::Wire;
use super::{ReceivedMessage, SessionSeen, State, TlsSeen};
use crate::board::Board;

/// Longer than any test lasts.
const HELD: Duration = Duration::from_secs(3600);

pub(super) struct Session {
    id: usize,
    board: Arc<Board<State>>,
    pub(super) wire: Wire,
    pub(super) logged_in: bool,
    peer: SocketAddr,
    tls: Option<TlsSeen>,
    helo: String,
    mail: Option<Transaction>,
}

struct Transaction {
    from: String,
    from_params: String,
    to: Vec<(String, String)>,
    chunks: Option<Vec<u8>>,
}

/// Whether the session goes on.
#[derive(PartialEq)]
pub(super) enum Next {
    Go,
    End,
}

pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, board: Arc<Board<State>>) {
    let id = board.update(|s| {
        let after = s.messages.len();
        s.sessions.push(SessionSeen {
            peer,
            after,
            tls: None,
            handshake_error: None,
            plain_after_starttls: Vec::new(),
            quit: false,
            closed: false,
        });
        s.most_open = s
            .most_open
            .max(s.sessions.iter().filter(|s| !s.closed).count());
        s.sessions.len() - 1
    });
    let _closed = Closed(Arc::clone(&board), id);
    let mut session = Session {
        id,
        wire: Wire::new(stream, id, Arc::clone(&board)),
        board,
        logged_in: false,
        peer,
        tls: None,
        helo: String::new(),
        mail: None,
    };
    // A connection that breaks is the client's business; the transcript shows where.
    let _ = session.run().await;
}

/// Marks the session as over, also when its task is cut.
struct Closed(Arc<Board<State>>, usize);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.update(|s| s.sessions[self.1].closed = true);
    }
}

impl Session {
    async fn run(&mut self) -> io::Result<()> {
        let (banner, hostname) = self
            .board
            .read(|s| (s.script.banner.clone(), s.script.hostname.clone()));
        match banner {
            Banner::AtMost(most) if self.open_sessions() > most => {
                self.reply("421 4.7.0 too many sessions from you").await?;
                self.wire.close().await;
                return Ok(());
            }
            Banner::Greeting | Banner::AtMost(_) => {
                let greeting = format!("220 {hostname} ESMTP ready");
                self.reply(&greeting).await?;
            }
            Banner::Reply(text) => {
                self.reply(&text).await?;
                if !text.starts_with('2') {
                    self.wire.close().await;
                    return Ok(());
                }
            }
            Banner::Silence => {
                self.wire.ignore().await;
                return Ok(());
            }
            Banner::Close => return Ok(()),
        }
        while let Some(line) = self.wire.line().await? {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if self.command(&line).await? == Next::End {
                break;
            }
        }
        self.wire.close().await;
        Ok(())
    }

    /// This one among them.
    fn open_sessions(&self) -> usize {
        let open = |s: &State| s.sessions.iter().filter(|s| !s.closed).count();
        self.board.read(open)
    }

    async fn command(&mut self, line: &str) -> io::Result<Next> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let verb = verb.to_ascii_uppercase();
        if let Some(next) = self.exception(&verb, line).await? {
            if verb == "BDAT" {
                // The chunk follows whatever the reply is (RFC 3030 section 2).
                let size = bdat_size(rest).0;
                self.wire.exactly(size).await?;
            }
            return Ok(next);
        }
        match verb.as_str() {
            "EHLO" | "HELO" => self.hello(&verb, rest).await,
            "STARTTLS" => self.starttls().await,
            "AUTH" => match self.board.read(|s| s.script.login.clone()) {
                Some(login) => self.auth(rest, &login).await,
                None => self.reply("502 5.5.1 no AUTH").await,
            },
            "MAIL" => self.mail(rest).await,
            "RCPT" => self.rcpt(rest).await,
            "DATA" => self.data().await,
            "BDAT" => self.bdat(rest).await,
            "RSET" => {
                self.mail = None;
                self.reply("250 2.0.0 reset").await
            }
            "NOOP" | "VRFY" => self.reply("250 2.0.0 ok").await,
            "QUIT" => {
                self.board.update(|s| s.sessions[self.id].quit = true);
                self.reply("221 2.0.0 bye").await?;
                Ok(Next::End)
            }
            _ => self.reply("500 5.5.2 command not known").await,
        }
    }

    /// Does what a rule says; `None` if none says anything, or only to wait.
    async fn exception(&mut self, verb: &str, line: &str) -> io::Result<Option<Next>> {
        match self.action(verb, line) {
            Some(action) => self.act(action).await,
            None => Ok(None),
        }
    }

    fn action(&self, verb: &str, line: &str) -> Option<Action> {
        self.board.update(|s| s.script.exception(verb, line))
    }

    async fn act(&mut self, action: Action) -> io::Result<Option<Next>> {
        Ok(Some(match action {
            Action::Delay(time) => {
                tokio::time::sleep(time).await;
                return Ok(None);
            }
            Action::Hold => {
                let let_go = |s: &State| (!s.script.holds()).then_some(());
                let _ = self.board.wait(HELD, let_go).await;
                return Ok(None);
            }
            Action::Close | Action::AcceptThenClose => Next::End,
            Action::Reply(text) => self.reply(&text).await?,
            Action::ReplyThenClose(text) => {
                self.reply(&text).await?;
                Next::End
            }
            Action::Reset => {
                self.wire.reset();
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Action::Stall => {
                self.wire.ignore().await;
                Next::End
            }
        }))
    }

    pub(super) async fn reply(&mut self, text: &str) -> io::Result<Next> {
        self.wire.say(format!("{text}\r\n").as_bytes()).await?;
        Ok(Next::Go)
    }

    async fn hello(&mut self, verb: &str, name: &str) -> io::Result<Next> {
        self.helo = name.to_owned();
        self.mail = None;
        let tls = self.wire.is_tls();
        let script = self.board.read(|s| s.script.clone());
        if verb == "HELO" {
            return self.reply(&format!("250 {}", script.hostname)).await;
        }
        if script.extensions.none_at_all {
            return self.reply("502 5.5.1 EHLO not known").await;
        }
        let mut lines = vec![script.hostname];
        if script.starttls != StartTls::Off && !tls {
            lines.push("STARTTLS".into());
        }
        lines.extend(script.extensions.lines(tls));
        if let Some(login) = script.login.filter(|_| tls) {
            lines.push(format!("AUTH {}", login.mechanisms));
        }
        let last = lines.len() - 1;
        let text: String = lines
            .iter()
            .enumerate()
            .map(|(i, line)| format!("250{}{line}\r\n", if i == last { ' ' } else { '-' }))
            .collect();
        self.wire.say(text.as_bytes()).await?;
        Ok(Next::Go)
    }

    async fn starttls(&mut self) -> io::Result<Next> {
        let (how, config) = self
            .board
            .read(|s| (s.script.starttls.clone(), s.script.tls.clone()));
        let mut answer = b"220 2.0.0 go on\r\n".to_vec();
        match &how {
            _ if self.wire.is_tls() => return self.reply("503 5.5.1 TLS is on").await,
            StartTls::Off => return self.reply("502 5.5.1 no STARTTLS").await,
            StartTls::Refuse(text) => return self.reply(text).await,
            StartTls::Inject(bytes) => answer.extend_from_slice(bytes),
            StartTls::Offer
            | StartTls::ResetInHandshake
            | StartTls::Garbage
            | StartTls::Answer(_)
            | StartTls::Stall => {}
        }
        let residue = self.wire.take_residue();
        self.board
            .update(|s| s.sessions[self.id].plain_after_starttls = residue);
        self.wire.say(&answer).await?;
        match how {
            StartTls::ResetInHandshake => {
                self.wire.first_octets().await?;
                self.wire.reset();
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            StartTls::Garbage => {
                // Not with the 220: that would be injection.
                self.wire.first_octets().await?;
                self.wire.say(b"this is not TLS\r\n").await?;
                self.wire.ignore().await;
                return Ok(Next::End);
            }
            StartTls::Answer(octets) => {
                self.wire.first_octets().await?;
                self.wire.say(&octets).await?;
                self.wire.ignore().await;
                return Ok(Next::End);
            }
            StartTls::Stall => {
                self.wire.ignore().await;
                return Ok(Next::End);
            }
            StartTls::Off | StartTls::Offer | StartTls::Refuse(_) | StartTls::Inject(_) => {}
        }
        let Some(config) = config else {
            panic!("STARTTLS is offered without a certificate");
        };
        let socket = self.wire.take_plain()?;
        match TlsAcceptor::from(config).accept(socket).await {
            Ok(stream) => self.secured(stream),
            Err(e) => {
                let text = e.to_string();
                self.board
                    .update(|s| s.sessions[self.id].handshake_error = Some(text));
                return Err(e);
            }
        }
        Ok(Next::Go)
    }

    /// RFC 3207 section 4.2: what was said before counts no more.
    fn secured(&mut self, stream: TlsStream<TcpStream>) {
        let seen = facts(&stream);
        self.board
            .update(|s| s.sessions[self.id].tls = Some(seen.clone()));
        self.tls = Some(seen);
        self.helo.clear();
        self.mail = None;
        self.wire.put_tls(stream);
    }

    async fn mail(&mut self, rest: &str) -> io::Result<Next> {
        if self.mail.is_some() {
            return self.reply("503 5.5.1 nested MAIL").await;
        }
        if self.helo.is_empty() {
            return self.reply("503 5.5.1 EHLO first").await;
        }
        let (tls_required, limit, login) = self.board.read(|s| {
            let script = &s.script;
            (
                script.tls_required,
                script.extensions.size,
                script.login.is_some(),
            )
        });
        if tls_required && !self.wire.is_tls() {
            return self.reply("530 5.7.0 must issue STARTTLS first").await;
        }
        if login && !self.logged_in {
            return self.reply("530 5.7.0 Authentication required").await;
        }
        let Some((from, from_params)) = path(rest, "FROM:") else {
            return self.reply("501 5.5.4 MAIL FROM:<path>").await;
        };
        let declared = from_params
            .split(' ')
            .find_map(|p| p.strip_prefix("SIZE=")?.parse::<u64>().ok());
        if declared
            .zip(limit)
            .is_some_and(|(size, limit)| size > limit)
        {
            return self.reply("552 5.3.4 too large").await;
        }
        self.mail = Some(Transaction {
            from,
            from_params,
            to: Vec::new(),
            chunks: None,
        });
        self.reply("250 2.1.0 ok").await
    }

    async fn rcpt(&mut self, rest: &str) -> io::Result<Next> {
        let Some(mail) = &mut self.mail else {
            return self.reply("503 5.5.1 MAIL first").await;
        };
        let Some((to, params)) = path(rest, "TO:") else {
            return self.reply("501 5.5.4 RCPT TO:<path>").await;
        };
        let pair = (mail.from.clone(), to.clone());
        let count = mail.to.len();
        let (full, grey) = self.board.update(|s| {
            (
                s.script.max_recipients.is_some_and(|max| count >= max),
                s.script.greylist && s.greylisted.insert(pair),
            )
        });
        if full {
            return self.reply("452 4.5.3 too many recipients").await;
        }
        if grey {
            return self.reply("451 4.7.1 greylisted, come back later").await;
        }
        mail.to.push((to, params));
        self.reply("250 2.1.5 ok").await
    }

    async fn data(&mut self) -> io::Result<Next> {
        if self.mail.as_ref().is_none_or(|m| m.to.is_empty()) {
            return self.reply("503 5.5.1 no recipients").await;
        }
        self.reply("354 end with a dot").await?;
        if !self.wire.first_octets().await? {
            return Ok(Next::End);
        }
        if let Some(next) = self.exception("BODY", "").await? {
            return Ok(next);
        }
        match self.wire.dotted().await? {
            Some(content) => self.finish(content, false).await,
            None => Ok(Next::End),
        }
    }

    async fn bdat(&mut self, rest: &str) -> io::Result<Next> {
        let (size, last) = bdat_size(rest);
        let Some(chunk) = self.wire.exactly(size).await? else {
            return Ok(Next::End);
        };
        let Some(mail) = self.mail.as_mut().filter(|m| !m.to.is_empty()) else {
            return self.reply("503 5.5.1 no recipients").await;
        };
        let content = mail.chunks.get_or_insert_default();
        content.extend_from_slice(&chunk);
        if !last {
            return self.reply("250 2.0.0 chunk taken").await;
        }
        let content = std::mem::take(content);
        self.finish(content, true).await
    }

    async fn finish(&mut self, data: Vec<u8>, chunked: bool) -> io::Result<Next> {
        let Some(mail) = self.mail.take() else {
            return self.reply("503 5.5.1 MAIL first").await;
        };
        let action = self.action(".", "");
        let kept_but_cut = action == Some(Action::AcceptThenClose);
        if let Some(action) = action
            && !kept_but_cut
            && let Some(next) = self.act(action).await?
        {
            return Ok(next);
        }
        let limit = self.board.read(|s| s.script.extensions.size);
        if limit.is_some_and(|limit| data.len() as u64 > limit) {
            return self.reply("552 5.3.4 too large").await;
        }
        let message = ReceivedMessage {
            session: self.id,
            helo: self.helo.clone(),
            from: mail.from,
            from_params: mail.from_params,
            to: mail.to,
            data,
            chunked,
            tls: self.tls.clone(),
            peer: self.peer,
            at: std::time::Instant::now(),
        };
        self.board.update(|s| s.messages.push(message));
        if kept_but_cut {
            return Ok(Next::End);
        }
        self.reply("250 2.0.0 kept").await
    }
}

/// `FROM:<path> params`, in any case.
fn path(rest: &str, keyword: &str) -> Option<(String, String)> {
    let start = rest.get(..keyword.len())?;
    if !start.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = rest[keyword.len()..].trim_start().strip_prefix('<')?;
    // A quoted local part may hold `>` (RFC 5321 section 4.1.2).
    let (mut quoted, mut escaped) = (false, false);
    let end = rest.find(|c| {
        let literal = escaped;
        escaped = quoted && c == '\\' && !literal;
        quoted ^= c == '"' && !literal;
        c == '>' && !quoted
    })?;
    Some((
        rest[..end].to_owned(),
        rest[end + 1..].trim_start().to_owned(),
    ))
}

fn bdat_size(rest: &str) -> (usize, bool) {
    let mut words = rest.split_whitespace();
    let size = words.next().and_then(|w| w.parse().ok()).unwrap_or(0);
    let last = words.next().is_some_and(|w| w.eq_ignore_ascii_case("LAST"));
    (size, last)
}

fn facts(stream: &TlsStream<TcpStream>) -> TlsSeen {
    let (_, tls) = stream.get_ref();
    TlsSeen {
        version: tls
            .protocol_version()
            .map_or(String::new(), |v| format!("{v:?}")),
        cipher: tls
            .negotiated_cipher_suite()
            .map_or(String::new(), |c| format!("{:?}", c.suite())),
        group: tls
            .negotiated_key_exchange_group()
            .map_or(String::new(), |g| format!("{:?}", g.name())),
        sni: tls.server_name().map(str::to_owned),
        resumed: tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        client_chain: tls
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|c| c.clone().into_owned())
            .collect(),
    }
}
