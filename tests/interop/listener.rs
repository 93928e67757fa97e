//! Other people's clients at our listeners: OpenSSL, testssl.sh, smtplib, a Postfix in front, and
//! systemd that opens the ports.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sealpost_tests::{
    Daemon, PostfixSetup, Relay, RelayConfig, SmtpClient, program, sealpost_binary,
};
use testkit::{Leaf, TestCa};

use crate::site::exchanger;

const SOON: Duration = Duration::from_secs(30);
const MESSAGE: &[u8] = b"From: a@org.test\r\nTo: b@d.test\r\nSubject: x\r\n\r\nx\r\n";

testkit::net_test! {
    async fn g1_05_g1_06_g1_08_openssl_sees_the_listeners() {
        let ca = TestCa::new();
        let relay = Relay::start(tls_listeners(&ca, "")).await;
        let named = ca.root_path().display().to_string();
        let verify = ["-CAfile", &named, "-verify_return_error"];
        // The certificate by name, on both kinds of port.
        for (name, subject) in [("relay.test", "relay.test"), ("mail.other.test", "other.test")] {
            for start in [&["-connect", IMPLICIT][..], &["-starttls", "smtp", "-connect", STARTTLS]] {
                let args = [start, &["-servername", name, "-verify_hostname", name], &verify].concat();
                let (ok, talk) = s_client(&args, "QUIT\r\n").await;
                assert!(ok && talk.contains("Verification: OK"), "{name} ({subject}): {talk}");
                assert!(talk.contains("TLSv1.3"), "{talk}");
            }
        }
        let (ok, talk) = s_client(&["-connect", IMPLICIT, "-tls1_2"], "QUIT\r\n").await;
        assert!(ok && talk.contains("TLSv1.2"), "{talk}");
        // OpenSSL itself has to be talked into the old versions.
        for old in ["-tls1", "-tls1_1"] {
            let args = ["-connect", IMPLICIT, old, "-cipher", "ALL:@SECLEVEL=0"];
            let (ok, talk) = s_client(&args, "QUIT\r\n").await;
            assert!(!ok && talk.contains("alert"), "{old}: {talk}");
        }
        // Each ticket that comes before the end says how much: nothing.
        let (_, talk) = s_client(&["-connect", IMPLICIT], "QUIT\r\n").await;
        let early: Vec<&str> = talk.lines().filter(|l| l.contains("Max Early Data:")).collect();
        assert!(early.iter().all(|l| l.trim() == "Max Early Data: 0"), "{early:?}");
        drop(relay);
    }

    async fn testssl_finds_nothing_amiss() {
        let ca = TestCa::new();
        let _relay = Relay::start(tls_listeners(&ca, "")).await;
        let found = testssl().await;
        let finding = |id: &str| {
            let row = found.iter().find(|r| r["id"] == id).unwrap_or_else(|| panic!("no {id}: {found:?}"));
            row["finding"].to_string()
        };
        for old in ["SSLv2", "SSLv3", "TLS1", "TLS1_1"] {
            let finding = finding(old);
            assert!(finding.contains("not offered"), "{old}: {finding}");
        }
        for new in ["TLS1_2", "TLS1_3"] {
            let finding = finding(new);
            assert!(finding.contains("offered") && !finding.contains("not"), "{new}: {finding}");
        }
        let mut bad = amiss(&found);
        if !bad.is_empty() {
            // Its shell gives up an answer that comes late on a busy machine: what is amiss is so each time.
            let again = amiss(&testssl().await);
            bad.retain(|finding| again.contains(finding));
        }
        assert!(bad.is_empty(), "{bad:#?}");
    }

    async fn smtplib_sends_with_starttls_and_with_tls_from_the_start() {
        let ca = TestCa::new();
        let (_zone, mx) = exchanger().await;
        let _relay = Relay::start(tls_listeners(&ca, "")).await;
        let script = format!(
            "import smtplib, ssl\n\
             context = ssl.create_default_context(cafile='{}')\n\
             def send(smtp):\n\
             \x20   smtp.sendmail('a@org.test', ['b@d.test'], 'Subject: x\\r\\n\\r\\n.x\\r\\n')\n\
             \x20   smtp.quit()\n\
             plain = smtplib.SMTP('relay.test', 2587)\n\
             plain.starttls(context=context)\n\
             send(plain)\n\
             send(smtplib.SMTP_SSL('relay.test', 2465, context=context))\n",
            ca.root_path().display(),
        );
        // The name is not in DNS, and need not be: the socket is told where to go.
        let script = format!(
            "import socket\nreal = socket.create_connection\n\
             socket.create_connection = lambda a, *r, **k: real(('127.0.0.1', a[1]), *r, **k)\n{script}"
        );
        let output = tokio::process::Command::new(program("python3", "python3"))
            .args(["-c", &script])
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        mx.wait_for_messages(2, SOON).await;
    }

    async fn g1_09_openssl_with_a_client_certificate() {
        let ca = TestCa::new();
        let more = format!("client-ca = \"{}\"\n", ca.root_path().display());
        let relay = Relay::start(tls_listeners(&ca, &more)).await;
        let strangers = TestCa::new();
        for (authority, accepted) in [(&ca, true), (&strangers, false)] {
            let client = client_leaf(authority);
            let (certificate, key) = (client.cert_path.display(), client.key_path.display());
            let (certificate, key) = (certificate.to_string(), key.to_string());
            let args = ["-connect", IMPLICIT, "-cert", &certificate, "-key", &key];
            let (_, talk) = s_client(&args, "EHLO c.test\r\nQUIT\r\n").await;
            assert_eq!(talk.contains("250-relay.test"), accepted, "{talk}");
        }
        let failed = relay.wait_event(|e| e.is("smtp.in.tls-failed"), SOON).await;
        assert!(failed.text("cause").contains("certificate"), "{failed}");
    }

    async fn a_front_postfix_believes_the_fingerprint_that_cert_self_signed_prints() {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(sealpost_binary())
            .args(["cert", "self-signed", "relay.test", "--json", "--directory"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        let (_zone, mx) = exchanger().await;
        let config = RelayConfig::default()
            .set("access.xforward-hosts", r#"["127.0.0.1"]"#)
            .append(&format!(
                "[[listener]]\nname = \"tls\"\naddress = [\"{STARTTLS}\"]\ntls = \"optional\"\n\
                 certificate = \"{}\"\nprivate-key = \"{}\"\n",
                text("certificate"), text("private_key"),
            ));
        let relay = Relay::start(config).await;
        let hop = "[127.0.0.1]:2587";
        let front = |fingerprint: &str, port: u16| {
            let policy = format!("inline:{{ {{ {hop} = fingerprint match={fingerprint} }} }}");
            PostfixSetup::front(([127, 0, 0, 1], port).into(), "mail.org.test", hop)
                .set("smtp_tls_fingerprint_digest", "sha256")
                .set("smtp_tls_loglevel", "1")
                .set("smtp_tls_policy_maps", &policy)
        };
        let right = front(&text("fingerprint_sha256"), 25).start().await;
        let mut client = SmtpClient::connect(right.address()).await;
        client.ehlo("app.org.test").await;
        let id = client.send("a@org.test", &["b@d.test"], MESSAGE).await;
        right.wait_for_log(&[&id, "status=sent"], SOON).await;
        right.wait_for_log(&["Verified TLS connection established to 127.0.0.1"], SOON).await;
        let received = relay.wait_event(|e| e.is("message.received"), SOON).await;
        assert_eq!(received.text("upstream_id"), id, "{received}");
        assert_eq!(received.at("/tls/version"), "TLSv1.3", "{received}");
        mx.wait_for_message(SOON).await;
        let wrong = front(&["00"; 32].join(":"), 26).start().await;
        let mut client = SmtpClient::connect(wrong.address()).await;
        client.ehlo("app.org.test").await;
        let id = client.send("a@org.test", &["b@d.test"], MESSAGE).await;
        wrong.wait_for_log(&[&id, "status=deferred"], SOON).await;
        assert_eq!(mx.messages().len(), 1);
    }

    async fn systemd_opens_the_ports() {
        let folder = tempfile::tempdir().unwrap();
        let config = RelayConfig::default();
        let file = folder.path().join("sealpost.toml");
        for (name, config, starts) in [
            ("relay", config.clone(), true),
            ("smtp", config.clone(), false),
            ("relay", config.listen(([127, 0, 0, 1], 2526).into()), false),
        ] {
            std::fs::write(&file, config.text(folder.path())).unwrap();
            let mut command = Command::new(program("systemd-socket-activate", "systemd"));
            command
                .args(["--listen", "127.0.0.1:2525", "--fdname", name])
                .arg(sealpost_binary())
                .args(["serve", "--config"])
                .arg(&file);
            let output = folder.path().join(format!("output-{name}-{starts}"));
            let mut daemon = Daemon::start("socket-activate", &mut command, &output);
            // It starts the relay when the first client comes, which waits meanwhile.
            daemon.wait_for_port(([127, 0, 0, 1], 2525).into()).await;
            if starts {
                let mut client = SmtpClient::connect(([127, 0, 0, 1], 2525).into()).await;
                client.ehlo("c.test").await;
            } else {
                let status = daemon.wait(SOON).await;
                assert_eq!(status.code(), Some(78), "{}", daemon.printed());
                assert!(daemon.printed().contains("systemd passes"), "{}", daemon.printed());
            }
        }
    }
}

/// STARTTLS and implicit TLS for relay.test, and another certificate for other.test.
fn tls_listeners(ca: &TestCa, more: &str) -> RelayConfig {
    let (own, other) = (
        private(ca.leaf(&["relay.test"])),
        private(ca.leaf(&["mail.other.test"])),
    );
    let pair = |leaf: &Leaf| {
        let (certificate, key) = (leaf.cert_path.display(), leaf.key_path.display());
        format!("certificate = \"{certificate}\"\nprivate-key = \"{key}\"\n")
    };
    RelayConfig::default().append(&format!(
        "[[listener]]\nname = \"starttls\"\naddress = [\"{STARTTLS}\"]\ntls = \"optional\"\n{0}{more}\
         [[listener]]\nname = \"implicit\"\naddress = [\"{IMPLICIT}\"]\ntls = \"implicit\"\n{0}{more}\
         [[certificate]]\n{1}",
        pair(&own),
        pair(&other),
    ))
}

fn private(leaf: Leaf) -> Leaf {
    mode(&leaf.key_path);
    leaf
}

fn client_leaf(ca: &TestCa) -> Leaf {
    // The usage that is wrong for a server.
    ca.cert(&["app.test"]).wrong_usage().issue()
}

fn mode(key: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(key, PermissionsExt::from_mode(0o600)).unwrap();
}

/// `openssl s_client ARGS` with this input; whether it ended well, and all that it printed.
async fn s_client(args: &[&str], input: &str) -> (bool, String) {
    use tokio::io::AsyncWriteExt;
    let mut child = tokio::process::Command::new(program("openssl", "openssl"))
        .arg("s_client")
        .args(args)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have ended before it reads.
    let _ = stdin.write_all(input.as_bytes()).await;
    let output = child.wait_with_output().await.unwrap();
    drop(stdin);
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

const STARTTLS: &str = "127.0.0.1:2587";
const IMPLICIT: &str = "127.0.0.1:2465";

/// What testssl.sh says of the submission listener.
async fn testssl() -> Vec<serde_json::Value> {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let output = tokio::process::Command::new(program("testssl", "testssl.sh"))
        // Its looks for old weaknesses of other libraries take minutes; by hand: --vulnerable.
        .args([
            "--quiet",
            "--color",
            "0",
            "--protocols",
            "--server-defaults",
        ])
        .args(["--starttls", "smtp", "--nodns", "none", "--ip", "127.0.0.1"])
        .arg("--jsonfile")
        .arg(&report)
        .arg("relay.test:2587")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let text = std::fs::read_to_string(&report).unwrap_or_else(|e| panic!("{e}: {said}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {said}"))
}

/// Findings that somebody should act on, but for those of the test's own authority: nobody knows it, it has
/// no lists and no responder.
fn amiss(found: &[serde_json::Value]) -> Vec<String> {
    let bad = found.iter().filter(|r| {
        matches!(r["severity"].as_str(), Some("CRITICAL" | "HIGH" | "MEDIUM"))
            && !r["id"].as_str().is_some_and(|id| id.starts_with("cert_"))
    });
    bad.map(ToString::to_string).collect()
}
