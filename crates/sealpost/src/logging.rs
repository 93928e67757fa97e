//! Diagnostics by `tracing`, to standard error. The events of mail have a writer of their own and
//! do not pass here.

use std::io::IsTerminal;

/// Puts another level in force.
pub(crate) type SetLevel = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Starts writing diagnostics; called once, by the daemon.
///
/// # Errors
/// The level is wrong, or something writes already.
pub(crate) fn start(level: &str) -> anyhow::Result<SetLevel> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(settings::log_filter(level)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter_reloading();
    let handle = builder.reload_handle();
    builder
        .try_init()
        .map_err(|error| anyhow::anyhow!("diagnostics cannot be started: {error}"))?;
    Ok(Box::new(move |level| {
        let filter = settings::log_filter(level).map_err(|e| e.to_string())?;
        handle.reload(filter).map_err(|e| e.to_string())
    }))
}
