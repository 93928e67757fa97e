//! What takes long shows that it goes on: to people, and to nobody else.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sealpost_tests::{sealpost_binary, without_settings};

const SUMMARY: &str = r#"{"messages":3,"rows":[{"domain":"d.test","reason":"connect","messages":3,"oldest":"2026-03-01T00:00:00Z","next_attempt":null}],"paused":[]}"#;

/// A relay that answers when it is told to.
struct Slow {
    folder: tempfile::TempDir,
    listener: UnixListener,
}

impl Slow {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let text = format!(
            "server.hostname = \"relay.test\"\nserver.data-dir = \"{0}/data\"\nadmin.socket = \"{0}/control.sock\"\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("sealpost.toml"), text).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        Self { folder, listener }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("sealpost.toml")
    }

    /// The next request, read and not answered.
    fn asked(&self) -> UnixStream {
        let (mut stream, _) = self.listener.accept().unwrap();
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
        assert!(head.starts_with("GET /v1/queue/summary "), "{head}");
        stream
    }
}

fn answer(mut stream: UnixStream) {
    let length = SUMMARY.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
    write!(stream, "{head} {length}\r\n\r\n{SUMMARY}").unwrap();
}

fn wait_for(file: &Path, words: &str) -> String {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let bytes = std::fs::read(file).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.contains(words) {
            return text;
        }
        assert!(Instant::now() < end, "{words} does not come: {text:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// On a terminal (of `script`): the command line and where its screen is kept.
fn on_terminal(slow: &Slow, redirect: &str) -> (Command, PathBuf) {
    let screen = slow.folder.path().join("screen");
    let line = format!(
        "{} queue summary --config {} {redirect}",
        sealpost_binary().display(),
        slow.config().display()
    );
    let mut command = Command::new("script");
    without_settings(&mut command);
    command
        .args(["-qfec", &line])
        .arg(&screen)
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    (command, screen)
}

#[test]
fn on_a_terminal_a_line_comes_and_goes() {
    let slow = Slow::start();
    let (mut command, screen) = on_terminal(&slow, "");
    let mut child = command.spawn().expect("script, which bsdutils has");
    let stream = slow.asked();
    let text = wait_for(&screen, "adding up the queue");
    assert!(!text.contains("d.test"), "{text:?}");
    answer(stream);
    assert!(child.wait().unwrap().success());
    let text = wait_for(&screen, "3 messages");
    // The line was taken away before the result was printed.
    let (before, after) = text.split_once("MESSAGES").unwrap();
    let before = before.trim_end_matches("\u{1b}[1m");
    assert!(before.ends_with("\u{1b}[2K"), "{text:?}");
    assert!(!after.contains("adding up"), "{text:?}");
}

#[test]
fn a_file_gets_the_result_only_and_the_terminal_the_progress() {
    let slow = Slow::start();
    let result = slow.folder.path().join("result");
    let (mut command, screen) = on_terminal(&slow, &format!("> {}", result.display()));
    let mut child = command.spawn().expect("script, which bsdutils has");
    let stream = slow.asked();
    wait_for(&screen, "adding up the queue");
    answer(stream);
    assert!(child.wait().unwrap().success());
    let text = wait_for(&result, "3 messages");
    assert!(
        text.starts_with("MESSAGES") && !text.contains('\u{1b}'),
        "{text:?}"
    );
}

#[test]
fn neither_pipes_nor_json_get_any() {
    for json in [false, true] {
        let slow = Slow::start();
        let wait = |stream: UnixStream| {
            // Longer than the second after which it would be shown: nothing can be waited for here.
            std::thread::sleep(Duration::from_millis(1500));
            answer(stream);
        };
        if json {
            let (mut command, screen) = on_terminal(&slow, "--json");
            let mut child = command.spawn().expect("script, which bsdutils has");
            wait(slow.asked());
            assert!(child.wait().unwrap().success());
            let text = wait_for(&screen, "\"messages\":3");
            assert!(!text.contains("adding up"), "{text:?}");
        } else {
            let mut command = Command::new(sealpost_binary());
            without_settings(&mut command);
            let child = command
                .args(["queue", "summary", "--config"])
                .arg(slow.config())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            wait(slow.asked());
            let done = child.wait_with_output().unwrap();
            assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        }
    }
}
