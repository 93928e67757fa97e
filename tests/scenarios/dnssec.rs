//! The way to DNSSEC: absent from the start, present, lost, and back (decision AMB-34).

use testkit::RecordType;

use crate::net::{MESSAGE, Net, SOON, deferred, sent};

testkit::net_test! {
    async fn c4_06_a_path_without_dnssec_is_told_once_and_mail_goes_as_without() {
        let net = Net::start().await;
        let good = net.mx("good.test", "127.0.1.1").await;
        let plain = net.plain_mx("plain.test", "127.0.1.2").await;
        net.enforce("good.test");
        let mut relay = net.relay().await;
        let told = relay.wait_event(|e| e.is("dane.unavailable"), SOON).await;
        assert!(told.text("reason").contains("127.0.0.53"), "{told}");
        for to in ["b@good.test", "b@plain.test"] {
            let id = relay.send("a@org.test", &[to], MESSAGE).await;
            sent(&relay, &id).await;
        }
        assert_eq!((good.messages().len(), plain.messages().len()), (1, 1));
        let (code, ready) = relay.http_get("/readyz").await;
        assert_eq!(code, 200);
        assert!(ready.starts_with(&format!("{READY}note: DANE is not available: 127.0.0.53")), "{ready}");
        assert!(relay.http_get("/metrics").await.1.contains("sealpost_dnssec_available 0"));
        assert!(relay.cli(&["status"]).await.stdout.contains("unavailable"));
        let tellings = || relay.events().iter().filter(|e| e.is("dane.unavailable")).count();
        assert_eq!(tellings(), 1);
        assert!(!relay.folder().join("data/dnssec-works").exists());

        // Switched off, that is no trouble, but said as well.
        relay.reconfigure(|c| c.set("dns.dnssec", "\"off\""));
        relay.restart().await;
        let off = |e: &sealpost_tests::Event| e.text("reason") == "dns.dnssec is off";
        relay.wait_event(off, SOON).await;
        assert_eq!(relay.http_get("/readyz").await, (200, READY.to_owned()));
    }

    async fn c1_03_h1_27_bogus_mx_records_make_mail_wait_and_are_not_passed_by() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.1.1").await;
        // The domain has an address too, which must not be fallen back to.
        net.zone.a("d.test", "127.0.1.1");
        net.zone.bogus("d.test").insecure("_mta-sts.d.test").insecure("mx.d.test");
        net.zone.secure("other.test");
        let config = net.config().set("dns.dnssec", "\"trust-ad\"");
        let relay = sealpost_tests::Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let waits = deferred(&relay, &id).await;
        assert_eq!(waits.text("reason"), "dns-bogus", "{waits}");
        assert_eq!(waits.text("dsn"), "4.4.3", "{waits}");
        assert!(waits.text("detail").contains("with checking disabled"), "{waits}");
        assert!(mx.sessions().is_empty());
    }

    async fn c4_06_dnssec_that_is_lost_makes_mail_wait() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.1.1").await;
        net.zone.secure("d.test");
        let mut relay = sealpost_tests::Relay::start(
            net.config().set("dns.dnssec", "\"trust-ad\"").set("queue.retry", r#"["1s"]"#),
        )
        .await;
        relay.wait_event(|e| e.is("dane.available"), SOON).await;
        assert!(relay.http_get("/metrics").await.1.contains("sealpost_dnssec_available 1"));
        assert_eq!(relay.http_get("/readyz").await, (200, READY.to_owned()));
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;

        // After a restart the resolver says AD no more: a fault, and not a reason to go without.
        relay.terminate(SOON).await;
        net.zone.insecure("d.test");
        relay.restart().await;
        let lost = relay.wait_event(|e| e.is("dns.dnssec-lost"), SOON).await;
        assert!(lost.text("reason").contains("does not validate"), "{lost}");
        assert!(lost.text("remedy").contains("dnssec-works"), "{lost}");
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let waits = deferred(&relay, &id).await;
        assert_eq!((waits.text("reason"), waits.text("dsn")), ("local", "4.3.0"), "{waits}");
        assert!(waits.text("detail").contains("127.0.0.53 does not validate"), "{waits}");
        assert_eq!(mx.messages().len(), 1);
        assert_eq!(relay.http_get("/readyz").await.0, 503);

        // That it is back is found without anybody's help.
        let seen = relay.events().len();
        net.zone.secure("d.test");
        let back = |e: &sealpost_tests::Event| e.is("dane.available");
        relay.wait_event_after(seen, back, SOON).await;
        assert_eq!(relay.http_get("/readyz").await.0, 200);
        let other = net.mx("e.test", "127.0.1.2").await;
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        sent(&relay, &id).await;
        assert_eq!(other.messages().len(), 1);
        assert!(net.zone.count("", RecordType::DNSKEY) > 2);
    }

    async fn h1_29_nobody_who_answers_is_a_reason_not_to_be_ready() {
        let net = Net::start().await;
        let config = net.config().set("dns.servers", r#"["127.0.0.99:53"]"#);
        let relay = sealpost_tests::Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        // It is not the recipient's side that has to act, and nobody writes to it.
        let waits = deferred(&relay, &id).await;
        assert_eq!((waits.text("reason"), waits.text("dsn")), ("local", "4.3.0"), "{waits}");
        assert!(waits.text("detail").contains("127.0.0.99"), "{waits}");
        let explained = relay.cli(&["explain", &id]).await.stdout;
        assert!(explained.contains("Our side has to act") && !explained.contains("postmaster@d.test"), "{explained}");
        let told = relay.wait_event(|e| e.is("dns.no-answer"), SOON).await;
        assert!(told.text("reason").contains("127.0.0.99"), "{told}");
        assert!(told.text("remedy").contains("dns.servers"), "{told}");
        let (code, ready) = relay.http_get("/readyz").await;
        assert_eq!(code, 503, "{ready}");
        assert!(ready.contains("no name server has answered for") && ready.contains("127.0.0.99"), "{ready}");
        let status = relay.cli(&["status"]).await.stdout;
        assert!(status.contains("(not ready)") && status.contains("no name server has answered"), "{status}");
        assert!(status.contains("0 look-ups answered") && !status.contains(" 0 failed"), "{status}");

        // Who answers again is found without anybody's help.
        let zone = testkit::Zone::start_on("127.0.0.99:53").await;
        zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let mx = net.peer("mx.d.test", "127.0.0.25").await;
        relay.wait_event(|e| e.is("dns.answers"), 2 * SOON).await;
        let seen = relay.http_get("/readyz").await;
        assert_eq!(seen.0, 200, "{}", seen.1);
        // So does the mail, which would have an hour to wait.
        relay.wait_for("delivery.sent", &id, 2 * SOON).await;
        assert_eq!(mx.messages().len(), 1);
    }
}

const READY: &str = "ready\naccepts mail: yes\ndelivers mail: yes\n";
