//! An enforced policy: verified TLS to a listed host, or the mail waits.

use sealpost_tests::Event;
use testkit::FakeMx;

use crate::fault::Fault;
use crate::net::{MESSAGE, Net, SOON, deferred, ok, sent, time};

testkit::net_test! {
    async fn a4_14_a6_13_i1_11_a_good_host_gets_the_mail_over_verified_tls_and_the_event_says_it_all() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["Bob@D.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_sent_in_full(&event);
        assert_eq!(event.at("/policies/0/from"), "live", "{event}");
        assert_eq!(event.at("/policies/0/first_contact"), true, "{event}");

        // RFC 8461 section 3.3: one GET of exactly this, by this name, past the proxy that the environment of all
        // relays here names (row A4-24).
        let requests = net.host.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert_eq!(requests[0].method, "GET");
        assert_eq!(requests[0].path, "/.well-known/mta-sts.txt");
        assert_eq!(requests[0].header("host"), Some("mta-sts.d.test"));
        assert_eq!(requests[0].sni.as_deref(), Some("mta-sts.d.test"));

        let message = mx.wait_for_message(SOON).await;
        assert_eq!(message.recipients(), ["Bob@D.test"]);
        assert_eq!(message.tls.unwrap().sni.as_deref(), Some("mx.d.test"));
        mx.assert_no_mail_in_clear();

        // Row A2-18: the second message finds the policy stored and asks nobody.
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/policies/0/from"), "cache", "{event}");
        assert_eq!(event.at("/policies/0/first_contact"), false, "{event}");
        assert_eq!(net.host.requests().len(), 1);
    }

    async fn a6_01_a6_02_a6_03_a6_04_a6_05_a6_10_h4_08_h4_10_every_fault_defers_and_mending_it_delivers() {
        let net = Net::start().await;
        let mut peers = Vec::new();
        for fault in Fault::ALL {
            let mx = fault.start(&net).await;
            net.enforce(&fault.domain());
            peers.push((fault, mx));
        }
        let relay = net.relay().await;
        let mut ids = Vec::new();
        for (fault, _) in &peers {
            let to = format!("b@{}", fault.domain());
            ids.push(relay.send("a@org.test", &[&to], MESSAGE).await);
        }
        for ((fault, mx), id) in peers.iter().zip(&ids) {
            assert_deferred(*fault, mx, &deferred(&relay, id).await);
        }
        // A retry is no way round it (row A6-04).
        ok(&relay, &["queue", "retry", "--all"]).await;
        for ((fault, mx), id) in peers.iter().zip(&ids) {
            let again = |e: &Event| {
                e.is("delivery.deferred") && e.text("queue_id") == id && *e.at("/attempt") == 2
            };
            relay.wait_event(again, SOON).await;
            mx.assert_no_mail();
            fault.mend(&net, mx);
        }
        let domain = Fault::NotInPolicy.domain();
        ok(&relay, &["policy", "refresh", &domain]).await;
        ok(&relay, &["queue", "retry", "--all"]).await;
        for ((fault, mx), id) in peers.iter().zip(&ids) {
            let event = relay.wait_for("delivery.sent", id, SOON).await;
            assert_eq!(event.at("/attempt"), 3, "{fault:?}: {event}");
            assert_eq!(event.at("/tls/authenticated"), "pkix", "{fault:?}: {event}");
            assert_eq!(mx.messages().len(), 1, "{fault:?}");
            mx.assert_no_mail_in_clear();
        }
    }

    async fn a6_15_a_host_that_fails_is_passed_over_for_the_next_one() {
        let net = Net::start().await;
        net.zone.mx("d.test", 10, "mx1.d.test").a("mx1.d.test", "127.0.0.21");
        net.zone.mx("d.test", 20, "mx2.d.test").a("mx2.d.test", "127.0.0.22");
        let bad = net.peer("mx1.d.test", "127.0.0.21").await;
        bad.certificate(&net.expired("mx1.d.test"));
        let good = net.peer("mx2.d.test", "127.0.0.22").await;
        net.enforce_for("d.test", &["*.d.test"]);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("mx"), "mx2.d.test", "{event}");
        assert_eq!(event.at("/attempt"), 1, "{event}");
        assert_eq!(event.at("/tried/0/mx"), "mx1.d.test", "{event}");
        assert_eq!(event.at("/tried/0/reason"), "cert-expired", "{event}");
        assert_eq!(event.at("/tried/1/mx"), "mx2.d.test", "{event}");
        assert_eq!(event.at("/tried/1/reason"), &serde_json::Value::Null, "{event}");
        assert_eq!(good.messages().len(), 1);
        bad.assert_no_mail();
    }

    async fn h3_01_without_starttls_it_is_the_next_hosts_turn_and_if_none_is_left_the_mail_waits() {
        let net = Net::start().await;
        net.zone.mx("d.test", 10, "mx1.d.test").a("mx1.d.test", "127.0.0.21");
        net.zone.mx("d.test", 20, "mx2.d.test").a("mx2.d.test", "127.0.0.22");
        let plain = FakeMx::start("127.0.0.21:25", "mx1.d.test", None).await;
        let good = net.peer("mx2.d.test", "127.0.0.22").await;
        net.enforce_for("d.test", &["*.d.test"]);
        let alone = net.plain_mx("e.test", "127.0.0.23").await;
        net.enforce("e.test");
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("mx"), "mx2.d.test", "{event}");
        assert_eq!(event.at("/tried/0/reason"), "starttls-not-offered", "{event}");
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("starttls-not-offered", "4.7.10"), "{event}");
        assert_eq!(good.messages().len(), 1);
        for mx in [plain, alone] {
            mx.assert_no_mail();
        }
    }

    async fn a6_17_our_own_place_in_the_list_cuts_it_under_enforce_too() {
        let net = Net::start().await;
        for (preference, name, ip) in [
            (10, "mx1.d.test", "127.0.0.21"),
            (20, "us.d.test", "127.0.0.77"),
            (30, "mx3.d.test", "127.0.0.23"),
        ] {
            net.zone.mx("d.test", preference, name).a(name, ip);
        }
        let first = net.peer("mx1.d.test", "127.0.0.21").await;
        first.certificate(&net.expired("mx1.d.test"));
        let third = net.peer("mx3.d.test", "127.0.0.23").await;
        net.enforce_for("d.test", &["*.d.test"]);
        let config = net.config().set("server.own-addresses", "[\"127.0.0.77\"]");
        let relay = sealpost_tests::Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "cert-expired", "{event}");
        assert_eq!(event.at("/tried").as_array().unwrap().len(), 1, "{event}");
        assert!(third.sessions().is_empty(), "{}", third.transcript_text());
        first.assert_no_mail();
    }

    async fn a6_16_a6_17_all_hosts_are_tried_in_order_and_if_all_fail_the_mail_waits() {
        let net = Net::start().await;
        for (preference, name, ip) in [
            (10, "mx1.d.test", "127.0.0.21"),
            (20, "mx2.d.test", "127.0.0.22"),
            (30, "mx3.evil.test", "127.0.0.23"),
        ] {
            net.zone.mx("d.test", preference, name).a(name, ip);
        }
        let first = net.peer("mx1.d.test", "127.0.0.21").await;
        first.certificate(&net.expired("mx1.d.test"));
        let second = FakeMx::start("127.0.0.22:25", "mx2.d.test", None).await;
        let stranger = net.peer("mx3.evil.test", "127.0.0.23").await;
        net.enforce_for("d.test", &["*.d.test"]);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        let tried: Vec<_> = event.at("/tried").as_array().unwrap().iter()
            .map(|t| (t["mx"].as_str().unwrap(), t["reason"].as_str().unwrap()))
            .collect();
        let want = [
            ("mx1.d.test", "cert-expired"),
            ("mx2.d.test", "starttls-not-offered"),
            ("mx3.evil.test", "mx-not-in-policy"),
        ];
        assert_eq!(tried, want, "{event}");
        assert_eq!(event.at("/policies/0/result"), "failed", "{event}");
        for mx in [first, second, stranger] {
            mx.assert_no_mail();
        }
    }

    async fn a1_05_a_subdomain_does_not_take_its_parents_policy() {
        let net = Net::start().await;
        let mx = net.plain_mx("sub.d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@sub.d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/policies"), &serde_json::json!([]), "{event}");
        assert_eq!(mx.messages().len(), 1);
        assert_eq!(net.host.handshakes(), 0);
    }
}

fn assert_sent_in_full(event: &Event) {
    let null = &serde_json::Value::Null;
    for (field, want) in [
        ("level", "info"),
        ("from", "a@org.test"),
        ("to", "Bob@D.test"),
        ("domain", "d.test"),
        ("message_id", "<1@org.test>"),
        ("mx", "mx.d.test"),
        ("ip", "127.0.0.25"),
        ("reply", "250 2.0.0 kept"),
        ("dsn", "2.0.0"),
    ] {
        assert_eq!(event.text(field), want, "{field}: {event}");
    }
    for (pointer, want) in [
        ("/policies/0/source", "mta-sts"),
        ("/policies/0/mode", "enforce"),
        ("/policies/0/id", "1"),
        ("/policies/0/result", "satisfied"),
        ("/tls/authenticated", "pkix"),
        ("/tried/0/mx", "mx.d.test"),
        ("/tried/0/ip", "127.0.0.25"),
    ] {
        assert_eq!(event.at(pointer), want, "{pointer}: {event}");
    }
    assert_eq!(event.at("/port"), 25, "{event}");
    assert_eq!(event.at("/attempt"), 1, "{event}");
    assert_eq!(event.at("/tried").as_array().unwrap().len(), 1, "{event}");
    assert_eq!(
        event.at("/policies").as_array().unwrap().len(),
        1,
        "{event}"
    );
    assert!(event.0.get("reason").is_none(), "{event}");
    for pointer in [
        "/policies/0/reason",
        "/weakened_by",
        "/next_attempt",
        "/gives_up",
        "/advice",
    ] {
        assert_eq!(event.at(pointer), null, "{pointer}: {event}");
    }
    let week = time(event, "/policies/0/expires_at") - time(event, "/policies/0/fetched_at");
    assert_eq!(week, 604_800, "{event}");
    assert!(
        event.at("/tls/version").as_str().unwrap().contains("1.3"),
        "{event}"
    );
    assert!(
        event.at("/tls/cipher").is_string() && event.at("/tls/group").is_string(),
        "{event}"
    );
    assert_eq!(event.at("/tls/would_verify"), true, "{event}");
    assert_eq!(
        event.at("/tls/cert/subject_alt_names/0"),
        "mx.d.test",
        "{event}"
    );
    assert!(
        event
            .at("/tls/cert/issuer")
            .as_str()
            .unwrap()
            .contains("Test Root"),
        "{event}"
    );
    assert!(
        event
            .at("/tls/cert/not_after")
            .as_str()
            .unwrap()
            .starts_with("2099-01-01T")
    );
    let delay = event.at("/delay").as_f64().unwrap();
    let parts = ["before_queue", "in_queue", "connect", "transmit"]
        .map(|part| event.at(&format!("/delays/{part}")).as_f64().unwrap());
    assert!(parts.iter().all(|p| *p >= 0.0) && delay < 30.0, "{event}");
    // Milliseconds are rounded in each part.
    assert!(parts.iter().sum::<f64>() <= delay + 0.01, "{event}");
}

fn assert_deferred(fault: Fault, mx: &FakeMx, event: &Event) {
    let domain = fault.domain();
    let (reason, dsn) = fault.told_as();
    let story = format!("{fault:?}: {event}\n{}", mx.transcript_text());
    assert_eq!(event.text("reason"), reason, "{story}");
    assert_eq!(event.text("dsn"), dsn, "{story}");
    assert_eq!(event.text("domain"), domain, "{story}");
    assert_eq!(event.at("/attempt"), 1, "{story}");
    assert_eq!(event.at("/policies/0/source"), "mta-sts", "{story}");
    assert_eq!(event.at("/policies/0/mode"), "enforce", "{story}");
    assert_eq!(event.at("/policies/0/result"), "failed", "{story}");
    assert_eq!(event.at("/policies/0/reason"), reason, "{story}");
    assert_eq!(event.at("/tried/0/reason"), reason, "{story}");
    let advice = event.text("advice");
    assert!(advice.starts_with("recipient-admin: "), "{story}");
    assert!(advice.contains(&domain) && !advice.contains('{'), "{story}");
    let host = if fault == Fault::NotInPolicy {
        "other"
    } else {
        "mx"
    };
    assert_eq!(event.text("mx"), format!("{host}.{domain}"), "{story}");
    assert!(event.text("detail").contains(event.text("mx")), "{story}");
    // The hour of the test's queue.retry, a tenth of jitter, and the default lifetime.
    let wait = time(event, "/next_attempt") - time(event, "/ts");
    assert!((3599..=3961).contains(&wait), "{wait} s: {story}");
    let life = time(event, "/gives_up") - time(event, "/ts");
    assert!((431_000..=432_001).contains(&life), "{life} s: {story}");
    mx.assert_no_mail();
    if fault == Fault::StartTls454 {
        assert_eq!(
            event.text("reply"),
            "454 4.7.0 TLS is not available",
            "{story}"
        );
    }
    // What the certificate was, for whoever has to replace it.
    let shown = match fault {
        Fault::Expired => "2021-01-01",
        Fault::NotYetValid => "2098-01-01",
        Fault::WrongName => "www.other.test",
        Fault::NotInPolicy => "mx.d11.test",
        _ => "",
    };
    assert!(event.text("detail").contains(shown), "{story}");
}
