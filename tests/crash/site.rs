//! A relay's folder, and its process, which may end at any time.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use sealpost_tests::{
    CliOutput, Daemon, Event, RelayConfig, answers, cli, eventually, sealpost_binary,
    without_settings,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Configuration, data and log; outlives the processes.
pub(crate) struct Site {
    folder: TempDir,
}

/// How a start went.
pub(crate) enum Started {
    /// It serves.
    Serving(Daemon),
    /// It ended instead.
    Ended(ExitStatus),
}

impl Site {
    pub(crate) fn new(config: &RelayConfig) -> Self {
        let folder = TempDir::with_prefix("sealpost-crash-").expect("a temporary folder");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("our own folder");
        let site = Self { folder };
        site.configure(config);
        site
    }

    pub(crate) fn configure(&self, config: &RelayConfig) {
        let text = config.text(self.folder.path());
        std::fs::write(self.config_path(), text).expect("a writable folder");
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `DATA`.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn config_path(&self) -> PathBuf {
        self.path().join("sealpost.toml")
    }

    /// Starts `sealpost serve`, through other programs (`strace …`) if any are named; does not wait.
    pub(crate) fn spawn(&self, through: &[String]) -> Daemon {
        let mut command = match through {
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(sealpost_binary());
                command
            }
            [] => Command::new(sealpost_binary()),
        };
        command
            .args(["serve", "--config"])
            .arg(self.config_path())
            .env("RUST_BACKTRACE", "1")
            .current_dir(self.path());
        without_settings(&mut command);
        Daemon::start("sealpost", &mut command, &self.path().join("output"))
    }

    /// Waits until a process serves or has ended.
    pub(crate) async fn settled(&self, mut daemon: Daemon) -> Started {
        let socket = self.path().join("control.sock");
        let answer = eventually(READY_WITHIN, async || {
            if let Some(status) = daemon.status() {
                return Some(Some(status));
            }
            // It listens before it has opened its queue, and serves nobody until then.
            let answers = timeout(A_MOMENT, answers(&socket)).await;
            let answers = matches!(answers, Ok(Ok(true)));
            let mail = TcpStream::connect(MAIL_IN).await.is_ok();
            (mail && answers).then_some(None)
        });
        match answer.await {
            Some(None) => Started::Serving(daemon),
            Some(Some(status)) => Started::Ended(status),
            None => panic!(
                "neither serves nor ends within {READY_WITHIN:?}:\n{}",
                self.story()
            ),
        }
    }

    /// Starts it; it must serve.
    pub(crate) async fn start(&self) -> Daemon {
        match self.settled(self.spawn(&[])).await {
            Started::Serving(daemon) => daemon,
            Started::Ended(status) => {
                panic!("ended at once ({status}):\n{}", self.story())
            }
        }
    }

    pub(crate) async fn cli(&self, args: &[&str]) -> CliOutput {
        cli(&self.config_path(), args).await
    }

    /// `sealpost ARGS`, which must succeed: what it printed.
    pub(crate) async fn ok(&self, args: &[&str]) -> String {
        let output = self.cli(args).await;
        assert_eq!(
            output.code,
            Some(0),
            "{args:?}: {output:?}\n{}",
            self.story()
        );
        output.stdout
    }

    /// Waits until nothing is in the queue any more. What was in hand at three crashes is parked (row
    /// H7-08): these crashes are ours and not its doing, so it is let go.
    pub(crate) async fn drained(&self, within: Duration) {
        let empty = eventually(within, async || {
            let left = self.cli(&["queue", "list", "--json"]).await;
            if left.stdout.contains("parked") {
                self.ok(&["queue", "release", "--reason", "parked"]).await;
            }
            (left.code == Some(0) && left.stdout.is_empty()).then_some(())
        });
        if empty.await.is_none() {
            let left = self.cli(&["queue", "list"]).await;
            panic!("not drained within {within:?}: {left:?}\n{}", self.story());
        }
    }

    /// Has everything tried now, again and again, until it is as wanted: what is under way just then
    /// would wait for its next turn.
    pub(crate) async fn retried(&self, within: Duration, mut wanted: impl FnMut() -> bool) {
        let done = eventually(within, async || {
            if wanted() {
                return Some(());
            }
            self.ok(&["queue", "retry", "--all", "--yes"]).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        });
        if done.await.is_none() {
            panic!("not within {within:?}:\n{}", self.story());
        }
    }

    /// Status and body of a page of the admin port; `None` if nobody serves it.
    pub(crate) async fn page(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(HTTP).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {HTTP}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await.ok()?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// All events, of all processes so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        let text = std::fs::read(self.path().join("events.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let parsed = text.lines().map(serde_json::from_str);
        // A line may be cut by a kill.
        parsed.filter_map(Result::ok).map(Event).collect()
    }

    /// The first event of this name, once there is one.
    pub(crate) async fn event(&self, name: &str) -> String {
        let found = eventually(READY_WITHIN, async || {
            self.events()
                .iter()
                .find(|e| e.is(name))
                .map(Event::to_string)
        });
        match found.await {
            Some(event) => event,
            None => panic!("no {name}:\n{}", self.story()),
        }
    }

    /// What all processes printed so far.
    pub(crate) fn printed(&self) -> String {
        let bytes = std::fs::read(self.path().join("output")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of all that was printed and logged, for failure reports.
    pub(crate) fn story(&self) -> String {
        let events: Vec<String> = self.events().iter().map(Event::to_string).collect();
        let from = events.len().saturating_sub(LAST_EVENTS);
        let printed = self.printed();
        let lines: Vec<&str> = printed.lines().collect();
        let first = lines.len().saturating_sub(LAST_LINES);
        format!(
            "events:\n{}\nprinted:\n{}",
            events[from..].join("\n"),
            lines[first..].join("\n")
        )
    }
}

/// Where mail goes in.
pub(crate) const MAIL_IN: &str = "127.0.0.1:2525";
const HTTP: &str = "127.0.0.1:8025";
const READY_WITHIN: Duration = Duration::from_secs(60);
const A_MOMENT: Duration = Duration::from_millis(200);
const LAST_EVENTS: usize = 60;
const LAST_LINES: usize = 80;
