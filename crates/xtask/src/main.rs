//! Developer commands: `cargo xtask test`, `cargo xtask lint`, `cargo xtask fuzz`, `cargo xtask
//! demo`.

mod cargo;
mod demo;
mod fuzz;
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
    /// Feed attackers' octets to the parsers, each target for so many seconds (needs cargo-fuzz).
    Fuzz {
        /// For each target.
        #[arg(default_value_t = 60)]
        seconds: u64,
        /// Only these targets, for instance `data command`.
        targets: Vec<String>,
    },
    /// Run the relay in a small internet of its own and show what it does.
    Demo,
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Test { suites } => suites::run(&suites),
        Command::Lint => lint::run(),
        Command::Fuzz { seconds, targets } => fuzz::run(seconds, &targets),
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
