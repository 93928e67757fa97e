//! Diagnostics by `tracing`, to standard error. The events of mail have a writer of their own and
//! do not pass here.

use std::io::IsTerminal;

/// Starts writing diagnostics; called once, by the daemon.
///
/// # Errors
/// The level is wrong, or something writes already.
pub(crate) fn start(level: &str) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(settings::log_filter(level)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(|error| anyhow::anyhow!("diagnostics cannot be started: {error}"))
}
