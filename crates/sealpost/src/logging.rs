//! Diagnostics by `tracing`, to standard error. The events of mail have a writer of their own and
//! do not pass here.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The filter that `log.level` describes.
///
/// # Errors
/// It is no list of `part=level`.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(level)
}

/// Starts writing diagnostics; called once, by the daemon.
///
/// # Errors
/// The level is wrong, or something writes already.
pub(crate) fn start(level: &str) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(|error| anyhow::anyhow!("diagnostics cannot be started: {error}"))
}
