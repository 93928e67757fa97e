//! A loopback of the test's own.
//!
//! [`run`] starts the test binary again, for just the calling test, inside fresh network, mount and PID
//! namespaces, and demands that it ran and passed. So it makes no difference whether cargo test,
//! nextest or an IDE started the test. The PID namespace ends every process that the test left
//! behind, daemons included.
//!
//! As an ordinary user this needs unprivileged user namespaces. Where they are refused the test
//! fails and says what to do: nothing is skipped.

use std::fmt::Debug;
use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Makes `#[test]` functions whose bodies run on a tokio runtime inside a private loopback. A body
/// returns nothing, or a `Result`.
///
/// ```no_run
/// testkit::net_test! {
///     async fn port_25_is_free() {
///         testkit::namespace::assert_inside();
///         tokio::net::TcpListener::bind("127.0.0.2:25").await.unwrap();
///     }
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! net_test {
    ($($(#[$meta:meta])* async fn $name:ident() $(-> $ret:ty)? $body:block)+) => {
        $(
            $(#[$meta])*
            #[test]
            fn $name() {
                async fn body() $(-> $ret)? $body
                $crate::namespace::run(
                    concat!(module_path!(), "::", stringify!($name)),
                    || ::std::boxed::Box::pin(body()),
                );
            }
        )+
    };
}

/// What a test body may return.
pub trait TestResult {
    /// Panics if it is a failure.
    fn check(self);
}

impl TestResult for () {
    fn check(self) {}
}

impl<E: Debug> TestResult for Result<(), E> {
    fn check(self) {
        if let Err(e) = self {
            panic!("the test failed: {e:?}");
        }
    }
}

/// Runs `body` inside a private loopback. `path` is the test's `module_path!()`, `::` and name.
///
/// # Panics
/// If the test fails, does not end in [`LIMIT`], or if there are no namespaces to be had.
pub fn run<F>(path: &str, body: impl FnOnce() -> F)
where
    F: Future,
    F::Output: TestResult,
{
    if std::env::var_os(INSIDE).is_some_and(|inside| inside == path) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a tokio runtime");
        runtime.block_on(body()).check();
        return;
    }
    // libtest knows the test by its path without the crate's name.
    let name = path.split_once("::").map_or(path, |(_crate, rest)| rest);
    let child = start(path, name);
    let report = finish(child);
    assert!(report.output.contains(MARK), "{}", refused(&report.output));
    assert!(
        report.success && report.output.contains("1 passed"),
        "{name} failed in its namespace ({}):\n{}",
        report.status,
        quoted(&report.output)
    );
    // What the test says of itself, its seed for instance; shown if the runner captures nothing.
    print!("{}", quoted(&report.output));
}

/// Told apart from the lines of the test runner itself, which are counted.
fn quoted(output: &str) -> String {
    output.lines().map(|line| format!("| {line}\n")).collect()
}

/// A command that runs `program`, with the arguments that the caller adds, in a private loopback.
/// Its standard error starts with a line of this module's. If this process is killed, so is it,
/// and everything that it started.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    // A mount table of its own, so that what a test mounts goes with it.
    command.args([
        "--pdeathsig",
        "KILL",
        "unshare",
        "--net",
        "--pid",
        "--mount",
    ]);
    command.args(["--fork", "--kill-child"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["sh", "-c", SCRIPT])
        .arg(program)
        .env("PATH", search_path());
    command
}

/// Runs what [`command`] made to its end and hands its standard error on, without this module's
/// line. For programs; tests use [`run`].
///
/// # Errors
/// There is no private loopback to be had; the text says what to do.
pub fn status(command: &mut Command) -> Result<ExitStatus, String> {
    let spawned = command.stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|e| format!("cannot run setpriv of util-linux: {e}"))?;
    let mut inside = false;
    let mut before = String::new();
    let errors = child.stderr.take().map(BufReader::new);
    for line in errors.into_iter().flat_map(|e| e.split(b'\n')) {
        let line = line.unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if inside {
            eprintln!("{line}");
        } else if line == MARK {
            inside = true;
        } else {
            before.push_str(&line);
            before.push('\n');
        }
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    if inside {
        Ok(status)
    } else {
        Err(refused(&before))
    }
}

/// For code that must never touch the machine's own ports.
///
/// # Panics
/// Outside of a namespace made by [`run`].
pub fn assert_inside() {
    assert!(
        std::env::var_os(INSIDE).is_some(),
        "this works only in a test made by net_test!"
    );
}

/// Some servers change to users of their own, which only the machine's root may do.
///
/// # Panics
/// If this process is not root outside of its user namespace as well.
pub fn require_real_root(what: &str) {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole = map.split_whitespace().collect::<Vec<_>>() == ["0", "0", "4294967295"];
    assert!(
        rustix::process::geteuid().is_root() && whole,
        "{what} needs root, since it changes to users of its own: run these tests as root, \
         for instance `sudo -E cargo test -p sealpost-tests`"
    );
}

/// A test that takes longer is stuck, unless `TESTKIT_LIMIT` in the environment says another number
/// of seconds, as for long runs by hand.
pub const LIMIT: Duration = Duration::from_secs(180);

fn limit() -> Duration {
    let text = std::env::var("TESTKIT_LIMIT").ok();
    let seconds = text.and_then(|text| text.parse().ok());
    seconds.map_or(LIMIT, Duration::from_secs)
}

struct Report {
    success: bool,
    status: String,
    output: String,
}

fn start(path: &str, name: &str) -> std::process::Child {
    let exe = std::env::current_exe().expect("the path of the test binary");
    let spawned = command(&exe)
        .args([name, "--exact", "--include-ignored", "--nocapture"])
        .arg("--test-threads=1")
        .env(INSIDE, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    match spawned {
        Ok(child) => child,
        Err(e) => panic!("cannot run setpriv, which Debian's package util-linux has: {e}"),
    }
}

/// Programs of the system, which are not on every user's path.
fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")
}

fn finish(mut child: std::process::Child) -> Report {
    let pipes: [Box<dyn Read + Send>; 2] = [
        Box::new(child.stdout.take().expect("a pipe")),
        Box::new(child.stderr.take().expect("a pipe")),
    ];
    let (sender, receiver) = mpsc::channel();
    for mut pipe in pipes {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        });
    }
    let first = receiver.recv_timeout(limit());
    let late = first.is_err();
    if late {
        let _ = child.kill();
    }
    let mut output = first.unwrap_or_default();
    output.extend(receiver.recv());
    output.extend(late.then(|| receiver.recv().unwrap_or_default()));
    let status = child.wait().expect("the child's status");
    Report {
        success: status.success() && !late,
        status: if late {
            format!("stopped after {} s", limit().as_secs())
        } else {
            status.to_string()
        },
        output,
    }
}

fn refused(output: &str) -> String {
    format!(
        "no private loopback to be had: {}\n\
         It needs unshare and setpriv (Debian package util-linux), ip (package iproute2), and \
         leave to make namespaces: be root, or let users make them:\n\
         sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 \
         kernel.apparmor_restrict_unprivileged_userns=0\n\
         In a container: --privileged, or --cap-add SYS_ADMIN --cap-add NET_ADMIN.",
        output.trim()
    )
}

/// The shell stays as the namespace's first process and reaps the orphans.
const SCRIPT: &str = r#"ip link set lo up || exit 99
echo "testkit: inside" >&2
"$0" "$@"
exit $?"#;

const MARK: &str = "testkit: inside";
const INSIDE: &str = "TESTKIT_INSIDE";

#[cfg(test)]
mod tests {
    net_test! {
        async fn has_low_ports_on_all_of_127() {
            super::assert_inside();
            for address in ["127.0.0.2:25", "127.3.2.1:443", "127.0.0.53:53"] {
                tokio::net::TcpListener::bind(address).await.unwrap();
            }
        }

        #[should_panic(expected = "failed in its namespace")]
        async fn a_failing_test_fails() {
            // Inside, this test fails because it does not panic; outside, that must be seen.
        }

        async fn may_return_a_result() -> std::io::Result<()> {
            std::fs::metadata("/proc/self")?;
            Ok(())
        }
    }
}
