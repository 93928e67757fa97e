//! `cargo xtask fuzz`: each target for a while, by libFuzzer.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::cargo::{cargo, workspace};

/// Runs the named targets, or all, for so many seconds each; whether nothing was found.
///
/// # Errors
/// `cargo-fuzz` is missing, or the targets do not build.
pub(crate) fn run(seconds: u64, wanted: &[String]) -> anyhow::Result<bool> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz");
    let here = cargo()
        .args(["fuzz", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !here.is_ok_and(|status| status.success()) {
        bail!("cargo-fuzz is missing; run: cargo install cargo-fuzz --locked");
    }
    let targets = chosen(&targets(&folder)?, wanted)?;
    let work = workspace()?.target.join("fuzz");
    let built = fuzz(&folder, &work, &["build"]).status();
    if !built.context("cannot run cargo-fuzz")?.success() {
        bail!("the fuzz targets do not build");
    }
    let mut found = Vec::new();
    for target in &targets {
        // What is new goes to a folder of its own: the seeds in the repository stay few.
        let grown = work.join("corpus").join(target);
        std::fs::create_dir_all(&grown)
            .with_context(|| format!("cannot make {}", grown.display()))?;
        let status = fuzz(&folder, &work, &["run", target])
            .arg(&grown)
            .arg(folder.join("corpus").join(target))
            .args(["--", "-timeout=20", "-max_len=8192", "-print_final_stats=1"])
            .arg(format!("-max_total_time={seconds}"))
            .status()?;
        if !status.success() {
            found.push(target.as_str());
        }
    }
    if found.is_empty() {
        println!(
            "nothing found by {} in {seconds} s each",
            targets.join(", ")
        );
    } else {
        println!(
            "found something: {}; the inputs are in tests/fuzz/artifacts",
            found.join(", ")
        );
    }
    Ok(found.is_empty())
}

/// The sanitizer wants switches that are not stable, and has its libraries in the stable toolchain.
fn fuzz(folder: &Path, work: &Path, args: &[&str]) -> Command {
    let mut command = cargo();
    command
        .arg("fuzz")
        .args(&args[..1])
        .arg("--fuzz-dir")
        .arg(folder)
        .args(&args[1..])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", work)
        .current_dir(folder);
    command
}

fn targets(folder: &Path) -> anyhow::Result<Vec<String>> {
    let targets = folder.join("targets");
    let listed = std::fs::read_dir(&targets)
        .with_context(|| format!("cannot read {}", targets.display()))?;
    let paths: Vec<PathBuf> = listed
        .map(|e| Ok(e?.path()))
        .collect::<std::io::Result<_>>()?;
    let mut names: Vec<String> = paths
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn chosen(all: &[String], wanted: &[String]) -> anyhow::Result<Vec<String>> {
    if wanted.is_empty() {
        return Ok(all.to_vec());
    }
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!(
            "there is no target {unknown}; there are: {}",
            all.join(", ")
        );
    }
    Ok(wanted.to_vec())
}
