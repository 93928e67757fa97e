//! A small internet for tests, in the test's own process and on its own loopback.
//!
//! * [`net_test!`] runs a test in a network namespace of its own, where ports 25, 53 and 443 of all
//!   of 127.0.0.0/8 are free;
//! * [`Zone`] is a DNS server that can be changed, and broken, while it runs;
//! * [`PolicyHost`] serves MTA-STS policies over HTTPS, well or badly;
//! * [`FakeMx`] is an SMTP server that keeps what it gets and misbehaves on request;
//! * [`TestCa`] issues the certificates, good and bad.
//!
//! All of them keep a log of what they saw, wait for events instead of sleeping, and end when they
//! are dropped. What they cannot do they say by a panic: they are for tests only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test support: a panic is the failure report"
)]

mod board;
mod ca;
mod fake_mx;
mod listen;
pub mod namespace;
mod policy_host;
mod zone;

pub use board::Board;
pub use ca::{CertBuilder, Leaf, TestCa};
pub use fake_mx::{
    Action, Banner, Extensions, FakeMx, Line, Login, ReceivedMessage, Rule, Script, SessionSeen,
    StartTls, TlsSeen, Way,
};
pub use hickory_server::proto::rr::{RData, RecordType};
pub use policy_host::{PolicyFault, PolicyHost, PolicyRequest, policy_text};
pub use zone::{QuerySeen, Zone, ZoneFault};
