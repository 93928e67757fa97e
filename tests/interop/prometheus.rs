//! Debian's Prometheus scrapes a running relay, and takes the rules that are shipped.

use std::process::Command;
use std::time::Duration;

use sealpost_tests::{Daemon, eventually, program};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::recipient::{Recipient, message};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn promtool_takes_the_rules_and_their_tests() {
    for args in [
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules_test.yml"],
    ] {
        let output = Command::new(program("promtool", "prometheus"))
            .args(args)
            .current_dir(folder())
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
}

testkit::net_test! {
    async fn prometheus_scrapes_a_relay_and_knows_every_metric_of_the_rules() {
        let d = Recipient::without_policy().await;
        let _mx = d.mx().start().await;
        let relay = sealpost_tests::Relay::start(d.relay()).await;
        let id = relay.send("a@org.test", &["b@d.test"], &message("counted")).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
        let work = tempfile::tempdir().unwrap();
        // Who does not ask for OpenMetrics gets what Prometheus' own check takes.
        let scraped = work.path().join("metrics");
        std::fs::write(&scraped, relay.http_get("/metrics").await.1).unwrap();
        let checked = Command::new(program("promtool", "prometheus"))
            .args(["check", "metrics"])
            .stdin(std::fs::File::open(&scraped).unwrap())
            .output()
            .unwrap();
        assert!(checked.status.success(), "{checked:?}");
        let rules = folder().join("rules.yml");
        let config = std::fs::read_to_string(folder().join("prometheus.yml")).unwrap()
            .replace("scrape_interval: 15s", "scrape_interval: 1s")
            .replace("- rules.yml", &format!("- {}", rules.display()));
        let file = work.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(program("prometheus", "prometheus"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", work.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:9090");
        let _prometheus = Daemon::start("prometheus", &mut command, &work.path().join("output"));
        let query = "/api/v1/query?query=sealpost_delivery_attempts_total%7Bresult%3D%22sent%22%7D";
        let counted = eventually(SOON, async || {
            let answer = get(query).await?;
            answer.contains("\"1\"]").then_some(answer)
        }).await;
        assert!(counted.is_some(), "{:?}", get("/api/v1/targets").await);
        let up = get("/api/v1/query?query=up").await.unwrap();
        assert!(up.contains("\"job\":\"sealpost\"") && up.contains("\"1\"]"), "{up}");
        let loaded = get("/api/v1/rules").await.unwrap();
        assert!(loaded.contains("SealpostTakesNoMail") && !loaded.contains("\"health\":\"err\""), "{loaded}");
    }
}

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus")
}

/// The body of an answer.
async fn get(path: &str) -> Option<String> {
    let mut stream = TcpStream::connect("127.0.0.1:9090").await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
}
