//! The daemon: opens everything in order and runs until told to stop.

use settings::Settings;

/// Runs the relay in the foreground.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    anyhow::bail!("serving {} is not wired up yet", settings.server.hostname)
}
