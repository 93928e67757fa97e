//! Clients that hand mail over as fast as they can, until the relay is gone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::ledger::{Kind, Ledger, content};
use crate::site::MAIL_IN;

/// A number of clients at work.
pub(crate) struct Load {
    clients: JoinSet<()>,
    stop: Arc<AtomicBool>,
}

/// What they do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    /// Messages of each client at most.
    pub(crate) messages: usize,
}

impl Load {
    /// Begins. `name` makes the messages' markers unique, `when` says in reports what went on.
    pub(crate) fn start(
        plan: Plan,
        name: &str,
        when: &str,
        ledger: &Arc<Ledger>,
        chance: &mut Chance,
    ) -> Self {
        let mut clients = JoinSet::new();
        let stop = Arc::new(AtomicBool::new(false));
        for number in 0..plan.clients {
            let client = Client {
                name: format!("{name}-{number}"),
                when: when.to_owned(),
                ledger: Arc::clone(ledger),
                chance: Chance::from(chance),
                stop: Arc::clone(&stop),
            };
            clients.spawn(client.run(plan.messages));
        }
        Self { clients, stop }
    }

    /// Ends the clients, after the transaction each of them is in.
    pub(crate) async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client panicked");
        }
    }

    /// Waits until all have handed over what they had, or the relay is gone.
    pub(crate) async fn end(mut self) {
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client panicked");
        }
    }
}

struct Client {
    name: String,
    when: String,
    ledger: Arc<Ledger>,
    chance: Chance,
    stop: Arc<AtomicBool>,
}

impl Client {
    /// Until told to stop, all is sent, or the relay does not answer any more.
    async fn run(mut self, messages: usize) {
        let mut sent = 0;
        while sent < messages {
            let Ok(mut session) = Session::open().await else {
                return;
            };
            loop {
                if sent == messages || self.stop.load(Ordering::Relaxed) {
                    return;
                }
                sent += 1;
                if self.send(&mut session, sent).await.is_err() {
                    break;
                }
            }
        }
    }

    async fn send(&mut self, session: &mut Session, n: usize) -> io::Result<()> {
        let (kind, domain) = match self.chance.below(8) {
            0 => (Kind::Refused, "no.test"),
            1 | 2 => (Kind::Later, "later.test"),
            _ => (Kind::Taken, "d.test"),
        };
        // Large ones go to files of their own.
        let size = match self.chance.below(24) {
            0 => 300_000,
            1 | 2 => 40_000,
            _ => 300 + self.chance.below(4_000) as usize,
        };
        let marker = format!("{}-{n}", self.name);
        for command in [
            format!("MAIL FROM:<{marker}@org.test>"),
            format!("RCPT TO:<{marker}@{domain}>"),
            "DATA".to_owned(),
        ] {
            if session.say(format!("{command}\r\n").as_bytes()).await? >= 400 {
                let _ = session.say(b"RSET\r\n").await?;
                return Ok(());
            }
        }
        let body = content(&marker, size);
        session.write(&body).await?;
        self.ledger.sending(&marker, &self.when, kind, size);
        let code = session.say(b".\r\n").await?;
        self.ledger.answered(&marker, code);
        Ok(())
    }
}

/// A session of which any part may fail.
pub(crate) struct Session(BufReader<TcpStream>);

impl Session {
    /// Connects, reads the greeting, says EHLO.
    pub(crate) async fn open() -> io::Result<Self> {
        let stream = TcpStream::connect(MAIL_IN).await?;
        stream.set_nodelay(true)?;
        let mut session = Self(BufReader::new(stream));
        session.reply().await?;
        session.say(b"EHLO client.test\r\n").await?;
        Ok(session)
    }

    /// Writes, and reads the reply's code.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> io::Result<u16> {
        self.write(bytes).await?;
        Ok(self.reply().await?.0)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = tokio::time::timeout(PATIENCE, self.0.write_all(bytes));
        written.await.unwrap_or_else(|_| Err(late()))
    }

    /// Code and last line of a reply.
    pub(crate) async fn reply(&mut self) -> io::Result<(u16, String)> {
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(PATIENCE, self.0.read_line(&mut line));
            if read.await.unwrap_or_else(|_| Err(late()))? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                let code = line.get(..3).and_then(|code| code.parse().ok());
                return Ok((code.ok_or(io::ErrorKind::InvalidData)?, line));
            }
        }
    }

    /// One message: the codes of MAIL, RCPT, DATA and the final dot, up to the first that refuses,
    /// and the text of the last.
    pub(crate) async fn message(
        &mut self,
        from: &str,
        to: &str,
        body: &[u8],
    ) -> io::Result<(u16, String)> {
        for command in [
            format!("MAIL FROM:<{from}>\r\n"),
            format!("RCPT TO:<{to}>\r\n"),
            "DATA\r\n".to_owned(),
        ] {
            self.write(command.as_bytes()).await?;
            let (code, text) = self.reply().await?;
            if code >= 400 {
                self.say(b"RSET\r\n").await?;
                return Ok((code, text));
            }
        }
        self.message_end(body).await
    }

    /// Content, the final dot, and the reply to it.
    pub(crate) async fn message_end(&mut self, body: &[u8]) -> io::Result<(u16, String)> {
        self.write(body).await?;
        self.write(b".\r\n").await?;
        self.reply().await
    }
}

fn late() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

const PATIENCE: Duration = Duration::from_secs(30);
