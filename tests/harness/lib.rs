//! What all suites share: the real binary with its events, a small SMTP client, and other people's
//! servers on loopback.
//!
//! Everything here runs inside a test made by [`testkit::net_test!`], so that ports and processes
//! are the test's own. What cannot be started fails the test and says what to install or to do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test support: a panic is the failure report"
)]

mod binary;
mod collector;
mod config;
mod corpus;
mod daemon;
mod dovecot;
mod event;
mod http;
mod knot;
mod nginx;
mod postfix;
mod relay;
mod smtp;
mod stripper;
mod unbound;
mod users;

pub use binary::{CliOutput, cli, sealpost_binary, without_settings};
pub use collector::{Collector, SpanSeen};
pub use config::RelayConfig;
pub use corpus::{CorpusMessage, mail_corpus};
pub use daemon::{Daemon, eventually, program};
pub use dovecot::Dovecot;
pub use event::Event;
pub use http::{Http, HttpAnswer};
pub use knot::{Knot, Signing};
pub use nginx::{Nginx, NginxSite};
pub use postfix::{Postfix, PostfixSetup};
pub use relay::{Relay, answers};
pub use smtp::{Reply, SmtpClient};
pub use stripper::Stripper;
pub use unbound::Unbound;
pub use users::Users;
