//! DANE as seen from outside: what the relay asks DNS, and which hosts get its mail. The resolver is
//! believed (`dns.dnssec = "trust-ad"`); validation itself is tried against real servers elsewhere.

use sealpost_tests::{Event, Relay, RelayConfig};
use testkit::{FakeMx, RecordType, ZoneFault};

use crate::net::{MESSAGE, Net, deferred, ok, sent};

/// The whole certificate, as the host's own.
pub(crate) const EE_FULL: (u8, u8, u8) = (3, 0, 0);
const TA_FULL: (u8, u8, u8) = (2, 0, 0);

testkit::net_test! {
    async fn c2_01_c3_01_c3_10_c3_11_a_published_certificate_whatever_its_names_and_dates() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let own = net.ca.cert(&["somewhere.else.test"]).expired().self_signed().issue();
        mx.certificate(&own);
        net.zone.secure("d.test").tlsa("mx.d.test", 25, EE_FULL, &own.chain[0]);
        let relay = start(&net).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        for (pointer, want) in [
            ("/tls/authenticated", "dane-ee"),
            ("/policies/0/source", "dane"),
            ("/policies/0/mode", "enforce"),
            ("/policies/0/result", "satisfied"),
            ("/policies/0/dane/target", "mx.d.test"),
        ] {
            assert_eq!(event.at(pointer), want, "{pointer}: {event}");
        }
        assert_eq!(event.at("/policies/0/dane/mx_secure"), true, "{event}");
        assert_eq!(event.at("/tls/would_verify"), false, "{event}");
        let message = mx.messages().remove(0);
        assert_eq!(message.tls.unwrap().sni.as_deref(), Some("mx.d.test"));
        // Row C2-08: the addresses come first.
        let asked: Vec<RecordType> = net.zone.queries().into_iter()
            .filter(|q| q.name.ends_with("mx.d.test")).map(|q| q.kind).collect();
        let place = |kind| asked.iter().position(|k| *k == kind);
        assert!(place(RecordType::A) < place(RecordType::TLSA), "{asked:?}");
        let shown = ok(&relay, &["explain", "d.test"]).await;
        assert!(shown.stdout.contains("TLSA"), "{}", shown.stdout);
    }

    async fn c2_01_c2_11_c3_12_each_host_that_does_not_match_is_passed_over() {
        let net = Net::start().await;
        for (preference, name, ip) in [
            (10, "mx1.d.test", "127.0.0.21"),
            (20, "mx2.d.test", "127.0.0.22"),
        ] {
            net.zone.mx("d.test", preference, name).a(name, ip);
        }
        let plain = FakeMx::start("127.0.0.21:25", "mx1.d.test", None).await;
        let wrong = net.peer("mx2.d.test", "127.0.0.22").await;
        let right = net.ca.leaf(&["mx2.d.test"]);
        net.zone.secure("d.test");
        for host in ["mx1.d.test", "mx2.d.test"] {
            net.zone.tlsa(host, 25, EE_FULL, &right.chain[0]);
        }
        let relay = start(&net).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(reasons(&event), ["starttls-not-offered", "dane-mismatch"], "{event}");
        assert_eq!(event.text("reason"), "dane-mismatch", "{event}");
        assert_eq!(event.text("dsn"), "4.7.5", "{event}");
        assert_eq!(event.at("/policies/0/result"), "failed", "{event}");
        assert_eq!(event.at("/policies/0/reason"), "dane-mismatch", "{event}");
        assert!(event.text("advice").contains("TLSA"), "{event}");
        assert!(event.at("/tls/cert/issuer").is_string(), "{event}");
        let shown = ok(&relay, &["queue", "show", &id]).await;
        assert!(shown.stdout.contains("dane enforce failed: dane-mismatch"), "{}", shown.stdout);
        // Neither a retry nor a remembered "no STARTTLS" is a way round it.
        ok(&relay, &["queue", "retry", "--all"]).await;
        let again = |e: &Event| e.is("delivery.deferred") && *e.at("/attempt") == 2;
        relay.wait_event(again, crate::net::SOON).await;
        plain.assert_no_mail();
        wrong.assert_no_mail();
        wrong.certificate(&right);
        ok(&relay, &["queue", "retry", "--all"]).await;
        let event = relay.wait_for("delivery.sent", &id, crate::net::SOON).await;
        assert_eq!(event.text("mx"), "mx2.d.test", "{event}");
        plain.assert_no_mail();
    }

    async fn c2_02_c3_04_c3_09_unusable_records_demand_tls_and_authenticate_nobody() {
        let net = Net::start().await;
        let bare = net.plain_mx("plain.test", "127.0.0.21").await;
        let own = net.mx("own.test", "127.0.0.22").await;
        own.certificate(&net.ca.cert(&["mx.own.test"]).self_signed().issue());
        for domain in ["plain.test", "own.test"] {
            let host = format!("mx.{domain}");
            net.zone.secure(domain).tlsa(&host, 25, (1, 1, 1), &[7; 32]).tlsa(&host, 25, (3, 1, 1), &[7; 31]);
        }
        let relay = start(&net).await;
        let id = relay.send("a@org.test", &["b@plain.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "starttls-not-offered");
        bare.assert_no_mail();
        let id = relay.send("a@org.test", &["b@own.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/tls/authenticated"), "none", "{event}");
        assert_eq!(event.at("/policies/0/mode"), "encrypt", "{event}");
        let unusable = event.at("/policies/0/dane/unusable").as_str().unwrap_or_default();
        assert!(unusable.contains("usage 1") && unusable.contains("31 octets"), "{event}");
        own.assert_no_mail_in_clear();
    }

    async fn c2_03_c2_08_c1_02_records_that_nobody_vouches_for_are_not_asked_for() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.zone.secure("elsewhere.test").tlsa("mx.d.test", 25, EE_FULL, b"\x30\x00");
        // A name server that fails on TLSA queries must not block an unsigned zone.
        net.zone.fault("_25._tcp.mx.d.test", RecordType::TLSA, ZoneFault::ServFail);
        let relay = start(&net).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/policies"), &serde_json::json!([]), "{event}");
        assert_eq!(net.zone.count("_25._tcp.mx.d.test", RecordType::TLSA), 0);
        assert_eq!(mx.messages().len(), 1);
        drop(relay);
        // An AD bit proves nothing unless the configuration says that the resolver is believed.
        net.zone.secure("d.test");
        let relay = Relay::start(net.config()).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/policies"), &serde_json::json!([]), "{event}");
        assert_eq!(net.zone.count("_25._tcp.mx.d.test", RecordType::TLSA), 0);
    }

    async fn c1_04_c4_03_h1_28_a_failed_look_up_makes_the_host_unreachable() {
        let net = Net::start().await;
        let first = net.peer("mx1.d.test", "127.0.0.21").await;
        let second = net.peer("mx2.d.test", "127.0.0.22").await;
        for domain in ["servfail.test", "refused.test", "bogus.test"] {
            let (broken, fine) = (format!("mx1.{domain}"), format!("mx2.{domain}"));
            net.zone.mx(domain, 10, &broken).a(&broken, "127.0.0.21").secure(domain);
            net.zone.mx(domain, 20, &fine).a(&fine, "127.0.0.22");
        }
        let tlsa = |domain: &str| format!("_25._tcp.mx1.{domain}");
        net.zone.fault(&tlsa("servfail.test"), RecordType::TLSA, ZoneFault::ServFail);
        net.zone.fault(&tlsa("refused.test"), RecordType::TLSA, ZoneFault::Refused);
        net.zone.bogus(&tlsa("bogus.test"));
        // Alone, and with a policy that its certificate would meet.
        let alone = net.mx("alone.test", "127.0.0.23").await;
        net.enforce("alone.test");
        net.zone.secure("alone.test").bogus("_tcp.mx.alone.test");
        let relay = start(&net).await;
        for domain in ["servfail.test", "refused.test", "bogus.test"] {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = sent(&relay, &id).await;
            assert_eq!(event.text("mx"), format!("mx2.{domain}"), "{event}");
            assert_eq!(event.at("/tried/0/reason"), "dane-lookup", "{event}");
        }
        assert_eq!(second.messages().len(), 3);
        first.assert_no_mail();
        let id = relay.send("a@org.test", &["b@alone.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "dane-lookup", "{event}");
        assert_eq!(event.text("dsn"), "4.7.0", "{event}");
        assert!(event.text("detail").contains("_25._tcp.mx.alone.test"), "{event}");
        alone.assert_no_mail();
    }

    async fn c1_03_a_hidden_next_hop_delays_the_mail() {
        let net = Net::start().await;
        net.zone.mail_domain("d.test", "mx.d.test", "127.0.0.25").a("d.test", "127.0.0.25");
        let mx = net.peer("mx.d.test", "127.0.0.25").await;
        net.zone.secure("test").bogus("d.test");
        let relay = start(&net).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("dsn"), "4.4.3", "{event}");
        mx.assert_no_mail();
    }

    async fn c2_09_c3_11_c4_04_an_alias_is_expanded_and_the_policy_still_speaks_of_the_alias() {
        let net = Net::start().await;
        net.zone.mx("d.test", 10, "alias.d.test").cname("alias.d.test", "mid.p.test");
        net.zone.cname("mid.p.test", "mx.p.test").a("mx.p.test", "127.0.0.25");
        let mx = net.peer("alias.d.test", "127.0.0.25").await;
        let leaf = net.ca.leaf(&["alias.d.test"]);
        mx.certificate(&leaf);
        net.enforce_for("d.test", &["alias.d.test"]);
        net.zone.secure("d.test").secure("p.test").tlsa("mx.p.test", 25, EE_FULL, &leaf.chain[0]);
        let relay = start(&net).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("mx"), "alias.d.test", "{event}");
        assert_eq!(sources(&event), ["mta-sts", "dane"], "{event}");
        assert_eq!(event.at("/policies/1/dane/target"), "mx.p.test", "{event}");
        assert_eq!(event.at("/tls/would_verify"), true, "{event}");
        let seen = mx.messages().remove(0).tls.unwrap();
        assert_eq!(seen.sni.as_deref(), Some("mx.p.test"));
        assert_eq!(net.zone.count("_25._tcp.mid.p.test", RecordType::TLSA), 0);

        // Nothing stands at the expanded name: then at the original one.
        net.zone.mx("e.test", 10, "alias.e.test").cname("alias.e.test", "mx.p2.test");
        net.zone.a("mx.p2.test", "127.0.0.26").secure("e.test").secure("p2.test");
        let mx = net.peer("alias.e.test", "127.0.0.26").await;
        let own = net.ca.cert(&["x.test"]).self_signed().issue();
        mx.certificate(&own);
        net.zone.tlsa("alias.e.test", 25, EE_FULL, &own.chain[0]);
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/policies/0/dane/target"), "alias.e.test", "{event}");
        let asked: Vec<String> = net.zone.queries().into_iter()
            .filter(|q| q.kind == RecordType::TLSA && q.name.contains("2.test") || q.name.contains("_tcp.alias.e"))
            .map(|q| q.name).collect();
        assert_eq!(asked, ["_25._tcp.mx.p2.test", "_25._tcp.alias.e.test"]);
    }

    async fn c1_06_an_insecure_alias_makes_everything_insecure() {
        let net = Net::start().await;
        net.zone.mx("d.test", 10, "alias.d.test").cname("alias.d.test", "mid.p.test");
        net.zone.cname("mid.p.test", "mx.q.test").a("mx.q.test", "127.0.0.25");
        net.zone.secure("d.test").secure("q.test");
        net.zone.tlsa("mx.q.test", 25, EE_FULL, b"\x30\x00");
        let mx = FakeMx::start("127.0.0.25:25", "alias.d.test", None).await;
        let relay = start(&net).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/policies"), &serde_json::json!([]), "{event}");
        assert_eq!(net.zone.count("_25._tcp.mx.q.test", RecordType::TLSA), 0);
        assert_eq!(mx.messages().len(), 1);
    }

    async fn c1_07_loops_and_long_chains_of_aliases_fail_the_look_up_and_end() {
        let net = Net::start().await;
        let good = net.peer("mx.d.test", "127.0.0.25").await;
        net.zone.secure("test").a("mx.d.test", "127.0.0.25");
        net.zone.cname("a.loop.test", "b.loop.test").cname("b.loop.test", "a.loop.test");
        for n in 0..20 {
            net.zone.cname(&format!("n{n}.long.test"), &format!("n{}.long.test", n + 1));
        }
        net.zone.a("n20.long.test", "127.0.0.25");
        for (domain, host) in [("loop.test", "a.loop.test"), ("long.test", "n0.long.test")] {
            net.zone.mx(domain, 10, host);
            net.zone.mx(&format!("with.{domain}"), 10, host).mx(&format!("with.{domain}"), 20, "mx.d.test");
        }
        let relay = start(&net).await;
        for domain in ["loop.test", "long.test"] {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            assert_eq!(deferred(&relay, &id).await.text("reason"), "dns-temporary");
            let id = relay.send("a@org.test", &[&format!("b@with.{domain}")], MESSAGE).await;
            let event = sent(&relay, &id).await;
            assert_eq!(reasons(&event), ["dns-temporary"], "{event}");
        }
        assert_eq!(good.messages().len(), 2);
    }

    async fn c2_04_the_order_of_the_mx_records_wins_over_security() {
        let net = Net::start().await;
        net.zone.mx("d.test", 10, "mx1.d.test").a("mx1.d.test", "127.0.0.21");
        net.zone.mx("d.test", 20, "mx2.d.test").a("mx2.d.test", "127.0.0.22");
        let plain = FakeMx::start("127.0.0.21:25", "mx1.d.test", None).await;
        let good = net.peer("mx2.d.test", "127.0.0.22").await;
        let leaf = net.ca.leaf(&["mx2.d.test"]);
        good.certificate(&leaf);
        net.zone.secure("d.test").tlsa("mx2.d.test", 25, EE_FULL, &leaf.chain[0]);
        let relay = start(&net).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("mx"), "mx1.d.test", "{event}");
        assert_eq!(plain.messages().len(), 1);
    }

    async fn c2_05_c2_06_c3_03_an_insecure_mx_record_is_told_and_vouches_for_no_further_name() {
        let net = Net::start().await;
        net.zone.mail_domain("safe.test", "mx.safe.test", "127.0.0.21").secure("safe.test");
        net.zone.tlsa("mx.safe.test", 25, TA_FULL, &net.ca.root_der());
        // The host is an alias, and only the MX record is not signed.
        net.zone.mx("unsafe.test", 10, "mx.unsafe.test").cname("mx.unsafe.test", "real.p.test");
        net.zone.a("real.p.test", "127.0.0.22").secure("mx.unsafe.test").secure("p.test");
        net.zone.tlsa("real.p.test", 25, TA_FULL, &net.ca.root_der());
        // Both certificates are for the domain, not for the host.
        let safe = net.peer("mx.safe.test", "127.0.0.21").await;
        safe.certificate(&net.ca.leaf(&["safe.test"]));
        let unsafe_ = net.peer("mx.unsafe.test", "127.0.0.22").await;
        unsafe_.certificate(&net.ca.leaf(&["unsafe.test"]));
        // No public authority: what TLSA records name is all there is.
        let relay = Relay::start(dane(RelayConfig::default().set("queue.retry", r#"["1h"]"#))).await;
        let id = relay.send("a@org.test", &["b@safe.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/tls/authenticated"), "dane-ta", "{event}");
        assert_eq!(event.at("/policies/0/dane/mx_secure"), true, "{event}");
        let id = relay.send("a@org.test", &["b@unsafe.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "cert-host-mismatch", "{event}");
        assert_eq!(event.text("mx"), "mx.unsafe.test", "{event}");
        assert_eq!(event.at("/policies/0/dane/target"), "real.p.test", "{event}");
        assert_eq!(event.at("/policies/0/dane/mx_secure"), false, "{event}");
        unsafe_.certificate(&net.ca.leaf(&["real.p.test"]));
        ok(&relay, &["queue", "retry", "--all"]).await;
        let event = relay.wait_for("delivery.sent", &id, crate::net::SOON).await;
        assert_eq!(event.at("/tls/authenticated"), "dane-ta", "{event}");
        assert_eq!(event.at("/policies/0/dane/mx_secure"), false, "{event}");
    }

    async fn c2_07_c2_10_a_smart_host_is_held_against_its_own_records_at_its_own_port() {
        let net = Net::start().await;
        net.zone.a("relay2.test", "127.0.2.1").secure("relay2.test");
        let own = net.ca.cert(&["whatever.test"]).self_signed().issue();
        let hop = FakeMx::start("127.0.2.1:587", "relay2.test", Some(&own)).await;
        net.zone.tlsa("relay2.test", 587, EE_FULL, &own.chain[0]);
        net.zone.tlsa("relay2.test", 25, EE_FULL, b"\x30\x00");
        let relay = Relay::start(dane(net.config()).append(
            "[[route]]\nrecipient-domain = \"d.test\"\nrelay = \"[relay2.test]:587\"\ntls = \"policy\"",
        )).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/tls/authenticated"), "dane-ee", "{event}");
        assert_eq!(net.zone.count("_587._tcp.relay2.test", RecordType::TLSA), 1);
        assert_eq!(net.zone.count("_25._tcp.relay2.test", RecordType::TLSA), 0);
        assert_eq!(hop.messages().len(), 1);
    }

    async fn c3_02_c3_08_an_authority_in_the_record_and_its_names_and_dates() {
        let net = Net::start().await;
        let stranger = testkit::TestCa::new();
        let relay = Relay::start(dane(RelayConfig::default().set("queue.retry", r#"["1h"]"#))).await;
        let (mut good, mut bad) = (None, Vec::new());
        for (domain, ip, leaf, want) in [
            ("old.test", "127.0.0.21", net.expired("mx.old.test"), Some("cert-expired")),
            ("name.test", "127.0.0.22", net.ca.leaf(&["other.test"]), Some("cert-host-mismatch")),
            ("other.test", "127.0.0.23", stranger.leaf(&["mx.other.test"]), Some("dane-mismatch")),
            // The leaf alone is presented: the record brings the authority along.
            ("good.test", "127.0.0.24", net.ca.leaf(&["mx.good.test"]), None),
        ] {
            let mx = net.mx(domain, ip).await;
            assert_eq!(leaf.chain.len(), 1);
            mx.certificate(&leaf);
            let host = format!("mx.{domain}");
            net.zone.secure(&host).tlsa(&host, 25, TA_FULL, &net.ca.root_der());
            match want {
                Some(want) => bad.push((domain, mx, want)),
                None => good = Some(mx),
            }
        }
        for (domain, mx, want) in bad {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            assert_eq!(deferred(&relay, &id).await.text("reason"), want);
            mx.assert_no_mail();
        }
        let id = relay.send("a@org.test", &["b@good.test"], MESSAGE).await;
        assert_eq!(sent(&relay, &id).await.at("/tls/authenticated"), "dane-ta");
        assert_eq!(good.expect("a good one").messages().len(), 1);
    }
}

/// The resolver is believed.
pub(crate) fn dane(config: RelayConfig) -> RelayConfig {
    config.set("dns.dnssec", r#""trust-ad""#)
}

/// A relay that believes the resolver.
pub(crate) async fn start(net: &Net) -> Relay {
    Relay::start(dane(net.config())).await
}

/// Source and result of each demand.
pub(crate) fn results(event: &Event) -> Vec<(&str, &str)> {
    let policies = event.at("/policies").as_array().expect("policies");
    let word = |value: &'_ serde_json::Value| -> &'static str {
        let text = value.as_str().unwrap_or_default().to_owned();
        Box::leak(text.into_boxed_str())
    };
    policies
        .iter()
        .map(|p| (word(&p["source"]), word(&p["result"])))
        .collect()
}

fn reasons(event: &Event) -> Vec<&str> {
    let tried = event.at("/tried").as_array().expect("tried");
    tried.iter().filter_map(|t| t["reason"].as_str()).collect()
}

fn sources(event: &Event) -> Vec<&str> {
    results(event)
        .into_iter()
        .map(|(source, _)| source)
        .collect()
}
