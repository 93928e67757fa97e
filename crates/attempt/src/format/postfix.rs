//! Lines as Postfix's daemons write them (`log.format = "postfix"`).

use std::fmt;
use std::net::IpAddr;

use mail_types::{QueueId, Timestamp};

use super::{push_clean, push_fmt};
use crate::fields::{Fields, Style};
use mail_types::Clean;

/// Writes Postfix lines. Whatever is written through it is made harmless for one line.
#[derive(Debug)]
pub struct PostfixLine<'a> {
    out: &'a mut Vec<u8>,
    origin: &'a str,
    pid: u32,
    at: Timestamp,
    open: bool,
}

impl<'a> PostfixLine<'a> {
    pub(crate) const fn new(
        out: &'a mut Vec<u8>,
        origin: &'a str,
        pid: u32,
        at: Timestamp,
    ) -> Self {
        Self {
            out,
            origin,
            pid,
            at,
            open: false,
        }
    }

    /// Begins a line of a Postfix daemon: `Mon dd hh:mm:ss host name/daemon[pid]: `. An open line
    /// is ended first.
    pub fn begin(&mut self, daemon: &'static str) -> &mut Self {
        self.begin_as(daemon, self.pid)
    }

    /// Begins a line of `smtpd` about a session. Of Postfix's processes each has one session at a time,
    /// and tools tell sessions by the process: its place has the number of the session, or where that
    /// is 0 our process.
    pub fn begin_session(&mut self, session: u32) -> &mut Self {
        match session {
            0 => self.begin("smtpd"),
            _ => self.begin_as("smtpd", session),
        }
    }

    fn begin_as(&mut self, daemon: &'static str, process: u32) -> &mut Self {
        self.finish();
        push_fmt(
            self.out,
            format_args!("{} {}{daemon}[{process}]: ", self.at.syslog(), self.origin),
        );
        self.open = true;
        self
    }

    /// Adds text; `write!(line, …)` works too.
    pub fn push(&mut self, args: fmt::Arguments<'_>) -> &mut Self {
        push_clean(self.out, args);
        self
    }

    /// Adds a queue id.
    pub fn id(&mut self, id: QueueId) -> &mut Self {
        self.push(format_args!("{id}"))
    }

    /// Adds an address in angle brackets, after `key=` if there is a key. Characters that could end the field early are replaced:
    /// a quoted local part may hold `>, status=sent`.
    pub fn address(&mut self, key: &'static str, address: &dyn fmt::Display) -> &mut Self {
        if !key.is_empty() {
            self.push(format_args!("{key}="));
        }
        self.push(format_args!("<"));
        self.substituting(address, MAX_WORD, |c| {
            matches!(c, '<' | '>' | '(' | ')' | ',' | ' ').then_some('?')
        });
        self.push(format_args!(">"))
    }

    /// Adds text that must not end a parenthesis: `(` and `)` become brackets.
    pub fn clause(&mut self, text: &str) -> &mut Self {
        self.substituting(&text, MAX_CLAUSE, bracket)
    }

    /// Adds one word: white space, commas and parentheses are replaced.
    pub fn word(&mut self, word: &dyn fmt::Display) -> &mut Self {
        self.substituting(word, MAX_WORD, |c| {
            if c.is_whitespace() || matches!(c, ',' | ';' | '=' | '<' | '>') {
                Some('_')
            } else {
                bracket(c)
            }
        })
    }

    /// Adds `name[ip]`, with `unknown` for what is not known.
    pub fn host(&mut self, name: &str, ip: Option<IpAddr>) -> &mut Self {
        if name.is_empty() {
            self.push(format_args!("unknown"));
        } else {
            self.word(&name);
        }
        match ip {
            Some(ip) => self.push(format_args!("[{ip}]")),
            None => self,
        }
    }

    /// Writes an event that Postfix does not have as a line of our own daemon:
    /// `name/sealpost[pid]: event=… key=value …`.
    pub fn generic(&mut self, event: &'static str, fields: &dyn Fn(&mut Fields<'_>)) {
        self.begin("sealpost");
        push_fmt(self.out, format_args!("event={event}"));
        fields(&mut Fields::new(self.out, Style::Plain));
    }

    /// Ends the open line, if there is one.
    pub(crate) fn finish(&mut self) {
        if self.open {
            self.out.push(b'\n');
            self.open = false;
        }
    }

    fn substituting(
        &mut self,
        text: &dyn fmt::Display,
        max: usize,
        with: impl Fn(char) -> Option<char>,
    ) -> &mut Self {
        let start = self.out.len();
        push_clean(self.out, format_args!("{text}"));
        let written = String::from_utf8_lossy(self.out.get(start..).unwrap_or_default());
        if written.len() <= max && !written.chars().any(|c| with(c).is_some()) {
            return self;
        }
        let safe: String = written.chars().map(|c| with(c).unwrap_or(c)).collect();
        self.out.truncate(start);
        push_fmt(self.out, format_args!("{}", Clean::new(&safe, max)));
        self
    }
}

const fn bracket(c: char) -> Option<char> {
    match c {
        '(' => Some('['),
        ')' => Some(']'),
        _ => None,
    }
}

/// Octets of a clause: syslog servers cut lines of more than 1 to 8 KiB.
const MAX_CLAUSE: usize = 512;
/// Octets of a name or an address (RFC 5321 section 4.5.3.1.3 allows 254).
const MAX_WORD: usize = 320;
