//! A resolver that refuses us: whose fault it is said to be, and that nothing goes out with less protection
//! for it.

use sealpost_tests::{Event, Relay};
use testkit::{FakeMx, RecordType, ZoneFault};

use crate::dane::EE_FULL;
use crate::net::{MESSAGE, Net, SOON, deferred, ok, sent};

testkit::net_test! {
    /// On a new installation, on which nothing is known of DNSSEC yet.
    async fn h1_02_c4_06_a_resolver_that_refuses_us_is_our_move_and_costs_no_dane() {
        let net = Net::start().await;
        let right = with_tlsa(&net, "good.test", "127.0.0.25", true).await;
        let wrong = with_tlsa(&net, "bad.test", "127.0.0.26", false).await;
        net.zone.fault_all(ZoneFault::Refused);
        let relay = start(&net).await;
        let told = relay.wait_event(|e| e.is("dns.no-answer"), SOON).await;
        assert!(told.text("reason").contains("127.0.0.53 answers every question with REFUSED"), "{told}");
        assert!(told.text("remedy").contains("allow-recursion"), "{told}");
        let mut ids = Vec::new();
        for to in ["b@good.test", "b@bad.test"] {
            let id = relay.send("a@org.test", &[to], MESSAGE).await;
            is_ours(&deferred(&relay, &id).await);
            ids.push(id);
        }
        let explained = ok(&relay, &["explain", &ids[0]]).await.stdout;
        assert!(explained.contains("Our side has to act") && !explained.contains("postmaster@good.test"), "{explained}");
        assert!(explained.contains("access-control"), "{explained}");
        let (code, ready) = relay.http_get("/readyz").await;
        assert_eq!(code, 503, "{ready}");
        assert!(ready.contains("the name servers refuse our questions") && ready.contains("access-control"), "{ready}");
        assert!(!ready.contains("no name server has answered"), "{ready}");
        let status = relay.cli(&["status"]).await.stdout;
        assert!(status.contains("(not ready)") && status.contains("refuse our questions"), "{status}");

        net.zone.heal_all();
        let good = relay.wait_for("delivery.sent", &ids[0], 2 * SOON).await;
        assert_eq!(good.at("/tls/authenticated"), "dane-ee", "{good}");
        let mismatch = |e: &Event| e.text("queue_id") == ids[1] && e.text("reason") == "dane-mismatch";
        relay.wait_event(mismatch, SOON).await;
        assert_eq!((right.messages().len(), wrong.messages().len()), (1, 0));
        assert_eq!(relay.http_get("/readyz").await.0, 200);
        let events = relay.events();
        assert!(!events.iter().any(|e| e.is("dane.unavailable")), "{events:?}");
    }

    async fn h1_02_a_resolver_that_fails_at_everything_is_our_move_and_one_that_fails_at_a_domain_is_not() {
        let net = Net::start().await;
        let mx = net.plain_mx("good.test", "127.0.0.25").await;
        net.zone.fault("broken.test", RecordType::MX, ZoneFault::ServFail);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@broken.test"], MESSAGE).await;
        let waits = deferred(&relay, &id).await;
        assert_eq!(waits.text("reason"), "dns-temporary", "{waits}");
        assert_eq!(relay.http_get("/readyz").await.0, 200);
        assert!(!relay.events().iter().any(|e| e.is("dns.no-answer")));

        net.zone.fault_all(ZoneFault::ServFail);
        let id = relay.send("a@org.test", &["b@good.test"], MESSAGE).await;
        let waits = deferred(&relay, &id).await;
        assert_eq!((waits.text("reason"), waits.text("dsn")), ("local", "4.3.0"), "{waits}");
        assert!(waits.text("detail").contains("answers every question with SERVFAIL"), "{waits}");
        let told = relay.wait_event(|e| e.is("dns.no-answer"), SOON).await;
        assert!(told.text("reason").contains("SERVFAIL") && told.text("remedy").contains("forward"), "{told}");
        let (code, ready) = relay.http_get("/readyz").await;
        assert_eq!(code, 503, "{ready}");
        assert!(ready.contains("answered every question with an error"), "{ready}");
        net.zone.heal_all();
        relay.wait_event(|e| e.is("dns.answers"), 2 * SOON).await;
        relay.wait_for("delivery.sent", &id, 2 * SOON).await;
        assert_eq!((mx.messages().len(), relay.http_get("/readyz").await.0), (1, 200));
    }

    async fn h1_02_another_resolv_conf_counts_after_a_reload_without_a_restart() {
        let net = Net::start().await;
        let other = testkit::Zone::start_on("127.0.0.54:53").await;
        other.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let mx = net.peer("mx.d.test", "127.0.0.25").await;
        let folder = tempfile::TempDir::with_prefix("resolv-").unwrap();
        let file = folder.path().join("resolv.conf");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("nameserver 127.0.0.53\n");
        let mounted = std::process::Command::new("mount")
            .args(["--bind", file.to_str().unwrap(), "/etc/resolv.conf"])
            .status();
        assert!(mounted.unwrap().success());
        net.zone.fault_all(ZoneFault::Refused);
        let relay = Relay::start(net.config().set("dns.servers", r#"["system"]"#)).await;
        relay.wait_event(|e| e.is("dns.no-answer"), SOON).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        is_ours(&deferred(&relay, &id).await);

        // Nobody who may be asked: the same are.
        write("search test\n");
        ok(&relay, &["reload"]).await;
        let kept = relay.wait_event(|e| e.is("dns.servers-kept"), SOON).await;
        assert_eq!(kept.text("servers"), "127.0.0.53", "{kept}");
        write("nameserver 127.0.0.54\n");
        ok(&relay, &["reload"]).await;
        let told = relay.wait_event(|e| e.is("dns.servers-changed"), SOON).await;
        assert_eq!(told.text("servers"), "127.0.0.54", "{told}");
        relay.wait_for("delivery.sent", &id, 2 * SOON).await;
        assert_eq!((mx.messages().len(), relay.http_get("/readyz").await.0), (1, 200));
    }

    /// What was looked up before may still be known, and what has to be asked anew is not to be had.
    async fn h1_02_what_is_remembered_of_a_domain_does_not_lay_a_refusal_at_its_door() {
        let net = Net::start().await;
        let mx = with_tlsa(&net, "good.test", "127.0.0.25", true).await;
        let keys = "_25._tcp.mx.good.test";
        net.zone.fault(keys, RecordType::TLSA, ZoneFault::Refused);
        let relay = start(&net).await;
        let id = relay.send("a@org.test", &["b@good.test"], MESSAGE).await;
        let waits = deferred(&relay, &id).await;
        assert_eq!(waits.text("reason"), "dane-lookup", "{waits}");
        net.zone.fault_all(ZoneFault::Refused).heal(keys, RecordType::TLSA);
        let asked = net.zone.count("good.test", RecordType::MX);
        let seen = relay.events().len();
        ok(&relay, &["queue", "retry", &id]).await;
        let again = |e: &Event| e.is("delivery.deferred") && e.text("queue_id") == id;
        is_ours(&relay.wait_event_after(seen, again, SOON).await);
        assert_eq!(net.zone.count("good.test", RecordType::MX), asked, "remembered");
        // Silence, and refusal again: nobody else is to blame.
        for (fault, says) in [(ZoneFault::Drop, "No name server has answered"), (ZoneFault::Refused, "refuse")] {
            net.zone.fault_all(fault);
            let other = relay.send("a@org.test", &["b@other.test"], MESSAGE).await;
            let waits = deferred(&relay, &other).await;
            assert_eq!(waits.text("reason"), "local", "{waits}");
            assert!(waits.text("detail").contains(says), "{waits}");
        }
        net.zone.heal_all();
        let event = relay.wait_for("delivery.sent", &id, 2 * SOON).await;
        assert_eq!(event.at("/tls/authenticated"), "dane-ee", "{event}");
        assert_eq!(mx.messages().len(), 1);
    }

    async fn h1_02_one_refused_domain_among_others_is_the_domains() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.zone.fault("refused.test", RecordType::MX, ZoneFault::Refused);
        let relay = net.relay().await;
        for to in ["b@refused.test", "b@d.test", "b@refused.test"] {
            let id = relay.send("a@org.test", &[to], MESSAGE).await;
            if to == "b@d.test" {
                sent(&relay, &id).await;
                continue;
            }
            let waits = deferred(&relay, &id).await;
            assert_eq!(waits.text("reason"), "dns-temporary", "{waits}");
            assert!(waits.text("detail").contains("REFUSED for refused.test"), "{waits}");
        }
        assert_eq!(mx.messages().len(), 1);
        assert_eq!(relay.http_get("/readyz").await.0, 200);
        assert!(!relay.events().iter().any(|e| e.is("dns.no-answer")));
    }

    async fn h1_02_of_two_servers_one_may_refuse() {
        let net = Net::start().await;
        let refuses = testkit::Zone::start_on("127.0.0.99:53").await;
        refuses.fault_all(ZoneFault::Refused);
        let mx = with_tlsa(&net, "good.test", "127.0.0.25", true).await;
        let config = net.config().set("dns.dnssec", "\"trust-ad\"");
        let config = config.set("dns.servers", r#"["127.0.0.99:53", "127.0.0.53:53"]"#);
        let relay = Relay::start(config).await;
        for _ in 0..3 {
            let id = relay.send("a@org.test", &["b@good.test"], MESSAGE).await;
            let event = sent(&relay, &id).await;
            assert_eq!(event.at("/tls/authenticated"), "dane-ee", "{event}");
        }
        assert_eq!(mx.messages().len(), 3);
        assert_eq!(relay.http_get("/readyz").await.0, 200);
        assert!(!relay.events().iter().any(|e| e.is("dns.no-answer")));
    }
}

async fn start(net: &Net) -> Relay {
    Relay::start(net.config().set("dns.dnssec", "\"trust-ad\"")).await
}

/// A domain whose TLSA record binds the certificate of its host, or another.
async fn with_tlsa(net: &Net, domain: &str, ip: &str, matches: bool) -> FakeMx {
    let mx = net.mx(domain, ip).await;
    let host = format!("mx.{domain}");
    let own = net.ca.leaf(&[&host]);
    if matches {
        mx.certificate(&own);
    }
    net.zone
        .secure(domain)
        .tlsa(&host, 25, EE_FULL, &own.chain[0]);
    mx
}

fn is_ours(waits: &Event) {
    assert_eq!(
        (waits.text("reason"), waits.text("dsn")),
        ("local", "4.3.0"),
        "{waits}"
    );
    assert_eq!(waits.text("advice").get(..3), Some("us:"), "{waits}");
    let detail = waits.text("detail");
    assert!(
        detail.contains("The name servers refuse our questions: 127.0.0.53"),
        "{waits}"
    );
}
