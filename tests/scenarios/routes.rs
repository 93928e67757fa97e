//! Explicit next hops.

use sealpost_tests::Relay;
use testkit::{FakeMx, RecordType};

use crate::net::{MESSAGE, Net, deferred, ok, sent};

testkit::net_test! {
    async fn e1_23_h10_06_a_route_replaces_mx_look_up_and_may_say_that_there_is_no_tls() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let hop = FakeMx::start("127.0.2.1:2500", "hop.test", None).await;
        let relay = Relay::start(net.config().append(
            "[[route]]\nrecipient-domain = \"d.test\"\nrelay = \"[127.0.2.1]:2500\"\n\
             tls = \"dangerous-off\"",
        )).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/port"), 2500, "{event}");
        assert_eq!(event.text("ip"), "127.0.2.1", "{event}");
        assert!(event.at("/tls").is_null(), "{event}");
        assert_eq!(event.at("/policies/0/source"), "route", "{event}");
        assert_eq!(event.at("/policies/0/mode"), "dangerous-off", "{event}");
        assert_eq!(hop.messages().len(), 1);
        assert!(mx.sessions().is_empty());
        // Row A1-03: a literal has no policy domain, and the recipient's is not asked.
        let mut asked = net.zone.queries();
        asked.retain(|q| !q.name.is_empty());
        assert_eq!(asked, []);
        let danger = relay.events().into_iter().find(|e| e.is("config.dangerous"));
        assert!(relay.events().iter().any(|e| e.text("detail").contains("dangerous-off")), "{danger:?}");
    }

    async fn f3_01_a_route_to_a_host_that_does_not_exist_is_ours_to_correct_and_returns_no_mail() {
        let net = Net::start().await;
        let relay = Relay::start(net.config().append(
            "[[route]]\nrecipient-domain = \"d.test\"\nrelay = \"[gone.test]:2500\"\n\
             [[route]]\nrecipient-domain = \"e.test\"\nrelay = \"gone.test:2500\"\ntls = \"policy\"",
        )).await;
        for domain in ["d.test", "e.test"] {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = deferred(&relay, &id).await;
            assert_eq!((event.text("reason"), event.text("dsn")), ("no-usable-mx", "4.4.4"), "{event}");
            let said = event.text("detail");
            assert!(said.starts_with(&format!("Our own route for {domain}")), "{event}");
            assert!(said.contains("gone.test"), "{event}");
            assert!(event.text("advice").starts_with("us: "), "{event}");
            assert!(event.at("/advice").to_string().contains("`relay`"), "{event}");
        }
    }

    async fn e2_31_e2_33_a_verified_route_wants_a_certificate_for_its_name() {
        let net = Net::start().await;
        let hop = FakeMx::start("127.0.2.1:2500", "hop.test", Some(&net.ca.leaf(&["hop.test"]))).await;
        let plain = FakeMx::start("127.0.2.2:2500", "plain.test", None).await;
        let relay = Relay::start(net.config().append(
            "[[route]]\nrecipient-domain = \"d.test\"\nrelay = \"[127.0.2.1]:2500\"\ntls-name = \"hop.test\"\n\
             [[route]]\nrecipient-domain = \"e.test\"\nrelay = \"[127.0.2.1]:2500\"\ntls-name = \"www.test\"\n\
             [[route]]\nrecipient-domain = \"*.f.test\"\nrelay = \"[127.0.2.2]:2500\"\ntls-name = \"plain.test\"",
        )).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/tls/authenticated"), "pkix", "{event}");
        assert_eq!(event.at("/policies/0/source"), "route", "{event}");
        assert_eq!(event.at("/policies/0/result"), "satisfied", "{event}");
        hop.assert_no_mail_in_clear();
        // The connection that lies open was verified for another name.
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "cert-host-mismatch", "{event}");
        assert_eq!(event.at("/policies/0/result"), "failed", "{event}");
        let id = relay.send("a@org.test", &["b@sub.f.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "starttls-not-offered");
        plain.assert_no_mail();
        assert_eq!(hop.messages().len(), 1);
    }

    async fn a1_02_amb_29_a_named_route_follows_the_policy_of_its_own_name() {
        let net = Net::start().await;
        let hop = net.mx("x.test", "127.0.0.25").await;
        net.enforce("x.test");
        net.enforce("d.test");
        let relay = Relay::start(net.config().append(
            "[[route]]\nrecipient-domain = \"*\"\nrelay = \"x.test\"\ntls = \"policy\"",
        )).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("mx"), "mx.x.test", "{event}");
        assert_eq!(event.at("/policies/0/mode"), "enforce", "{event}");
        assert_eq!(event.at("/tls/authenticated"), "pkix", "{event}");
        assert_eq!((net.host.count("x.test"), net.host.count("d.test")), (1, 0));
        assert_eq!(net.zone.count("_mta-sts.d.test", RecordType::TXT), 0);
        hop.certificate(&net.expired("mx.x.test")).forget();
        // A fresh handshake: the kept connection was verified before.
        hop.pause().await;
        hop.resume().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "cert-expired");
        hop.assert_no_mail();
    }

    async fn e1_23_routes_choose_by_sender_too_and_the_first_that_fits_counts() {
        let net = Net::start().await;
        let news = FakeMx::start("127.0.2.1:2500", "news.test", None).await;
        let all = FakeMx::start("127.0.2.2:2500", "all.test", None).await;
        let mx = net.plain_mx("e.test", "127.0.0.25").await;
        let relay = Relay::start(net.config().append(
            "[[route]]\nsender-domain = \"news.org.test\"\nrelay = \"[127.0.2.1]:2500\"\ntls = \"dangerous-off\"\n\
             [[route]]\nrecipient-domain = \"d.test\"\nrelay = \"[127.0.2.2]:2500\"\ntls = \"dangerous-off\"",
        )).await;
        for (from, to) in [
            ("a@news.org.test", "b@d.test"),
            ("a@org.test", "c@d.test"),
            ("a@org.test", "d@e.test"),
        ] {
            let id = relay.send(from, &[to], MESSAGE).await;
            sent(&relay, &id).await;
        }
        assert_eq!(news.messages()[0].recipients(), ["b@d.test"]);
        assert_eq!(all.messages()[0].recipients(), ["c@d.test"]);
        assert_eq!(mx.messages()[0].recipients(), ["d@e.test"]);
        assert_eq!((news.messages().len(), all.messages().len()), (1, 1));
    }

    async fn h3_36_two_relays_that_point_at_each_other_do_not_pass_mail_round_for_ever() {
        let net = Net::start().await;
        let route = |to: &str| format!(
            "[[route]]\nrecipient-domain = \"d.test\"\nrelay = \"[{to}]:2525\"\ntls = \"dangerous-off\""
        );
        let a = Relay::start(net.config().append(&route("127.0.2.2"))).await;
        let other = net.config()
            .listen("127.0.2.2:2525".parse().unwrap())
            .http("127.0.2.2:8025".parse().unwrap())
            .append(&route("127.0.0.1"));
        let b = Relay::start(other).await;
        a.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let looped = |e: &sealpost_tests::Event| e.is("delivery.bounced") && e.text("dsn") == "5.4.6";
        let both = async || {
            let mut all = a.events();
            all.extend(b.events());
            all.into_iter().find(looped)
        };
        let event = sealpost_tests::eventually(crate::net::SOON, both).await;
        let event = event.unwrap_or_else(|| panic!("{}\n{}", a.story(), b.story()));
        assert_eq!(event.text("to"), "b@d.test", "{event}");
        let passed = |r: &Relay| r.events().iter().filter(|e| e.is("delivery.sent")).count();
        assert!(passed(&a) + passed(&b) < 20, "{}", a.story());
    }

    async fn e2_31_local_rules_and_delivery_tls_ask_for_more_than_the_domain_does() {
        let net = Net::start().await;
        let plain = net.plain_mx("plain.test", "127.0.1.1").await;
        let bad = net.mx("bad.test", "127.0.1.2").await;
        bad.certificate(&net.expired("mx.bad.test"));
        let strict = net.mx("strict.test", "127.0.1.3").await;
        strict.certificate(&net.expired("mx.strict.test"));
        let listed = net.mx("listed.test", "127.0.1.4").await;
        let config = net.config().set("delivery.tls", "\"encrypted\"").append(
            "[[domain]]\nname = \"strict.test\"\ntls = \"verified\"\n\
             [[domain]]\nname = \"listed.test\"\nmta-sts = \"require\"\nmx = [\"mx.elsewhere.test\"]",
        );
        let mut relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@plain.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "starttls-not-offered", "{event}");
        assert_eq!(event.at("/policies/0/source"), "local", "{event}");
        let id = relay.send("a@org.test", &["b@bad.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/policies/0/mode"), "encrypted", "{event}");
        assert_eq!(event.at("/policies/0/result"), "satisfied", "{event}");
        let id = relay.send("a@org.test", &["b@strict.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "cert-expired");
        let waiting = relay.send("a@org.test", &["b@listed.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &waiting).await.text("reason"), "mx-not-in-policy");
        for mx in [&plain, &strict, &listed] {
            mx.assert_no_mail();
        }
        // The rule is corrected while the relay is down.
        let text = std::fs::read_to_string(relay.config_path()).unwrap();
        std::fs::write(relay.config_path(), text.replace("elsewhere.test", "listed.test")).unwrap();
        relay.restart().await;
        ok(&relay, &["queue", "retry", "--all"]).await;
        let event = relay.wait_for("delivery.sent", &waiting, crate::net::SOON).await;
        assert_eq!(event.at("/policies/0/result"), "satisfied", "{event}");
        assert_eq!(event.at("/tls/authenticated"), "pkix", "{event}");
    }
}
