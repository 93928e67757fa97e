//! Which questions are asked, which certificates and addresses count, and what a fresh look before a
//! bounce is.

use std::time::Duration;

use sealpost_tests::{Event, Relay};
use testkit::{Action, FakeMx, RecordType, Rule, ZoneFault, policy_text};

use crate::net::{MESSAGE, Net, POLICY_HOST, SOON, bounced, deferred, ok, sent};

testkit::net_test! {
    async fn a1_01_a1_04_a2_01_i1_11_exactly_one_name_is_asked_for_a_record() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@D.Test"], MESSAGE).await;
        sent(&relay, &id).await;
        // An address literal has no policy domain.
        let id = relay.send("a@org.test", &["b@[127.0.0.25]"], MESSAGE).await;
        sent(&relay, &id).await;
        let asked: Vec<_> = net.zone.queries().into_iter()
            .filter(|q| q.kind == RecordType::TXT || q.name.contains("_mta-sts"))
            .map(|q| (q.name, q.kind))
            .collect();
        assert_eq!(asked, [("_mta-sts.d.test".to_owned(), RecordType::TXT)]);
        assert_eq!(net.host.requests().len(), 1);
        assert_eq!(net.host.requests()[0].sni.as_deref(), Some("mta-sts.d.test"));
        assert_eq!(mx.messages()[0].tls.as_ref().unwrap().sni.as_deref(), Some("mx.d.test"));
    }

    async fn a5_09_a5_10_a5_11_i1_01_only_the_hosts_own_dns_id_in_a_whole_chain_will_do() {
        let net = Net::start().await;
        let cert = |names: &[&str]| net.ca.cert(names);
        let cases = [
            ("cn.test", cert(&["www.cn.test"]).common_name("mx.cn.test").issue(), "cert-host-mismatch"),
            ("bare.test", cert(&[]).common_name("mx.bare.test").issue(), "cert-host-mismatch"),
            ("domain.test", cert(&["domain.test"]).issue(), "cert-host-mismatch"),
            ("sibling.test", cert(&["mx2.sibling.test"]).issue(), "cert-host-mismatch"),
            ("deep.test", cert(&["*.mx.deep.test"]).issue(), "cert-host-mismatch"),
            ("chain.test", cert(&["mx.chain.test"]).missing_intermediate().issue(), "cert-not-trusted"),
        ];
        let relay = net.relay().await;
        let mut peers = Vec::new();
        for (n, (domain, leaf, reason)) in cases.iter().enumerate() {
            let mx = net.mx(domain, &format!("127.0.1.{}", n + 1)).await;
            mx.certificate(leaf);
            net.enforce_for(domain, &[&format!("*.{domain}"), domain]);
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = deferred(&relay, &id).await;
            assert_eq!(event.text("reason"), *reason, "{domain}: {event}");
            mx.assert_no_mail();
            peers.push(mx);
        }
        // The whole chain, from the same authority, is good: nothing was remembered or fetched.
        let mx = net.mx("whole.test", "127.0.1.9").await;
        mx.certificate(&cert(&["mx.whole.test"]).via_intermediate().issue());
        net.enforce("whole.test");
        let id = relay.send("a@org.test", &["b@whole.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let id = relay.send("a@org.test", &["b@chain.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "cert-not-trusted");
        assert_eq!(net.host.requests().len(), cases.len() + 1, "policies and nothing else");
    }

    async fn a6_12_a_refusal_by_a_validated_host_is_final_without_another_look() {
        let net = Net::start().await;
        let _org = net.plain_mx("org.test", "127.0.1.9").await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("RCPT", Action::Reply("550 5.1.1 no such user".into())));
        net.enforce("d.test");
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = bounced(&relay, &id).await;
        assert_eq!(event.text("dsn"), "5.1.1", "{event}");
        assert_eq!(event.at("/attempt"), 1, "{event}");
        assert_eq!(event.at("/policies/0/result"), "satisfied", "{event}");
        relay.wait_event(|e| e.is("dsn.sent"), SOON).await;
        assert_eq!(net.zone.count("_mta-sts.d.test", RecordType::TXT), 1);
        assert_eq!(net.host.count("d.test"), 1);
    }

    async fn a6_18_each_address_of_a_host_is_validated_by_itself() {
        let net = Net::start().await;
        net.zone.mx("d.test", 10, "mx.d.test").a("mx.d.test", "::1").a("mx.d.test", "127.0.0.25");
        let leaf = net.ca.leaf(&["mx.d.test"]);
        let six = FakeMx::start("[::1]:25", "mx.d.test", Some(&net.expired("mx.d.test"))).await;
        let four = FakeMx::start("127.0.0.25:25", "mx.d.test", Some(&leaf)).await;
        net.enforce("d.test");
        let config = net.config().set("egress.allow-special-use", r#"["127.0.0.0/8", "::1/128"]"#);
        let relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/tried/0/ip"), "::1", "{event}");
        assert_eq!(event.at("/tried/0/reason"), "cert-expired", "{event}");
        assert_eq!(event.text("ip"), "127.0.0.25", "{event}");
        assert_eq!(event.at("/attempt"), 1, "{event}");
        six.assert_no_mail();
        assert_eq!(four.messages().len(), 1);
    }

    async fn a6_25_a_connection_that_fails_is_no_failure_of_the_policy() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        mx.pause().await;
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "connect", "{event}");
        assert_eq!(event.at("/policies/0/mode"), "enforce", "{event}");
        assert_eq!(event.at("/policies/0/result"), "not-evaluated", "{event}");
        assert!(event.at("/policies/0/reason").is_null(), "{event}");
    }

    async fn h1_08_an_answer_of_sixty_kilobytes_is_read_within_bounds() {
        let net = Net::start().await;
        let _big = net.mx("big.test", "127.0.1.1").await;
        let _many = net.mx("many.test", "127.0.1.2").await;
        let (filler, first) = ("x".repeat(255), "v=STSv1; id=1; y=");
        let strings: Vec<&str> = std::iter::once(first).chain([filler.as_str(); 230]).collect();
        net.zone.txt_strings("_mta-sts.big.test", &strings);
        net.enforce("many.test");
        for n in 0..900 {
            net.zone.txt("_mta-sts.many.test", &format!("not a record of ours, number {n}"));
        }
        let relay = net.relay().await;
        // One field of 58,000 octets makes the record invalid: no policy.
        let id = relay.send("a@org.test", &["b@big.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/policies"), &serde_json::json!([]), "{event}");
        assert!(event.at("/delay").as_f64().unwrap() < 10.0, "{event}");
        // One among hundreds of others is found.
        let id = relay.send("a@org.test", &["b@many.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/policies/0/mode"), "enforce", "{event}");
        let over_tcp = |q: &testkit::QuerySeen| q.tcp && q.kind == RecordType::TXT;
        assert!(net.zone.queries().iter().any(over_tcp));
    }

    async fn h1_13_a_domain_whose_name_servers_are_silent_is_asked_a_few_times_for_all_its_mail() {
        let net = Net::start().await;
        let _other = net.mx("other.test", "127.0.0.26").await;
        net.zone.fault("d.test", RecordType::MX, ZoneFault::Drop);
        let relay = net.relay().await;
        let mut ids = Vec::new();
        for _ in 0..40 {
            ids.push(relay.send("a@org.test", &["b@d.test"], MESSAGE).await);
        }
        // Mail to others does not wait for it.
        let id = relay.send("a@org.test", &["b@other.test"], MESSAGE).await;
        sent(&relay, &id).await;
        for id in &ids {
            let event = relay.wait_for("delivery.deferred", id, Duration::from_secs(60)).await;
            let reasons = ["dns-temporary", "destination-suspended"];
            assert!(reasons.contains(&event.text("reason")), "{event}");
        }
        // A look-up is a few questions, over UDP and TCP, and a few look-ups suspend the domain.
        let asked = net.zone.count("d.test", RecordType::MX);
        assert!(asked <= 16, "{asked} questions for {} messages", ids.len());
    }

    async fn h1_15_hosts_that_dns_forges_get_nothing_from_an_enforced_domain() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let mut relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        relay.kill();
        let evil = net.peer("evil.test", "127.0.0.66").await;
        net.zone.remove("d.test", RecordType::MX);
        net.zone.mail_domain("d.test", "evil.test", "127.0.0.66");
        net.zone.fault("_mta-sts.d.test", RecordType::TXT, ZoneFault::NxDomain);
        mx.forget();
        relay.restart().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "mx-not-in-policy", "{event}");
        assert_eq!(event.text("mx"), "evil.test", "{event}");
        assert!(event.text("detail").contains("mx.d.test"), "names the patterns: {event}");
        evil.assert_no_mail();
        mx.assert_no_mail();
    }

    async fn h2_25_a_policy_that_no_host_matches_holds_enforced_mail_and_reports_tested_mail() {
        let net = Net::start().await;
        let mut peers = Vec::new();
        for (domain, ip, mode) in [("e.test", "127.0.1.1", "enforce"), ("t.test", "127.0.1.2", "testing")] {
            peers.push(net.mx(domain, ip).await);
            net.zone.mta_sts(domain, "1", POLICY_HOST);
            net.host.policy(domain, &policy_text(mode, &["old.host.test"], 604_800));
        }
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "mx-not-in-policy", "{event}");
        assert!(event.text("detail").contains("old.host.test"), "{event}");
        assert!(event.text("advice").starts_with("recipient-admin: "), "{event}");
        peers[0].assert_no_mail();
        let id = relay.send("a@org.test", &["b@t.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let told = relay.wait_event(|e| e.is("policy.testing-would-fail"), SOON).await;
        assert_eq!(told.text("domain"), "t.test", "{told}");
        assert_eq!(told.text("reason"), "mx-not-in-policy", "{told}");
    }

    async fn h2_26_a6_21_a_failed_delivery_fetches_the_policy_again_whatever_the_id_says() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce_for("d.test", &["old.d.test"]);
        let mut relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "mx-not-in-policy");
        // The policy is mended under the same id; nobody at the relay does anything.
        relay.kill();
        net.host.enforce("d.test", &["mx.d.test"]);
        relay.restart().await;
        let second = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = relay.wait_event(|e| e.is("policy.refetch"), SOON).await;
        assert_eq!(event.text("domain"), "d.test", "{event}");
        relay.wait_event(|e| e.is("policy.changed"), SOON).await;
        // The mail that waited for the policy goes at once, long before its hour.
        for id in [&id, &second] {
            relay.wait_for("delivery.sent", id, SOON).await;
        }
        assert_eq!(net.host.count("d.test"), 2);
        mx.assert_no_mail_in_clear();
    }

    async fn a6_09_a6_11_record_and_policy_are_looked_at_afresh_before_mail_is_given_up() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let saved = net.plain_mx("saved.test", "127.0.0.26").await;
        net.enforce_for("d.test", &["old.d.test"]);
        net.enforce("saved.test");
        let config = net.config().set("queue.lifetime", "\"25s\"");
        let mut relay = Relay::start(config).await;
        let lost = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let kept = relay.send("a@org.test", &["b@saved.test"], MESSAGE).await;
        for id in [&lost, &kept] {
            deferred(&relay, id).await;
        }
        // Another process: it has fetched nothing yet. One domain mends its policy, one does not.
        relay.kill();
        net.zone.forget_queries();
        net.host.policy("saved.test", &policy_text("none", &[], 604_800));
        net.zone.mta_sts("saved.test", "2", POLICY_HOST);
        let before = relay.events().len();
        relay.restart().await;
        relay.wait_for("delivery.sent", &kept, SOON).await;
        assert_eq!(saved.messages().len(), 1, "A6-11: no notice, the new policy counts");
        relay.wait_for("delivery.expired", &lost, SOON).await;
        let notice = org.wait_for_message(SOON).await;
        assert!(notice.text().contains("d.test"), "{}", notice.text());
        assert_eq!(org.messages().len(), 1);
        let events = relay.events();
        let place = |wanted: &dyn Fn(&Event) -> bool| {
            events.iter().skip(before).position(wanted).unwrap_or_else(|| panic!("{}", relay.story()))
        };
        let fetched = place(&|e| e.is("policy.refreshed") && e.text("domain") == "d.test");
        let given_up = place(&|e| e.is("delivery.expired") && e.text("queue_id") == lost);
        assert!(fetched < given_up, "{}", relay.story());
        assert!(net.zone.count("_mta-sts.d.test", RecordType::TXT) >= 1);
        assert_eq!(net.host.count("d.test"), 2);
        mx.assert_no_mail();
    }

    async fn i3_01_i3_02_i3_04_trust_anchors_are_read_anew_without_a_restart() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let folder = tempfile::tempdir().unwrap();
        let stranger = testkit::TestCa::new();
        let (roots, own) = (folder.path().join("roots.pem"), folder.path().join("own.pem"));
        for file in [&roots, &own] {
            std::fs::copy(stranger.root_path(), file).unwrap();
        }
        // A private authority that is good for one route only.
        let private = testkit::TestCa::new();
        let hop = FakeMx::start("127.0.2.1:2500", "hop.test", Some(&private.leaf(&["hop.test"]))).await;
        let config = net.config()
            .set("tls.dangerous-extra-roots", &format!("[\"{}\"]", roots.display()))
            .append(&format!(
                "[[route]]\nrecipient-domain = \"r.test\"\nrelay = \"[127.0.2.1]:2500\"\n\
                 tls-name = \"hop.test\"\nroots = [\"{}\"]", own.display()
            ));
        let relay = Relay::start(config).await;
        let event = relay.wait_event(|e| e.is("tls.roots"), SOON).await;
        assert!(event.text("sources").contains("roots.pem"), "{event}");
        let routed = relay.send("a@org.test", &["b@r.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &routed).await.text("reason"), "cert-not-trusted");
        assert!(relay.cli(&["policy", "refresh", "d.test"]).await.code != Some(0), "not trusted yet");
        assert_eq!(net.host.requests().len(), 0);

        std::fs::copy(net.ca.root_path(), &roots).unwrap();
        std::fs::copy(private.root_path(), &own).unwrap();
        relay.hang_up();
        relay.wait_event(|e| e.is("config.reloaded"), SOON).await;
        // The policy host, the mail exchanger and the route's hop, each by its new anchor.
        ok(&relay, &["policy", "refresh", "d.test"]).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/tls/authenticated"), "pkix", "{event}");
        assert_eq!(event.at("/policies/0/mode"), "enforce", "{event}");
        mx.assert_no_mail_in_clear();
        ok(&relay, &["queue", "retry", &routed]).await;
        relay.wait_for("delivery.sent", &routed, SOON).await;
        assert_eq!(hop.messages().len(), 1);
        // The route's authority is good for nobody else (row I3-02).
        let elsewhere = net.mx("e.test", "127.0.0.27").await;
        elsewhere.certificate(&private.leaf(&["mx.e.test"]));
        net.enforce("e.test");
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "cert-not-trusted");
    }
}
