//! Whom the relay trusts: roots of its own and of routes, revocation, and what a reload changes.

use std::path::Path;

use sealpost_tests::{Event, Relay};
use testkit::{FakeMx, TestCa};

use crate::net::{MESSAGE, Net, SOON, deferred, ok, sent};

fn crls(file: &Path) -> String {
    format!("[{:?}]", file.display().to_string())
}

testkit::net_test! {
    async fn i3_06_h4_14_a_revoked_certificate_is_refused_once_the_list_says_so() {
        let net = Net::start().await;
        let revoked = net.mx("d.test", "127.0.0.25").await;
        let leaf = net.ca.cert(&["mx.d.test"]).serial(7).issue();
        revoked.certificate(&leaf);
        net.enforce("d.test");
        let good = net.mx("e.test", "127.0.0.26").await;
        net.enforce("e.test");
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("ca.crl");
        std::fs::write(&list, net.ca.crl(&[], 2099)).unwrap();
        let relay = Relay::start(net.config().set("tls.crls", &crls(&list))).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        // The list is replaced and the relay told: from now on, without a restart.
        std::fs::write(&list, net.ca.crl(&[7], 2099)).unwrap();
        ok(&relay, &["reload"]).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("cert-not-trusted", "4.7.5"), "{event}");
        assert!(event.text("detail").contains("revoked"), "{event}");
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        sent(&relay, &id).await;
        assert_eq!((revoked.messages().len(), good.messages().len()), (1, 1));
    }

    async fn i3_08_h4_14_a_list_that_is_out_of_date_passes_with_an_alert_or_fails_as_set() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("ca.crl");
        std::fs::write(&list, net.ca.crl(&[], 2021)).unwrap();
        let soft = Relay::start(net.config().set("tls.crls", &crls(&list))).await;
        let alert = soft.wait_event(|e: &Event| e.is("tls.crl-outdated"), SOON).await;
        assert_eq!(alert.text("level"), "error", "{alert}");
        assert!(alert.text("file").ends_with("ca.crl"), "{alert}");
        let id = soft.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&soft, &id).await;
        drop(soft);
        let hard = net.config().set("tls.crls", &crls(&list)).set("tls.crl-failure", "\"hard\"");
        let hard = Relay::start(hard).await;
        let id = hard.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&hard, &id).await;
        assert_eq!(event.text("reason"), "cert-not-trusted", "{event}");
        assert!(event.text("detail").contains("crl-expired"), "{event}");
        assert_eq!(mx.messages().len(), 1);
    }

    async fn i3_08_a_list_that_cannot_be_read_is_left_out_or_keeps_the_relay_from_starting() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("ca.crl");
        std::fs::write(&list, "no list").unwrap();
        let soft = Relay::start(net.config().set("tls.crls", &crls(&list))).await;
        let id = soft.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&soft, &id).await;
        assert!(soft.story().contains("tls.crl-unusable"), "{}", soft.story());
        assert_eq!(mx.messages().len(), 1);
        // In force is what was in force: a reload to something unusable is refused as a whole.
        let text = std::fs::read_to_string(soft.config_path()).unwrap();
        std::fs::write(soft.config_path(), text.replace("[tls]\n", "[tls]\ncrl-failure = \"hard\"\n")).unwrap();
        let output = soft.cli(&["reload"]).await;
        assert_ne!(output.code, Some(0), "{output:?}");
        assert!(format!("{output:?}").contains("ca.crl"), "{output:?}");
    }

    async fn i3_02_a_routes_own_authority_is_trusted_on_that_route_only() {
        let net = Net::start().await;
        let private = TestCa::new();
        let hop = FakeMx::start("127.0.2.1:25", "hop.test", Some(&private.leaf(&["hop.test"]))).await;
        let elsewhere = net.mx("e.test", "127.0.0.26").await;
        elsewhere.certificate(&private.leaf(&["mx.e.test"]));
        net.enforce("e.test");
        let relay = Relay::start(net.config().append(&format!(
            "[[route]]\nrecipient-domain = \"d.test\"\nrelay = \"[127.0.2.1]\"\ntls-name = \"hop.test\"\nroots = [{:?}]",
            private.root_path().display().to_string()
        ))).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert_eq!(sent(&relay, &id).await.at("/tls/authenticated"), "pkix");
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "cert-not-trusted");
        elsewhere.assert_no_mail();
        // The other way round: the world's authorities are nobody on this route.
        hop.certificate(&net.ca.leaf(&["hop.test"]));
        hop.pause().await;
        hop.resume().await;
        let id = relay.send("a@org.test", &["c@d.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "cert-not-trusted");
    }

    async fn i3_04_h4_16_roots_and_a_routes_roots_are_read_again_without_a_restart() {
        let net = Net::start().await;
        let (old, new) = (TestCa::new(), TestCa::new());
        let folder = tempfile::tempdir().unwrap();
        let (world, route) = (folder.path().join("world.pem"), folder.path().join("route.pem"));
        for file in [&world, &route] {
            std::fs::copy(old.root_path(), file).unwrap();
        }
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.certificate(&new.leaf(&["mx.d.test"]));
        let hop = FakeMx::start("127.0.2.1:25", "hop.test", Some(&new.leaf(&["hop.test"]))).await;
        let config = net.config()
            .set("tls.dangerous-extra-roots", &format!("[{:?}]", world.display().to_string()))
            .set("delivery.tls", "\"verified\"")
            .append(&format!(
                "[[route]]\nrecipient-domain = \"e.test\"\nrelay = \"[127.0.2.1]\"\ntls-name = \"hop.test\"\nroots = [{:?}]",
                route.display().to_string()
            ));
        let relay = Relay::start(config).await;
        let mut ids = Vec::new();
        for to in ["b@d.test", "b@e.test"] {
            let id = relay.send("a@org.test", &[to], MESSAGE).await;
            assert_eq!(deferred(&relay, &id).await.text("reason"), "cert-not-trusted");
            ids.push(id);
        }
        for file in [&world, &route] {
            std::fs::copy(new.root_path(), file).unwrap();
        }
        let seen = relay.events().len();
        relay.hang_up();
        relay.wait_event_after(seen, |e: &Event| e.is("config.reloaded"), SOON).await;
        ok(&relay, &["queue", "retry", "--all"]).await;
        for id in &ids {
            relay.wait_for("delivery.sent", id, SOON).await;
        }
        // Taken away again: no connection made under it is used, no handshake succeeds.
        for file in [&world, &route] {
            std::fs::copy(old.root_path(), file).unwrap();
        }
        ok(&relay, &["reload"]).await;
        for to in ["c@d.test", "c@e.test"] {
            let id = relay.send("a@org.test", &[to], MESSAGE).await;
            assert_eq!(deferred(&relay, &id).await.text("reason"), "cert-not-trusted");
        }
        assert_eq!((mx.messages().len(), hop.messages().len()), (1, 1));
    }

    async fn h4_15_i4_07_every_session_verifies_anew_and_none_is_resumed() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        // One message for each connection: a client that resumes would do it here.
        let relay = Relay::start(net.config().set("delivery.messages-per-connection", "1")).await;
        for to in ["b@d.test", "c@d.test", "d@d.test"] {
            let id = relay.send("a@org.test", &[to], MESSAGE).await;
            sent(&relay, &id).await;
        }
        let sessions = mx.sessions();
        assert_eq!(sessions.len(), 3, "{sessions:?}");
        for session in &sessions {
            assert!(!session.tls.as_ref().unwrap().resumed, "{session:?}");
        }
        mx.certificate(&net.expired("mx.d.test"));
        let id = relay.send("a@org.test", &["e@d.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "cert-expired");
    }

    async fn h4_17_the_digest_of_the_certificate_is_in_the_record() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        let mut digests = Vec::new();
        for _ in 0..2 {
            let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
            let event = sent(&relay, &id).await;
            digests.push(event.at("/tls/cert/sha256").as_str().unwrap().to_owned());
            assert_eq!(digests.last().unwrap().len(), 64, "{event}");
            // Another certificate for the same name, by the same authority.
            mx.certificate(&net.ca.leaf(&["mx.d.test"]));
            mx.pause().await;
            mx.resume().await;
        }
        assert_ne!(digests[0], digests[1]);
    }

    async fn i4_06_session_keys_are_never_written_out() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        // The harness sets SSLKEYLOGFILE for every relay.
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert!(sent(&relay, &id).await.at("/tls").is_object());
        assert_eq!((mx.messages().len(), net.host.requests().len()), (1, 1));
        assert!(!relay.folder().join("session-keys").exists());
    }

    async fn h4_18_many_domains_refused_at_once_is_an_alert_and_all_of_them_wait() {
        let net = Net::start().await;
        let stranger = TestCa::new();
        let mut peers = Vec::new();
        for n in 0..11 {
            let domain = format!("d{n}.test");
            let mx = net.mx(&domain, &format!("127.0.3.{}", n + 1)).await;
            mx.certificate(&stranger.leaf(&[&format!("mx.{domain}")]));
            peers.push((domain, mx));
        }
        let relay = Relay::start(net.config().set("delivery.tls", "\"verified\"")).await;
        for (n, (domain, _)) in peers.iter().enumerate() {
            let many = |e: &Event| e.is("tls.many-refused");
            assert!(n >= 10 || !relay.events().iter().any(many), "{n}");
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            assert_eq!(deferred(&relay, &id).await.text("reason"), "cert-not-trusted");
        }
        let alert = relay.wait_event(|e: &Event| e.is("tls.many-refused"), SOON).await;
        assert_eq!(alert.text("level"), "error", "{alert}");
        assert_eq!(alert.text("domains"), "10", "{alert}");
        assert!(alert.text("detail").contains("tls.roots"), "{alert}");
        let alerts = relay.events().iter().filter(|e| e.is("tls.many-refused")).count();
        assert_eq!(alerts, 1, "once, not for each message");
    }
}
