//! What Postfix's `smtpd` says of a session and other formats do not have: tools that watch or count
//! clients live on these lines.

use std::fmt;
use std::net::IpAddr;

use mail_types::Timestamp;

use crate::event::{Level, LogEvent};
use crate::fields::Fields;
use crate::format::{PostfixLine, TextLine};

/// Lines that are written in Postfix's format only: no [`LogEvent`], since no other format has them.
pub trait PostfixEvent {
    /// When it happened.
    fn at(&self) -> Timestamp;

    /// Writes the lines; each is begun with [`PostfixLine::begin_session`] or
    /// [`PostfixLine::begin`].
    fn postfix(&self, line: &mut PostfixLine<'_>);
}

/// `connect from …`
#[derive(Clone, Copy, Debug)]
pub struct SessionBegun {
    /// When.
    pub at: Timestamp,
    /// The number of the session.
    pub session: u32,
    /// The client's address.
    pub client: IpAddr,
}

/// `disconnect from …`, and before it how the session broke off, if it did.
#[derive(Debug)]
pub struct SessionEnded<'a, C> {
    /// When.
    pub at: Timestamp,
    /// The number of the session.
    pub session: u32,
    /// The client's address.
    pub client: IpAddr,
    /// What ended it, where that was not QUIT.
    pub broken: Option<Broken<'a>>,
    /// Gives the commands in Postfix's order: name, how many were done, how many were said.
    pub commands: C,
}

/// How a session broke off.
#[derive(Clone, Copy, Debug)]
pub struct Broken<'a> {
    /// By what.
    pub by: BrokenBy,
    /// After what: a command, `CONNECT`, `END-OF-MESSAGE`.
    pub after: &'a str,
    /// Octets of the content that was on its way.
    pub octets: Option<u64>,
}

/// What broke a session off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenBy {
    /// The client was gone.
    Loss,
    /// It was too slow.
    Timeout,
    /// It made too many mistakes.
    Errors,
}

/// `smtp.in.login-failed` for wrong credentials, in Postfix's words in its format.
pub struct LoginRejected<'a> {
    /// The event as the other formats have it.
    pub event: &'a dyn LogEvent,
    /// The number of the session.
    pub session: u32,
    /// The client's address.
    pub client: IpAddr,
    /// SASL's name of it.
    pub mechanism: &'a str,
    /// Whom the client named.
    pub user: &'a str,
    /// What the client called itself.
    pub helo: &'a str,
    /// The listener's name.
    pub listener: &'a str,
}

impl PostfixEvent for SessionBegun {
    fn at(&self) -> Timestamp {
        self.at
    }

    fn postfix(&self, line: &mut PostfixLine<'_>) {
        line.begin_session(self.session)
            .push(format_args!("connect from "))
            .host("", Some(self.client));
    }
}

impl<C, I> PostfixEvent for SessionEnded<'_, C>
where
    C: Fn() -> I,
    I: Iterator<Item = (&'static str, u32, u32)>,
{
    fn at(&self) -> Timestamp {
        self.at
    }

    fn postfix(&self, line: &mut PostfixLine<'_>) {
        if let Some(broken) = &self.broken {
            line.begin_session(self.session)
                .push(format_args!("{broken} from "))
                .host("", Some(self.client));
        }
        line.begin_session(self.session)
            .push(format_args!("disconnect from "))
            .host("", Some(self.client));
        let (mut all_done, mut all_said) = (0, 0);
        for (name, done, said) in (self.commands)() {
            let name = name.to_ascii_lowercase();
            line.push(format_args!(" {name}={}", Share(done, said)));
            all_done += u64::from(done);
            all_said += u64::from(said);
        }
        // So that there is something to read also of a client that said nothing.
        match all_said {
            0 => line.push(format_args!(" commands=0/0")),
            _ => line.push(format_args!(" commands={}", Share(all_done, all_said))),
        };
    }
}

/// How many of how many; one number where that is the same.
struct Share<T>(T, T);

impl<T: fmt::Display + PartialEq> fmt::Display for Share<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(part, all) = self;
        match part == all {
            true => write!(f, "{all}"),
            false => write!(f, "{part}/{all}"),
        }
    }
}

impl fmt::Display for Broken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            BrokenBy::Loss => "lost connection",
            BrokenBy::Timeout => "timeout",
            BrokenBy::Errors => "too many errors",
        };
        match (self.octets, self.after) {
            (None, after) => write!(f, "{by} after {after}"),
            (Some(octets), "BDAT") => write!(f, "{by} after BDAT ({octets} bytes)"),
            (Some(octets), _) => write!(f, "{by} after DATA ({octets} bytes)"),
        }
    }
}

impl LogEvent for LoginRejected<'_> {
    fn event(&self) -> &'static str {
        self.event.event()
    }

    fn level(&self) -> Level {
        self.event.level()
    }

    fn at(&self) -> Timestamp {
        self.event.at()
    }

    fn fields(&self, fields: &mut Fields<'_>) {
        self.event.fields(fields);
    }

    /// Postfix's line, and behind it what it does not know.
    fn postfix(&self, line: &mut PostfixLine<'_>) {
        line.begin_session(self.session)
            .push(format_args!("warning: "))
            .host("", Some(self.client))
            .push(format_args!(": SASL "))
            .word(&self.mechanism)
            .push(format_args!(
                " authentication failed: authentication failure, sasl_username="
            ))
            .word(&self.user)
            .push(format_args!(" "))
            .address("helo", &self.helo)
            .push(format_args!(" listener="))
            .word(&self.listener);
    }

    fn text(&self, line: &mut TextLine<'_>) {
        self.event.text(line);
    }
}
