//! Finding the host: MX order, null MX, implicit MX, refused addresses, broken DNS.

use testkit::{Banner, FakeMx, RecordType, ZoneFault};

use crate::net::{MESSAGE, Net, SOON, bounced, deferred, ok, sent};

testkit::net_test! {
    async fn e1_03_e1_04_e1_07_e1_17_h1_12_h1_24_what_dns_says_decides_between_waiting_and_bouncing() {
        let net = Net::start().await;
        net.zone.mx("null.test", 0, ".");
        net.zone.a("null.test", "127.0.1.1");
        net.zone.mx("dead.test", 10, "mx.dead.test");
        net.zone.a("dead.test", "127.0.1.1");
        net.zone.fault("servfail.test", RecordType::MX, ZoneFault::ServFail);
        net.zone.a("servfail.test", "127.0.1.1");
        let host = FakeMx::start("127.0.1.1:25", "host.test", None).await;
        let relay = net.relay().await;
        for (domain, reason, dsn) in [
            ("nowhere.test", "no-such-domain", "5.1.2"),
            ("null.test", "null-mx", "5.1.10"),
            ("dead.test", "no-usable-mx", "5.4.4"),
        ] {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = bounced(&relay, &id).await;
            assert_eq!((event.text("reason"), event.text("dsn")), (reason, dsn), "{event}");
            assert!(event.text("detail").contains(domain), "{event}");
            assert!(event.at("/mx").is_null() || domain == "dead.test", "{event}");
        }
        let id = relay.send("a@org.test", &["b@servfail.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("dns-temporary", "4.4.3"), "{event}");
        // Rows E1-01 and E1-06: the domain's own address is not asked for, let alone used.
        for domain in ["nowhere.test", "null.test", "dead.test", "servfail.test"] {
            assert_eq!(net.zone.count(domain, RecordType::A), 0, "{domain}");
        }
        assert!(host.sessions().is_empty());
    }

    async fn h1_30_mail_waits_while_nearly_every_domain_is_said_not_to_exist() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let _ours = net.plain_mx("org.test", "127.0.0.26").await;
        let relay = net.relay().await;
        for n in 0..12 {
            let id = relay.send("a@org.test", &[&format!("b@gone{n}.test")], MESSAGE).await;
            // A few mistyped domains are no sign of anything.
            let event = if n < 9 { bounced(&relay, &id).await } else { deferred(&relay, &id).await };
            if n < 9 {
                assert_eq!(event.text("reason"), "no-such-domain", "{event}");
                continue;
            }
            assert_eq!((event.text("reason"), event.text("dsn")), ("dns-temporary", "4.4.3"), "{event}");
            assert!(event.text("detail").contains("NXDOMAIN is not believed"), "{event}");
        }
        let told: Vec<_> = relay.events().into_iter().filter(|e| e.is("dns.mass-nxdomain-guard")).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].text("absent"), told[0].text("level")), ("10", "error"), "{}", told[0]);
        // That is no failure of the domain: it is not left alone for it.
        for _ in 0..4 {
            let id = relay.send("a@org.test", &["b@gone11.test"], MESSAGE).await;
            assert_eq!(deferred(&relay, &id).await.text("reason"), "dns-temporary");
        }
        // Another domain's mail goes on.
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        assert_eq!(mx.messages().len(), 1);
    }

    async fn h1_30_a_resolver_that_finds_nothing_since_the_start_is_not_tested_with_mail() {
        let net = Net::start().await;
        net.zone.ttl(0).negative_ttl(Some(0));
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let _ours = net.plain_mx("org.test", "127.0.0.26").await;
        net.zone.fault_all(ZoneFault::NxDomain);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let typo = relay.send("a@org.test", &["b@d.tset"], MESSAGE).await;
        for id in [&id, &typo] {
            let event = deferred(&relay, id).await;
            assert_eq!((event.text("reason"), event.text("dsn")), ("no-such-domain", "4.4.3"), "{event}");
            assert!(event.text("detail").contains("do not find its top-level domain either"), "{event}");
        }
        net.zone.heal_all();
        ok(&relay, &["queue", "retry", &id]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(mx.messages().len(), 1);
        // They find something now, and what they do not find is returned.
        ok(&relay, &["queue", "retry", &typo]).await;
        let event = relay.wait_for("delivery.bounced", &typo, SOON).await;
        assert_eq!(event.text("reason"), "no-such-domain", "{event}");
    }

    async fn h1_30_h1_14_domains_that_were_there_are_not_believed_to_be_gone_at_once() {
        let net = Net::start().await;
        net.zone.ttl(0).negative_ttl(Some(0));
        let names: Vec<String> = (0..3).map(|n| format!("d{n}.test")).collect();
        let mut hosts = Vec::new();
        for (n, name) in names.iter().enumerate() {
            hosts.push(net.plain_mx(name, &format!("127.0.1.{}", n + 1)).await);
        }
        let relay = net.relay().await;
        for name in &names {
            let id = relay.send("a@org.test", &[&format!("b@{name}")], MESSAGE).await;
            sent(&relay, &id).await;
        }
        net.zone.fault_all(ZoneFault::NxDomain);
        // What was looked up holds for half a minute, unless an operator orders something.
        ok(&relay, &["queue", "retry", "--all"]).await;
        for (n, name) in names.iter().enumerate() {
            let id = relay.send("a@org.test", &[&format!("c@{name}")], MESSAGE).await;
            let event = deferred(&relay, &id).await;
            // Two may have ended; of three the resolver is doubted.
            let reason = if n < 2 { "no-such-domain" } else { "dns-temporary" };
            assert_eq!(event.text("reason"), reason, "{event}");
            assert!(event.text("detail").contains("not believed"), "{event}");
        }
        relay.wait_event(|e| e.is("dns.mass-nxdomain-guard"), SOON).await;
        let (code, ready) = relay.http_get("/readyz").await;
        assert_eq!(code, 503, "{ready}");
        assert!(ready.contains("delivers mail: no: mail for domains that are said not to exist waits"), "{ready}");
        assert!(relay.http_get("/metrics").await.1.contains("sealpost_dns_doubted 1"));
        // Nobody is told of the end of other mail whose domain is said not to exist by the same servers.
        let id = relay.send("a@org.test", &["b@other.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "dns-temporary");
        net.zone.heal_all();
        ok(&relay, &["queue", "retry", "--all"]).await;
        for name in &names {
            let id = relay.send("a@org.test", &[&format!("d@{name}")], MESSAGE).await;
            sent(&relay, &id).await;
        }
        relay.wait_event(|e| e.is("dns.mass-nxdomain-over"), SOON).await;
        assert!(relay.http_get("/metrics").await.1.contains("sealpost_dns_doubted 0"));
    }

    async fn h1_30_noerror_without_any_records_is_believed_no_more_than_nxdomain() {
        let net = Net::start().await;
        net.zone.ttl(0).negative_ttl(None);
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let _ours = net.plain_mx("org.test", "127.0.0.26").await;
        net.zone.txt("bare.test", "no mail here").fault_all(ZoneFault::NoData);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let bare = relay.send("a@org.test", &["b@bare.test"], MESSAGE).await;
        for id in [&id, &bare] {
            let event = deferred(&relay, id).await;
            assert_eq!((event.text("reason"), event.text("dsn")), ("no-usable-mx", "4.4.4"), "{event}");
            assert!(event.text("detail").contains("do not find its top-level domain either"), "{event}");
        }
        net.zone.heal_all();
        ok(&relay, &["queue", "retry", &id]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(mx.messages().len(), 1);
        ok(&relay, &["queue", "retry", &bare]).await;
        let event = relay.wait_for("delivery.bounced", &bare, SOON).await;
        assert_eq!(event.text("reason"), "no-usable-mx", "{event}");

        // Domains that were there, and others, all of which have nothing at once.
        net.zone.fault_all(ZoneFault::NoData);
        ok(&relay, &["queue", "retry", "--all"]).await;
        let id = relay.send("a@org.test", &["c@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert!(event.text("detail").contains("was there within the last day"), "{event}");
        for n in 0..12 {
            let id = relay.send("a@org.test", &[&format!("b@d{n}.test")], MESSAGE).await;
            deferred(&relay, &id).await;
        }
        let told = relay.wait_event(|e| e.is("dns.mass-nxdomain-guard"), SOON).await;
        assert_eq!(told.text("level"), "error", "{told}");
        let other = relay.send("a@org.test", &["b@other.test"], MESSAGE).await;
        let event = deferred(&relay, &other).await;
        assert_eq!(event.text("reason"), "dns-temporary", "{event}");
        assert!(event.text("detail").contains("NOERROR without records is not believed"), "{event}");
        net.zone.heal_all();
        ok(&relay, &["queue", "retry", &id]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
    }

    async fn c1_05_a_host_whose_addresses_cannot_be_had_holds_up_no_other() {
        let net = Net::start().await;
        net.zone.mx("d.test", 10, "mx1.d.test").mx("d.test", 20, "mx2.d.test");
        net.zone.fault("mx1.d.test", RecordType::A, ZoneFault::ServFail);
        net.zone.fault("mx1.d.test", RecordType::AAAA, ZoneFault::ServFail);
        net.zone.a("mx2.d.test", "127.0.1.2");
        let second = net.peer("mx2.d.test", "127.0.1.2").await;
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("mx"), "mx2.d.test", "{event}");
        assert_eq!(event.at("/tried/0/mx"), "mx1.d.test", "{event}");
        assert_eq!(event.at("/tried/0/reason"), "dns-temporary", "{event}");
        assert_eq!(second.messages().len(), 1);
    }

    async fn a5_06_e1_05_without_mx_the_domain_itself_is_the_host() {
        let net = Net::start().await;
        net.zone.a("d1.test", "127.0.1.1").a("d2.test", "127.0.1.2");
        let plain = FakeMx::start("127.0.1.1:25", "d1.test", None).await;
        let listed = net.peer("d2.test", "127.0.1.2").await;
        net.enforce_for("d2.test", &["d2.test"]);
        net.zone.a("d3.test", "127.0.1.3");
        let unlisted = net.peer("d3.test", "127.0.1.3").await;
        net.enforce_for("d3.test", &["*.d3.test"]);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d1.test"], MESSAGE).await;
        assert_eq!(sent(&relay, &id).await.text("mx"), "d1.test");
        let id = relay.send("a@org.test", &["b@d2.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/policies/0/result"), "satisfied", "{event}");
        let id = relay.send("a@org.test", &["b@d3.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "mx-not-in-policy");
        assert_eq!((plain.messages().len(), listed.messages().len()), (1, 1));
        unlisted.assert_no_mail();
    }

    async fn e1_14_h1_19_h1_20_special_use_addresses_are_refused_unless_allowed() {
        let net = Net::start().await;
        let here = net.mx("loop.test", "127.0.0.25").await;
        net.zone.mail_domain("private.test", "mx.private.test", "10.1.2.3");
        net.zone.mail_domain("zero.test", "mx.zero.test", "0.0.0.0");
        net.zone.mail_domain("v6.test", "mx.v6.test", "::1");
        net.zone.mail_domain("mapped.test", "mx.mapped.test", "::ffff:127.0.0.25");
        let config = net.config().set("egress.allow-special-use", "[]");
        let relay = sealpost_tests::Relay::start(config).await;
        for domain in ["loop.test", "private.test", "zero.test", "v6.test", "mapped.test"] {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = deferred(&relay, &id).await;
            assert_eq!((event.text("reason"), event.text("dsn")), ("address-refused", "4.4.4"), "{event}");
            assert_eq!(event.text("mx"), format!("mx.{domain}"), "{event}");
            assert!(!event.text("advice").is_empty(), "{event}");
        }
        assert!(here.sessions().is_empty());
    }

    async fn h1_23_a_policy_host_at_a_refused_address_is_not_connected_to() {
        let net = Net::start().await;
        net.enforce("d.test");
        net.zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let config = net.config().set("egress.allow-special-use", "[\"127.0.0.25/32\"]");
        let mx = net.peer("mx.d.test", "127.0.0.25").await;
        let relay = sealpost_tests::Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let failed = relay.events().into_iter().find(|e| e.is("policy.fetch-failed")).unwrap();
        assert!(failed.text("cause").contains("127.0.0.80"), "{failed}");
        assert_eq!((net.host.handshakes(), mx.messages().len()), (0, 1));
    }

    async fn e1_08_e1_10_hosts_are_tried_in_order_until_one_takes_the_mail() {
        let net = Net::start().await;
        for (preference, n) in [(30, 3), (10, 1), (20, 2)] {
            let name = format!("mx{n}.d.test");
            net.zone.mx("d.test", preference, &name).a(&name, &format!("127.0.1.{n}"));
        }
        // mx1 is down at its first address too; mx2 refuses everybody; mx3 takes it.
        net.zone.a("mx1.d.test", "127.0.1.11");
        let second = FakeMx::start("127.0.1.2:25", "mx2.d.test", None).await;
        second.script(|s| s.banner = Banner::Reply("421 4.3.2 closing".into()));
        let third = FakeMx::start("127.0.1.3:25", "mx3.d.test", None).await;
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        let tried: Vec<_> = event.at("/tried").as_array().unwrap().iter()
            .map(|t| (t["mx"].as_str().unwrap(), t["ip"].as_str().unwrap(), t["reason"].as_str()))
            .collect();
        assert_eq!(tried.len(), 4, "{event}");
        let mut first = [tried[0].1, tried[1].1];
        first.sort_unstable();
        assert_eq!(first, ["127.0.1.1", "127.0.1.11"], "{event}");
        assert!(tried[..2].iter().all(|t| t.0 == "mx1.d.test" && t.2 == Some("connect")), "{event}");
        assert_eq!(tried[2], ("mx2.d.test", "127.0.1.2", Some("remote-4xx")), "{event}");
        assert_eq!(tried[3], ("mx3.d.test", "127.0.1.3", None), "{event}");
        second.assert_no_mail();
        assert_eq!(third.messages().len(), 1);
    }

    async fn e5_10_e2_09_e2_10_a_refusal_in_the_greeting_is_final_only_if_all_say_it_and_nothing_is_demanded() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.2.9").await;
        let refusing = |s: &mut testkit::Script| {
            s.banner = Banner::Reply("554 5.3.2 no mail here".into());
        };
        let mut peers = Vec::new();
        for (d, domain) in ["all.test", "enforced.test", "some.test"].iter().enumerate() {
            for n in 1..=2 {
                let name = format!("mx{n}.{domain}");
                let ip = format!("127.0.{}.{n}", d + 3);
                net.zone.mx(domain, n * 10, &name).a(&name, &ip);
                let mx = net.peer(&name, &ip).await;
                if n == 1 || *domain != "some.test" {
                    mx.script(refusing);
                }
                peers.push(mx);
            }
        }
        net.enforce_for("enforced.test", &["*.enforced.test"]);
        let starttls = net.mx("starttls.test", "127.0.6.1").await;
        starttls.script(|s| s.starttls = testkit::StartTls::Refuse("554 5.7.3 never".into()));
        net.enforce("starttls.test");
        let relay = net.relay().await;
        let waiting = relay.send("a@org.test", &["b@enforced.test"], MESSAGE).await;
        let event = deferred(&relay, &waiting).await;
        assert!(event.text("dsn").starts_with("4."), "{event}");
        assert_eq!(event.at("/tried").as_array().unwrap().len(), 2, "{event}");
        let id = relay.send("a@org.test", &["b@starttls.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "starttls-refused", "{event}");
        let id = relay.send("a@org.test", &["b@some.test"], MESSAGE).await;
        assert_eq!(sent(&relay, &id).await.text("mx"), "mx2.some.test");
        assert!(org.sessions().is_empty(), "{}", org.transcript_text());
        let id = relay.send("a@org.test", &["b@all.test"], MESSAGE).await;
        let event = bounced(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("remote-5xx", "5.3.2"), "{event}");
        assert_eq!(event.at("/tried").as_array().unwrap().len(), 2, "{event}");
        let notice = org.wait_for_message(SOON).await.text();
        assert!(notice.contains("b@all.test"), "{notice}");
    }

    async fn e1_09_equal_preferences_share_the_mail() {
        let net = Net::start().await;
        let mut peers = Vec::new();
        for n in 1..=2 {
            let name = format!("mx{n}.d.test");
            net.zone.mx("d.test", 10, &name).a(&name, &format!("127.0.1.{n}"));
            peers.push(FakeMx::start(&format!("127.0.1.{n}:25"), &name, None).await);
        }
        // No connection is kept, so that each message chooses anew.
        let config = net.config().set("delivery.messages-per-connection", "1");
        let relay = sealpost_tests::Relay::start(config).await;
        let mut client = relay.client().await;
        for _ in 0..40 {
            let id = client.send("a@org.test", &["b@d.test"], MESSAGE).await;
            sent(&relay, &id).await;
        }
        // Below 4 of 40 happens once in two hundred million runs.
        assert!(peers.iter().all(|mx| mx.messages().len() >= 4));
    }

    async fn e1_16_e1_18_an_address_or_a_dot_in_place_of_a_name_is_passed_over() {
        let net = Net::start().await;
        net.zone.mx("d.test", 0, ".").mx("d.test", 5, "127.0.1.9");
        net.zone.mx("d.test", 10, "mx.d.test").a("mx.d.test", "127.0.1.1");
        let literal = FakeMx::start("127.0.1.9:25", "nine.test", None).await;
        let mx = FakeMx::start("127.0.1.1:25", "mx.d.test", None).await;
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert_eq!(sent(&relay, &id).await.text("mx"), "mx.d.test");
        assert!(literal.sessions().is_empty());
        assert_eq!(mx.messages().len(), 1);
    }

    async fn a5_05_the_name_in_the_mx_record_is_compared_and_not_what_it_is_an_alias_of() {
        let net = Net::start().await;
        // One host with two names that are aliases; its certificate is good for all three.
        net.zone.a("real.p.test", "127.0.0.25");
        for domain in ["d.test", "e.test"] {
            let alias = format!("mx.{domain}");
            net.zone.mx(domain, 10, &alias).cname(&alias, "real.p.test");
        }
        let leaf = net.ca.leaf(&["real.p.test", "mx.d.test", "mx.e.test"]);
        let mx = FakeMx::start("127.0.0.25:25", "real.p.test", Some(&leaf)).await;
        net.enforce_for("d.test", &["real.p.test"]);
        net.enforce_for("e.test", &["mx.e.test"]);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "mx-not-in-policy", "{event}");
        assert_eq!(event.at("/tried/0/mx"), "mx.d.test", "{event}");
        mx.assert_no_mail();
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("mx"), "mx.e.test", "{event}");
        assert_eq!(mx.messages()[0].tls.as_ref().unwrap().sni.as_deref(), Some("mx.e.test"));
    }

    async fn a1_08_e1_02_a_cname_is_followed_but_the_policy_is_that_of_the_name_itself() {
        let net = Net::start().await;
        let mx = net.plain_mx("e.test", "127.0.0.25").await;
        net.enforce("e.test");
        net.zone.cname("d.test", "e.test");
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("mx"), "mx.e.test", "{event}");
        assert_eq!(event.at("/policies"), &serde_json::json!([]), "{event}");
        assert_eq!(mx.messages()[0].recipients(), ["b@d.test"]);
        assert_eq!(net.zone.count("_mta-sts.e.test", RecordType::TXT), 0);
        // It may have one of its own.
        net.zone.cname("c.test", "e.test");
        net.enforce_for("c.test", &["mx.e.test"]);
        let id = relay.send("a@org.test", &["b@c.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "starttls-not-offered", "{event}");
        assert_eq!(event.at("/policies/0/id"), "1", "{event}");
        assert_eq!(mx.messages().len(), 1);
    }

    async fn e1_12_e1_13_our_own_address_cuts_the_list() {
        let net = Net::start().await;
        net.zone.mx("d.test", 10, "mx1.d.test").a("mx1.d.test", "127.0.1.1");
        net.zone.mx("d.test", 20, "us.d.test").a("us.d.test", "127.0.1.77");
        net.zone.mx("d.test", 30, "mx3.d.test").a("mx3.d.test", "127.0.1.3");
        net.zone.mail_domain("best.test", "us.d.test", "127.0.1.77");
        let third = FakeMx::start("127.0.1.3:25", "mx3.d.test", None).await;
        for key in ["server.own-addresses", "egress.public-addresses"] {
            let config = net.config().set(key, "[\"127.0.1.77\"]");
            let relay = sealpost_tests::Relay::start(config).await;
            let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
            let event = deferred(&relay, &id).await;
            assert_eq!(event.text("reason"), "connect", "{key}: {event}");
            assert!(third.sessions().is_empty());
            let id = relay.send("a@org.test", &["b@best.test"], MESSAGE).await;
            let event = bounced(&relay, &id).await;
            assert_eq!((event.text("reason"), event.text("dsn")), ("loop", "5.4.6"), "{key}: {event}");
        }
    }
}
