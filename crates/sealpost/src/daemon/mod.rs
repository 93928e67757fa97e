//! The parts of the running daemon.

mod activation;
mod alarm;
pub(crate) mod certificates;
mod clock;
mod closed;
mod descriptors;
pub(crate) mod dnssec;
mod events;
mod form;
mod intake;
pub(crate) mod logins;
mod observe;
pub(crate) mod open;
mod otlp;
mod page;
mod placed;
mod process;
mod recipients;
mod refusing;
mod reload;
mod reminders;
mod reporting;
mod scrape;
mod signals;
pub(crate) mod signing;
mod start;
mod trace;
pub(crate) mod translate;
mod trust;

pub(crate) use descriptors::refuse_core_dumps;
pub(crate) use start::run;
mod watchdog;
