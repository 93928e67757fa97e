//! Handing over by SMTP, on a blocking connection.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mail_types::{Ret, xtext};

use crate::text::{LineEnds, WithoutChunking, printable};
use crate::{Exit, Failure, Message};

/// The listener has taken the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// What it answered.
    pub reply: String,
}

/// Hands the message over to the listener at `server`.
///
/// # Errors
/// The message was not taken; nothing of it is kept anywhere.
pub fn hand_over(
    message: &Message,
    server: SocketAddr,
    hostname: &str,
) -> Result<Handover, Failure> {
    let stream = connect(server)?;
    let mut dialogue = Dialogue {
        server,
        reader: BufReader::new(&stream),
        writer: &stream,
    };
    let handover = dialogue.transaction(message, hostname);
    // Whatever came of it: the server need not wait for more.
    let _ = dialogue.writer.write_all(b"QUIT\r\n");
    handover
}

/// `-bs`: the caller speaks SMTP itself. It may end its lines with LF, all of them; then it is not
/// offered CHUNKING.
///
/// # Errors
/// The listener is not there, or the connection broke.
pub fn pass_through(
    server: SocketAddr,
    mut input: impl Read + Send + 'static,
    output: &mut impl Write,
) -> Result<(), Failure> {
    let stream = connect(server)?;
    let lost = |error: io::Error| Failure::new(Exit::Temporary, format!("{server}: {error}"));
    let mut to_server = stream.try_clone().map_err(lost)?;
    // It ends with the process at the latest: it may wait for a terminal.
    let mends = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&mends);
    let _feeding = thread::spawn(move || {
        let _ = feed(&mut input, &mut to_server, &told);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let mut from_server = &stream;
    let mut replies = WithoutChunking::default();
    let mut show = |octets: &[u8]| {
        let shown = output.write_all(octets);
        shown.and_then(|()| output.flush()).map_err(lost)
    };
    let mut buffer = [0; 4096];
    loop {
        match from_server.read(&mut buffer) {
            Ok(0) => return show(&replies.rest()),
            Ok(n) => {
                let octets = buffer.get(..n).unwrap_or_default();
                show(&replies.pass(octets, mends.load(Ordering::SeqCst)))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(lost(error)),
        }
    }
}

fn feed(input: &mut impl Read, to: &mut impl Write, mends: &AtomicBool) -> io::Result<()> {
    let mut ends = LineEnds::default();
    let mut buffer = [0; 8192];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                let octets = ends.mend(buffer.get(..n).unwrap_or_default());
                // Before the server can answer.
                mends.store(ends.mends(), Ordering::SeqCst);
                to.write_all(&octets)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn connect(server: SocketAddr) -> Result<TcpStream, Failure> {
    let failed = |error: io::Error| {
        let text = format!("the mail server at {server} cannot be reached: {error}");
        Failure::new(Exit::Temporary, text)
    };
    let stream = TcpStream::connect_timeout(&server, CONNECT).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    Ok(stream)
}

struct Dialogue<'a> {
    server: SocketAddr,
    reader: BufReader<&'a TcpStream>,
    writer: &'a TcpStream,
}

/// A reply: its code and its lines.
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Dialogue<'_> {
    fn transaction(&mut self, message: &Message, hostname: &str) -> Result<Handover, Failure> {
        let greeting = self.reply()?;
        // Whoever takes no mail at all (554, RFC 5321 section 3.1) has refused none: it is closed for a while.
        self.expect(greeting, 220, Exit::Temporary)?;
        let ehlo = self.command(&format!("EHLO {hostname}"))?;
        let ehlo = self.expect(ehlo, 250, Exit::Unavailable)?;
        let offers = |name: &str| {
            let words = ehlo.lines.iter().skip(1);
            words
                .map(|l| l.split(' ').next().unwrap_or_default())
                .any(|w| w.eq_ignore_ascii_case(name))
        };
        let (dsn, eight_bit) = (offers("DSN"), offers("8BITMIME"));
        let mut mail = format!(
            "MAIL FROM:<{}>",
            message.sender.mailbox().map_or("", |m| m.as_str())
        );
        if offers("SIZE") {
            // Writing to a String does not fail.
            let _ = write!(mail, " SIZE={}", message.content.len());
        }
        if message.eight_bit && eight_bit {
            mail.push_str(" BODY=8BITMIME");
        }
        if message.utf8 {
            mail.push_str(" SMTPUTF8");
        }
        if dsn {
            mail.push_str(match message.ret {
                Some(Ret::Full) => " RET=FULL",
                Some(Ret::Headers) => " RET=HDRS",
                None => "",
            });
            if let Some(envid) = &message.envid {
                let _ = write!(mail, " ENVID={}", xtext::encode(envid.as_bytes()));
            }
        }
        let answer = self.command(&mail)?;
        self.expect(answer, 250, Exit::Unavailable)?;
        for recipient in &message.recipients {
            let mut rcpt = format!("RCPT TO:<{recipient}>");
            if let Some(notify) = message.notify.as_ref().filter(|_| dsn) {
                let _ = write!(rcpt, " NOTIFY={notify}");
            }
            let answer = self.command(&rcpt)?;
            // All or nobody: the caller hears of it now, and may mend the list.
            self.expect(answer, 250, Exit::Unavailable)
                .map_err(|f| Failure::new(f.exit, format!("<{recipient}>: {}", f.message)))?;
        }
        let answer = self.command("DATA")?;
        self.expect(answer, 354, Exit::Unavailable)?;
        let answer = self.content(&message.content)?;
        let reply = self.expect(answer, 250, Exit::Data)?;
        Ok(Handover {
            reply: reply.lines.join(" "),
        })
    }

    fn command(&mut self, line: &str) -> Result<Reply, Failure> {
        let sent = self.writer.write_all(format!("{line}\r\n").as_bytes());
        sent.map_err(|error| self.lost(&error))?;
        self.reply()
    }

    /// Lines that begin with a dot get another one (RFC 5321 section 4.5.2).
    fn content(&mut self, content: &[u8]) -> Result<Reply, Failure> {
        let mut stuffed = Vec::with_capacity(content.len() + content.len() / 64 + 8);
        for line in content.split_inclusive(|b| *b == b'\n') {
            if line.first() == Some(&b'.') {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        stuffed.extend_from_slice(b".\r\n");
        self.writer
            .write_all(&stuffed)
            .map_err(|error| self.lost(&error))?;
        self.reply()
    }

    fn reply(&mut self) -> Result<Reply, Failure> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut self.reader).take(MAX_REPLY_LINE);
            let read = limited.read_until(b'\n', &mut line);
            match read {
                Ok(n) if n > 0 && line.ends_with(b"\n") => {}
                Ok(_) => return Err(self.lost(&io::ErrorKind::UnexpectedEof.into())),
                Err(error) => return Err(self.lost(&error)),
            }
            let line = printable(&String::from_utf8_lossy(&line));
            let code = line.get(..3).and_then(|c| c.parse().ok());
            let Some(code) = code.filter(|_| lines.len() < MAX_REPLY_LINES) else {
                return Err(self.lost(&io::ErrorKind::InvalidData.into()));
            };
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, lines });
            }
        }
    }

    fn expect(&self, reply: Reply, code: u16, otherwise: Exit) -> Result<Reply, Failure> {
        if reply.code / 10 == code / 10 {
            return Ok(reply);
        }
        let text = reply.lines.join(" ");
        // RFC 5321 section 4.5.3.1.10: later there will be as many, and nobody has the message.
        if reply.code == 452 && text.starts_with("4.5.3 ") {
            let text = format!(
                "{} takes no more recipients of one message, and none was given it: name fewer at \
                 once, or raise listener.max-recipients",
                self.server
            );
            return Err(Failure::new(Exit::Unavailable, text));
        }
        let exit = match reply.code / 100 {
            4 => Exit::Temporary,
            // The recipient's domain does not exist, or takes no mail (RFC 7505).
            _ if text.starts_with("5.1.2 ") || text.starts_with("5.1.10 ") => Exit::NoHost,
            _ => otherwise,
        };
        let text = format!("{} answered {} {text}", self.server, reply.code);
        Err(Failure::new(exit, text))
    }

    fn lost(&self, error: &io::Error) -> Failure {
        let text = format!("the connection to {} was lost: {error}", self.server);
        Failure::new(Exit::Temporary, text)
    }
}

const CONNECT: Duration = Duration::from_secs(30);
/// Longer than the listener takes for anything.
const PATIENCE: Duration = Duration::from_secs(600);
const MAX_REPLY_LINE: u64 = 4096;
const MAX_REPLY_LINES: usize = 100;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What the server hears, and what the caller is shown.
    fn passed(talk: &'static [u8]) -> (String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let heard = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let mut text = String::new();
            reader.read_line(&mut text).unwrap();
            (&stream)
                .write_all(b"250-a.test\r\n250-CHUNKING\r\n250 DSN\r\n")
                .unwrap();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        let mut shown = Vec::new();
        pass_through(server, talk, &mut shown).unwrap();
        (heard.join().unwrap(), String::from_utf8(shown).unwrap())
    }

    #[test]
    fn the_first_line_of_a_caller_says_how_lines_end() {
        let (heard, shown) = passed(b"EHLO c\nDATA\nx\n.\n");
        assert_eq!(heard, "EHLO c\r\nDATA\r\nx\r\n.\r\n");
        assert_eq!(shown, "250-a.test\r\n250 DSN\r\n");
        // Another's text with an LF in it is no end of data.
        let text = "EHLO c\r\nDATA\r\nx\n.\nMAIL FROM:<x@x.test>\n\r\n.\r\n";
        let (heard, shown) = passed(text.as_bytes());
        assert_eq!(heard, text);
        assert_eq!(shown, "250-a.test\r\n250-CHUNKING\r\n250 DSN\r\n");
    }
}
