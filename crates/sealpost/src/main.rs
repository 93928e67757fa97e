//! The sealpost binary: commands, configuration, wiring, logging.

mod cli;
mod commands;
mod control_client;
mod daemon;
mod exit;
mod logging;
mod output;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::Cli;
use crate::exit::Status;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Status::Ok.into(),
                _ => Status::Usage.into(),
            };
        }
    };
    match commands::run(cli) {
        Ok(status) => status.into(),
        Err(error) => exit::report(&error).into(),
    }
}
