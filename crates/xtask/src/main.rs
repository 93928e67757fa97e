//! Developer commands: `cargo xtask test`, `cargo xtask lint`, `cargo xtask demo`.

mod cargo;
mod demo;
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
    /// Run the relay in a small internet of its own and show what it does.
    Demo,
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Test { suites } => suites::run(&suites),
        Command::Lint => lint::run(),
        Command::Demo => demo::run(),
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
