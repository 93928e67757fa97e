//! Running cargo, always for the whole workspace: a selection of packages would unify other
//! features, and build the dependencies once more.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What `cargo run` set for this program is not meant for the ones below.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// What the workspace is made of.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Where cargo puts what it builds.
    pub target: PathBuf,
    /// Names of the `[[test]]` targets of the tests' package.
    pub suites: Vec<String>,
}

/// Asks `cargo metadata`.
///
/// # Errors
/// cargo fails, or answers what is not expected of it.
pub(crate) fn workspace() -> anyhow::Result<Workspace> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed");
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target directory")?;
    let tests = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == TESTS)
        .with_context(|| format!("there is no package {TESTS}"))?;
    let suites = tests["targets"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|target| target["kind"][0] == "test")
        .filter_map(|target| Some(target["name"].as_str()?.to_owned()))
        .collect();
    Ok(Workspace {
        target: target.into(),
        suites,
    })
}

/// Runs a command, shows what it prints and hands each line to `see`; whether it succeeded.
///
/// # Errors
/// It cannot be run.
pub(crate) fn watched(
    command: &mut Command,
    watch: Stream,
    see: &mut dyn FnMut(&str),
) -> anyhow::Result<bool> {
    match watch {
        Stream::Output => command.stdout(Stdio::piped()),
        Stream::Error => command.stderr(Stdio::piped()),
    };
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let lines: Box<dyn BufRead> = match (child.stdout.take(), child.stderr.take()) {
        (Some(output), _) => Box::new(BufReader::new(output)),
        (None, Some(error)) => Box::new(BufReader::new(error)),
        (None, None) => bail!("no output to watch"),
    };
    for line in lines.split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        see(&line);
    }
    Ok(child.wait()?.success())
}

/// Which stream to watch; the other goes where ours goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Output,
    Error,
}

const TESTS: &str = "sealpost-tests";
