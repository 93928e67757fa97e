//! The sealpost binary: commands, configuration, wiring, logging.

mod config;
mod logging;
mod serve;

fn main() {}
