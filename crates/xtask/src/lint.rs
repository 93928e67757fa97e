//! `cargo xtask lint`

use anyhow::Context;

use crate::cargo::cargo;

/// Runs every check, also after one has failed; whether all passed.
///
/// # Errors
/// cargo cannot be run.
pub(crate) fn run() -> anyhow::Result<bool> {
    let mut all = true;
    for args in CHECKS {
        println!("cargo {}", args.join(" "));
        let status = cargo()
            .args(args)
            .env("RUSTDOCFLAGS", "-D warnings")
            .status()
            .context("cannot run cargo")?;
        all &= status.success();
    }
    Ok(all)
}

const CHECKS: [&[&str]; 3] = [
    &["fmt", "--all", "--check"],
    &[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ],
    &["doc", "--workspace", "--no-deps"],
];
