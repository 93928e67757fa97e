//! One connection: octets between the socket and the session, mail to the intake.

mod arrive;
mod drive;
mod login;
mod waiting;

#[cfg(test)]
mod tests;

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use mail_types::TlsFacts;
use proxy_protocol::{FRONT, LOOK, says_proxy};
use rustls::ServerConfig;
use smtp_proto::BareNewline;
use smtp_proto::server::{Notice, Relaying, Session, Settings, Tally, TlsMode};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::drive::{Drive, Exit};
use crate::identities::Used;
use crate::limits::Slot;
use crate::terms::Terms;
use crate::tls::client_certificate;
use crate::{
    Access, Authenticator, Client, Clock, ContentMemory, Ended, Event, Intake, Observer, ServerTls,
    TimeoutStage, Timeouts,
};

/// What the sessions of one listener share.
pub(crate) struct Context<I, O> {
    pub(crate) intake: Arc<I>,
    pub(crate) observer: Arc<O>,
    pub(crate) clock: Clock,
    /// As they were when the connection began.
    pub(crate) terms: Arc<Terms>,
    pub(crate) access: Arc<ArcSwap<Access>>,
    pub(crate) tls: Option<Arc<ServerTls>>,
    pub(crate) memory: ContentMemory,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    /// Of their rates, by all identities on all listeners.
    pub(crate) used: Arc<Used>,
}

impl<I, O> Context<I, O> {
    /// The same listener under other terms.
    pub(crate) fn under(&self, terms: Arc<Terms>) -> Self {
        Self {
            intake: Arc::clone(&self.intake),
            observer: Arc::clone(&self.observer),
            clock: Arc::clone(&self.clock),
            terms,
            access: Arc::clone(&self.access),
            tls: self.tls.clone(),
            memory: self.memory.clone(),
            authenticator: self.authenticator.clone(),
            used: Arc::clone(&self.used),
        }
    }

    pub(crate) fn settings(&self) -> &Arc<Settings> {
        &self.terms.session
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.terms.timeouts
    }

    pub(crate) fn bare_newline(&self) -> BareNewline {
        self.terms.bare_newline
    }
}

/// How far the server's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Mail is taken.
    Open,
    /// Messages under way may be finished.
    Draining,
    /// Nothing may be finished but commits.
    Aborting,
}

/// The number of the next session, on whatever listener.
static SESSIONS: AtomicU32 = AtomicU32::new(1);

/// Serves one connection to its end.
pub(crate) async fn serve<I: Intake, O: Observer>(
    context: Arc<Context<I, O>>,
    mut stream: TcpStream,
    address: SocketAddr,
    mut phase: watch::Receiver<Phase>,
    mut slot: Slot,
) {
    let address = canonical(address);
    let arrived = arrive::arrive(&context, &mut stream, address, &mut phase, &mut slot);
    let Some((address, peer)) = arrived.await else {
        return;
    };
    let mut farewell = Farewell::new(&context, address, slot);
    // Replies are written in whole batches: waiting for more would only cost time.
    let _ = stream.set_nodelay(true);
    let patience = match peer.relaying {
        Relaying::Allowed => Duration::ZERO,
        Relaying::Refused => context.timeouts().greeting,
    };
    let session = Session::new(Arc::clone(context.settings()), peer);
    let mut drive = Drive::new(&context, session, farewell.number, address, phase);
    drive.over_tcp(stream, patience).await;
    // XCLIENT may have made the session another client's.
    farewell.address = drive.address();
    farewell.helo = drive.session().helo().into();
    farewell.messages = drive.messages();
    farewell.commands = drive.session().tally().clone();
    farewell.ended = drive.ended();
}

/// Tells of the connection when it begins and, whatever happens to its task, when it ends.
struct Farewell<O: Observer> {
    observer: Arc<O>,
    settings: Arc<Settings>,
    address: SocketAddr,
    began: Instant,
    helo: Box<str>,
    number: u32,
    messages: u64,
    commands: Tally,
    ended: Ended,
    slot: Option<Slot>,
}

impl<O: Observer> Farewell<O> {
    fn new<I>(context: &Context<I, O>, address: SocketAddr, slot: Slot) -> Self {
        let farewell = Self {
            observer: Arc::clone(&context.observer),
            settings: Arc::clone(context.settings()),
            address,
            began: Instant::now(),
            helo: Box::default(),
            number: SESSIONS.fetch_add(1, Ordering::Relaxed),
            messages: 0,
            commands: Tally::default(),
            ended: Ended::default(),
            slot: Some(slot),
        };
        farewell.observer.event(Event::Connected(farewell.client()));
        farewell
    }

    fn client(&self) -> Client<'_> {
        Client {
            listener: &self.settings.listener,
            address: self.address,
            helo: &self.helo,
            session: self.number,
        }
    }
}

impl<O: Observer> Drop for Farewell<O> {
    fn drop(&mut self) {
        // Whoever hears of the end may count on the place being free.
        self.slot = None;
        self.observer.event(Event::Disconnected {
            client: self.client(),
            messages: self.messages,
            lasted: self.began.elapsed(),
            commands: &self.commands,
            ended: self.ended,
        });
    }
}

impl<I: Intake, O: Observer> Drive<'_, I, O> {
    /// Plain SMTP, and TLS when the client asks for it, or TLS from the start. The greeting comes
    /// after `patience`.
    async fn over_tcp(&mut self, mut stream: TcpStream, patience: Duration) {
        if self.context().settings().tls != TlsMode::Implicit {
            let early = unless_ending(self.phase(), said_early(&stream, patience)).await;
            self.greet(&early.unwrap_or_default());
            match self.run(&mut stream).await {
                Exit::StartTls => {}
                Exit::Closed => return,
            }
        }
        let implicit = self.context().settings().tls == TlsMode::Implicit;
        // `bind` made sure that there is a certificate where TLS is offered.
        let Some(tls) = &self.context().tls else {
            return;
        };
        let limit = self.context().timeouts().handshake;
        let handshake = handshake(stream, tls.config(), implicit, limit);
        // A client that says nothing here holds up no shutdown: no mail is under way.
        let mut stream = match unless_ending(self.phase(), handshake).await {
            Some(Ok(stream)) => stream,
            // RFC 3207 section 4.1, row E4-21: never back to plain text.
            Some(Err(NoTls::Failed(error))) => return self.tls_failed(&error),
            Some(Err(NoTls::TimedOut)) => return self.timed_out(TimeoutStage::Handshake),
            Some(Err(NoTls::Proxy)) => return self.proxy_untrusted(),
            None => return,
        };
        let certificate = client_certificate(stream.get_ref().1);
        self.tls_established(facts(&stream), certificate.as_ref());
        let exporter = exporter(&stream);
        let identities = self.context().access.load().identities();
        let certificate = identities.of_certificate(certificate.as_ref());
        self.session_mut().tls_client(certificate, exporter);
        if self.context().settings().tls == TlsMode::Implicit {
            self.greet(&[]);
        }
        // STARTTLS is not taken inside TLS (RFC 3207 section 4.2), so this ends in `Closed`.
        let (Exit::Closed | Exit::StartTls) = self.run(&mut stream).await;
    }
}

/// Why there is no session in TLS.
enum NoTls {
    Failed(io::Error),
    TimedOut,
    /// What came is a proxy's header.
    Proxy,
}

/// `implicit`: TLS is the first thing that is to come.
async fn handshake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    implicit: bool,
    limit: Duration,
) -> Result<TlsStream<TcpStream>, NoTls> {
    if implicit && says_proxy(&stream).await {
        return Err(NoTls::Proxy);
    }
    let accepted = timeout(limit, TlsAcceptor::from(config).accept(stream)).await;
    accepted
        .map_err(|_elapsed| NoTls::TimedOut)?
        .map_err(NoTls::Failed)
}

/// `None`: the server ends, or did before.
async fn unless_ending<T>(
    mut phase: watch::Receiver<Phase>,
    what: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        _ = phase.wait_for(|phase| *phase != Phase::Open) => None,
        done = what => Some(done),
    }
}

/// Tells the observer what the session noticed.
fn report<O: Observer>(observer: &O, client: Client<'_>, notice: &Notice) {
    observer.event(match notice {
        Notice::Refused {
            stage,
            cause,
            refusal,
            sender,
            recipient,
            orig_client,
        } => Event::Refused {
            client,
            stage: *stage,
            cause: *cause,
            refusal,
            sender: sender.as_deref(),
            recipient: recipient.as_deref(),
            orig_client: orig_client.as_deref(),
        },
        Notice::Login {
            mechanism,
            user,
            result,
        } => Event::Login {
            client,
            mechanism: *mechanism,
            user,
            result: *result,
        },
        Notice::Incident(incident) => Event::Incident {
            client,
            incident: *incident,
        },
    });
}

/// The address without the IPv6-mapped form that dual-stack sockets show.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The first octets of what the client said before the greeting (row E4-23).
async fn said_early(stream: &TcpStream, patience: Duration) -> Vec<u8> {
    let patience = match (patience.is_zero(), has_spoken(stream)) {
        (true, false) => return Vec::new(),
        // They are there.
        (_, true) => LOOK,
        (false, false) => patience,
    };
    let mut front = [0; FRONT];
    match timeout(patience, stream.peek(&mut front)).await {
        Ok(Ok(n)) => front.get(..n).unwrap_or_default().to_vec(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// One look, no waiting.
fn has_spoken(stream: &TcpStream) -> bool {
    let mut octet = [MaybeUninit::uninit()];
    SockRef::from(stream).peek(&mut octet).is_ok_and(|n| n > 0)
}

fn facts(stream: &TlsStream<TcpStream>) -> TlsFacts {
    let (_, connection) = stream.get_ref();
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLS",
    };
    let suite = connection.negotiated_cipher_suite();
    let cipher = suite.and_then(|s| s.suite().as_str()).unwrap_or_default();
    TlsFacts {
        version: version.into(),
        // The IANA name: rustls puts its own prefix before the names of TLS 1.3.
        cipher: cipher.replacen("TLS13_", "TLS_", 1).into(),
    }
}

/// What `tls-exporter` binds to (RFC 9266 section 2). Only with TLS 1.3: in TLS 1.2 it would depend
/// on the extended master secret (section 4.2).
fn exporter(stream: &TlsStream<TcpStream>) -> Option<[u8; 32]> {
    let (_, connection) = stream.get_ref();
    if connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
        return None;
    }
    connection
        .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]))
        .ok()
}

/// Why writing failed, if it did.
type Written = Result<(), io::Error>;
