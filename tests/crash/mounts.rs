//! File systems of a test's own. They live in its mount namespace and go with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use sealpost_tests::program;

/// Mounts a file system in memory.
///
/// # Panics
/// If it cannot be mounted.
pub(crate) fn tmpfs(at: &Path, size: &str) {
    std::fs::create_dir_all(at).expect("a folder to mount on");
    let options = format!("size={size},mode=0700");
    demand(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs"], at);
}

/// Shows the processes of the test's own PID namespace in `/proc`.
pub(crate) fn own_processes() {
    demand(&["mount", "-t", "proc", "proc"], Path::new("/proc"));
}

/// An ext4 in a file, of which one can see what a power cut would leave.
pub(crate) struct Image {
    file: PathBuf,
}

impl Image {
    /// Makes one; `Err` says why this machine cannot.
    pub(crate) fn make(file: &Path, megabytes: u64) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() || !is_whole_machines_root() {
            return Err("mounting a file needs the machine's root".into());
        }
        let made = std::fs::File::create(file).and_then(|f| f.set_len(megabytes << 20));
        made.map_err(|e| format!("{}: {e}", file.display()))?;
        let mkfs = program("mkfs.ext4", "e2fsprogs");
        // Nothing is left for the kernel to do later, when the test looks away.
        let lazy = "lazy_itable_init=0,lazy_journal_init=0";
        let mut command = Command::new(mkfs);
        command.args(["-q", "-F", "-E", lazy]).arg(file);
        run(&mut command)?;
        Ok(Self {
            file: file.to_owned(),
        })
    }

    /// Mounts it. Its own journal is committed by `fsync` and nothing else, so that what is only in
    /// memory stays there.
    pub(crate) fn mount(&self, at: &Path) -> Result<(), String> {
        std::fs::create_dir_all(at).map_err(|e| format!("{}: {e}", at.display()))?;
        let mut command = Command::new("mount");
        let options = "loop,commit=600,errors=remount-ro";
        command.args(["-t", "ext4", "-o", options]);
        run(command.arg(&self.file).arg(at))
    }

    /// What is on the device now goes on as a new image; the mounted one is of no interest any more.
    pub(crate) fn cut(&mut self) {
        let copy = self.file.with_extension("copy");
        let mut command = Command::new("cp");
        command.args(["--sparse=always"]).arg(&self.file).arg(&copy);
        run(&mut command).expect("a copy of the device");
        self.file = copy;
    }

    /// The copy takes the old image's place.
    pub(crate) fn settle(&mut self) {
        let name = self.file.with_extension("img");
        std::fs::rename(&self.file, &name).expect("a file of our own");
        self.file = name;
    }

    /// Checks the file system as after a crash, repairing what the journal explains.
    pub(crate) fn check(&self) {
        let mut command = Command::new(program("e2fsck", "e2fsprogs"));
        let status = command.args(["-p"]).arg(&self.file).status();
        let code = status.expect("e2fsck runs").code();
        assert!(matches!(code, Some(0..=2)), "e2fsck: {code:?}");
    }
}

/// Takes a file system away.
pub(crate) fn unmount(at: &Path) {
    demand(&["umount"], at);
}

/// Makes a mounted file system read-only.
pub(crate) fn remount_read_only(at: &Path) {
    demand(&["mount", "-o", "remount,ro"], at);
}

pub(crate) fn remount_writable(at: &Path) {
    demand(&["mount", "-o", "remount,rw"], at);
}

/// Says what was not tested and why. Where everything has to run (`CRASH_ALL=1`, as in CI) that is
/// a failure.
pub(crate) fn not_run(what: &str, why: &str) {
    println!("NOT RUN: {what}: {why}");
    assert!(
        std::env::var_os("CRASH_ALL").is_none(),
        "CRASH_ALL is set and {what} cannot be tested here: {why}"
    );
}

/// Root of this namespace may be nobody outside of it.
pub(crate) fn is_whole_machines_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn demand(words: &[&str], at: &Path) {
    let mut command = Command::new(words[0]);
    if let Err(error) = run(command.args(&words[1..]).arg(at)) {
        panic!("{error}");
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{command:?}: {}: {said}", output.status))
}
