//! `sealpost serve --config config/local.toml`, as an ordinary user on a machine where nobody has
//! configured anything.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use sealpost_tests::{Daemon, SmtpClient, program, sealpost_binary};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

testkit::net_test! {
    async fn the_first_command_of_the_readme_runs_as_an_ordinary_user() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        std::fs::create_dir(&config).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/local.toml");
        std::fs::copy(shipped, config.join("local.toml")).unwrap();
        // `nobody` may read all of it, and run it.
        let binary = folder.path().join("sealpost");
        std::fs::copy(sealpost_binary(), &binary).unwrap();
        let mut command = Command::new(program("unshare", "util-linux"));
        command.args(["--uts", "sh", "-c", r#"hostname localhost && exec "$@""#, "sh"]);
        // In a user namespace made by an ordinary user there is no second user to change to, and
        // the one there is has no rights outside of it.
        if is_real_root() {
            for path in [folder.path(), &config, &config.join("local.toml"), &binary] {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
            let ids = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
            command.arg(program("setpriv", "util-linux")).args(ids);
        }
        command.arg(&binary).args(["serve", "--config", "config/local.toml"]);
        // As in a shell of that user: nothing of ours.
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").current_dir(folder.path());
        let mut daemon = Daemon::start("sealpost", &mut command, &folder.path().join("output"));
        let smtp = SocketAddr::from(([127, 0, 0, 1], 2525));
        daemon.wait_for_port(smtp).await;
        daemon.wait_for_port(SocketAddr::from(([127, 0, 0, 1], 8025))).await;

        let health = healthz().await;
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
        let mut client = SmtpClient::connect(smtp).await;
        client.ehlo("client.test").await;
        let content = b"From: a@org.test\r\nTo: b@d.test\r\nSubject: first\r\n\r\nhello\r\n";
        let id = client.send("a@org.test", &["b@d.test"], content).await;
        assert!(!id.is_empty());

        daemon.signal(Signal::TERM);
        let status = daemon.wait(Duration::from_secs(60)).await;
        assert!(status.success(), "{status}\n{}", daemon.printed());
        let queue = folder.path().join("target/local/data/queue");
        let owner = std::fs::metadata(queue).unwrap().uid();
        assert_eq!(owner, if is_real_root() { NOBODY } else { 0 });
    }
}

async fn healthz() -> String {
    let mut stream = TcpStream::connect("127.0.0.1:8025").await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:8025\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

fn is_real_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().collect::<Vec<_>>() == ["0", "0", "4294967295"]
}

const NOBODY: u32 = 65_534;

/// The lines for a relay behind a Postfix can be pasted.
#[test]
fn the_recipe_of_the_readme_is_a_configuration_without_problems() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, after) = readme.split_once("```toml\n").unwrap();
    let (recipe, _) = after.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let sources = settings::Sources {
        file: Some(("sealpost.toml".into(), recipe.to_owned())),
        environment: vec![("SEALPOST__SERVER__DATA_DIR".into(), data)],
        node: "mail.example.net".into(),
        ..settings::Sources::default()
    };
    let loaded = settings::load(&sources).unwrap_or_else(|error| panic!("{error}\n{recipe}"));
    let listener = &loaded.settings.listeners[0];
    assert_eq!(listener.bare_newline, settings::BareNewline::Normalize);
    assert_eq!(loaded.settings.routes.len(), 1);
    assert_eq!(loaded.settings.access.xforward_hosts.len(), 1);
    let errors: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(
        errors
            .iter()
            .all(|e| e.contains("postmaster") || e.contains("socket")),
        "{errors:?}"
    );
}
