//! The listeners: bind, accept, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use arc_swap::ArcSwap;
use mail_types::Timestamp;
use smtp_proto::BareNewline;
use smtp_proto::server::{Settings, TlsMode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::bind::{self, BindError};
use crate::connection::{self, Context, Phase};
use crate::limits::{Counter, Slot};
use crate::terms::Terms;
use crate::{
    Access, Authenticator, ContentMemory, Event, Intake, Limits, Observer, Reins, ServerTls,
    Timeouts, turn_away,
};

/// Gives the time (wall clock).
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a server is made of.
#[derive(Debug)]
pub struct ServerSettings {
    /// Where mail comes in.
    pub listeners: Vec<ListenerSettings>,
    /// Who may do what; can be replaced while the server runs, for new connections.
    pub access: Arc<ArcSwap<Access>>,
    /// How many connections there may be.
    pub limits: Limits,
    /// How long sessions that are in the midst of a message may go on after shutdown began.
    pub drain: Duration,
}

/// One listener.
#[derive(Debug)]
pub struct ListenerSettings {
    /// What its sessions are told.
    pub session: Settings,
    /// What happens to bare CR and LF, except from the networks that [`Access`] names.
    pub bare_newline: BareNewline,
    /// How long its clients may take.
    pub timeouts: Timeouts,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Sockets that listen already, for instance of systemd: then no address is opened.
    pub sockets: Vec<std::net::TcpListener>,
    /// Its certificate, unless the session settings say [`TlsMode::Off`].
    pub tls: Option<Arc<ServerTls>>,
}

/// Ports that are open; nothing is accepted before [`Server::run`].
pub struct Server {
    ports: Vec<Port>,
    access: Arc<ArcSwap<Access>>,
    counter: Arc<Counter>,
    memory: ContentMemory,
    drain: Duration,
    authenticator: Option<Arc<dyn Authenticator>>,
}

#[derive(Debug)]
struct Port {
    socket: TcpListener,
    address: SocketAddr,
    listener: Box<str>,
    /// Shared by all addresses of the listener.
    terms: Arc<ArcSwap<Terms>>,
    tls: Option<Arc<ServerTls>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Opens all ports. Within a tokio runtime.
    ///
    /// # Errors
    /// The first listener that cannot be opened, by name and address.
    pub fn bind(settings: ServerSettings) -> Result<Self, BindError> {
        let mut ports = Vec::new();
        for listener in settings.listeners {
            let session = Arc::new(listener.session);
            let terms = Arc::new(ArcSwap::from_pointee(Terms {
                session: Arc::clone(&session),
                bare_newline: listener.bare_newline,
                timeouts: listener.timeouts,
            }));
            if session.tls != TlsMode::Off && listener.tls.is_none() {
                return Err(BindError::NoCertificate {
                    listener: session.listener.clone(),
                });
            }
            let sockets = if listener.sockets.is_empty() {
                let open = |address: &SocketAddr| bind::open(&session.listener, *address);
                listener
                    .addresses
                    .iter()
                    .map(open)
                    .collect::<Result<Vec<_>, _>>()?
            } else {
                let adopt = |socket| bind::adopt(&session.listener, socket);
                listener
                    .sockets
                    .into_iter()
                    .map(adopt)
                    .collect::<Result<Vec<_>, _>>()?
            };
            for socket in sockets {
                ports.push(Port {
                    address: bind::local(&session.listener, &socket)?,
                    socket,
                    listener: session.listener.clone(),
                    terms: Arc::clone(&terms),
                    tls: listener.tls.clone(),
                });
            }
        }
        Ok(Self {
            ports,
            access: settings.access,
            counter: Arc::new(Counter::new(settings.limits)),
            memory: ContentMemory::new(settings.limits.content_memory),
            drain: settings.drain,
            authenticator: None,
        })
    }

    /// Lets users log in where the listener's [`Settings::logins`] say so; without it nobody can.
    #[must_use]
    pub fn authenticated_by(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// The names of the listeners and the addresses that they have (also where port 0 was asked).
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.ports.iter().map(|p| (&*p.listener, p.address))
    }

    /// What changes the rules while the server runs.
    #[must_use]
    pub fn reins(&self) -> Reins {
        let terms = |p: &Port| (p.listener.clone(), Arc::clone(&p.terms));
        Reins {
            listeners: Arc::new(self.ports.iter().map(terms).collect()),
            access: Arc::clone(&self.access),
            counter: Arc::clone(&self.counter),
            memory: self.memory.clone(),
        }
    }

    /// What messages on their way in take.
    #[must_use]
    pub fn content_memory(&self) -> ContentMemory {
        self.memory.clone()
    }

    /// Accepts connections until `shutdown` is ready. Then the ports are closed, idle sessions
    /// get 421, and sessions in the midst of a message have [`ServerSettings::drain`] to finish
    /// it before they get 421 too (row E4-13). Returns when no session is left.
    pub async fn run<I: Intake, O: Observer>(
        self,
        intake: Arc<I>,
        observer: Arc<O>,
        clock: Clock,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let (phase, watching) = watch::channel(Phase::Open);
        let mut ports = JoinSet::new();
        let used = Arc::default();
        for port in self.ports {
            let context = Context {
                intake: Arc::clone(&intake),
                observer: Arc::clone(&observer),
                clock: Arc::clone(&clock),
                terms: port.terms.load_full(),
                access: Arc::clone(&self.access),
                tls: port.tls,
                memory: self.memory.clone(),
                authenticator: self.authenticator.clone(),
                used: Arc::clone(&used),
            };
            let door = Door {
                socket: port.socket,
                listener: port.listener,
                terms: port.terms,
                counter: Arc::clone(&self.counter),
            };
            ports.spawn(accept(door, Arc::new(context), watching.clone()));
        }
        drop(watching);
        shutdown.await;
        phase.send_replace(Phase::Draining);
        let all_ended = async { while ports.join_next().await.is_some() {} };
        tokio::pin!(all_ended);
        if timeout_at(Instant::now() + self.drain, &mut all_ended)
            .await
            .is_ok()
        {
            return;
        }
        phase.send_replace(Phase::Aborting);
        // What does not end now hangs in the queue or in a dead connection: dropping the tasks
        // ends it.
        let _ = timeout_at(Instant::now() + ABORT_GRACE, all_ended).await;
    }
}

/// An open port, and what those who come in find.
struct Door {
    socket: TcpListener,
    listener: Box<str>,
    terms: Arc<ArcSwap<Terms>>,
    counter: Arc<Counter>,
}

/// Accepts on one port, and holds its sessions.
async fn accept<I: Intake, O: Observer>(
    door: Door,
    mut context: Arc<Context<I, O>>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut sessions = JoinSet::new();
    let mut pause = MIN_PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = phase.wait_for(|p| *p != Phase::Open) => break,
            Some(ended) = sessions.join_next() => {
                note_panic(&ended, &context);
                continue;
            }
            accepted = door.socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                pause = MIN_PAUSE;
                let terms = door.terms.load();
                if !Arc::ptr_eq(&terms, &context.terms) {
                    context = Arc::new(context.under(Arc::clone(&terms)));
                }
                if let Some(slot) = admit(&stream, client, &context, &door.counter) {
                    let context = Arc::clone(&context);
                    let phase = phase.clone();
                    sessions.spawn(connection::serve(context, stream, client, phase, slot));
                }
            }
            Err(error) if is_the_connections(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: those that are connected go on, and some of them
                // will end.
                let listener = &*door.listener;
                let error = &error;
                context
                    .observer
                    .event(Event::AcceptFailed { listener, error });
                tokio::select! {
                    () = sleep(pause) => {}
                    _ = phase.wait_for(|p| *p != Phase::Open) => break,
                }
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
    drop(door.socket);
    while let Some(ended) = sessions.join_next().await {
        note_panic(&ended, &context);
    }
}

/// A place for the connection, unless there are too many: then it gets 421 and is dropped. Whose a
/// proxy's connection is shows later.
fn admit<I, O: Observer>(
    stream: &TcpStream,
    client: SocketAddr,
    context: &Context<I, O>,
    counter: &Arc<Counter>,
) -> Option<Slot> {
    let taken = counter.take().and_then(|mut slot| {
        if !context.access.load().is_proxy(client.ip()) {
            slot.assign(client.ip(), Instant::now())?;
        }
        Ok(slot)
    });
    match taken {
        Ok(slot) => Some(slot),
        Err(limit) => {
            let client = connection::canonical(client);
            turn_away::turn_away(
                stream,
                client,
                context.settings(),
                &*context.observer,
                limit,
            );
            None
        }
    }
}

fn note_panic<I, O: Observer>(ended: &Result<(), tokio::task::JoinError>, context: &Context<I, O>) {
    if ended.as_ref().is_err_and(tokio::task::JoinError::is_panic) {
        let listener = &context.settings().listener;
        context.observer.event(Event::SessionPanicked { listener });
    }
}

/// Errors of the connection that was to be accepted, not of ours.
fn is_the_connections(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);
const ABORT_GRACE: Duration = Duration::from_secs(2);
