//! The parts of the running daemon.

mod events;
mod intake;
mod log_writer;
mod observe;
mod open;
mod process;
mod scrape;
mod start;
mod translate;

pub(crate) use start::run;
