//! `cargo xtask test`: every suite, its seconds, and one line at the end.

use std::process::Command;
use std::time::Instant;

use anyhow::bail;

use crate::cargo::{Stream, Workspace, cargo, watched, workspace};
use crate::packages;
use crate::tally::Tally;

/// Runs the named suites, or all; whether everything passed.
///
/// # Errors
/// Something that the tests need is missing or cannot be built.
pub(crate) fn run(wanted: &[String]) -> anyhow::Result<bool> {
    let workspace = workspace()?;
    let suites = chosen(&workspace, wanted)?;
    let runner = Runner::find();
    println!("tests are run by {}", runner.name());
    let has = |name: &str| suites.iter().any(|suite| suite == name);
    packages::ensure(has(INTEROP), has(CRASH), has(BROWSER))?;
    build(runner)?;

    let mut total = Tally::default();
    let mut all = true;
    for suite in &suites {
        println!("\n== {suite}");
        let begun = Instant::now();
        let mut tally = Tally::default();
        let mut passed = true;
        for (mut command, stream) in runner.commands(suite) {
            command.env(
                "SEALPOST_BIN",
                workspace.target.join("debug").join("sealpost"),
            );
            passed &= watched(&mut command, stream, &mut |line| tally.see(line))?;
        }
        // A suite that cannot be run at all has failed once.
        if !passed && tally.failed == 0 {
            tally.failed = 1;
        }
        all &= passed;
        total.add(tally);
        println!(
            "== {suite}: {} passed, {} failed, {:.1} s",
            tally.passed,
            tally.failed,
            begun.elapsed().as_secs_f64()
        );
    }
    if total.ignored > 0 {
        println!(
            "{} tests are marked as ignored and were not run",
            total.ignored
        );
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    Ok(all && total.failed == 0)
}

/// Unit tests first, other people's servers last.
fn chosen(workspace: &Workspace, wanted: &[String]) -> anyhow::Result<Vec<String>> {
    let mut suites = workspace.suites.clone();
    suites.sort_by_key(|suite| match suite.as_str() {
        "tidy" => 0,
        CRASH => 2,
        INTEROP => 3,
        _ => 1,
    });
    suites.insert(0, UNIT.to_owned());
    if wanted.is_empty() {
        return Ok(suites);
    }
    for name in wanted {
        if !suites.contains(name) {
            bail!("there is no suite {name}; there are: {}", suites.join(", "));
        }
    }
    suites.retain(|suite| wanted.contains(suite));
    Ok(suites)
}

/// The binary and all tests, before any suite's clock runs.
fn build(runner: Runner) -> anyhow::Result<()> {
    for args in [
        ["build", "--workspace", "--bins"].as_slice(),
        runner.build_tests(),
    ] {
        println!("cargo {}", args.join(" "));
        if !cargo().args(args).status()?.success() {
            bail!("cargo {} failed", args.join(" "));
        }
    }
    Ok(())
}

/// nextest where it is installed, else cargo's own.
#[derive(Clone, Copy, Debug)]
enum Runner {
    Cargo,
    Nextest,
}

impl Runner {
    fn find() -> Self {
        let version = cargo().args(["nextest", "--version"]).output();
        match version {
            Ok(output) if output.status.success() => Self::Nextest,
            _ => Self::Cargo,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Cargo => "cargo test (cargo-nextest is not installed, and not needed)",
            Self::Nextest => "cargo nextest",
        }
    }

    const fn build_tests(self) -> &'static [&'static str] {
        &[
            "test",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
            "--no-run",
        ]
    }

    /// What runs a suite, and where each command prints its summary.
    fn commands(self, suite: &str) -> Vec<(Command, Stream)> {
        let command = |args: &[&str]| {
            let mut command = cargo();
            command.args(args).arg("--workspace");
            command
        };
        let targets: &[&str] = match suite {
            UNIT => &["--lib", "--bins"],
            suite => &["--test", suite],
        };
        let (run, stream) = match self {
            Self::Cargo => (&["test", "--no-fail-fast"][..], Stream::Output),
            Self::Nextest => (&["nextest", "run", "--no-fail-fast"][..], Stream::Error),
        };
        let mut tests = command(run);
        tests.args(targets);
        if suite == CRASH {
            // Its seeds and figures are wanted when all is well, too; and it starts relays on both
            // processors, so that two tests at a time are enough.
            tests.args(match self {
                Self::Cargo => ["--", "--nocapture", "--test-threads=2"],
                Self::Nextest => ["--success-output=final", "--test-threads", "2"],
            });
        }
        let mut commands = vec![(tests, stream)];
        if suite == UNIT {
            commands.push((
                command(&["test", "--doc", "--no-fail-fast"]),
                Stream::Output,
            ));
        }
        commands
    }
}

const UNIT: &str = "unit";
const BROWSER: &str = "browser";
const CRASH: &str = "crash";
const INTEROP: &str = "interop";
