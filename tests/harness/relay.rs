//! The real binary, running.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::binary::{CliOutput, cli, sealpost_binary, without_settings};
use crate::config::RelayConfig;
use crate::daemon::{Daemon, eventually};
use crate::event::{Event, EventLog};
use crate::http::Http;
use crate::smtp::SmtpClient;

/// A relay with a folder of its own. Dropping it kills it.
pub struct Relay {
    config: RelayConfig,
    folder: TempDir,
    daemon: Daemon,
    log: Mutex<EventLog>,
}

impl Relay {
    /// Writes the configuration and starts `sealpost serve`; returns when it accepts connections.
    ///
    /// # Panics
    /// If it does not start, with what it printed.
    pub async fn start(config: RelayConfig) -> Self {
        let folder = TempDir::with_prefix("sealpost-").expect("a temporary folder");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("our own folder");
        let file = folder.path().join("sealpost.toml");
        std::fs::write(&file, config.text(folder.path())).expect("a writable folder");
        let log = Mutex::new(EventLog::new(&folder.path().join("events.log")));
        let daemon = launch(&config, folder.path()).await;
        Self {
            config,
            folder,
            daemon,
            log,
        }
    }

    /// Requests to its HTTP.
    pub fn http(&self) -> Http {
        Http(self.config.http_address())
    }

    /// Where mail goes in.
    pub fn address(&self) -> SocketAddr {
        self.config.listen_address()
    }

    /// Its folder: `sealpost.toml`, `data/`, `events.log`, `output`, `control.sock`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("sealpost.toml")
    }

    /// Its process.
    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// A client connected to it, after EHLO.
    pub async fn client(&self) -> SmtpClient {
        let mut client = SmtpClient::connect(self.address()).await;
        client.ehlo("client.test").await;
        client
    }

    /// Hands a message over and returns its queue id. Line ends must be CRLF.
    ///
    /// # Panics
    /// If it is not accepted for every recipient.
    pub async fn send(&self, from: &str, to: &[&str], message: &[u8]) -> String {
        self.client().await.send(from, to, message).await
    }

    /// Runs `sealpost ARGS` with this relay's configuration.
    pub async fn cli(&self, args: &[&str]) -> CliOutput {
        cli(&self.config_path(), args).await
    }

    /// All events so far, over restarts.
    pub fn events(&self) -> Vec<Event> {
        self.log.lock().unwrap().read().to_vec()
    }

    /// Waits for an event, past ones included.
    ///
    /// # Panics
    /// After `timeout`, with all events and what the relay printed.
    pub async fn wait_event(&self, wanted: impl Fn(&Event) -> bool, timeout: Duration) -> Event {
        self.wait_event_after(0, wanted, timeout).await
    }

    /// As [`Relay::wait_event`], but only for events after the first `seen` ones (the length of
    /// [`Relay::events`] at that time).
    ///
    /// # Panics
    /// After `timeout`.
    pub async fn wait_event_after(
        &self,
        seen: usize,
        wanted: impl Fn(&Event) -> bool,
        timeout: Duration,
    ) -> Event {
        let find = || {
            let find = |e: &&Event| wanted(e);
            let mut log = self.log.lock().unwrap();
            log.read().iter().skip(seen).find(find).cloned()
        };
        match eventually(timeout, async || find()).await {
            Some(event) => event,
            None => panic!("no such event within {timeout:?}:\n{}", self.story()),
        }
    }

    /// Waits for an event of this kind about this message.
    ///
    /// # Panics
    /// After `timeout`.
    pub async fn wait_for(&self, event: &str, queue_id: &str, timeout: Duration) -> Event {
        let wanted = |e: &Event| e.is(event) && e.text("queue_id") == queue_id;
        self.wait_event(wanted, timeout).await
    }

    /// All events and what it printed, for failure reports.
    pub fn story(&self) -> String {
        let events: Vec<String> = self.events().iter().map(Event::to_string).collect();
        format!(
            "events:\n{}\nprinted:\n{}",
            events.join("\n"),
            self.daemon.printed()
        )
    }

    /// `GET path` over HTTP: status and body.
    ///
    /// # Panics
    /// If there is no HTTP response.
    pub async fn http_get(&self, path: &str) -> (u16, String) {
        let address = self.config.http_address();
        let exchange = async {
            let mut stream = TcpStream::connect(address).await?;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut response = String::new();
            stream.read_to_string(&mut response).await?;
            std::io::Result::Ok(response)
        };
        let response = match exchange.await {
            Ok(response) => response,
            Err(e) => panic!("no HTTP at {address}: {e}\n{}", self.story()),
        };
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        (status.expect("a status line"), body.to_owned())
    }

    /// SIGKILL, as a power cut looks to the process. The folder stays.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// If it still runs after `timeout`.
    pub async fn terminate(&mut self, timeout: Duration) -> ExitStatus {
        self.daemon.signal(Signal::TERM);
        self.daemon.wait(timeout).await
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.daemon.signal(Signal::HUP);
    }

    /// Starts it again on the same data, after [`Relay::kill`] or [`Relay::terminate`].
    pub async fn restart(&mut self) {
        self.daemon.kill();
        self.daemon = launch(&self.config, self.folder.path()).await;
    }

    /// As [`Relay::restart`], with more on the command line, as an operator in need would.
    pub async fn restart_with(&mut self, args: &[&str]) {
        self.daemon.kill();
        self.daemon = begin(self.folder.path(), args);
        self.daemon
            .wait_for_port(self.config.listen_address())
            .await;
        stands(&mut self.daemon, self.folder.path()).await;
    }

    /// Changes the configuration file; it counts after a restart or reload.
    pub fn reconfigure(&mut self, change: impl FnOnce(RelayConfig) -> RelayConfig) {
        self.config = change(self.config.clone());
        let text = self.config.text(self.folder.path());
        std::fs::write(self.config_path(), text).expect("a writable folder");
    }
}

fn begin(folder: &Path, args: &[&str]) -> Daemon {
    let mut command = Command::new(sealpost_binary());
    command
        .args(["serve", "--config"])
        .arg(folder.join("sealpost.toml"))
        .args(args)
        .env("RUST_BACKTRACE", "1")
        // Row H8-06: nothing depends on where the machine is and what it does to its clocks in spring.
        .env("TZ", "Europe/Berlin")
        // Row I4-06: whoever can set this must not get the keys of sessions.
        .env("SSLKEYLOGFILE", folder.join("session-keys"))
        // Nor does what SDKs for traces obey count beside `telemetry.otlp`.
        .envs(FOR_SDKS)
        .current_dir(folder);
    without_settings(&mut command);
    Daemon::start("sealpost", &mut command, &folder.join("output"))
}

async fn launch(config: &RelayConfig, folder: &Path) -> Daemon {
    let mut daemon = begin(folder, &[]);
    daemon.wait_for_port(config.listen_address()).await;
    stands(&mut daemon, folder).await;
    daemon
}

/// Its ports and the control socket are bound early: waits until everything stands.
async fn stands(daemon: &mut Daemon, folder: &Path) {
    let socket = folder.join("control.sock");
    let served = eventually(READY_WITHIN, async || {
        let answers = answers(&socket).await.is_ok_and(|stands| stands);
        (answers || daemon.status().is_some()).then_some(answers)
    })
    .await;
    assert_eq!(
        served,
        Some(true),
        "no control socket:\n{}",
        daemon.printed()
    );
}

/// Whether what answers there, whatever it says, is a relay that stands.
///
/// # Errors
/// Nobody answers.
pub async fn answers(socket: &Path) -> std::io::Result<bool> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.") && !answer.contains("urn:sealpost:problem:starting"))
}

const FOR_SDKS: [(&str, &str); 7] = [
    ("OTEL_EXPORTER_OTLP_HEADERS", "x-smuggled=1"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ("OTEL_RESOURCE_ATTRIBUTES", "team=x,service.name=y"),
    ("OTEL_SERVICE_NAME", "y"),
    ("OTEL_SDK_DISABLED", "true"),
];
const READY_WITHIN: Duration = Duration::from_secs(30);
