//! The programs that tests run, and the Debian packages that have them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// Sees to it that all of them are there, other people's servers only for `interop`, what breaks
/// things from outside only for `crash`, a browser only for `browser`: as root they are installed, else the command that would
/// install them is named.
///
/// # Errors
/// Some are missing.
pub(crate) fn ensure(interop: bool, crash: bool, browser: bool) -> anyhow::Result<()> {
    let missing = missing(interop, crash, browser);
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!(
        "apt-get update && apt-get install -y --no-install-recommends {}",
        missing.join(" ")
    );
    if !is_root() || !is_program("apt-get") {
        bail!("the tests need packages that are missing; run: sudo sh -c '{install}'");
    }
    println!("installing what the tests need: {install}");
    let status = Command::new("sh")
        .args(["-c", &install])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("cannot run apt-get")?;
    let still = self::missing(interop, crash, browser);
    if !status.success() || !still.is_empty() {
        bail!("could not install {}; run: {install}", still.join(" "));
    }
    Ok(())
}

fn missing(interop: bool, crash: bool, browser: bool) -> Vec<&'static str> {
    let others: &[_] = if interop { &INTEROP } else { &[] };
    let faults: &[_] = if crash { &CRASH } else { &[] };
    let browsers: &[_] = if browser { &BROWSER } else { &[] };
    let mut packages: Vec<&str> = NAMESPACES
        .iter()
        .chain(others)
        .chain(faults)
        .chain(browsers)
        .filter(|(program, _)| !is_program(program))
        .map(|(_, package)| *package)
        .collect();
    if interop && !has_dkimpy() {
        packages.extend(["python3", "python3-dkim", "python3-nacl"]);
    }
    if interop && !swaks_has_tls() {
        packages.push("libnet-ssleay-perl");
    }
    if interop && !has_mail_corpus() {
        packages.extend(["python3", CORPUS]);
    }
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// dkimpy, and what it needs for Ed25519, in the system's Python.
fn has_dkimpy() -> bool {
    let output = Command::new("/usr/bin/python3")
        .args(["-c", "import dkim, nacl"])
        .output();
    output.is_ok_and(|output| output.status.success())
}

/// swaks only recommends the module that it needs for TLS.
fn swaks_has_tls() -> bool {
    let output = Command::new("perl")
        .args(["-e", "use Net::SSLeay"])
        .output();
    output.is_ok_and(|output| output.status.success())
}

/// The messages with which CPython tests its own mail package. Only some Pythons have them, and the
/// system's need not be the one of the path.
fn has_mail_corpus() -> bool {
    ["python3", "/usr/bin/python3"].iter().any(|python| {
        let output = Command::new(python)
            .args(["-c", "import test.test_email"])
            .output();
        output.is_ok_and(|output| output.status.success())
    })
}

/// `/usr/sbin` is not in everybody's path.
fn is_program(name: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .any(|dir| Path::new(dir).join(name).is_file())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Program and package: what makes a test's own loopback, and host name.
const NAMESPACES: [(&str, &str); 4] = [
    ("hostname", "hostname"),
    ("ip", "iproute2"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
];

/// Faults from outside: system calls that fail, file systems of a test's own.
const CRASH: [(&str, &str); 5] = [
    ("e2fsck", "e2fsprogs"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mount", "mount"),
    ("prlimit", "util-linux"),
    ("strace", "strace"),
];

/// The page is clicked in a real browser.
const BROWSER: [(&str, &str); 2] = [
    ("chromedriver", "chromium-driver"),
    ("chromium", "chromium"),
];

/// Other people's servers and tools.
const INTEROP: [(&str, &str); 16] = [
    ("dovecot", "dovecot-core"),
    ("knotd", "knot"),
    ("mount", "mount"),
    ("nginx", "nginx-light"),
    ("opendkim-testmsg", "opendkim-tools"),
    ("openssl", "openssl"),
    ("pflogsumm", "pflogsumm"),
    ("postfix", "postfix"),
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("ps", "procps"),
    ("python3", "python3"),
    ("strace", "strace"),
    ("swaks", "swaks"),
    ("systemd-socket-activate", "systemd"),
    ("testssl", "testssl.sh"),
];

/// The test suite of Debian's python3, which has the version in its name: apt takes patterns.
const CORPUS: &str = "\"^libpython3[.][0-9]+-testsuite$\"";
