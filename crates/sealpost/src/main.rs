//! The sealpost binary: commands, configuration, wiring, logging.
fn main() {}
