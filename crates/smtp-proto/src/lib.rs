//! SMTP client and server sessions as state machines without I/O (RFC 5321 and extensions).

mod client;
mod command;
mod data_in;
mod data_out;
mod reply;
mod scram;
pub mod server;

pub use client::{
    AuthAction, AuthFault, Authentication, Credentials, CredentialsError, Exchange, ExchangeAction,
    ExchangeFault, Extensions, Framing, Mechanism, Mechanisms, MissingExtension, Opening,
    OpeningAction, OpeningFault, RecipientOutcome, ScramFault, SizeLimit, Stage, StartTls,
    StartTlsRule, Transaction,
};
pub use command::{
    AuthText, Command, CommandError, ForwardPath, MailCommand, PathError, RcptCommand,
};
pub use data_in::{BareNewline, BdatReader, ContentCounts, DataDecoder, Piece};
pub use data_out::{DataEncoder, WireQueue};
pub use mail_types::xtext;
pub use reply::{Reply, ReplyClass, ReplyError, ReplyLimits, ReplyParser, write_reply};
pub use scram::{ScramKeys, ScramSecret};
