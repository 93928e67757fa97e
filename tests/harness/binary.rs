//! The binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct CliOutput {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl CliOutput {
    /// Standard output as JSON.
    ///
    /// # Panics
    /// If it is none, with all that was printed.
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(e) => panic!("no JSON ({e}): {self:?}"),
        }
    }
}

/// The path of `sealpost`: `SEALPOST_BIN` if that is set, else the one that cargo builds beside
/// this test, brought up to date once per process.
///
/// # Panics
/// If it cannot be built.
pub fn sealpost_binary() -> &'static Path {
    &BINARY
}

/// Runs `sealpost ARGS --config CONFIG` to its end.
///
/// # Panics
/// If it cannot be started.
pub async fn cli(config: &Path, args: &[&str]) -> CliOutput {
    let mut command = tokio::process::Command::new(sealpost_binary());
    command.args(args).arg("--config").arg(config);
    without_settings(command.as_std_mut());
    let output = match command.kill_on_drop(true).output().await {
        Ok(output) => output,
        Err(e) => panic!("cannot run {command:?}: {e}"),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    CliOutput {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Takes away what would override the test's configuration file, and names a proxy that is not there: nothing that
/// the relay fetches goes through one.
pub fn without_settings(command: &mut Command) {
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("SEALPOST__") {
            command.env_remove(key);
        }
    }
    command.env_remove("NOTIFY_SOCKET");
    for key in ["NO_PROXY", "no_proxy"] {
        command.env_remove(key);
    }
    for key in [
        "HTTPS_PROXY",
        "https_proxy",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env(key, "http://127.0.0.1:1/");
    }
}

static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
    if let Some(path) = std::env::var_os("SEALPOST_BIN") {
        let path = PathBuf::from(path);
        assert!(
            path.is_file(),
            "SEALPOST_BIN is no file: {}",
            path.display()
        );
        return path;
    }
    // target/PROFILE/deps/test-hash
    let exe = std::env::current_exe().expect("the path of the test binary");
    let profile = exe
        .parent()
        .and_then(Path::parent)
        .expect("a test binary lies in target/PROFILE/deps");
    build(profile);
    let binary = profile.join("sealpost");
    assert!(
        binary.is_file(),
        "there is no {}: run `cargo build -p sealpost`, or set SEALPOST_BIN",
        binary.display()
    );
    binary
});

/// cargo does not rebuild a binary for another package's tests: without this they would run against
/// whatever was built last.
fn build(profile: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--quiet",
            "--offline",
            "--workspace",
            "--bin",
            "sealpost",
        ])
        .arg("--target-dir")
        .arg(profile.parent().expect("target"))
        .current_dir(root);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let output = match command.output() {
        Ok(output) => output,
        Err(e) => panic!("cannot run cargo to build sealpost: {e}; or set SEALPOST_BIN"),
    };
    assert!(
        output.status.success(),
        "sealpost does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
