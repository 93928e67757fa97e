//! `cargo xtask demo`

use std::process::Command;

use anyhow::{Context, bail};

use crate::cargo::{cargo, workspace};

/// Builds the relay and the program that shows it, and runs that; whether all went as it should.
///
/// # Errors
/// They cannot be built or run.
pub(crate) fn run() -> anyhow::Result<bool> {
    let built = cargo()
        .args(["build", "--quiet", "--workspace", "--bins"])
        .status()
        .context("cannot run cargo")?;
    if !built.success() {
        bail!("sealpost does not build");
    }
    let programs = workspace()?.target.join("debug");
    let status = Command::new(programs.join("demo"))
        .env("SEALPOST_BIN", programs.join("sealpost"))
        .status()
        .context("cannot run the demonstration")?;
    Ok(status.success())
}
