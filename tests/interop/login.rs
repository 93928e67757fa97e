//! Logging in at a Postfix that asks Dovecot, by each mechanism that we have.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use sealpost_tests::{Dovecot, PostfixSetup, Relay, RelayConfig};
use testkit::TestCa;

use crate::recipient::message;

const SOON: Duration = Duration::from_secs(30);

testkit::net_test! {
    async fn e2_33_postfix_and_dovecot_let_us_in_by_each_mechanism() {
        let ca = TestCa::new();
        let leaf = ca.leaf(&["hop.test"]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        for (offered, used, password, let_in) in [
            ("plain login scram-sha-256", "SCRAM-SHA-256", "correct-horse", true),
            ("plain login", "PLAIN", "correct-horse", true),
            ("login", "LOGIN", "correct-horse", true),
            ("scram-sha-256", "SCRAM-SHA-256", "wrong-horse", false),
        ] {
            let dovecot = Dovecot::start(offered, "relay", "correct-horse").await;
            let hop = PostfixSetup::mx("127.0.2.1:587".parse().unwrap(), "hop.test", &["d.test"], &leaf)
                .set("smtpd_sasl_auth_enable", "yes")
                .set("smtpd_sasl_type", "dovecot")
                .set("smtpd_sasl_path", &dovecot.socket().display().to_string())
                .set("smtpd_sasl_security_options", "noanonymous")
                .set("smtpd_tls_auth_only", "yes")
                .set("smtpd_recipient_restrictions", "permit_sasl_authenticated, reject")
                .start()
                .await;
            std::fs::write(&file, password).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            let config = RelayConfig::default().trust(&ca).set("queue.retry", "[\"1h\"]").append(&format!(
                "[[route]]\nrecipient-domain = \"*\"\nrelay = \"[127.0.2.1]:587\"\ntls-name = \"hop.test\"\n\
                 username = \"relay\"\npassword-file = \"{}\"",
                file.display()
            ));
            let relay = Relay::start(config).await;
            let id = relay.send("a@org.test", &["b@d.test"], &message("dots")).await;
            if let_in {
                relay.wait_for("delivery.sent", &id, SOON).await;
                hop.wait_for_log(&[&format!("sasl_method={used}"), "sasl_username=relay"], SOON).await;
            } else {
                let event = relay.wait_for("delivery.deferred", &id, SOON).await;
                assert_eq!(event.text("reason"), "route-auth", "{event}");
                assert!(event.text("reply").starts_with("535 5.7.8"), "{event}");
            }
            assert!(!relay.story().contains(password), "{}", relay.story());
        }
    }
}
