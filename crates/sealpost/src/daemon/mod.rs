//! The parts of the running daemon.

mod alarm;
mod dnssec;
mod events;
mod intake;
mod journald;
mod log_writer;
mod observe;
pub(crate) mod open;
mod placed;
mod process;
mod reload;
mod reminders;
mod scrape;
mod start;
mod trace;
pub(crate) mod translate;
mod trust;

pub(crate) use start::run;
