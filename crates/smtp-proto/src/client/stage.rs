//! Where in a session something happened.

use std::fmt;

/// Where in a session something happened; the stages of logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The TCP connection.
    Connect,
    /// Waiting for the 220.
    Banner,
    /// EHLO or HELO before TLS.
    Ehlo,
    /// The STARTTLS command.
    StartTls,
    /// The TLS handshake.
    Handshake,
    /// EHLO inside TLS.
    EhloTls,
    /// AUTH towards a smart host.
    Auth,
    /// RSET between two transactions.
    Rset,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// The DATA command, or the content while it is sent.
    Data,
    /// The final reply, after the last octet of the content was handed over.
    Dot,
    /// QUIT.
    Quit,
}

impl Stage {
    /// What a reply at this stage answers, as Postfix words it.
    #[must_use]
    pub const fn replied_to(self) -> Option<&'static str> {
        Some(match self {
            Self::Ehlo | Self::EhloTls => "EHLO command",
            Self::StartTls => "STARTTLS command",
            Self::Auth => "AUTH command",
            Self::Rset => "RSET command",
            Self::Mail => "MAIL FROM command",
            Self::Rcpt => "RCPT TO command",
            Self::Data => "DATA command",
            Self::Dot => "end of DATA command",
            Self::Quit => "QUIT command",
            Self::Connect | Self::Banner | Self::Handshake => return None,
        })
    }

    /// The word that logs and metrics use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Banner => "banner",
            Self::Ehlo => "ehlo",
            Self::StartTls => "starttls",
            Self::Handshake => "handshake",
            Self::EhloTls => "ehlo-tls",
            Self::Auth => "auth",
            Self::Rset => "rset",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Dot => "dot",
            Self::Quit => "quit",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
