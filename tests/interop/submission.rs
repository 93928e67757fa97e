//! Clients that are not ours log in: swaks, Python's smtplib, Postfix; and our own client.

use std::os::unix::fs::PermissionsExt;

use sealpost_tests::{PostfixSetup, Relay, RelayConfig, SmtpClient};
use testkit::TestCa;

use crate::recipient::message;
use crate::site::{PASSWORD, SOON, Site, USER, swaks};

/// LOGIN is offered too.
async fn site() -> Site {
    let config = RelayConfig::default().set("access.auth-login", "true");
    Site::start(TestCa::new(), config, "").await
}

testkit::net_test! {
    async fn g2_04_g1_02_swaks_logs_in_by_each_of_its_mechanisms() {
        let site = site().await;
        let swaks = |more: &[&str]| {
            let mut command = swaks(&["--from", USER, "--to", "b@d.test", "--auth-user", USER]);
            command.args(more);
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
            site.delivered(n + 1).await;
        }
        let wrong = ["--port", "587", "--tls", "--auth", "PLAIN", "--auth-password", "guess"];
        let output = swaks(&wrong).output().await.unwrap();
        let talk = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(28), "{talk}");
        assert!(talk.contains("535 5.7.8"), "{talk}");
    }

    async fn g2_04_pythons_smtplib_logs_in() {
        let site = site().await;
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
        let said = site.python(script, &[site.ca.root_path().as_os_str()]).await;
        assert_eq!(said, "done\n");
        site.mx.wait_for_message(SOON).await;
    }

    async fn g3_01_postfix_logs_in_as_a_client() {
        let site = site().await;
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
        let site = site().await;
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
