//! What keeps the relay from starting: one clear line, and the exit code that scripts expect.

use std::path::Path;
use std::process::Output;

use sealpost_tests::{Daemon, Http, RelayConfig, answers, cli, eventually, sealpost_binary};
use tempfile::TempDir;

use crate::net::{Net, SOON, ok};

testkit::net_test! {
    async fn h6_08_a_second_process_on_the_same_data_is_refused() {
        let net = Net::start().await;
        let mut relay = net.relay().await;
        let pid = relay.daemon().id();
        let folder = TempDir::new().unwrap();
        let other = net.config()
            .listen("127.0.0.1:2626".parse().unwrap())
            .http("127.0.0.1:8126".parse().unwrap())
            .text(folder.path());
        let data = relay.folder().join("data");
        let theirs = folder.path().join("data");
        let text = other.replace(&theirs.display().to_string(), &data.display().to_string());
        let output = serve(folder.path(), &text);
        let said = refused(&output, 73);
        assert!(said.contains(&data.display().to_string()), "{said}");
        assert!(said.contains(&pid.to_string()), "the holder's pid {pid}: {said}");
        assert!(!folder.path().join("control.sock").exists(), "nobody answers on it");
        // The first one is none the worse.
        relay.client().await;
    }

    async fn who_asks_while_it_starts_is_told_so_at_once() {
        let folder = TempDir::new().unwrap();
        let (data, socket) = (folder.path().join("data"), folder.path().join("control.sock"));
        let config = folder.path().join("sealpost.toml");
        std::fs::write(&config, plain().text(folder.path())).unwrap();
        // What is read after the queue waits for somebody to write it.
        std::fs::create_dir_all(data.join("delivery")).unwrap();
        let late = data.join("delivery/paused");
        assert!(std::process::Command::new("mkfifo").arg(&late).status().unwrap().success());
        let mut command = std::process::Command::new(sealpost_binary());
        command.args(["serve", "--config"]).arg(&config);
        let mut daemon = Daemon::start("sealpost", &mut command, &folder.path().join("output"));

        let http = Http("127.0.0.1:8025".parse().unwrap());
        let ready = eventually(SOON, async || {
            let asked = http.send("GET", "/readyz", &[], "");
            let answer = tokio::time::timeout(SOON, asked).await.ok()?.ok();
            answer.filter(|a| a.body.contains("the queue is being opened"))
        });
        let ready = ready.await.expect("an answer before it stands");
        assert_eq!(ready.status, 503, "{ready:?}");
        assert_eq!(http.send("GET", "/healthz", &[], "").await.unwrap().status, 200);
        assert_eq!(http.send("GET", "/healthz", &[("Host", "elsewhere.test")], "").await.unwrap().status, 421);
        let metrics = http.send("GET", "/metrics", &[], "").await.unwrap();
        assert!(metrics.status == 503 && metrics.body.contains("problem:starting"), "{metrics:?}");
        assert!(!answers(&socket).await.unwrap());
        let status = cli(&config, &["status"]).await;
        assert_eq!(status.code, Some(75), "{status:?}");
        let begins = "sealpost: the relay is still starting: the queue is being opened";
        assert!(status.stderr.starts_with(begins), "{status:?}");

        let nothing = tokio::task::spawn_blocking(move || std::fs::write(late, ""));
        let stands = eventually(SOON, async || answers(&socket).await.unwrap().then_some(()));
        stands.await.unwrap_or_else(|| panic!("{}", daemon.printed()));
        nothing.await.unwrap().unwrap();
        assert_eq!(cli(&config, &["status"]).await.code, Some(0));
        daemon.signal(rustix::process::Signal::TERM);
        assert!(daemon.wait(SOON).await.success());
        assert!(!socket.exists());
    }

    async fn h6_08_the_control_socket_of_a_living_daemon_is_not_taken() {
        let net = Net::start().await;
        let relay = net.relay().await;
        let folder = TempDir::new().unwrap();
        let other = net.config()
            .listen("127.0.0.1:2626".parse().unwrap())
            .http("127.0.0.1:8126".parse().unwrap())
            .text(folder.path());
        let theirs = relay.folder().join("control.sock");
        let text = other.replace(
            &folder.path().join("control.sock").display().to_string(), &theirs.display().to_string(),
        );
        let said = refused(&serve(folder.path(), &text), 73);
        assert!(said.contains("admin.socket") && said.contains(&theirs.display().to_string()), "{said}");
        // The first one is still asked by its commands.
        ok(&relay, &["status"]).await;
    }

    async fn e2_03_a_port_in_use_is_named() {
        let _taken = tokio::net::TcpListener::bind("127.0.0.1:2525").await.unwrap();
        let folder = TempDir::new().unwrap();
        let said = refused(&serve(folder.path(), &plain().text(folder.path())), 71);
        assert!(said.contains("127.0.0.1:2525"), "{said}");
        let _taken = tokio::net::TcpListener::bind("127.0.0.1:8025").await.unwrap();
        let config = plain().listen("127.0.0.1:2626".parse().unwrap());
        let said = refused(&serve(folder.path(), &config.text(folder.path())), 71);
        assert!(said.contains("127.0.0.1:8025"), "{said}");
        // Who sees the SMTP port open can ask about it: what operators use is open before.
        let said = refused(&serve(folder.path(), &plain().text(folder.path())), 71);
        assert!(said.contains("127.0.0.1:8025"), "{said}");
        let control = folder.path().join("control.sock");
        assert!(!control.exists(), "a start that fails leaves nothing that nobody answers on");
        let _taken = tokio::net::UnixListener::bind(&control).unwrap();
        let said = refused(&serve(folder.path(), &plain().text(folder.path())), 73);
        assert!(said.contains("control.sock"), "{said}");
    }

    async fn h6_09_a_data_directory_that_cannot_be_written_is_named() {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        // A file in its place stops root as well.
        std::fs::write(&data, "no directory").unwrap();
        let said = refused_with_many(&serve(folder.path(), &plain().text(folder.path())), 78);
        assert!(said.contains(&data.display().to_string()), "{said}");
        assert!(said.contains("server.data-dir") && said.contains("not a directory"), "{said}");
    }

    async fn every_problem_of_the_configuration_is_told_at_once_and_nothing_starts() {
        let folder = TempDir::new().unwrap();
        let config = plain()
            .set("queue.lifetme", "\"5d\"")
            .set("delivery.tls", "\"maybe\"");
        let output = serve(folder.path(), &config.text(folder.path()));
        let said = refused_with_many(&output, 78);
        assert!(said.contains("lifetme") && said.contains("lifetime"), "{said}");
        assert!(said.contains("delivery.tls") && said.contains("verified"), "{said}");
        assert!(!folder.path().join("data").exists());
        let check = run(folder.path(), &["check-config"]);
        let printed = [check.stdout, check.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        assert_eq!(check.status.code(), Some(78), "{printed}");
        assert!(printed.contains("lifetme") && printed.contains("delivery.tls"), "{printed}");
    }

    async fn h2_31_without_trust_anchors_nothing_starts() {
        let folder = TempDir::new().unwrap();
        let missing = folder.path().join("missing.pem");
        let config = plain()
            .set("tls.dangerous-extra-roots", &format!("[\"{}\"]", missing.display()));
        let output = serve(folder.path(), &config.text(folder.path()));
        let said = refused_with_many(&output, 78);
        assert!(said.contains("missing.pem"), "{said}");
    }
}

fn plain() -> RelayConfig {
    RelayConfig::default()
}

/// Runs `sealpost serve` to its end, which has to come by itself.
fn serve(folder: &Path, config: &str) -> Output {
    std::fs::write(folder.join("sealpost.toml"), config).unwrap();
    run(folder, &["serve"])
}

fn run(folder: &Path, args: &[&str]) -> Output {
    std::process::Command::new("timeout")
        .arg("20")
        .arg(sealpost_binary())
        .args(args)
        .arg("--config")
        .arg(folder.join("sealpost.toml"))
        .output()
        .unwrap()
}

/// The one line on standard error that is not a warning.
fn refused(output: &Output, code: i32) -> String {
    let said = refused_with_many(output, code);
    let lines: Vec<&str> = said.lines().filter(|l| !l.contains(" WARN ")).collect();
    let one = lines.join("\n");
    assert!(
        one.starts_with("sealpost: ") && one.trim_end().lines().count() == 1,
        "{said}"
    );
    one
}

fn refused_with_many(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}
