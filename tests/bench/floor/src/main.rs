//! The least that a relay can cost on this machine: it receives on plain SMTP, syncs each message to disk before the
//! 250 (one sync for all that wait), and sends it over STARTTLS sessions that stay open. It parses nothing that it does
//! not need, keeps no queue, makes no record of delivery, obeys no policy, and loses mail when anything goes wrong.
//! Its processor time per message, beside that of a real relay in the same run, says what is inherent and what is not.
//!
//! Usage: floor LISTEN SINK TLS-NAME CA.pem DATA-FILE [WORKERS]; with `-` as SINK it sends nothing: the floor of accepting.
use memchr::memmem;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::{fs::File, io::Write, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What waits for the next sync.
struct Commit {
    body: Arc<Vec<u8>>,
    durable: oneshot::Sender<()>,
}

#[derive(Clone)]
struct Relay {
    /// `None`: nothing is sent.
    sink: Option<std::net::SocketAddr>,
    name: ServerName<'static>,
    tls: TlsConnector,
    commits: std::sync::mpsc::Sender<Commit>,
    idle: Arc<std::sync::Mutex<Vec<TlsStream<TcpStream>>>>,
    outgoing: mpsc::UnboundedSender<Arc<Vec<u8>>>,
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, sink, name, ca, data, rest @ ..] = args.as_slice() else {
        return Err("usage: floor LISTEN SINK TLS-NAME CA.pem DATA-FILE [WORKERS]".into());
    };
    let workers = rest.first().map_or(Ok(2), |n| n.parse())?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let (commits, waiting) = std::sync::mpsc::channel();
    let mut file = File::create(data)?;
    std::thread::spawn(move || group_commit(&mut file, &waiting));
    let (outgoing, mut messages) = mpsc::unbounded_channel();
    let relay = Relay {
        sink: if sink == "-" { None } else { Some(sink.parse()?) },
        name: ServerName::try_from(name.clone())?,
        tls: TlsConnector::from(Arc::new(config)),
        commits,
        idle: Arc::default(),
        outgoing,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen.as_str()).await?;
        let sender = relay.clone();
        tokio::spawn(async move {
            let open = Arc::new(tokio::sync::Semaphore::new(20));
            while let Some(body) = messages.recv().await {
                let (sender, permit) = (sender.clone(), open.clone().acquire_owned().await);
                tokio::spawn(async move {
                    let _permit = permit;
                    if let Err(e) = send(&sender, &body).await {
                        eprintln!("lost: {e}");
                    }
                });
            }
        });
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            tokio::spawn(receive(relay.clone(), socket));
        }
    })
}

/// One write and one sync for all that waits.
fn group_commit(file: &mut File, waiting: &std::sync::mpsc::Receiver<Commit>) {
    let mut batch = Vec::new();
    let mut bytes = Vec::new();
    while let Ok(first) = waiting.recv() {
        batch.push(first);
        batch.extend(waiting.try_iter());
        bytes.clear();
        for commit in &batch {
            bytes.extend_from_slice(&commit.body);
        }
        if let Err(e) = file.write_all(&bytes).and_then(|()| Ok(rustix::fs::fdatasync(&*file)?)) {
            eprintln!("cannot write: {e}");
            std::process::exit(74);
        }
        for commit in batch.drain(..) {
            let _ = commit.durable.send(());
        }
    }
}

async fn receive(relay: Relay, mut socket: TcpStream) -> Result<(), Failure> {
    socket.write_all(b"220 floor ESMTP\r\n").await?;
    let mut input: Vec<u8> = Vec::with_capacity(64 << 10);
    loop {
        let Some(end) = memchr::memchr(b'\n', &input) else {
            if socket.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let verb: Vec<u8> = input.get(..4).unwrap_or_default().to_ascii_uppercase();
        input.drain(..=end);
        match verb.as_slice() {
            b"EHLO" => socket.write_all(b"250-floor\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 104857600\r\n").await?,
            b"DATA" => {
                socket.write_all(b"354 Go on\r\n").await?;
                let body = read_body(&mut socket, &mut input).await?;
                let (durable, synced) = oneshot::channel();
                let body = Arc::new(body);
                relay.commits.send(Commit { body: body.clone(), durable })?;
                synced.await?;
                if relay.sink.is_some() {
                    relay.outgoing.send(body)?;
                }
                socket.write_all(b"250 2.0.0 Ok\r\n").await?;
            }
            b"QUIT" => {
                socket.write_all(b"221 2.0.0 Bye\r\n").await?;
                return Ok(());
            }
            _ => socket.write_all(b"250 2.0.0 Ok\r\n").await?,
        }
    }
}

/// Up to and with the end of data. Dots stay as they are: they leave as they came.
async fn read_body(socket: &mut TcpStream, input: &mut Vec<u8>) -> Result<Vec<u8>, Failure> {
    let mut seen = 0;
    loop {
        if let Some(at) = memmem::find(&input[seen..], b"\r\n.\r\n") {
            let rest = input.split_off(seen + at + 5);
            return Ok(std::mem::replace(input, rest));
        }
        seen = input.len().saturating_sub(4);
        if socket.read_buf(input).await? == 0 {
            return Err("the client left in the middle of a message".into());
        }
    }
}

async fn send(relay: &Relay, body: &[u8]) -> Result<(), Failure> {
    let kept = relay.idle.lock().map_err(|_| "poisoned")?.pop();
    let mut session = match kept {
        Some(session) => session,
        None => open(relay).await?,
    };
    let mut reply = Vec::with_capacity(512);
    let envelope = b"MAIL FROM:<a@bench.test>\r\nRCPT TO:<b@d0.dest.test>\r\nDATA\r\n";
    session.write_all(envelope).await?;
    session.flush().await?;
    replies(&mut session, &mut reply, 3).await?;
    session.write_all(body).await?;
    session.flush().await?;
    replies(&mut session, &mut reply, 1).await?;
    relay.idle.lock().map_err(|_| "poisoned")?.push(session);
    Ok(())
}

async fn open(relay: &Relay) -> Result<TlsStream<TcpStream>, Failure> {
    let mut socket = TcpStream::connect(relay.sink.ok_or("there is no sink")?).await?;
    socket.set_nodelay(true)?;
    let mut reply = Vec::with_capacity(1024);
    replies(&mut socket, &mut reply, 1).await?;
    socket.write_all(b"EHLO floor\r\n").await?;
    replies(&mut socket, &mut reply, 1).await?;
    socket.write_all(b"STARTTLS\r\n").await?;
    replies(&mut socket, &mut reply, 1).await?;
    let mut session = relay.tls.connect(relay.name.clone(), socket).await?;
    session.write_all(b"EHLO floor\r\n").await?;
    session.flush().await?;
    replies(&mut session, &mut reply, 1).await?;
    Ok(session)
}

/// Reads until `n` last lines of replies (RFC 5321 §4.2.1: a space after the code) have come.
async fn replies<S: tokio::io::AsyncRead + Unpin>(peer: &mut S, reply: &mut Vec<u8>, n: usize) -> Result<(), Failure> {
    reply.clear();
    loop {
        let lines = reply.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n"));
        let last: Vec<&[u8]> = lines.filter(|line| line.get(3) != Some(&b'-')).collect();
        if let Some(bad) = last.iter().find(|line| matches!(line.first(), Some(b'4' | b'5'))) {
            return Err(String::from_utf8_lossy(bad).into_owned().into());
        }
        if last.len() >= n {
            return Ok(());
        }
        if peer.read_buf(reply).await? == 0 {
            return Err("the sink left".into());
        }
    }
}
