//! A peer that does what its script says, and keeps what it heard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// One thing that the peer does.
#[derive(Clone)]
pub(crate) enum Step {
    /// Sends this, in one write.
    Say(String),
    /// Reads one line, which has to begin like this.
    Hear(&'static str),
    /// Reads lines up to the lone dot.
    HearData,
    /// Reads so many octets.
    HearOctets(usize),
    /// Shakes hands.
    Tls(Arc<ServerConfig>),
    /// Waits so long.
    Pause(Duration),
    /// Sends this octet by octet, with a pause after each, until the client is gone.
    Drip(u8),
    /// Keeps still until the client is gone.
    Silence,
    /// Listens for a moment: nothing may come.
    Hush,
    /// Sends this octet by octet, each in a write, and inside TLS in a record, of its own.
    Crumbs(&'static str),
    /// Inside TLS: asks for new keys, again and again, until the client is gone.
    KeyUpdates,
    /// Inside TLS: closes the socket without close_notify.
    Cut,
    /// Closes with a reset.
    Reset,
    /// Closes.
    Close,
}

/// A peer that listens.
pub(crate) struct Scripted {
    pub(crate) addr: SocketAddr,
    sessions: JoinHandle<Vec<Heard>>,
}

/// What one session of a peer heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Lines, with `<TLS>` where a handshake was.
    pub(crate) lines: Vec<String>,
    /// Contents, as they were on the wire.
    pub(crate) content: Vec<u8>,
    /// Server name indication.
    pub(crate) sni: Option<String>,
    /// The client ended TLS with close_notify.
    pub(crate) closed_cleanly: bool,
}

pub(crate) fn say(text: &str) -> Step {
    Step::Say(text.to_owned())
}

pub(crate) fn hear(prefix: &'static str) -> Step {
    Step::Hear(prefix)
}

/// Banner and an EHLO reply with these keywords.
pub(crate) fn greet(keywords: &[&str]) -> Vec<Step> {
    vec![
        say("220 mx1 ready\r\n"),
        hear("EHLO us.test"),
        ehlo(keywords),
    ]
}

pub(crate) fn ehlo(keywords: &[&str]) -> Step {
    let lines: String = keywords.iter().map(|k| format!("250-{k}\r\n")).collect();
    Step::Say(format!("250-mx1 hello\r\n{lines}250 HELP\r\n"))
}

/// Banner, EHLO, STARTTLS, handshake, EHLO.
pub(crate) fn secure(server: Arc<ServerConfig>, keywords: &[&str]) -> Vec<Step> {
    let mut steps = greet(&["STARTTLS"]);
    steps.extend([
        hear("STARTTLS"),
        say("220 go\r\n"),
        Step::Tls(server),
        hear("EHLO us.test"),
        ehlo(keywords),
    ]);
    steps
}

impl Scripted {
    /// One session with this script; after it, QUIT is answered and everything else only heard.
    pub(crate) fn start(script: Vec<Step>) -> Self {
        Self::start_sessions(vec![script])
    }

    /// Sessions one after the other.
    pub(crate) fn start_sessions(scripts: Vec<Vec<Step>>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // A small buffer lets a client that does not read be felt.
        socket.set_send_buffer_size(4_096).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        let addr = listener.local_addr().unwrap();
        let sessions = tokio::spawn(async move {
            let mut running = Vec::new();
            for script in scripts {
                let (tcp, _) = listener.accept().await.unwrap();
                running.push(tokio::spawn(session(tcp, script)));
            }
            let mut heard = Vec::new();
            for session in running {
                heard.push(session.await.unwrap());
            }
            heard
        });
        Self { addr, sessions }
    }

    /// What the only session heard; waits for its end.
    pub(crate) async fn heard(self) -> Heard {
        self.all_heard().await.remove(0)
    }

    /// What each session heard; waits for the end of all.
    pub(crate) async fn all_heard(self) -> Vec<Heard> {
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, self.sessions)
            .await
            .expect("the client closes")
            .unwrap()
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn session(tcp: TcpStream, script: Vec<Step>) -> Heard {
    let mut heard = Heard::default();
    let mut plain = Some(BufReader::new(tcp));
    let mut secure = None;
    let mut steps = script.into_iter();
    for step in steps.by_ref() {
        if let Step::Tls(config) = step {
            let tcp = plain.take().expect("clear text").into_inner();
            match TlsAcceptor::from(config).accept(tcp).await {
                Ok(tls) => {
                    heard.sni = tls.get_ref().1.server_name().map(str::to_owned);
                    heard.lines.push("<TLS>".to_owned());
                    secure = Some(BufReader::new(tls));
                }
                Err(error) => {
                    heard.lines.push(format!("<{error}>"));
                    return heard;
                }
            }
            continue;
        }
        if let (Step::Reset, Some(tcp)) = (&step, &plain) {
            tcp.get_ref().set_zero_linger().unwrap();
        }
        if let (Step::KeyUpdates, Some(tls)) = (&step, &mut secure) {
            key_updates(tls.get_mut()).await;
            return heard;
        }
        if let (Step::Cut, Some(tls)) = (&step, &mut secure) {
            let (tcp, _) = tls.get_mut().get_mut();
            let _ = tcp.shutdown().await;
            return heard;
        }
        let going_on = match (&mut secure, &mut plain) {
            (Some(tls), _) => act(tls, step, &mut heard).await,
            (None, Some(tcp)) => act(tcp, step, &mut heard).await,
            (None, None) => false,
        };
        if !going_on {
            return heard;
        }
    }
    match (&mut secure, &mut plain) {
        (Some(tls), _) => linger(tls, &mut heard).await,
        (None, Some(tcp)) => linger(tcp, &mut heard).await,
        (None, None) => {}
    }
    heard
}

/// False: the session is over.
async fn act(io: &mut BufReader<impl Stream>, step: Step, heard: &mut Heard) -> bool {
    match step {
        Step::Say(text) => io.get_mut().write_all(text.as_bytes()).await.is_ok(),
        Step::Hear(prefix) => match line(io).await {
            Ok(Some(line)) => {
                let as_expected = line.starts_with(prefix);
                heard.lines.push(line);
                as_expected
            }
            _ => false,
        },
        Step::HearData => loop {
            match line(io).await {
                Ok(Some(line)) if line == "." => break true,
                Ok(Some(line)) => {
                    heard.content.extend_from_slice(line.as_bytes());
                    heard.content.extend_from_slice(b"\r\n");
                }
                _ => break false,
            }
        },
        Step::HearOctets(count) => {
            let mut octets = vec![0; count];
            let read = io.read_exact(&mut octets).await;
            heard.content.extend_from_slice(&octets);
            read.is_ok()
        }
        Step::Pause(time) => {
            tokio::time::sleep(time).await;
            true
        }
        Step::Drip(octet) => {
            let mut beat = tokio::time::interval(Duration::from_millis(10));
            loop {
                beat.tick().await;
                if io.get_mut().write_all(&[octet]).await.is_err() {
                    break false;
                }
            }
        }
        Step::Silence => {
            linger(io, heard).await;
            false
        }
        Step::Hush => {
            let mut octet = [0];
            let moment = Duration::from_millis(50);
            match tokio::time::timeout(moment, io.read(&mut octet)).await {
                Err(_) => true,
                Ok(early) => {
                    heard.lines.push(format!("<spoke too early: {early:?}>"));
                    false
                }
            }
        }
        Step::Crumbs(text) => {
            for octet in text.bytes() {
                if io.get_mut().write_all(&[octet]).await.is_err() {
                    return false;
                }
                let _ = io.get_mut().flush().await;
            }
            true
        }
        Step::Reset | Step::Close => false,
        Step::Tls(_) | Step::KeyUpdates | Step::Cut => unreachable!("done by the session"),
    }
}

async fn key_updates(tls: &mut tokio_rustls::server::TlsStream<TcpStream>) {
    loop {
        if tls.get_mut().1.refresh_traffic_keys().is_err() || tls.flush().await.is_err() {
            return;
        }
    }
}

/// Hears until the client closes; answers QUIT.
async fn linger(io: &mut BufReader<impl Stream>, heard: &mut Heard) {
    loop {
        match line(io).await {
            Ok(Some(line)) => {
                let quit = line == "QUIT";
                heard.lines.push(line);
                if quit {
                    let _ = io.get_mut().write_all(b"221 bye\r\n").await;
                }
            }
            Ok(None) => {
                heard.closed_cleanly = true;
                return;
            }
            Err(_) => return,
        }
    }
}

/// One line without its CRLF; nothing but CRLF ends a line.
async fn line(io: &mut BufReader<impl Stream>) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let mut octet = [0];
        if io.read(&mut octet).await? == 0 {
            return Ok(None);
        }
        line.push(octet[0]);
        if line.ends_with(b"\r\n") {
            line.truncate(line.len() - 2);
            return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
        }
    }
}
