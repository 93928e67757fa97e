//! The words of refusals that several places use, and of commands that are not commands.

use crate::CommandError;
use crate::server::{Cause, Refusal};

pub(super) fn too_many() -> Refusal {
    let text = "Too many errors; closing the connection, a new one may be opened at once";
    Refusal::transient(421, 7, 0, text)
}

pub(super) fn too_many_messages(so_far: u64) -> Refusal {
    let text = format!("{so_far} messages in one connection; open another for the next");
    Refusal::transient(421, 7, 0, text)
}

pub(super) fn nul_dot() -> Refusal {
    let text = "A line is a dot and NUL, which some servers take for the end of the message";
    Refusal::permanent(550, 6, 0, text)
}

pub(super) fn bare_newline() -> Refusal {
    Refusal::permanent(
        550,
        5,
        2,
        "Bare CR or LF received: lines must end with CRLF (RFC 5321 section 2.3.8); closing the connection",
    )
}

pub(super) fn tls_on_plain_port() -> Refusal {
    Refusal::transient(421, 7, 0, "This port begins in plain SMTP: use STARTTLS")
}

pub(super) fn endless_line() -> Refusal {
    Refusal::transient(421, 5, 2, "A line without an end; closing the connection")
}

pub(super) fn starttls_first() -> Refusal {
    Refusal::permanent(530, 7, 0, "Must issue a STARTTLS command first")
}

/// RFC 4954 section 6, as are the next four.
pub(super) fn bad_credentials() -> Refusal {
    Refusal::permanent(535, 7, 8, "Authentication credentials invalid")
}

pub(super) fn weak_mechanism() -> Refusal {
    let text = "Authentication mechanism is too weak for this user: use SCRAM-SHA-256";
    Refusal::permanent(534, 7, 9, text)
}

pub(super) fn encryption_first() -> Refusal {
    let text = "Encryption required for authentication: say STARTTLS first";
    Refusal::permanent(538, 7, 11, text)
}

pub(super) fn login_first() -> Refusal {
    Refusal::permanent(530, 7, 0, "Authentication required")
}

pub(super) fn unknown_mechanism() -> Refusal {
    let text = "This authentication mechanism is not offered; EHLO lists those that are";
    Refusal::permanent(504, 5, 4, text)
}

pub(super) fn too_many_logins() -> Refusal {
    let text = "Too many failed logins; closing the connection, a new one may be opened at once";
    Refusal::transient(421, 7, 0, text)
}

/// RFC 4954 section 4: the limit of 12,288 octets.
pub(super) fn auth_line_too_long() -> Refusal {
    Refusal::permanent(500, 5, 6, "Authentication exchange line is too long")
}

pub(super) fn unqualified(status: (u16, u16), which: &str) -> Refusal {
    let (subject, detail) = status;
    let text = format!("The domain of the {which} address is not fully qualified");
    Refusal::permanent(550, subject, detail, text)
}

pub(super) fn too_large(max: u64) -> Refusal {
    let text = format!("Message is larger than the limit of {max} octets");
    Refusal::permanent(552, 3, 4, text)
}

pub(super) fn utf8_address() -> Refusal {
    Refusal::permanent(553, 6, 7, "An address in UTF-8 needs SMTPUTF8 with MAIL")
}

pub(super) fn out_of_order(text: &'static str) -> Refusal {
    Refusal::permanent(503, 5, 1, text)
}

pub(super) fn unknown_parameter() -> Refusal {
    Refusal::permanent(555, 5, 4, "MAIL or RCPT parameter not recognised")
}

/// How a bad line is answered.
pub(super) fn command(error: &CommandError) -> Refusal {
    let (code, subject, detail) = match error {
        CommandError::Unknown | CommandError::OtherProtocol => (500, 5, 2),
        CommandError::Text => (501, 5, 2),
        CommandError::Syntax(_)
        | CommandError::Chunk
        | CommandError::ParameterForm
        | CommandError::Parameter { .. } => (501, 5, 4),
        // RFC 3463 section 3.2: X.1.7 bad sender, X.1.3 bad recipient address syntax.
        CommandError::Sender(_) => (501, 1, 7),
        CommandError::Recipient(_) => (501, 1, 3),
        CommandError::UnknownParameter => return unknown_parameter(),
    };
    let mut text = error.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    if *error == CommandError::Chunk {
        text.push_str("; closing the connection");
    }
    Refusal::permanent(code, subject, detail, text)
}

/// Under which label a bad MAIL or RCPT counts.
pub(super) const fn cause(error: &CommandError) -> Cause {
    match error {
        CommandError::Parameter { .. }
        | CommandError::ParameterForm
        | CommandError::UnknownParameter => Cause::Parameter,
        _ => Cause::Syntax,
    }
}
