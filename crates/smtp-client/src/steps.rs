//! The steps of a session in words, for who is told where it failed.

use smtp_proto::Stage;

/// At which step it was.
#[must_use]
pub const fn stage_words(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => "on connecting",
        Stage::Banner => "in its greeting",
        Stage::Ehlo => "in answer to EHLO",
        Stage::StartTls => "in answer to STARTTLS",
        Stage::Handshake => "in the TLS handshake",
        Stage::EhloTls => "in answer to EHLO inside TLS",
        Stage::Auth => "at the login",
        Stage::Rset => "in answer to RSET",
        Stage::Mail => "in answer to MAIL FROM",
        Stage::Rcpt => "in answer to RCPT TO",
        Stage::Data => "in answer to DATA",
        Stage::Dot => "at the end of the data",
        Stage::Quit => "in answer to QUIT",
    }
}

/// What was waited for at that step.
#[must_use]
pub const fn awaited(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => "connection",
        Stage::Banner => "greeting",
        Stage::Ehlo => "answer to EHLO",
        Stage::StartTls => "answer to STARTTLS",
        Stage::Handshake => "end of the TLS handshake",
        Stage::EhloTls => "answer to EHLO inside TLS",
        Stage::Auth => "answer to the login",
        Stage::Rset => "answer to RSET",
        Stage::Mail => "answer to MAIL FROM",
        Stage::Rcpt => "answer to RCPT TO",
        Stage::Data => "answer to DATA",
        Stage::Dot => "answer to the end of the data",
        Stage::Quit => "answer to QUIT",
    }
}
