//! Starting programs, waiting until they are ready, and ending them with all their children.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// A program in a process group of its own. Dropping it ends the whole group.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    output: PathBuf,
}

/// The path of a program, which need not be on the user's `PATH`.
///
/// # Panics
/// If it is not there, with the Debian package that has it.
pub fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    path.split(':')
        .chain(system)
        .map(|folder| Path::new(folder).join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!("{name} is not installed: apt-get install --no-install-recommends {package}")
        })
}

/// Asks again and again, with short pauses, until there is an answer. `None` after `timeout`.
///
/// For what other programs do, which ring no bell in this process.
pub async fn eventually<T>(
    timeout: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = probe().await {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Daemon {
    /// Starts a program that stays in the foreground. What it prints is appended to `output`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(name: &str, command: &mut Command, output: &Path) -> Self {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(output)
            .expect("a writable folder");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {name} ({command:?}): {e}"));
        Self {
            name: name.to_owned(),
            child,
            output: output.to_owned(),
        }
    }

    /// Waits until something accepts connections at `address`.
    ///
    /// # Panics
    /// If the program ends before that or is not ready in time, with what it printed.
    pub async fn wait_for_port(&mut self, address: SocketAddr) {
        let answer = eventually(READY_WITHIN, async || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(status));
            }
            let open = tokio::net::TcpStream::connect(address).await.is_ok();
            open.then_some(Ok(()))
        })
        .await;
        match answer {
            Some(Ok(())) => {}
            Some(Err(status)) => {
                panic!(
                    "{} ended at once ({status}):\n{}",
                    self.name,
                    self.printed()
                );
            }
            None => panic!(
                "{} does not listen on {address} after {READY_WITHIN:?}:\n{}",
                self.name,
                self.printed()
            ),
        }
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        let bytes = std::fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The process id, which is that of the group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        let _ = rustix::process::kill_process(self.pid(), signal);
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// If it still runs after `timeout`, with what it printed.
    pub async fn wait(&mut self, timeout: Duration) -> ExitStatus {
        match eventually(timeout, async || self.status()).await {
            Some(status) => status,
            None => panic!(
                "{} still runs after {timeout:?}:\n{}",
                self.name,
                self.printed()
            ),
        }
    }

    /// SIGKILL to the whole group, and waits until the program is gone.
    pub fn kill(&mut self) {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }

    /// SIGTERM to the program, SIGKILL to what is left of the group after a moment.
    pub fn stop(&mut self) {
        if self.status().is_none() {
            self.signal(Signal::TERM);
        }
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline {
            // The program's own remains are reaped here, those of its children by the namespace.
            let ended = self.status().is_some();
            if ended && test_kill_process_group(self.pid()).is_err() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        self.kill();
    }

    /// Ends a process group that the program, or a child of it, leads: SIGTERM, then SIGKILL to
    /// what is left of it after a moment.
    pub(crate) fn end_group(&mut self, leader: Pid) {
        let _ = kill_process_group(leader, Signal::TERM);
        let deadline = Instant::now() + STOP_WITHIN;
        while test_kill_process_group(leader).is_ok() {
            // The leader may be the program itself, which is there until it is reaped.
            let _ = self.status();
            if Instant::now() > deadline {
                let _ = kill_process_group(leader, Signal::KILL);
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn pid(&self) -> Pid {
        let id = i32::try_from(self.child.id()).expect("a process id");
        Pid::from_raw(id).expect("a process id is not 0")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

const PAUSE: Duration = Duration::from_millis(10);
const READY_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(5);
