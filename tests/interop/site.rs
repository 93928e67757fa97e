//! What clients that are not ours need to submit mail: a relay that knows a user, a mail exchanger
//! behind it, and the clients themselves.

use std::ffi::OsStr;
use std::process::{Output, Stdio};
use std::time::Duration;

use sealpost_tests::{Event, Relay, RelayConfig, Users, eventually, program};
use testkit::{FakeMx, TestCa, Zone};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// `d.test`, and a relay with submission listeners at [`STARTTLS`] and [`IMPLICIT`].
pub(crate) struct Site {
    pub(crate) ca: TestCa,
    _zone: Zone,
    pub(crate) mx: FakeMx,
    pub(crate) relay: Relay,
    _users: Users,
}

impl Site {
    /// With these lines of TOML in both listeners.
    pub(crate) async fn start(ca: TestCa, config: RelayConfig, lines: &str) -> Self {
        let (zone, mx) = exchanger().await;
        let users = users().await;
        let config = users.listeners_with(config, &ca, STARTTLS, IMPLICIT, lines);
        Self {
            relay: Relay::start(config).await,
            ca,
            _zone: zone,
            mx,
            _users: users,
        }
    }

    /// So many messages have come to the mail exchanger.
    pub(crate) async fn delivered(&self, count: usize) {
        let messages = || self.mx.messages().len();
        let all = eventually(SOON, async || (messages() >= count).then_some(()));
        assert!(
            all.await.is_some(),
            "{} of {count}: {}",
            messages(),
            self.relay.story()
        );
    }

    /// The user was let in by this mechanism.
    pub(crate) async fn accepted(&self, mechanism: &str) {
        let by = |e: &Event| e.is("smtp.in.login") && e.text("mechanism") == mechanism;
        let event = self.relay.wait_event(by, SOON).await;
        assert_eq!(event.text("user"), USER, "{event}");
    }

    /// `python3 -c SCRIPT ARGS`, with the password on its standard input; what it printed.
    pub(crate) async fn python(&self, script: &str, args: &[&OsStr]) -> String {
        let mut python = Command::new("python3");
        python.args(["-c", script]).args(args);
        let output = run(python, format!("{PASSWORD}\n").as_bytes()).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}\n{}", self.relay.story());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// `d.test` and its only mail exchanger, without TLS.
pub(crate) async fn exchanger() -> (Zone, FakeMx) {
    let zone = Zone::start().await;
    zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
    let mx = FakeMx::start("127.0.0.25:25", "mx.d.test", None).await;
    (zone, mx)
}

/// The one user there is.
pub(crate) async fn users() -> Users {
    Users::new(&[(USER, PASSWORD)]).await
}

/// swaks at our address.
pub(crate) fn swaks(args: &[&str]) -> Command {
    let mut swaks = Command::new(program("swaks", "swaks"));
    swaks.args(["--server", "127.0.0.1"]).args(args);
    swaks.kill_on_drop(true);
    swaks
}

/// Runs a program to its end with this on its standard input.
pub(crate) async fn run(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).await.unwrap();
    drop(stdin);
    child.wait_with_output().await.unwrap()
}

pub(crate) const USER: &str = "ann@org.test";
pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const STARTTLS: &str = "127.0.0.1:587";
pub(crate) const IMPLICIT: &str = "127.0.0.1:465";
pub(crate) const SOON: Duration = Duration::from_secs(30);
