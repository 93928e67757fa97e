//! Commands as a server reads them (RFC 5321 section 4.1 and the extensions that we offer).
//!
//! A line is parsed without knowledge of the session: order, permission and limits are the
//! session's business. Verbs and keywords are case-insensitive, local parts keep their case.

mod parameters;
mod path;

#[cfg(test)]
mod tests;

use std::fmt;

use mail_types::{BodyType, Mailbox, MailboxError, Notify, Ret, ReversePath, Submitter};

/// One command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `EHLO name`.
    Ehlo(&'a str),
    /// `HELO name`.
    Helo(&'a str),
    /// `STARTTLS` (RFC 3207).
    StartTls,
    /// `MAIL FROM:`.
    Mail(MailCommand),
    /// `RCPT TO:`.
    Rcpt(RcptCommand),
    /// `DATA`.
    Data,
    /// `BDAT size [LAST]` (RFC 3030 section 2).
    Bdat {
        /// Octets that follow the line.
        size: u64,
        /// `LAST` was given.
        last: bool,
    },
    /// `RSET`.
    Rset,
    /// `NOOP`, with or without text.
    Noop,
    /// `VRFY text`.
    Vrfy,
    /// `EXPN text`.
    Expn,
    /// `HELP`, with or without text.
    Help,
    /// `QUIT`.
    Quit,
    /// `XFORWARD name=value …` (Postfix): the attributes, unparsed.
    Xforward(&'a str),
    /// `XCLIENT name=value …` (Postfix): the attributes, unparsed.
    Xclient(&'a str),
    /// `AUTH mechanism [initial-response]` (RFC 4954 section 4).
    Auth(AuthText<'a>),
}

/// What stands behind `AUTH`. There may be a password in it: it does not print itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthText<'a>(&'a str);

impl<'a> AuthText<'a> {
    /// The mechanism's name, and the initial response in base64 if there is one.
    pub(crate) fn parts(self) -> (&'a str, Option<&'a str>) {
        match self.0.split_once(' ') {
            Some((mechanism, initial)) => (mechanism, Some(initial.trim_start_matches(' '))),
            None => (self.0, None),
        }
    }
}

impl fmt::Debug for AuthText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthText").field(&self.parts().0).finish()
    }
}

/// `MAIL FROM:` with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailCommand {
    /// The reverse-path, source route removed.
    pub path: ReversePath,
    /// `SIZE=` (RFC 1870); a number of up to 20 digits that does not fit is `u64::MAX`.
    pub size: Option<u64>,
    /// `BODY=` (RFC 6152).
    pub body: Option<BodyType>,
    /// `SMTPUTF8` (RFC 6531).
    pub smtputf8: bool,
    /// `REQUIRETLS` (RFC 8689).
    pub requiretls: bool,
    /// `RET=` (RFC 3461).
    pub ret: Option<Ret>,
    /// `ENVID=` (RFC 3461), as given.
    pub envid: Option<Box<str>>,
    /// `AUTH=` (RFC 4954 section 5): who submitted the message, as far as the client says.
    pub submitter: Option<Submitter>,
}

/// `RCPT TO:` with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcptCommand {
    /// The forward-path, source route removed.
    pub path: ForwardPath,
    /// `NOTIFY=` (RFC 3461).
    pub notify: Notify,
    /// `ORCPT=` (RFC 3461), as given.
    pub orcpt: Option<Box<str>>,
}

/// Where `RCPT` points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain, any case (RFC 5321 section 4.5.1).
    Postmaster,
    /// A mailbox.
    Mailbox(Mailbox),
}

/// Why a line is not a command. Always the client's fault, and never transient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// No verb that we know.
    #[error("command not recognised")]
    Unknown,
    /// A verb of HTTP: somebody makes a browser or proxy talk to us.
    #[error("this is an SMTP server")]
    OtherProtocol,
    /// Control characters, or not UTF-8.
    #[error("the line has control characters or is not UTF-8")]
    Text,
    /// The form of the command; the text shows the right one.
    #[error("syntax: {0}")]
    Syntax(&'static str),
    /// The size of a BDAT chunk cannot be read, so nobody knows where the next command starts.
    #[error("syntax: BDAT size [LAST]")]
    Chunk,
    /// The address in MAIL.
    #[error("bad sender address: {0}")]
    Sender(PathError),
    /// The address in RCPT.
    #[error("bad recipient address: {0}")]
    Recipient(PathError),
    /// A known parameter with a bad value.
    #[error("bad parameter {name}: {problem}")]
    Parameter {
        /// Its keyword.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Something after the path that has not the form of a parameter.
    #[error("a parameter is not of the form keyword or keyword=value")]
    ParameterForm,
    /// A parameter that no extension of ours defines (RFC 5321 section 4.1.1.11).
    #[error("parameter not recognised")]
    UnknownParameter,
}

/// Why the text between angle brackets is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// No `<…>`.
    #[error("it must stand between < and >")]
    Brackets,
    /// A source route that is none.
    #[error("the source route is not valid")]
    Route,
    /// `<>` where a recipient is needed.
    #[error("it is empty")]
    Empty,
    /// The mailbox.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
}

impl<'a> Command<'a> {
    /// Parses one line without its CRLF.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn parse(line: &'a [u8]) -> Result<Self, CommandError> {
        let end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
        let (verb, rest) = line.split_at(end);
        let Some(verb) = Verb::of(verb) else {
            return Err(if OTHER_PROTOCOLS.iter().any(|v| v.as_bytes() == verb) {
                CommandError::OtherProtocol
            } else {
                CommandError::Unknown
            });
        };
        let text = std::str::from_utf8(rest).map_err(|_| CommandError::Text)?;
        // NUL and its like have no place in a command (RFC 5321 section 4.1.2, row H5-07).
        if text.chars().any(char::is_control) {
            return Err(CommandError::Text);
        }
        // RFC 5321 section 4.1.1: trailing spaces are tolerated.
        verb.command(text.trim_matches(' '))
    }
}

#[derive(Clone, Copy)]
enum Verb {
    Ehlo,
    Helo,
    StartTls,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Quit,
    Xforward,
    Xclient,
    Auth,
}

impl Verb {
    fn of(text: &[u8]) -> Option<Self> {
        VERBS
            .iter()
            .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(text))
            .map(|(_, verb)| *verb)
    }

    fn command(self, text: &str) -> Result<Command<'_>, CommandError> {
        let alone = |command, usage| {
            if text.is_empty() {
                Ok(command)
            } else {
                Err(CommandError::Syntax(usage)) // RFC 5321 section 4.1.1, row E4-05
            }
        };
        let with_text = |command, usage| {
            if text.is_empty() {
                Err(CommandError::Syntax(usage))
            } else {
                Ok(command)
            }
        };
        match self {
            Self::Ehlo => greeting_name(text, "EHLO hostname").map(Command::Ehlo),
            Self::Helo => greeting_name(text, "HELO hostname").map(Command::Helo),
            Self::StartTls => alone(Command::StartTls, "STARTTLS"),
            Self::Mail => parameters::mail(text).map(Command::Mail),
            Self::Rcpt => parameters::rcpt(text).map(Command::Rcpt),
            Self::Data => alone(Command::Data, "DATA"),
            Self::Bdat => bdat(text),
            Self::Rset => alone(Command::Rset, "RSET"),
            Self::Noop => Ok(Command::Noop),
            Self::Vrfy => with_text(Command::Vrfy, "VRFY address"),
            Self::Expn => with_text(Command::Expn, "EXPN list"),
            Self::Help => Ok(Command::Help),
            Self::Quit => alone(Command::Quit, "QUIT"),
            Self::Xforward => with_text(Command::Xforward(text), "XFORWARD attribute=value..."),
            Self::Xclient => with_text(Command::Xclient(text), "XCLIENT attribute=value..."),
            Self::Auth => with_text(
                Command::Auth(AuthText(text)),
                "AUTH mechanism [initial-response]",
            ),
        }
    }
}

/// RFC 5321 section 4.1.1.1 wants a domain or an address literal. Anything printable without
/// spaces is taken: names with underscores are common, and the name decides nothing (row E4-29).
fn greeting_name<'a>(text: &'a str, usage: &'static str) -> Result<&'a str, CommandError> {
    if text.is_empty() || text.len() > MAX_NAME || text.contains(char::is_whitespace) {
        return Err(CommandError::Syntax(usage));
    }
    Ok(text)
}

/// RFC 3030 section 2: `chunk-size = 1*DIGIT`, optionally followed by `LAST`.
fn bdat(text: &str) -> Result<Command<'static>, CommandError> {
    let (size, last) = text.split_once(' ').unwrap_or((text, ""));
    let last = last.trim_start_matches(' ');
    if size.is_empty()
        || !size.bytes().all(|b| b.is_ascii_digit())
        || !(last.is_empty() || last.eq_ignore_ascii_case("LAST"))
    {
        return Err(CommandError::Chunk);
    }
    let size = size.parse().map_err(|_| CommandError::Chunk)?;
    let last = !last.is_empty();
    Ok(Command::Bdat { size, last })
}

const VERBS: &[(&str, Verb)] = &[
    ("RCPT", Verb::Rcpt),
    ("MAIL", Verb::Mail),
    ("DATA", Verb::Data),
    ("BDAT", Verb::Bdat),
    ("EHLO", Verb::Ehlo),
    ("HELO", Verb::Helo),
    ("RSET", Verb::Rset),
    ("QUIT", Verb::Quit),
    ("NOOP", Verb::Noop),
    ("STARTTLS", Verb::StartTls),
    ("XFORWARD", Verb::Xforward),
    ("XCLIENT", Verb::Xclient),
    ("VRFY", Verb::Vrfy),
    ("EXPN", Verb::Expn),
    ("HELP", Verb::Help),
    ("AUTH", Verb::Auth),
];
const OTHER_PROTOCOLS: &[&str] = &[
    "GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE", "PRI",
];
const MAX_NAME: usize = 255;
