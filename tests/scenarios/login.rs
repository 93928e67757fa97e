//! Routes that log in at their next hop.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use sealpost_tests::{Relay, RelayConfig};
use testkit::{Action, FakeMx, Login, Rule, StartTls};

use crate::net::{MESSAGE, Net, SOON, bounced, deferred, ok, sent};

/// A next hop `hop.test` that wants this login.
async fn hop(net: &Net) -> FakeMx {
    let leaf = net.ca.leaf(&["hop.test"]);
    let hop = FakeMx::start("127.0.2.1:587", "hop.test", Some(&leaf)).await;
    hop.script(|s| s.login = Some(Login::new("relay", PASSWORD)));
    hop
}

fn password_file(folder: &tempfile::TempDir, password: &str) -> PathBuf {
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

fn config(net: &Net, file: &std::path::Path) -> RelayConfig {
    net.config().append(&format!(
        "[[route]]\nrecipient-domain = \"*\"\nrelay = \"[127.0.2.1]:587\"\ntls-name = \"hop.test\"\n\
         username = \"relay\"\npassword-file = \"{}\"",
        file.display()
    ))
}

/// Everything that the relay has said, anywhere.
fn everything(relay: &Relay) -> String {
    relay.story()
}

testkit::net_test! {
    async fn e2_33_a_route_logs_in_inside_verified_tls_and_the_password_shows_nowhere() {
        let net = Net::start().await;
        let hop = hop(&net).await;
        for mechanisms in ["PLAIN LOGIN", "LOGIN"] {
            hop.script(|s| if let Some(login) = &mut s.login { login.mechanisms = mechanisms.into() });
            let folder = tempfile::tempdir().unwrap();
            let relay = Relay::start(config(&net, &password_file(&folder, PASSWORD))).await;
            let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
            let event = sent(&relay, &id).await;
            assert_eq!(event.at("/tls/authenticated"), "pkix", "{event}");
            hop.assert_no_mail_in_clear();
            let in_clear = hop.transcript().into_iter().filter(|l| !l.tls);
            let said: Vec<String> = in_clear.map(|l| l.to_string()).collect();
            assert!(!said.iter().any(|l| l.contains("AUTH")), "{said:?}");
            assert!(!everything(&relay).contains(PASSWORD));
            assert!(!everything(&relay).contains(PASSWORD_BASE64));
        }
        assert_eq!(hop.messages().len(), 2);
    }

    async fn h3_35_a_login_that_is_refused_defers_alerts_and_is_mended_by_a_reload() {
        let net = Net::start().await;
        let hop = hop(&net).await;
        let folder = tempfile::tempdir().unwrap();
        let file = password_file(&folder, "not the password");
        let relay = Relay::start(config(&net, &file)).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("route-auth", "4.7.8"), "{event}");
        assert!(event.text("reply").starts_with("535 5.7.8"), "{event}");
        assert!(event.text("detail").contains("log in"), "{event}");
        assert!(event.at("/advice").to_string().contains("password-file"), "{event}");
        assert_eq!(event.text("level"), "error", "an alert: {event}");
        hop.assert_no_mail();
        // The dialogue can be looked at, without what was confided.
        let shown = ok(&relay, &["queue", "show", &id]).await.stdout;
        assert!(shown.contains("> AUTH PLAIN (not shown)"), "{shown}");
        assert!(shown.contains("< 535 5.7.8 wrong user or password"), "{shown}");
        assert!(!shown.contains("bm90IHRoZSBwYXNzd29yZA"), "{shown}");
        // The right password, without a restart.
        password_file(&folder, PASSWORD);
        ok(&relay, &["reload"]).await;
        ok(&relay, &["queue", "retry", "--all"]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
    }

    async fn every_other_trouble_with_a_login_waits_too() {
        let net = Net::start().await;
        let hop = hop(&net).await;
        let folder = tempfile::tempdir().unwrap();
        let relay = Relay::start(config(&net, &password_file(&folder, PASSWORD))).await;
        for (reply, domain) in [
            ("454 4.7.0 Temporary authentication failure", "d1.test"),
            ("534 5.7.9 too weak", "d2.test"),
            ("530 5.7.0 first something else", "d3.test"),
        ] {
            hop.script(|s| s.rules = vec![Rule::always("AUTH", Action::Reply(reply.into()))]);
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = deferred(&relay, &id).await;
            assert_eq!((event.text("reason"), event.text("dsn")), ("route-auth", "4.7.8"), "{event}");
        }
        // No mechanism that we have: nothing is tried.
        hop.script(|s| {
            s.rules.clear();
            if let Some(login) = &mut s.login { login.mechanisms = "GSSAPI".into() }
        });
        let id = relay.send("a@org.test", &["b@d4.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "route-auth", "{event}");
        assert!(event.text("detail").contains("no way to log in"), "{event}");
        hop.assert_no_mail();
    }

    async fn a_host_that_was_not_verified_hears_no_credentials() {
        let net = Net::start().await;
        let hop = hop(&net).await;
        hop.certificate(&net.ca.leaf(&["www.other.test"]));
        let folder = tempfile::tempdir().unwrap();
        let relay = Relay::start(config(&net, &password_file(&folder, PASSWORD))).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "cert-host-mismatch");
        let transcript = hop.transcript_text();
        assert!(!transcript.contains("C AUTH"), "{transcript}");
    }

    async fn h3_28_a_mail_exchanger_that_wants_a_login_gets_none() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.script(|s| s.login = Some(Login::new("relay", PASSWORD)));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = bounced(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("remote-5xx", "5.7.0"), "{event}");
        assert!(event.text("reply").starts_with("530 5.7.0"), "{event}");
        let transcript = mx.transcript_text();
        assert!(!transcript.contains("C AUTH"), "{transcript}");
    }

    async fn d2_08_a_login_that_a_host_wants_is_not_told_as_tls() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("MAIL", Action::Reply("530 5.7.0 Authentication required".into())));
        let must = net.plain_mx("e.test", "127.0.0.26").await;
        must.script(|s| s.tls_required = true);
        let broken = net.mx("f.test", "127.0.0.27").await;
        broken.script(|s| {
            s.starttls = StartTls::Refuse("454 4.7.0 TLS is not available".into());
            s.tls_required = true;
        });
        let relay = Relay::start(net.config().append(
            "[[route]]\nrecipient-domain = \"r.test\"\nrelay = \"[127.0.0.25]:25\"\ntls = \"dangerous-off\"\n",
        )).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = bounced(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("remote-5xx", "5.7.0"), "{event}");
        assert!(event.text("detail").contains("takes mail only from its own users"), "{event}");
        assert!(event.text("advice").starts_with("recipient-admin: "), "{event}");
        // Which one of the two it is that TLS lacks.
        for (domain, words) in [
            ("e.test", "but does not offer it (STARTTLS)"),
            ("f.test", "a TLS session with it could not be set up"),
        ] {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = bounced(&relay, &id).await;
            assert_eq!(event.text("reason"), "tls-required-by-peer", "{event}");
            assert!(event.text("detail").contains(words), "{event}");
        }
        // A next hop of ours: it is our route that lacks the login.
        let id = relay.send("a@org.test", &["b@r.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "route-auth", "{event}");
        assert!(event.text("advice").starts_with("us: "), "{event}");
        assert!(event.text("detail").contains("(in answer to MAIL FROM)"), "no AUTH was sent: {event}");
    }

    async fn a_next_hop_that_wants_a_login_that_we_do_not_have_makes_the_mail_wait() {
        let net = Net::start().await;
        let _hop = hop(&net).await;
        let relay = Relay::start(net.config().append(
            "[[route]]\nrecipient-domain = \"*\"\nrelay = \"[127.0.2.1]:587\"\ntls-name = \"hop.test\"",
        )).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("route-auth", "4.7.8"), "{event}");
    }
}

const PASSWORD: &str = "correct horse battery";
const PASSWORD_BASE64: &str = "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5";
