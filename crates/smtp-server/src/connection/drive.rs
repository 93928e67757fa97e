//! Does what the session says: reads, writes, hands over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use mail_types::{Envelope, QueueId, ReversePath, TlsFacts};
use smtp_proto::server::{Action, Claimed, ClaimedClient, Incident, Notice, Refusal, Session};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroize;

use super::waiting::{Over, Waiting};
use super::{Context, Phase, Written, report};
use crate::identities::Used;
use crate::memory::Share;
use crate::{
    Access, Client, Ended, Event, Identities, Incoming, Intake, Observer, Origin, Received,
    TimeoutStage, VerifiedCertificate,
};

/// One session and what it works with, whatever the octets travel through.
pub(super) struct Drive<'c, I: Intake, O> {
    context: &'c Context<I, O>,
    session: Session,
    number: u32,
    ended: Ended,
    address: SocketAddr,
    phase: watch::Receiver<Phase>,
    waiting: Waiting,
    /// Octets read and not used yet.
    input: BytesMut,
    incoming: Option<I::Incoming>,
    /// When the content under way began, and how many octets of it have come.
    content: Option<(Instant, u64)>,
    /// What the message under way takes of the memory for all.
    share: Share,
    /// When the last reply was written or the handshake ended, or else the connection began.
    waiting_since: Instant,
    messages: u64,
    /// A message whose 250 is not written yet.
    unanswered: Option<(QueueId, Arc<Envelope>)>,
}

/// Why [`Drive::run`] returned.
#[must_use]
pub(super) enum Exit {
    /// The client asked for TLS, and was told to go ahead.
    StartTls,
    /// It is over.
    Closed,
}

enum Input {
    Octets,
    /// The client closed, or the connection broke.
    End,
    TimedOut,
    /// The server goes on to another phase.
    Phase,
}

impl<'c, I: Intake, O: Observer> Drive<'c, I, O> {
    pub(super) fn new(
        context: &'c Context<I, O>,
        session: Session,
        number: u32,
        address: SocketAddr,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            context,
            session,
            number,
            ended: Ended::default(),
            address,
            waiting: Waiting::new(phase.clone()),
            phase,
            input: BytesMut::new(),
            incoming: None,
            content: None,
            share: context.memory.share(),
            waiting_since: Instant::now(),
            messages: 0,
            unanswered: None,
        }
    }

    pub(super) const fn context(&self) -> &'c Context<I, O> {
        self.context
    }

    pub(super) const fn session(&self) -> &Session {
        &self.session
    }

    pub(super) const fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    pub(super) const fn messages(&self) -> u64 {
        self.messages
    }

    pub(super) const fn ended(&self) -> Ended {
        self.ended
    }

    pub(super) fn greet(&mut self, early: &[u8]) {
        self.session.greet(early);
    }

    pub(super) fn tls_established(
        &mut self,
        tls: TlsFacts,
        certificate: Option<&VerifiedCertificate>,
    ) {
        self.context.observer.event(Event::TlsEstablished {
            client: self.client(),
            tls: &tls,
            certificate,
        });
        // The handshake has a limit of its own.
        self.waiting_since = Instant::now();
        // RFC 3207 section 4.2: nothing that came before counts.
        self.input.clear();
        self.session.tls_started(tls);
    }

    pub(super) fn proxy_untrusted(&self) {
        let (client, incident) = (self.client(), Incident::ProxyUntrusted);
        self.context
            .observer
            .event(Event::Incident { client, incident });
    }

    pub(super) fn tls_failed(&mut self, error: &std::io::Error) {
        self.ended = Ended::Lost(None);
        let client = self.client();
        let cause = error.get_ref().and_then(|e| e.downcast_ref());
        self.context.observer.event(match cause {
            // Row H5-10: what is meant for another service is not to be had here.
            Some(rustls::Error::NoApplicationProtocol) => Event::Incident {
                client,
                incident: Incident::AlpnMismatch,
            },
            _ => Event::TlsFailed { client, error },
        });
    }

    pub(super) fn timed_out(&mut self, stage: TimeoutStage) {
        self.ended = Ended::TimedOut(self.session.octets_of_content());
        let client = self.client();
        self.context
            .observer
            .event(Event::TimedOut { client, stage });
    }

    /// Serves the session over `stream` until it ends or asks for TLS.
    pub(super) async fn run<S>(&mut self, stream: &mut S) -> Exit
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut now = (self.context.clock)();
        loop {
            let secret = self.session.is_auth_line(&self.input);
            let (used, action) = self.session.handle(&self.input, now);
            match action {
                Action::Body(octets) => {
                    let stored = store(&mut self.incoming, &mut self.share, octets);
                    if let Err(refusal) = stored.await {
                        self.drop_incoming();
                        self.session.body_refused(refusal);
                    }
                    self.input.advance(used);
                    continue;
                }
                Action::Admit { size } => {
                    let answer = self.admit_sender(size).await;
                    self.session.admitted(answer);
                }
                Action::Authenticate => {
                    self.input[..used].zeroize();
                    self.authenticate().await;
                }
                Action::CheckRecipient => {
                    let answer = self.check_recipient().await;
                    self.session.recipient_checked(answer);
                }
                Action::Xclient(claim) => self.impersonate(&claim),
                Action::Begin { size } => self.begin(size).await,
                Action::Abandon => self.forget_content(),
                Action::Commit(envelope) => self.commit(*envelope).await,
                Action::Read => {
                    if secret {
                        self.input[..used].zeroize();
                    }
                    self.input.advance(used);
                    let replied = !self.session.output().is_empty();
                    if self.flush(stream).await.is_err() {
                        return self.lost();
                    }
                    if replied {
                        self.waiting_since = Instant::now();
                    }
                    if self.end_for_phase() {
                        continue;
                    }
                    match self.read(stream).await {
                        Input::Octets | Input::Phase => {}
                        Input::TimedOut => self.end_for_time(),
                        Input::End => {
                            self.forget_content();
                            return Exit::Closed;
                        }
                    }
                    now = (self.context.clock)();
                    continue;
                }
                Action::StartTls => {
                    self.input.advance(used);
                    return match self.flush(stream).await {
                        Ok(()) => Exit::StartTls,
                        Err(_) => self.lost(),
                    };
                }
                Action::Close => {
                    self.forget_content();
                    self.input.clear();
                    if self.flush(stream).await.is_ok() {
                        self.linger(stream).await;
                    }
                    return Exit::Closed;
                }
            }
            self.input.advance(used);
            self.report();
            if self.session.output().len() > MAX_OUTPUT && self.flush(stream).await.is_err() {
                return self.lost();
            }
        }
    }

    /// A reply could not be written.
    fn lost(&mut self) -> Exit {
        if self.ended == Ended::Orderly {
            self.ended = Ended::Lost(None);
        }
        Exit::Closed
    }

    async fn admit_sender(&mut self, size: Option<u64>) -> Result<(), Refusal> {
        self.admit(size)?;
        match self.session.candidate_sender() {
            Some(sender) => self.context.intake.sender(sender).await,
            None => Ok(()),
        }
    }

    async fn check_recipient(&mut self) -> Result<(), Refusal> {
        if let Some(recipient) = self.session.candidate() {
            self.context.intake.recipient(recipient).await?;
        }
        self.within_rates(Used::recipient)
    }

    fn admit(&self, size: Option<u64>) -> Result<(), Refusal> {
        match *self.phase.borrow() {
            Phase::Open => {
                self.context.intake.admit(size)?;
                self.within_rates(Used::message)
            }
            Phase::Draining | Phase::Aborting => Err(Refusal::shutting_down()),
        }
    }

    /// From now on the session is that of another client.
    fn impersonate(&mut self, claim: &ClaimedClient) {
        let (context, port) = (self.context, claim.port.unwrap_or_default());
        let peer = match claim.address {
            Claimed::Unchanged => None,
            Claimed::Unknown => Some(Access::stranger(self.address.ip(), context.bare_newline())),
            Claimed::Is(address) => {
                self.address = SocketAddr::new(address, port);
                Some(context.access.load().peer(address, context.bare_newline()))
            }
        };
        let login = match &claim.login {
            Claimed::Is(name) => {
                let identities = context.access.load().identities();
                Some(identities.identity(name.clone()))
            }
            Claimed::Unknown | Claimed::Unchanged => None,
        };
        self.session.impersonated(peer, login);
    }

    /// Row G3-09: what this identity may still do.
    fn within_rates(
        &self,
        take: impl Fn(&Used, &Arc<Identities>, &str) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let Some(identity) = self.session.identity() else {
            return Ok(());
        };
        let identities = self.context.access.load().identities();
        take(&self.context.used, &identities, &identity.name)
    }

    async fn begin(&mut self, size: Option<u64>) {
        let now = (self.context.clock)();
        let settings = self.context.settings();
        let origin = Origin {
            listener: &settings.listener,
            role: settings.role,
            client: self.address.ip(),
            identity: self.session.identity_name(),
            senders: self.session.identity().map(|identity| &identity.senders),
            sender: self.session.sender().unwrap_or(&ReversePath::Null),
            at: now,
        };
        let room = self.share.hold(CONTENT_BUFFER as u64);
        let room = room.map_err(|_| Refusal::overloaded());
        let begun = room.and_then(|()| self.context.intake.begin(size, &origin));
        let answer = begun.map(|incoming| {
            let id = incoming.id();
            self.incoming = Some(incoming);
            id
        });
        self.content = Some((Instant::now(), 0));
        let Some(trace) = self.session.begun(answer, now) else {
            self.forget_content();
            return;
        };
        let stored = store(&mut self.incoming, &mut self.share, trace.as_bytes());
        if let Err(refusal) = stored.await {
            self.drop_incoming();
            self.session.body_refused(refusal);
        }
    }

    async fn commit(&mut self, mut envelope: Envelope) {
        self.content = None;
        let Some(mut incoming) = self.incoming.take() else {
            self.session.committed(Err(Refusal::local_error()));
            return;
        };
        if let Err(refusal) = incoming.seal(&mut envelope).await {
            drop(incoming);
            self.share.release();
            self.session.committed(Err(refusal));
            return;
        }
        // The queue keeps the same one.
        let envelope = Arc::new(envelope);
        let answer = incoming.commit(Arc::clone(&envelope)).await;
        self.share.release();
        if let Ok(id) = &answer {
            self.messages += 1;
            let arrival = &envelope.arrival;
            self.context.observer.event(Event::Received(Received {
                id: *id,
                upstream_id: arrival.upstream_id.as_deref(),
                message_id: arrival.message_id.as_deref(),
                listener: &arrival.listener,
                client: self.address.ip(),
                helo: &arrival.helo,
                identity: arrival.identity.as_deref(),
                orig_client: self.session.orig_client(),
                sender: &envelope.reverse_path,
                recipients: envelope.recipients.len(),
                size: envelope.size,
                tls: arrival.tls.as_ref(),
                took: arrival.at.since(arrival.began),
                session: self.number,
            }));
            self.unanswered = Some((*id, envelope));
        }
        self.session.committed(answer);
    }

    fn forget_content(&mut self) {
        self.drop_incoming();
    }

    fn drop_incoming(&mut self) {
        self.incoming = None;
        self.share.release();
    }

    /// Ends the session if the server's phase asks for it; says whether it did.
    fn end_for_phase(&mut self) -> bool {
        let phase = *self.phase.borrow();
        let over = match phase {
            Phase::Open => false,
            Phase::Draining => !self.session.is_in_content(),
            Phase::Aborting => true,
        };
        if over {
            self.session.end(&Refusal::shutting_down());
        }
        over
    }

    fn end_for_time(&mut self) {
        let (stage, text) = if self.session.is_in_content() {
            (
                TimeoutStage::Data,
                "The content comes too slowly; connect and send it again",
            )
        } else {
            (
                TimeoutStage::Command,
                "Nothing heard for too long; connect again",
            )
        };
        self.timed_out(stage);
        self.session.end(&Refusal::transient(421, 4, 2, text));
    }

    async fn read<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Input {
        let in_content = self.session.is_in_content();
        if in_content {
            // Also content that nobody wants has to come at some speed.
            self.content.get_or_insert_with(|| (Instant::now(), 0));
        } else {
            self.content = None;
        }
        let timeouts = self.context.timeouts();
        let now = Instant::now();
        let deadline = match self.content {
            Some((began, octets)) => {
                let whole = began.checked_add(timeouts.whole_message(octets));
                whole.map_or(now + timeouts.data, |end| end.min(now + timeouts.data))
            }
            // From the last reply on: octets that come one by one do not buy time.
            None => self.waiting_since + timeouts.command,
        };
        let room = if in_content {
            CONTENT_BUFFER
        } else {
            COMMAND_BUFFER
        };
        if !in_content && self.input.is_empty() && self.input.capacity() > COMMAND_BUFFER {
            // An idle session keeps little memory; one that is about to go on keeps what it has.
            let soon = now + BUSY;
            if soon < deadline {
                match self.read_until(stream, room, soon).await {
                    Input::TimedOut => self.input = BytesMut::new(),
                    other => return other,
                }
            }
        }
        self.read_until(stream, room, deadline).await
    }

    async fn read_until<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        room: usize,
        deadline: Instant,
    ) -> Input {
        self.input
            .reserve(room.saturating_sub(self.input.len()).max(MIN_READ));
        tokio::select! {
            biased;
            read = stream.read_buf(&mut self.input) => match read {
                Ok(0) | Err(_) => {
                    self.ended = Ended::Lost(self.session.octets_of_content());
                    Input::End
                }
                Ok(n) => {
                    if let Some((_, octets)) = &mut self.content {
                        *octets += n as u64;
                    }
                    Input::Octets
                }
            },
            over = self.waiting.until(deadline) => match over {
                Over::Time => Input::TimedOut,
                Over::Phase => Input::Phase,
            },
        }
    }

    /// Writes what the session has to say.
    async fn flush<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> Written {
        self.report();
        let output = self.session.output();
        if output.is_empty() {
            return Ok(());
        }
        let write = async {
            stream.write_all(output).await?;
            stream.flush().await
        };
        let written = timeout(self.context.timeouts().write, write).await;
        output.clear();
        let unanswered = self.unanswered.take();
        let result = match written {
            Ok(result) => result,
            Err(elapsed) => {
                self.timed_out(TimeoutStage::Write);
                Err(elapsed.into())
            }
        };
        if let (Err(_), Some((id, envelope))) = (&result, unanswered) {
            self.context.observer.event(Event::ReplyLost {
                client: self.client(),
                id,
                message_id: envelope.arrival.message_id.as_deref(),
            });
        }
        result
    }

    /// Closes our side and reads what the client still sends, so that the system does not throw
    /// away our last reply with a reset.
    async fn linger<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut S) {
        let pause = self.context.timeouts().linger;
        let end = Instant::now() + pause * LINGER_ROUNDS;
        if timeout(pause, stream.shutdown()).await.is_err() {
            return;
        }
        while *self.phase.borrow() == Phase::Open {
            self.input.clear();
            self.input.reserve(COMMAND_BUFFER);
            let deadline = end.min(Instant::now() + pause);
            let read = timeout_at(deadline, stream.read_buf(&mut self.input));
            tokio::select! {
                read = read => match read {
                    Ok(Ok(n)) if n > 0 => {}
                    _ => return,
                },
                _ = self.phase.wait_for(|p| *p != Phase::Open) => return,
            }
        }
    }

    fn report(&mut self) {
        let observer = &*self.context.observer;
        let notices: Vec<_> = self.session.take_notices().collect();
        for notice in notices {
            if notice == Notice::Incident(Incident::TooManyErrors) {
                self.ended = Ended::TooManyErrors;
            }
            report(observer, self.client(), &notice);
        }
    }

    fn client(&self) -> Client<'_> {
        Client {
            listener: &self.context.settings().listener,
            address: self.address,
            helo: self.session.helo(),
            session: self.number,
        }
    }
}

/// Hands on content, if it is still wanted.
async fn store<M: Incoming>(
    incoming: &mut Option<M>,
    share: &mut Share,
    octets: &[u8],
) -> Result<(), Refusal> {
    let Some(incoming) = incoming else {
        return Ok(());
    };
    incoming.write(octets).await?;
    let held = CONTENT_BUFFER as u64 + incoming.held();
    share.hold(held).map_err(|_| Refusal::overloaded())
}

/// Octets read at once in content; enough that a large message costs few system calls.
const CONTENT_BUFFER: usize = 64 << 10;
/// Octets read at once otherwise; more than the longest command line.
const COMMAND_BUFFER: usize = 4 << 10;
const MIN_READ: usize = 512;
/// A client that says nothing for so long is idle.
const BUSY: Duration = Duration::from_secs(1);
/// Replies that gather before they are written though more input is there.
const MAX_OUTPUT: usize = 16 << 10;
const LINGER_ROUNDS: u32 = 6;

const _: () = assert!(COMMAND_BUFFER > 2048, "a whole command line fits");
