//! The sealpost binary: commands, configuration, wiring, logging.

mod config;
mod serve;

fn main() {}
