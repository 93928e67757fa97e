//! Readers that go away, and logs that do not take what is said.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use sealpost_tests::{Relay, eventually, sealpost_binary, without_settings};

use crate::net::{MESSAGE, Net, SOON, deferred, ok};

/// The relay with its event log on a pipe of ours; commands and SMTP as ever.
struct Piped {
    relay: Relay,
    child: std::process::Child,
}

impl Piped {
    /// Takes a relay's place on its data: standard output is a pipe.
    async fn start(mut relay: Relay) -> Self {
        assert!(relay.terminate(SOON).await.success());
        let text = std::fs::read_to_string(relay.config_path()).unwrap();
        let lines = text.lines().filter(|l| !l.starts_with("file = "));
        let text: Vec<&str> = lines.collect();
        std::fs::write(relay.config_path(), text.join("\n")).unwrap();
        let mut command = Command::new(sealpost_binary());
        without_settings(&mut command);
        let child = command
            .args(["serve", "--config"])
            .arg(relay.config_path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let piped = Self { relay, child };
        let up = eventually(SOON, async || {
            let healthy = piped.relay.http().send("GET", "/healthz", &[], "").await;
            healthy.is_ok().then_some(())
        });
        assert!(up.await.is_some(), "it does not start");
        piped
    }

    async fn dropped(&self) -> u64 {
        let (_, text) = self.relay.http_get("/metrics").await;
        let name = "sealpost_log_events_dropped_total ";
        let value = text.lines().find_map(|l| l.strip_prefix(name));
        value.and_then(|v| v.parse().ok()).unwrap_or_default()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

testkit::net_test! {
    async fn a_reader_that_has_seen_enough_is_no_failure() {
        let net = Net::start().await;
        let _mx = net.plain_mx("d.test", "127.0.1.1").await;
        net.enforce("d.test");
        let relay = net.relay().await;
        let mut client = relay.client().await;
        let mut last = String::new();
        for n in 0..400 {
            // Far more than a pipe holds: 64 KiB.
            let to = format!("recipient-with-a-name-of-some-length-{n}@d.test");
            let to: Vec<String> = (0..4).map(|k| format!("{k}-{to}")).collect();
            let to: Vec<&str> = to.iter().map(String::as_str).collect();
            last = client.send("a@org.test", &to, MESSAGE).await;
        }
        drop(client);
        deferred(&relay, &last).await;
        for json in ["", " --json"] {
            for command in ["queue list", "queue summary", "policy list", "explain d.test", "status"] {
                let line = format!(
                    "set -o pipefail; {} {command}{json} --config {} | head -1",
                    sealpost_binary().display(),
                    relay.config_path().display()
                );
                let mut shell = Command::new("bash");
                without_settings(&mut shell);
                let output = tokio::task::spawn_blocking(move || shell.args(["-c", &line]).output().unwrap());
                let output = output.await.unwrap();
                assert_eq!(output.stdout.iter().filter(|b| **b == b'\n').count(), 1, "{command}: {output:?}");
                assert!(output.status.success() && output.stderr.is_empty(), "{command}{json}: {output:?}");
            }
        }
    }

    async fn h9_07_mail_goes_on_while_the_log_takes_nothing_and_what_is_lost_is_counted() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.1.1").await;
        let mut piped = Piped::start(net.relay().await).await;
        // Nobody reads: the pipe is full after 64 KiB, and 8 MiB wait in memory. Long ids and
        // addresses fill them sooner.
        let local = "x".repeat(60);
        let to: Vec<String> = (0..900).map(|n| format!("{local}{n}@d.test")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let mut client = piped.relay.client().await;
        let mut messages = 0;
        while piped.dropped().await == 0 {
            client.send("a@org.test", &to, MESSAGE).await;
            messages += 1;
            assert!(messages < 60, "nothing is dropped");
        }
        let before = mx.messages().len();
        client.send("a@org.test", &["last@d.test"], MESSAGE).await;
        let delivered = eventually(SOON, async || {
            mx.messages().iter().any(|m| m.recipients().contains(&"last@d.test")).then_some(())
        });
        assert!(delivered.await.is_some(), "{before} and no more");
        let told = ok(&piped.relay, &["status"]).await.stdout;
        let line = told.lines().find(|l| l.starts_with("log ")).unwrap_or_else(|| panic!("{told}"));
        assert!(line.contains(" lost since 20") && line.contains("nobody takes the events"), "{line}");
        // Somebody reads again: what comes now is written, and that it is.
        let mut pipe = piped.child.stdout.take().unwrap();
        let reading = std::thread::spawn(move || {
            let mut text = Vec::new();
            let mut buffer = vec![0; 1 << 16];
            let (mut resumed, mut after) = (false, false);
            while !(resumed && after) {
                let n = pipe.read(&mut buffer).unwrap();
                assert!(n > 0, "the log ended");
                text.drain(..text.len().saturating_sub(1 << 16));
                text.extend_from_slice(&buffer[..n]);
                let said = String::from_utf8_lossy(&text);
                resumed |= said.contains(r#""event":"log.resumed","lost":"#);
                after |= said.contains("after@d.test");
            }
        });
        let dropped = piped.dropped().await;
        let caught_up = eventually(SOON, async || {
            client.send("a@org.test", &["after@d.test"], MESSAGE).await;
            reading.is_finished().then_some(())
        });
        assert!(caught_up.await.is_some());
        reading.join().unwrap();
        assert!(piped.dropped().await >= dropped);
    }

    async fn a_log_whose_reader_is_gone_stops_neither_mail_nor_the_process() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.1.1").await;
        let mut piped = Piped::start(net.relay().await).await;
        drop(piped.child.stdout.take());
        let mut client = piped.relay.client().await;
        for n in 1..=20 {
            client.send("a@org.test", &["b@d.test"], MESSAGE).await;
            let there = eventually(SOON, async || (mx.messages().len() >= n).then_some(()));
            assert!(there.await.is_some(), "{n}");
        }
        assert!(piped.child.try_wait().unwrap().is_none(), "it runs");
        let counted = eventually(SOON, async || (piped.dropped().await > 0).then_some(())).await;
        assert!(counted.is_some(), "lost events are counted");
    }

    async fn h10_05_connections_that_say_nothing_keep_neither_probes_nor_people_out() {
        let net = Net::start().await;
        let relay = net.relay().await;
        let mut idle = Vec::new();
        for _ in 0..300 {
            let stream = tokio::net::TcpStream::connect("127.0.0.1:8025").await.unwrap();
            idle.push(stream);
        }
        let began = std::time::Instant::now();
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(relay.http_get(path).await.0, 200, "{path}");
        }
        // The head of a request may take 20 seconds: none of that was waited for.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        // Those that came last are still there.
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let newest = idle.last_mut().unwrap();
        newest.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        newest.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
