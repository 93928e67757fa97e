//! The event log: one buffer that everybody appends to, a thread that empties it, and what takes the
//! lines: a file, a pipe, the systemd journal.
//!
//! Whoever has an event never waits for the log ([`EventLog::write`]). What it cannot take is counted,
//! shown while that lasts ([`EventLog::losing`]), and told by the event `log.resumed` once it goes on.
//!
//! [`Ends`] keeps in memory what operators ask of the log most: how mail ended.

mod ends;
mod journald;
mod sink;
mod sparing;
mod writer;

pub use ends::Ends;
pub use journald::{SOCKET as JOURNAL_SOCKET, is_stdout as stdout_is_the_journal};
pub use sparing::Sparing;
pub use writer::{EventLog, Guard, Losing, Outlet, Target};
