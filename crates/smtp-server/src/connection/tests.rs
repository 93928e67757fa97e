//! Time-outs, in virtual time and without sockets.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mail_types::{Domain, Envelope, QueueId, Timestamp};
use parking_lot::Mutex;
use smtp_proto::server::Refusal;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::{Incoming, Origin};

/// Takes everything, remembers how much.
#[derive(Default)]
struct Sink(Arc<AtomicUsize>);

struct Message(Arc<AtomicUsize>);

impl Intake for Sink {
    type Incoming = Message;
    fn admit(&self, _: Option<u64>) -> Result<(), Refusal> {
        Ok(())
    }
    fn begin(&self, _: Option<u64>, _: &Origin<'_>) -> Result<Message, Refusal> {
        Ok(Message(Arc::clone(&self.0)))
    }
}

impl Incoming for Message {
    fn id(&self) -> QueueId {
        QueueId::from_raw(1)
    }
    async fn write(&mut self, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }
    async fn seal(&mut self, envelope: &mut Envelope) -> Result<(), Refusal> {
        let mut recipients = envelope.recipients.iter();
        if recipients.any(|r| r.mailbox.local_part() == "unsealed") {
            return Err(Refusal::permanent(550, 6, 0, "Not as it is"));
        }
        Ok(())
    }
    async fn commit(self, _: Arc<Envelope>) -> Result<QueueId, Refusal> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(self.id())
    }
}

#[derive(Default)]
struct Log(Mutex<Vec<TimeoutStage>>);

impl Observer for Log {
    fn event(&self, event: Event<'_>) {
        if let Event::TimedOut { stage, .. } = event {
            self.0.lock().push(stage);
        }
    }
}

struct Pair {
    client: DuplexStream,
    observer: Arc<Log>,
    committed: Arc<AtomicUsize>,
    memory: ContentMemory,
    _phase: watch::Sender<Phase>,
}

/// A session over a pipe of `capacity` octets.
fn pair(capacity: usize) -> Pair {
    let (client, mut stream) = duplex(capacity);
    let (sender, phase) = watch::channel(Phase::Open);
    let observer = Arc::new(Log::default());
    let sink = Sink::default();
    let committed = Arc::clone(&sink.0);
    let mut settings = Settings::new(Domain::parse("relay.test").unwrap(), "main");
    settings.tls = TlsMode::Optional;
    let access = Access::new(&["127.0.0.0/8".parse().unwrap()], &[], &[]);
    let memory = ContentMemory::new(128 << 20);
    let context = Context {
        intake: Arc::new(sink),
        observer: Arc::clone(&observer),
        clock: Arc::new(|| Timestamp::from_secs(1_772_366_400)),
        terms: Arc::new(Terms {
            session: Arc::new(settings),
            bare_newline: BareNewline::Reject,
            timeouts: Timeouts::default(),
        }),
        access: Arc::new(ArcSwap::from_pointee(access)),
        tls: None,
        memory: memory.clone(),
        authenticator: None,
        used: Arc::default(),
    };
    tokio::spawn(async move {
        let address: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let peer = context
            .access
            .load()
            .peer(address.ip(), context.bare_newline());
        let session = Session::new(Arc::clone(context.settings()), peer);
        let mut drive = Drive::new(&context, session, 1, address, phase);
        drive.greet(&[]);
        if let Exit::StartTls = drive.run(&mut stream).await {
            tokio::time::sleep(HANDSHAKE).await;
            drive.tls_established(tls(), None);
            let (Exit::Closed | Exit::StartTls) = drive.run(&mut stream).await;
        }
    });
    Pair {
        client,
        observer,
        committed,
        memory,
        _phase: sender,
    }
}

fn tls() -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
    }
}

/// How long the client takes for it; longer than for a command.
const HANDSHAKE: Duration = Duration::from_secs(301);

impl Pair {
    async fn say(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until the text ends with `end`.
    async fn hear(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let mut buffer = [0; 1024];
            let n = self.client.read(&mut buffer).await.unwrap();
            assert!(n > 0, "closed after {text:?}");
            text += std::str::from_utf8(&buffer[..n]).unwrap();
        }
        text
    }

    async fn hear_all(&mut self) -> String {
        let mut text = String::new();
        self.client.read_to_string(&mut text).await.unwrap();
        text
    }

    async fn start_data(&mut self) {
        self.say("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n")
            .await;
        self.hear("CRLF>\r\n".replace("CRLF", "<CR><LF>.<CR><LF").as_str())
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn e4_12_idle_for_five_minutes() {
    let mut pair = pair(4096);
    pair.hear("Sealpost\r\n").await;
    tokio::time::sleep(Duration::from_secs(299)).await;
    pair.say("NOOP\r\n").await;
    assert_eq!(pair.hear("\r\n").await, "250 2.0.0 Ok\r\n");
    let began = Instant::now();
    assert!(pair.hear_all().await.starts_with("421 4.4.2 "));
    assert_eq!(began.elapsed().as_secs(), 300);
    assert_eq!(*pair.observer.0.lock(), [TimeoutStage::Command]);
}

#[tokio::test(start_paused = true)]
async fn e4_12_a_handshake_takes_no_time_from_the_command_after_it() {
    let mut pair = pair(4096);
    pair.hear("Sealpost\r\n").await;
    pair.say("STARTTLS\r\n").await;
    pair.hear("TLS\r\n").await;
    tokio::time::sleep(HANDSHAKE + Duration::from_secs(299)).await;
    pair.say("NOOP\r\n").await;
    assert_eq!(pair.hear("\r\n").await, "250 2.0.0 Ok\r\n");
}

#[tokio::test(start_paused = true)]
async fn h5_05_a_command_octet_by_octet_buys_no_time() {
    let mut pair = pair(4096);
    pair.hear("Sealpost\r\n").await;
    let began = Instant::now();
    let mut heard = [0; 64];
    let n = loop {
        tokio::select! {
            n = pair.client.read(&mut heard) => break n.unwrap(),
            () = tokio::time::sleep(Duration::from_secs(60)) => pair.say("N").await,
        }
    };
    assert!(heard[..n].starts_with(b"421 4.4.2 "));
    assert_eq!(began.elapsed().as_secs(), 300);
    assert_eq!(*pair.observer.0.lock(), [TimeoutStage::Command]);
}

#[tokio::test(start_paused = true)]
async fn h5_05_a_slow_chunk_that_nobody_wants() {
    let mut pair = pair(4096);
    pair.hear("Sealpost\r\n").await;
    // Out of order: its octets are skipped, and the refusal follows at their end.
    pair.say("EHLO c\r\nBDAT 1000000\r\n").await;
    let began = Instant::now();
    let mut heard = Vec::new();
    while !heard.windows(10).any(|w| w == b"421 4.4.2 ") {
        let mut buffer = [0; 1024];
        tokio::select! {
            n = pair.client.read(&mut buffer) => {
                let n = n.unwrap();
                assert!(n > 0, "{}", heard.escape_ascii());
                heard.extend_from_slice(&buffer[..n]);
            }
            () = tokio::time::sleep(Duration::from_secs(60)) => pair.say("x").await,
        }
    }
    assert!(began.elapsed().as_secs() <= 600, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn h5_05_slow_data() {
    let mut pair = pair(4096);
    pair.start_data().await;
    let began = Instant::now();
    let mut heard = [0; 64];
    let n = loop {
        tokio::select! {
            n = pair.client.read(&mut heard) => break n.unwrap(),
            () = tokio::time::sleep(Duration::from_secs(60)) => pair.say("x").await,
        }
    };
    assert!(heard[..n].starts_with(b"421 4.4.2 "));
    assert_eq!(
        began.elapsed().as_secs(),
        600,
        "the grace for a whole message"
    );
    assert_eq!(*pair.observer.0.lock(), [TimeoutStage::Data]);
    assert_eq!(pair.committed.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn steady_data_may_take_long() {
    let mut pair = pair(4096);
    pair.start_data().await;
    let line = format!("{}\r\n", "x".repeat(1000));
    for _ in 0..1000 {
        pair.say(&line).await;
        tokio::time::sleep(Duration::from_secs(3)).await; // 334 octets a second, 50 minutes
    }
    pair.say(".\r\n").await;
    assert!(
        pair.hear("\r\n")
            .await
            .starts_with("250 2.0.0 Ok: queued as ")
    );
    assert_eq!(pair.committed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn g5_07_a_message_refused_at_its_end_takes_no_memory_any_more() {
    let mut pair = pair(4096);
    pair.say("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<unsealed@b.test>\r\nDATA\r\n")
        .await;
    pair.hear("<CR><LF>.<CR><LF>\r\n").await;
    assert!(pair.memory.used() > 0);
    pair.say("Subject: x\r\n.\r\n").await;
    assert!(pair.hear("\r\n").await.starts_with("550 5.6.0 "));
    assert_eq!(pair.memory.used(), 0, "while the client says nothing more");
    assert_eq!(pair.committed.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read() {
    let mut pair = pair(256);
    let mut more = true;
    while more {
        let say = pair.client.write_all(b"EHLO c\r\n");
        more = timeout(Duration::from_secs(1000), say)
            .await
            .is_ok_and(|r| r.is_ok());
    }
    assert_eq!(*pair.observer.0.lock(), [TimeoutStage::Write]);
}

#[tokio::test(start_paused = true)]
async fn the_last_reply_is_followed_by_a_bounded_wait() {
    let mut pair = pair(4096);
    pair.say("NOOP\nNOOP\r\n").await;
    let heard = pair.hear_all().await;
    assert!(heard.contains("\r\n550 5.5.2 "), "{heard}");
    let began = Instant::now();
    // The other side goes on sending for ever.
    while pair
        .client
        .write_all(b"MAIL FROM:<x@y.test>\r\n")
        .await
        .is_ok()
    {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(
        (29..=31).contains(&began.elapsed().as_secs()),
        "{:?}",
        began.elapsed()
    );
}
