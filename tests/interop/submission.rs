//! Clients that are not ours log in: swaks, Python's smtplib, Postfix; and our own client.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use sealpost_tests::{PostfixSetup, Relay, RelayConfig, SmtpClient, Users, program};
use testkit::{FakeMx, TestCa, Zone};

use crate::recipient::message;

const SOON: Duration = Duration::from_secs(30);
const PASSWORD: &str = "correct horse battery";

/// A relay with a user, a mail exchanger behind it, and what they live on.
struct Site {
    ca: TestCa,
    _zone: Zone,
    mx: FakeMx,
    relay: Relay,
    _users: Users,
}

impl Site {
    async fn start() -> Self {
        let ca = TestCa::new();
        let zone = Zone::start().await;
        zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let mx = FakeMx::start("127.0.0.25:25", "mx.d.test", None).await;
        let users = Users::new(&[("ann@org.test", PASSWORD)]).await;
        let config = RelayConfig::default().set("access.auth-login", "true");
        let config = users.listeners(config, &ca, "127.0.0.1:587", "127.0.0.1:465");
        Self {
            relay: Relay::start(config).await,
            ca,
            _zone: zone,
            mx,
            _users: users,
        }
    }

    async fn accepted(&self, mechanism: &str) {
        let event = self
            .relay
            .wait_event(
                |e| e.is("smtp.in.login") && e.text("mechanism") == mechanism,
                SOON,
            )
            .await;
        assert_eq!(event.text("user"), "ann@org.test", "{event}");
    }
}

testkit::net_test! {
    async fn g2_04_g1_02_swaks_logs_in_by_each_of_its_mechanisms() {
        let site = Site::start().await;
        let swaks = |more: &[&str]| {
            let mut command = tokio::process::Command::new(program("swaks", "swaks"));
            command
                .args(["--server", "127.0.0.1", "--from", "ann@org.test", "--to", "b@d.test"])
                .args(["--auth-user", "ann@org.test"])
                .args(more)
                .kill_on_drop(true);
            command
        };
        for (n, (mechanism, port, tls)) in [
            ("PLAIN", "587", "--tls"),
            ("LOGIN", "587", "--tls"),
            ("PLAIN", "465", "--tlsc"),
        ].into_iter().enumerate() {
            let right = ["--port", port, tls, "--auth", mechanism, "--auth-password", PASSWORD];
            let output = swaks(&right).output().await.unwrap();
            let talk = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{mechanism} {port}: {talk} {output:?}");
            assert!(talk.contains("235 2.7.0 Welcome"), "{talk}");
            site.accepted(mechanism).await;
            let messages = || site.mx.messages().len();
            let delivered = sealpost_tests::eventually(SOON, async || (messages() > n).then_some(()));
            assert!(delivered.await.is_some(), "{}", site.relay.story());
        }
        let wrong = ["--port", "587", "--tls", "--auth", "PLAIN", "--auth-password", "guess"];
        let output = swaks(&wrong).output().await.unwrap();
        let talk = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(28), "{talk}");
        assert!(talk.contains("535 5.7.8"), "{talk}");
    }

    async fn g2_04_pythons_smtplib_logs_in() {
        let site = Site::start().await;
        let script = r#"
import smtplib, ssl, sys
password = sys.stdin.readline().rstrip("\n")
context = ssl.create_default_context(cafile=sys.argv[1])
context.check_hostname = False
message = "From: ann@org.test\r\nTo: b@d.test\r\nSubject: python\r\n\r\nhello\r\n"
for implicit in (False, True):
    if implicit:
        server = smtplib.SMTP_SSL("127.0.0.1", 465, context=context)
    else:
        server = smtplib.SMTP("127.0.0.1", 587)
        server.starttls(context=context)
    server.ehlo()
    assert "PLAIN" in server.esmtp_features["auth"], server.esmtp_features
    try:
        server.login("ann@org.test", "wrong password")
        raise SystemExit("a wrong password was accepted")
    except smtplib.SMTPAuthenticationError as error:
        assert error.smtp_code == 535, error
    server.login("ann@org.test", password)
    server.sendmail("ann@org.test", ["b@d.test"], message)
    server.quit()
print("done")
"#;
        let mut child = tokio::process::Command::new("python3")
            .args(["-c", script])
            .arg(site.ca.root_path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stdin, format!("{PASSWORD}\n").as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n", "{errors}");
        site.mx.wait_for_message(SOON).await;
    }

    async fn g3_01_postfix_logs_in_as_a_client() {
        let site = Site::start().await;
        let folder = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let passwords = folder.path().join("passwords");
        std::fs::write(&passwords, format!("[127.0.0.1]:587 ann@org.test:{PASSWORD}\n")).unwrap();
        let front = PostfixSetup::front("127.0.3.1:25".parse().unwrap(), "front.test", "[127.0.0.1]:587")
            .set("smtp_send_xforward_command", "no")
            .set("smtp_sasl_auth_enable", "yes")
            .set("smtp_sasl_password_maps", &format!("texthash:{}", passwords.display()))
            .set("smtp_sasl_security_options", "noanonymous")
            .set("smtp_sasl_mechanism_filter", "plain")
            .set("smtp_tls_security_level", "encrypt")
            .start()
            .await;
        let mut client = SmtpClient::connect("127.0.3.1:25".parse().unwrap()).await;
        client.ehlo("app.org.test").await;
        client.send("ann@org.test", &["b@d.test"], &message("dots")).await;
        front.wait_for_log(&["relay=127.0.0.1", "status=sent"], SOON).await;
        site.accepted("PLAIN").await;
        site.mx.wait_for_message(SOON).await;
    }

    async fn g2_07_our_own_client_logs_in_by_scram() {
        let site = Site::start().await;
        // A second relay with a route to the first; its listener and sockets are its own.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, PASSWORD).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = RelayConfig::default()
            .listen("127.0.4.1:2525".parse().unwrap())
            .http("127.0.4.1:8025".parse().unwrap())
            .set("server.hostname", "\"first.test\"")
            .trust(&site.ca)
            .append(&format!(
                "[[route]]\nrecipient-domain = \"*\"\nrelay = \"[127.0.0.1]:587\"\ntls-name = \"relay.test\"\n\
                 username = \"ann@org.test\"\npassword-file = \"{}\"",
                file.display()
            ));
        let first = Relay::start(config).await;
        let id = first.send("ann@org.test", &["b@d.test"], &message("dots")).await;
        first.wait_for("delivery.sent", &id, SOON).await;
        site.accepted("SCRAM-SHA-256").await;
        site.mx.wait_for_message(SOON).await;
    }
}
