//! `cargo xtask demo`: the real binary on a private loopback, with a small internet of six domains
//! around it. It sends one message to each and shows what the relay says about it.
//!
//! The exit status is 0 only if all six messages fare as they should.
#![allow(
    clippy::expect_used,
    reason = "like the tests, whose harness it is made of: a panic is the failure report"
)]

mod explanation;
mod internet;
mod screen;
mod story;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use testkit::namespace;

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_none() {
        return enter();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a tokio runtime");
    if runtime.block_on(story::tell()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs this program again, where ports 25, 53 and 443 are its own.
fn enter() -> ExitCode {
    let this = std::env::current_exe().expect("the path of this program");
    let Some(sealpost) = sealpost(&this) else {
        eprintln!("demo: there is no sealpost beside it: run `cargo xtask demo`");
        return ExitCode::FAILURE;
    };
    let mut command: Command = namespace::command(&this);
    command.env(INSIDE, "1").env(BINARY, sealpost);
    match namespace::status(&mut command) {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(refused) => {
            eprintln!("demo: {refused}");
            ExitCode::FAILURE
        }
    }
}

fn sealpost(this: &Path) -> Option<OsString> {
    let beside = this.with_file_name("sealpost");
    std::env::var_os(BINARY)
        .or_else(|| Some(beside.into_os_string()))
        .filter(|path| PathBuf::from(path).is_file())
}

const INSIDE: &str = "SEALPOST_DEMO_INSIDE";
const BINARY: &str = "SEALPOST_BIN";
