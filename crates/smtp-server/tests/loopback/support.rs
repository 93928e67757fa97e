//! A queue in memory, an observer whose events can be awaited, and a client that speaks by hand.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use mail_types::{Domain, Envelope, QueueId, Timestamp};
use parking_lot::Mutex;
use smtp_server::{
    Access, BareNewline, Event, Incoming, Intake, Limits, ListenerSettings, Observer, Origin,
    Refusal, Server, ServerSettings, ServerTls, Settings, Timeouts, TlsMode, VerifiedCertificate,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What the queue took.
pub(crate) type Messages = Arc<Mutex<Vec<(Envelope, String)>>>;

/// A queue in memory whose commits wait for permits.
pub(crate) struct Memory {
    pub(crate) messages: Messages,
    pub(crate) may_commit: Arc<Semaphore>,
    next: AtomicU64,
}

pub(crate) struct Message {
    id: QueueId,
    body: Vec<u8>,
    messages: Messages,
    may_commit: Arc<Semaphore>,
}

impl Intake for Memory {
    type Incoming = Message;

    fn admit(&self, size: Option<u64>) -> Result<(), Refusal> {
        match size {
            Some(999) => Err(Refusal::disk_full()),
            _ => Ok(()),
        }
    }

    async fn recipient(&self, recipient: &mail_types::Recipient) -> Result<(), Refusal> {
        match recipient.mailbox.local_part() {
            "null-mx" => Err(Refusal::permanent(556, 1, 10, "The domain takes no mail")),
            "panic" => panic!("asked for"),
            _ => Ok(()),
        }
    }

    fn begin(&self, _: Option<u64>, _: &Origin<'_>) -> Result<Message, Refusal> {
        Ok(Message {
            id: QueueId::from_raw(self.next.fetch_add(1, Ordering::SeqCst)),
            body: Vec::new(),
            messages: Arc::clone(&self.messages),
            may_commit: Arc::clone(&self.may_commit),
        })
    }
}

impl Incoming for Message {
    fn id(&self) -> QueueId {
        self.id
    }

    async fn write(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        self.body.extend_from_slice(chunk);
        Ok(())
    }

    async fn commit(self, envelope: Arc<Envelope>) -> Result<QueueId, Refusal> {
        let permit = self.may_commit.acquire().await;
        permit.map_err(|_| Refusal::local_error())?.forget();
        let body = String::from_utf8(self.body).map_err(|_| Refusal::local_error())?;
        self.messages.lock().push(((*envelope).clone(), body));
        Ok(self.id)
    }
}

/// Sends one line for each event.
pub(crate) struct Events(mpsc::UnboundedSender<String>);

impl Observer for Events {
    fn event(&self, event: Event<'_>) {
        let line = match event {
            Event::Connected(_) => "connected".to_owned(),
            Event::Disconnected {
                client, messages, ..
            } => match client.address.ip() {
                ip if ip.is_loopback() => format!("disconnected {messages}"),
                ip => format!("disconnected {messages} {ip}"),
            },
            Event::TurnedAway { limit, .. } => format!("turned-away {}", limit.key()),
            Event::TlsEstablished {
                tls, certificate, ..
            } => {
                let _ = self.0.send(certificate_line(certificate));
                format!("tls {} {}", tls.version, tls.cipher)
            }
            Event::ProxyRefused { instead, .. } => format!("proxy-refused {instead}"),
            Event::TlsFailed { error, .. } => {
                format!("tls-failed {}", smtp_server::handshake_fault(error))
            }
            Event::Received(r) => format!("received {} {} {}", r.id, r.sender, r.recipients),
            Event::Refused { stage, cause, .. } => {
                format!("refused {} {}", stage.key(), cause.key())
            }
            Event::Incident { incident, .. } => format!("incident {}", incident.key()),
            Event::SessionPanicked { listener } => format!("panicked {listener}"),
            other => format!("{other:?}"),
        };
        let _ = self.0.send(line);
    }
}

fn certificate_line(certificate: Option<&VerifiedCertificate>) -> String {
    let Some(certificate) = certificate else {
        return "certificate none".to_owned();
    };
    let sum = certificate.fingerprint.iter();
    let sum: String = sum.map(|b| format!("{b:02x}")).collect();
    format!("certificate {:?} {sum}", certificate.dns_names)
}

/// A running server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) messages: Messages,
    pub(crate) may_commit: Arc<Semaphore>,
    pub(crate) events: mpsc::UnboundedReceiver<String>,
    pub(crate) access: Arc<ArcSwap<Access>>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) fn session_settings() -> Settings {
    Settings::new(Domain::parse("relay.test").unwrap(), "main")
}

pub(crate) fn server_settings(session: Settings, tls: Option<Arc<ServerTls>>) -> ServerSettings {
    let loopback = ["127.0.0.0/8".parse().unwrap()];
    ServerSettings {
        listeners: vec![ListenerSettings {
            session,
            bare_newline: BareNewline::Reject,
            timeouts: Timeouts::default(),
            addresses: vec!["127.0.0.1:0".parse().unwrap()],
            sockets: Vec::new(),
            tls,
        }],
        access: Arc::new(ArcSwap::from_pointee(Access::new(&loopback, &[], &[]))),
        limits: Limits::default(),
        drain: Duration::from_secs(20),
    }
}

pub(crate) fn start(settings: ServerSettings) -> Running {
    let access = Arc::clone(&settings.access);
    run(Server::bind(settings).unwrap(), access)
}

pub(crate) fn run(server: Server, access: Arc<ArcSwap<Access>>) -> Running {
    let (_, address) = server.addresses().next().unwrap();
    let messages = Messages::default();
    let may_commit = Arc::new(Semaphore::new(1000));
    let (sender, events) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let intake = Memory {
        messages: Arc::clone(&messages),
        may_commit: Arc::clone(&may_commit),
        next: AtomicU64::new(1),
    };
    let clock = Arc::new(|| Timestamp::from_secs(1_772_366_400));
    let task = tokio::spawn(async move {
        let shutdown = async {
            if stopped.await.is_err() {
                pending::<()>().await;
            }
        };
        let observer = Arc::new(Events(sender));
        server
            .run(Arc::new(intake), observer, clock, shutdown)
            .await;
    });
    Running {
        address,
        messages,
        may_commit,
        events,
        access,
        stop: Some(stop),
        task,
    }
}

pub(crate) fn start_plain() -> Running {
    start(server_settings(session_settings(), None))
}

impl Running {
    pub(crate) async fn client(&self) -> Client<TcpStream> {
        let mut client = self.silent_client().await;
        assert_eq!(client.reply().await, "220 relay.test ESMTP Sealpost\r\n");
        client
    }

    pub(crate) async fn silent_client(&self) -> Client<TcpStream> {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// Waits until an event begins with this text; returns it.
    pub(crate) async fn event(&mut self, start: &str) -> String {
        let wait = async {
            loop {
                let event = self.events.recv().await.expect("the server runs");
                if event.starts_with(start) {
                    return event;
                }
            }
        };
        let event = timeout(PATIENCE, wait).await;
        event.unwrap_or_else(|_| panic!("no event {start:?}"))
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn ended(&mut self) {
        timeout(PATIENCE, &mut self.task)
            .await
            .expect("the server ends")
            .unwrap();
    }
}

/// Speaks by hand.
pub(crate) struct Client<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// One reply, all of its lines.
    pub(crate) async fn reply(&mut self) -> String {
        let mut reply = String::new();
        let read = async {
            loop {
                let line = reply.rsplit_terminator('\n').next().unwrap_or_default();
                if reply.ends_with('\n') && line.as_bytes().get(3) == Some(&b' ') {
                    return;
                }
                let octet = self.0.read_u8().await;
                let octet = octet.unwrap_or_else(|e| panic!("{e} after {reply:?}"));
                reply.push(char::from(octet));
            }
        };
        timeout(PATIENCE, read).await.expect("a reply");
        reply
    }

    pub(crate) async fn told(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n")).await;
        self.reply().await
    }

    /// What comes until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset counts as closing; what was read before it is kept.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest))
            .await
            .expect("an end");
        String::from_utf8(rest).unwrap()
    }

    /// Up to the 354.
    pub(crate) async fn start_data(&mut self) {
        self.send("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
            .await;
        for want in ["250", "250", "250", "354"] {
            let got = self.reply().await;
            assert!(got.starts_with(want), "{got}");
        }
    }
}

pub(crate) fn requires_tls() -> Settings {
    let mut settings = session_settings();
    settings.tls = TlsMode::Required;
    settings
}

/// Far more than anything takes; only a test that fails waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
