//! `MAIL FROM:` and `RCPT TO:` with their parameters (RFC 5321 section 4.1.2, RFCs 1870, 3461,
//! 4954, 6152, 6531, 8689).

use mail_types::{BodyType, Notify, Ret, ReversePath, Submitter};

use super::{CommandError, ForwardPath, MailCommand, PathError, RcptCommand, path};
use crate::xtext;

pub(super) fn mail(text: &str) -> Result<MailCommand, CommandError> {
    const USAGE: CommandError = CommandError::Syntax("MAIL FROM:<address> [parameters]");
    let text = after_keyword(text, "FROM:").ok_or(USAGE)?;
    let (inner, rest) = path::split(text).map_err(CommandError::Sender)?;
    let path = if inner.is_empty() {
        ReversePath::Null
    } else {
        ReversePath::Mailbox(path::mailbox(inner).map_err(CommandError::Sender)?)
    };
    let mut mail = MailCommand {
        path,
        size: None,
        body: None,
        smtputf8: false,
        requiretls: false,
        ret: None,
        envid: None,
        submitter: None,
    };
    let mut seen = Seen::default();
    for parameter in Parameters(rest) {
        let (keyword, value) = parameter?;
        let known = Keyword::of(keyword, MAIL).ok_or(CommandError::UnknownParameter)?;
        seen.once(known)?;
        match known {
            Keyword::Size => mail.size = Some(size(known.value(value)?)?),
            Keyword::Body => mail.body = Some(body(known.value(value)?)?),
            Keyword::SmtpUtf8 => mail.smtputf8 = known.flag(value)?,
            Keyword::RequireTls => mail.requiretls = known.flag(value)?,
            Keyword::Ret => mail.ret = Some(ret(known.value(value)?)?),
            Keyword::Envid => mail.envid = Some(envid(known.value(value)?)?),
            Keyword::Auth => mail.submitter = Some(submitter(known.value(value)?)?),
            Keyword::Notify | Keyword::Orcpt => return Err(CommandError::UnknownParameter),
        }
    }
    Ok(mail)
}

pub(super) fn rcpt(text: &str) -> Result<RcptCommand, CommandError> {
    const USAGE: CommandError = CommandError::Syntax("RCPT TO:<address> [parameters]");
    let text = after_keyword(text, "TO:").ok_or(USAGE)?;
    let (inner, rest) = path::split(text).map_err(CommandError::Recipient)?;
    let path = if inner.is_empty() {
        return Err(CommandError::Recipient(PathError::Empty));
    } else if inner.eq_ignore_ascii_case("postmaster") {
        ForwardPath::Postmaster
    } else {
        ForwardPath::Mailbox(path::mailbox(inner).map_err(CommandError::Recipient)?)
    };
    let mut rcpt = RcptCommand {
        path,
        notify: Notify::Unspecified,
        orcpt: None,
    };
    let mut seen = Seen::default();
    for parameter in Parameters(rest) {
        let (keyword, value) = parameter?;
        let known = Keyword::of(keyword, RCPT).ok_or(CommandError::UnknownParameter)?;
        seen.once(known)?;
        match known {
            Keyword::Notify => rcpt.notify = notify(known.value(value)?)?,
            Keyword::Orcpt => rcpt.orcpt = Some(orcpt(known.value(value)?)?),
            _ => return Err(CommandError::UnknownParameter),
        }
    }
    Ok(rcpt)
}

/// Printers and scripts often put a space after the colon: it is tolerated.
fn after_keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let head = text.get(..keyword.len())?;
    head.eq_ignore_ascii_case(keyword)
        .then(|| text[keyword.len()..].trim_start_matches(' '))
}

/// Splits ` KEY=value KEY` at its spaces.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<(&'a str, Option<&'a str>), CommandError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.trim_start_matches(' ');
        if text.is_empty() {
            return None;
        }
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        self.0 = rest;
        Some(parameter(word))
    }
}

/// `esmtp-keyword ["=" esmtp-value]` (RFC 5321 section 4.1.2; UTF-8 values as in RFC 6531
/// section 3.3).
fn parameter(word: &str) -> Result<(&str, Option<&str>), CommandError> {
    let (keyword, value) = match word.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (word, None),
    };
    let keyword_ok = keyword
        .bytes()
        .enumerate()
        .all(|(i, b)| b.is_ascii_alphanumeric() || (i > 0 && b == b'-'));
    let value_ok = value.is_none_or(|v| !v.is_empty() && !v.contains('='));
    if keyword.is_empty() || !keyword_ok || !value_ok {
        return Err(CommandError::ParameterForm);
    }
    Ok((keyword, value))
}

#[derive(Clone, Copy, PartialEq)]
enum Keyword {
    Size,
    Body,
    SmtpUtf8,
    RequireTls,
    Ret,
    Envid,
    Auth,
    Notify,
    Orcpt,
}

impl Keyword {
    fn of(text: &str, among: &[Self]) -> Option<Self> {
        among
            .iter()
            .copied()
            .find(|k| k.name().eq_ignore_ascii_case(text))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Size => "SIZE",
            Self::Body => "BODY",
            Self::SmtpUtf8 => "SMTPUTF8",
            Self::RequireTls => "REQUIRETLS",
            Self::Ret => "RET",
            Self::Envid => "ENVID",
            Self::Auth => "AUTH",
            Self::Notify => "NOTIFY",
            Self::Orcpt => "ORCPT",
        }
    }

    const fn bad(self, problem: &'static str) -> CommandError {
        CommandError::Parameter {
            name: self.name(),
            problem,
        }
    }

    fn value(self, value: Option<&str>) -> Result<&str, CommandError> {
        value.ok_or_else(|| self.bad("it needs a value"))
    }

    fn flag(self, value: Option<&str>) -> Result<bool, CommandError> {
        match value {
            None => Ok(true),
            Some(_) => Err(self.bad("it takes no value")),
        }
    }
}

/// Which parameters the line had already.
#[derive(Default)]
struct Seen(u16);

impl Seen {
    /// RFC 3461 section 4.5, RFC 8689 section 2: a parameter appears once.
    fn once(&mut self, keyword: Keyword) -> Result<(), CommandError> {
        let bit = 1 << keyword as u16;
        if self.0 & bit != 0 {
            return Err(keyword.bad("it is given twice"));
        }
        self.0 |= bit;
        Ok(())
    }
}

/// RFC 1870 section 5: `1*20DIGIT`.
fn size(value: &str) -> Result<u64, CommandError> {
    if value.len() > 20 || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Keyword::Size.bad("it is not a number of up to 20 digits"));
    }
    // All digits: only overflow is left, and that is larger than any limit.
    Ok(value.parse().unwrap_or(u64::MAX))
}

/// RFC 4954 section 5: `<>` or an address in xtext. What is no address says as little as `<>`.
fn submitter(value: &str) -> Result<Submitter, CommandError> {
    let bad = Keyword::Auth.bad("it is not xtext (RFC 4954 section 5)");
    let octets = xtext::decode(value).map_err(|_| bad)?;
    let mailbox = String::from_utf8(octets).ok().and_then(|t| t.parse().ok());
    Ok(mailbox.map_or(Submitter::Unknown, Submitter::Mailbox))
}

/// RFC 6152 section 2. `BINARYMIME` is not offered (row E2-45).
fn body(value: &str) -> Result<BodyType, CommandError> {
    if value.eq_ignore_ascii_case("7BIT") {
        Ok(BodyType::SevenBit)
    } else if value.eq_ignore_ascii_case("8BITMIME") {
        Ok(BodyType::EightBit)
    } else {
        Err(Keyword::Body.bad("it is neither 7BIT nor 8BITMIME"))
    }
}

/// RFC 3461 section 4.3.
fn ret(value: &str) -> Result<Ret, CommandError> {
    if value.eq_ignore_ascii_case("FULL") {
        Ok(Ret::Full)
    } else if value.eq_ignore_ascii_case("HDRS") {
        Ok(Ret::Headers)
    } else {
        Err(Keyword::Ret.bad("it is neither FULL nor HDRS"))
    }
}

/// RFC 3461 section 4.4: xtext of at most 100 characters.
fn envid(value: &str) -> Result<Box<str>, CommandError> {
    if value.len() > MAX_ENVID {
        return Err(Keyword::Envid.bad("it is longer than 100 characters"));
    }
    xtext::check(value).map_err(|_| Keyword::Envid.bad("it is not xtext"))?;
    Ok(value.into())
}

/// RFC 3461 section 4.1: `NEVER` alone, or a list of events.
fn notify(value: &str) -> Result<Notify, CommandError> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(Notify::Never);
    }
    let (mut success, mut failure, mut delay) = (false, false, false);
    for event in value.split(',') {
        if event.eq_ignore_ascii_case("SUCCESS") {
            success = true;
        } else if event.eq_ignore_ascii_case("FAILURE") {
            failure = true;
        } else if event.eq_ignore_ascii_case("DELAY") {
            delay = true;
        } else {
            return Err(
                Keyword::Notify.bad("it is neither NEVER nor a list of SUCCESS, FAILURE, DELAY")
            );
        }
    }
    Ok(Notify::On {
        success,
        failure,
        delay,
    })
}

/// RFC 3461 section 4.2: `addr-type ";" xtext`, at most 500 characters. With the type `utf-8`
/// the address may be in UTF-8 (RFC 6533 section 3).
fn orcpt(value: &str) -> Result<Box<str>, CommandError> {
    let bad = |problem| Keyword::Orcpt.bad(problem);
    if value.len() > MAX_ORCPT {
        return Err(bad("it is longer than 500 characters"));
    }
    let (kind, address) = value
        .split_once(';')
        .filter(|(kind, address)| !kind.is_empty() && !address.is_empty())
        .ok_or_else(|| bad("it is not of the form type;address"))?;
    if !kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(bad("its address type is not an atom"));
    }
    let checked: String;
    let ascii = if kind.eq_ignore_ascii_case("utf-8") && !address.is_ascii() {
        checked = address.chars().filter(char::is_ascii).collect();
        checked.as_str()
    } else {
        address
    };
    xtext::check(ascii).map_err(|_| bad("its address is not xtext"))?;
    Ok(value.into())
}

const MAIL: &[Keyword] = &[
    Keyword::Size,
    Keyword::Body,
    Keyword::SmtpUtf8,
    Keyword::RequireTls,
    Keyword::Ret,
    Keyword::Envid,
    Keyword::Auth,
];
const RCPT: &[Keyword] = &[Keyword::Notify, Keyword::Orcpt];
const MAX_ENVID: usize = 100;
const MAX_ORCPT: usize = 500;
