//! Opens sessions: TCP, banner, EHLO, STARTTLS, EHLO.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mail_types::Timestamp;
use rustix::io::Errno;
use rustls::crypto::CryptoProvider;
use smtp_proto::{
    AuthAction, Authentication, Extensions, Opening, OpeningAction, OpeningFault, Stage,
    StartTlsRule,
};
use tokio::net::{TcpSocket, TcpStream};

use crate::connection::Settings;
use crate::error::ProtocolFault;
use crate::handshake::{Handshake, HandshakeError};
use crate::timer::Timer;
use crate::verify::Strictness;
use crate::wire::{Unasked, Wire};
use crate::{
    Account, AccountKey, AuthFault, Cause, Connection, ConnectorConfig, Judged, OpeningTimes, Peer,
    PoolKey, Posture, Roots, SessionError, SessionFacts, TlsSession, TlsVerdict, Transcript,
};

/// Opens sessions. Cheap to clone; one per set of roots and source address.
#[derive(Clone)]
pub struct Connector {
    config: ConnectorConfig,
    roots: Roots,
    provider: Arc<CryptoProvider>,
}

impl Connector {
    /// With its settings and trust anchors.
    #[must_use]
    pub fn new(config: ConnectorConfig, roots: Roots) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Self {
            config,
            roots,
            provider,
        }
    }

    /// Opens a session that is authenticated: STARTTLS and a certificate valid for the MX name.
    ///
    /// # Errors
    /// Where it stopped and why; the connection is closed.
    pub async fn connect(&self, peer: &Peer) -> Result<Connection, SessionError> {
        self.connect_with(peer, Posture::Authenticate).await
    }

    /// Opens a session that meets this posture. Every failure is about this address only: the
    /// caller tries the next.
    ///
    /// # Errors
    /// Where it stopped and why; the connection is closed.
    pub async fn connect_with(
        &self,
        peer: &Peer,
        posture: Posture,
    ) -> Result<Connection, SessionError> {
        let mut session = Session {
            stage: Stage::Connect,
            tls: None,
            wire: None,
            judged: None,
            transcript: Transcript::default(),
            generation: 0,
            source: None,
            times: OpeningTimes::default(),
        };
        match self.open(&mut session, peer, posture).await {
            Ok(connection) => Ok(connection),
            Err(cause) => Err(self.give_up(session, cause).await),
        }
    }

    /// The key under which the pool would have a connection to this peer, now.
    #[must_use]
    pub fn pool_key(&self, peer: &Peer, posture: Posture) -> PoolKey {
        self.key_of(peer, posture, self.roots.current().generation())
    }

    /// Whether a connection that was opened under this key has the trust anchors and the account that are
    /// in force.
    #[must_use]
    pub fn is_current(&self, key: &PoolKey) -> bool {
        let account = self.config.account.as_ref().map(Account::current);
        key.roots_generation == self.roots.current().generation()
            && key.account.as_ref() == account.as_ref().map(|a| &a.key)
    }

    /// The wall clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.config.clock)()
    }

    /// The trust anchors, which may be replaced at any time.
    #[must_use]
    pub const fn roots(&self) -> &Roots {
        &self.roots
    }

    async fn open(
        &self,
        session: &mut Session,
        peer: &Peer,
        posture: Posture,
    ) -> Result<Connection, Cause> {
        let socket = new_socket(peer.addr)?;
        let tcp = self.tcp(socket, peer).await?;
        session.times.connected = Some(Instant::now());
        session.source = tcp.local_addr().ok().map(|a| a.ip());
        let transcript = std::mem::take(&mut session.transcript);
        session.wire = Some(Wire::new(tcp, self.config.replies, transcript));
        let mut opening = Opening::new(&self.config.ehlo_name, starttls_rule(posture));
        let mut out = BytesMut::new();
        loop {
            match opening.next(&mut out) {
                OpeningAction::Read(stage) => {
                    session.stage = stage;
                    self.ask(session, stage, &mut out, &mut opening).await?;
                }
                OpeningAction::Handshake => {
                    session.times.handshake = Some(Instant::now());
                    self.handshake(session, peer, posture).await?;
                    session.times.secured = Some(Instant::now());
                    opening.on_tls();
                }
                OpeningAction::Ready => break,
            }
        }
        let (extensions, starttls) = opening.finish();
        let account = self.login(session, &extensions).await?;
        let wire = session.wire.take().ok_or_else(no_socket)?;
        if session.tls.is_none() {
            session.generation = self.roots.current().generation();
        }
        let facts = SessionFacts {
            mx: peer.mx.clone(),
            addr: peer.addr,
            source: session.source,
            posture,
            dane: peer.dane.clone(),
            opened: (self.config.clock)(),
            extensions,
            starttls,
            tls: session.tls.take().map(|tls| *tls),
            roots_generation: session.generation,
            times: session.times,
        };
        let key = PoolKey {
            account,
            ..self.key_of(peer, posture, session.generation)
        };
        let settings = Settings {
            timeouts: self.config.timeouts,
            one_flight_max: self.config.one_flight_max,
        };
        Ok(Connection::new(wire, facts, key, settings))
    }

    fn key_of(&self, peer: &Peer, posture: Posture, roots_generation: u64) -> PoolKey {
        PoolKey {
            mx: peer.mx.clone(),
            tls_name: peer.tls_name.clone(),
            port: peer.addr.port(),
            route: self.config.route.clone(),
            source: self.config.source(peer.addr),
            account: self
                .config
                .account
                .as_ref()
                .map(|a| a.current().key.clone()),
            posture,
            dane: peer.dane.clone(),
            roots_generation,
        }
    }

    async fn tcp(&self, socket: TcpSocket, peer: &Peer) -> Result<TcpStream, Cause> {
        let addr = peer.addr;
        if let Some(source) = self.config.source(addr) {
            let bound = socket.bind(SocketAddr::new(source, 0));
            bound.map_err(|error| no_source(source, &error))?;
        }
        // Whole flights are written at once: nothing is gained by waiting for more.
        socket.set_nodelay(true).map_err(unconnected)?;
        let limit = self.config.timeouts.connect;
        let limit = peer
            .connect_within
            .map_or(limit, |within| within.min(limit));
        let until = tokio::time::Instant::now() + limit;
        match Timer::default().within(until, socket.connect(addr)).await {
            Some(connected) => connected.map_err(unconnected),
            None => Err(unconnected(std::io::ErrorKind::TimedOut.into())),
        }
    }

    /// Writes a command, reads its reply, in strict turns (row E2-24).
    async fn ask(
        &self,
        session: &mut Session,
        stage: Stage,
        out: &mut BytesMut,
        opening: &mut Opening,
    ) -> Result<(), Cause> {
        let wire = session.wire()?;
        let limit = self.limit(stage);
        if !out.is_empty() {
            // A reply to what was not yet asked is forged or out of step (row H3-06).
            match wire.unasked() {
                Unasked::Nothing => {}
                Unasked::Octets => return Err(wire.explain_unasked()),
                Unasked::End => return Err(wire.ended()),
            }
            wire.command(out);
            out.clear();
            wire.flush(limit).await?;
        }
        wire.set_kept(match stage {
            Stage::Ehlo | Stage::EhloTls => EHLO_KEPT,
            _ => self.config.replies.kept,
        });
        let reply = wire.read_reply(limit).await?;
        opening.on_reply(reply).map_err(cause_of)
    }

    async fn handshake(
        &self,
        session: &mut Session,
        peer: &Peer,
        posture: Posture,
    ) -> Result<(), Cause> {
        // RFC 3207 section 4, row E2-28: octets in clear after the 220 would be taken for replies
        // inside TLS. A TLS server never speaks first, so that anything here is forged.
        match session.wire()?.unasked() {
            Unasked::Nothing => {}
            Unasked::Octets => return Err(Cause::StartTlsInjection),
            Unasked::End => {
                session.stage = Stage::Handshake;
                return Err(Cause::Handshake(crate::HandshakeFault::Eof));
            }
        }
        session.stage = Stage::Handshake;
        let (tcp, transcript) = session
            .wire
            .take()
            .and_then(Wire::into_tcp)
            .ok_or_else(no_socket)?;
        session.transcript = transcript;
        let roots = self.roots.current();
        session.generation = roots.generation();
        let handshake = Handshake {
            strictness: strictness(posture),
            provider: &self.provider,
            roots,
            now: (self.config.clock)(),
            limit: self.config.timeouts.handshake,
        };
        match handshake.run(peer, tcp).await {
            Ok((stream, tls)) => {
                let mut transcript = std::mem::take(&mut session.transcript);
                transcript.note(&format_args!(
                    "{} {} {}",
                    tls.version, tls.cipher, tls.group
                ));
                session.wire = Some(Wire::over_tls(stream, self.config.replies, transcript));
                session.tls = Some(Box::new(tls));
                Ok(())
            }
            Err(HandshakeError { cause, judged }) => {
                session.judged = judged;
                session.transcript.note(&cause);
                Err(cause)
            }
        }
    }

    /// Logs in, where there is an account: after the EHLO inside TLS, and only if the host's
    /// certificate was verified and had to be (rows E2-33, H3-28).
    async fn login(
        &self,
        session: &mut Session,
        offered: &Extensions,
    ) -> Result<Option<AccountKey>, Cause> {
        let Some(account) = &self.config.account else {
            return Ok(None);
        };
        session.stage = Stage::Auth;
        match session.tls.as_ref().map(|tls| &tls.verdict) {
            Some(TlsVerdict::Authenticated) => {}
            Some(TlsVerdict::Observed { .. }) | None => {
                return Err(Cause::Auth(AuthFault::NotVerified));
            }
        }
        let issue = account.current();
        let nonce = self.nonce()?;
        let mut login =
            Authentication::new(offered, &issue.credentials, &nonce).map_err(Cause::Auth)?;
        let limit = self.config.timeouts.auth;
        let wire = session.wire()?;
        let mut out = BytesMut::new();
        loop {
            match login.next(&mut out) {
                AuthAction::Done => return Ok(Some(issue.key.clone())),
                AuthAction::Exchange(shown) => {
                    let reply = wire.confide(&out, shown, limit).await?;
                    out.clear();
                    let code = reply.code();
                    if code == 421 {
                        return Err(Cause::Remote(reply));
                    }
                    let outcome = login.on_reply(reply);
                    match &outcome {
                        Err(AuthFault::Refused(reply)) => wire.transcript_mut().received(reply),
                        _ => wire
                            .transcript_mut()
                            .received(&format_args!("{code} (not shown)")),
                    }
                    outcome.map_err(Cause::Auth)?;
                }
            }
        }
    }

    /// For one login.
    fn nonce(&self) -> Result<String, Cause> {
        let mut octets = [0; 18];
        let random = self.provider.secure_random.fill(&mut octets);
        random.map_err(|_| Cause::Local("the system has no random numbers".into()))?;
        Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
    }

    /// Leaves politely where the peer still listens, and makes the error.
    async fn give_up(&self, session: Session, cause: Cause) -> SessionError {
        let Session {
            stage,
            tls,
            wire,
            judged,
            mut transcript,
            source,
            times,
            ..
        } = session;
        if let Some(mut wire) = wire {
            match &cause {
                Cause::StartTlsNotOffered(_)
                | Cause::StartTlsRefused(_)
                | Cause::Remote(_)
                | Cause::Auth(_)
                    if cause.reply().is_none_or(|r| r.code() != 421) =>
                {
                    wire.quit(self.config.timeouts.quit).await;
                }
                // Whoever tampers, or is gone, gets no more words.
                _ => wire.close(CLOSE_LIMIT).await,
            }
            transcript = wire.transcript().clone();
        }
        SessionError {
            stage,
            cause,
            tls,
            judged,
            transcript,
            from: source,
            times,
        }
    }

    const fn limit(&self, stage: Stage) -> Duration {
        let t = &self.config.timeouts;
        match stage {
            Stage::Connect => t.connect,
            Stage::Banner => t.banner,
            Stage::Ehlo | Stage::EhloTls => t.ehlo,
            Stage::StartTls => t.starttls,
            Stage::Handshake => t.handshake,
            Stage::Auth => t.auth,
            Stage::Rset => t.other,
            Stage::Mail => t.mail,
            Stage::Rcpt => t.rcpt,
            Stage::Data => t.data,
            Stage::Dot => t.dot,
            Stage::Quit => t.quit,
        }
    }
}

/// A session that is being opened, as far as it got.
struct Session {
    stage: Stage,
    tls: Option<Box<TlsSession>>,
    wire: Option<Wire>,
    judged: Option<Box<Judged>>,
    /// Holds the dialogue while there is no wire.
    transcript: Transcript,
    generation: u64,
    source: Option<IpAddr>,
    times: OpeningTimes,
}

impl Session {
    fn wire(&mut self) -> Result<&mut Wire, Cause> {
        self.wire.as_mut().ok_or_else(no_socket)
    }
}

const fn starttls_rule(posture: Posture) -> StartTlsRule {
    match posture {
        Posture::Authenticate
        | Posture::Dane
        | Posture::DaneAndAuthenticate
        | Posture::DangerousEncrypt => StartTlsRule::Require,
        Posture::DangerousOpportunistic => StartTlsRule::DangerousIfOffered,
        Posture::DangerousPlain => StartTlsRule::DangerousSkip,
    }
}

const fn strictness(posture: Posture) -> Strictness {
    match posture {
        Posture::Authenticate => Strictness::Authenticate,
        Posture::Dane => Strictness::Dane,
        Posture::DaneAndAuthenticate => Strictness::DaneAndAuthenticate,
        Posture::DangerousEncrypt | Posture::DangerousOpportunistic | Posture::DangerousPlain => {
            Strictness::DangerousObserve
        }
    }
}

fn cause_of(fault: OpeningFault) -> Cause {
    match fault {
        OpeningFault::Refused(reply) => Cause::Remote(reply),
        OpeningFault::StartTlsNotOffered(offered) => {
            Cause::StartTlsNotOffered(offered.keyword_list().into())
        }
        OpeningFault::StartTlsRefused(reply) => Cause::StartTlsRefused(reply),
        OpeningFault::Unexpected(reply) => Cause::Protocol(ProtocolFault::Unexpected(reply)),
    }
}

/// That there is none to be had (descriptors, memory) says nothing about the host (row H9-01).
fn new_socket(addr: SocketAddr) -> Result<TcpSocket, Cause> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    socket.map_err(unconnected)
}

/// What this machine lacks is no fault of the host. Ports are counted for each host: that there is none left
/// towards this one (row H9-08) says nothing about others.
fn unconnected(error: std::io::Error) -> Cause {
    match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
            let text = format!("no connection can be begun here, to whatever host: {error}");
            Cause::Local(text.into())
        }
        _ => Cause::Connect(error.into()),
    }
}

/// All mail of this family waits for it, whatever the host.
fn no_source(source: IpAddr, error: &std::io::Error) -> Cause {
    let what = match error.kind() {
        std::io::ErrorKind::AddrNotAvailable => "is not an address of this machine".to_owned(),
        std::io::ErrorKind::AddrInUse => "has no free port left".to_owned(),
        _ => format!("cannot be used: {error}"),
    };
    Cause::Configured(
        format!("the source address {source} of egress.source-addresses {what}").into(),
    )
}

fn no_socket() -> Cause {
    Cause::Local("the session has no socket".into())
}

const EHLO_KEPT: usize = 256 * 1024;
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
