//! The sealpost binary: commands, configuration, wiring, logging.

mod cli;
mod commands;
mod control_client;
mod daemon;
mod exit;
mod logging;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::Cli;
use crate::exit::Status;

/// A queue of a million messages comes and goes: the C library's allocator keeps two thirds of what it took.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    if let Some(arguments) = as_sendmail() {
        return match commands::sendmail::run(None, arguments) {
            Ok(status) => status.into(),
            Err(error) => exit::report(&error).into(),
        };
    }
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

/// What stands behind the name, if the name is `sendmail`: that of a symbolic link to us.
fn as_sendmail() -> Option<Vec<String>> {
    let mut arguments = std::env::args_os();
    let name = arguments.next()?;
    let is_sendmail = Path::new(&name).file_name()? == "sendmail";
    let text = |argument: std::ffi::OsString| argument.to_string_lossy().into_owned();
    is_sendmail.then(|| arguments.map(text).collect())
}
