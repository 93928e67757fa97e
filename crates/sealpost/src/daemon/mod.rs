//! The parts of the running daemon.

mod alarm;
mod dnssec;
mod events;
mod intake;
mod log_writer;
mod observe;
pub(crate) mod open;
mod process;
mod scrape;
mod start;
pub(crate) mod translate;
mod trust;

pub(crate) use start::run;
