//! Developer commands: `cargo xtask test`, `cargo xtask lint`.

mod cargo;
mod lint;
mod packages;
mod suites;
mod tally;

use std::process::ExitCode;

use clap::Parser;

/// Developer commands.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    /// Run all tests: unit, tidy, scenarios, interop with other people's servers.
    Test {
        /// Only these suites, for instance `unit tidy`.
        suites: Vec<String>,
    },
    /// Check formatting, clippy and documentation, warnings as errors.
    Lint,
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Test { suites } => suites::run(&suites),
        Command::Lint => lint::run(),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
