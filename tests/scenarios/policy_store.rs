//! A stored policy outlives crashes, missing records and blocked policy hosts; a first contact
//! waits for what the domain says.

use std::time::Duration;

use sealpost_tests::Relay;
use testkit::{PolicyFault, RecordType, ZoneFault};

use crate::net::{MESSAGE, Net, POLICY_HOST, SOON, bounced, deferred, ok, sent};

testkit::net_test! {
    async fn a2_17_a4_15_a4_16_a7_03_h1_01_h1_03_h1_05_h1_06_a_stored_policy_holds_after_a_crash() {
        let net = Net::start().await;
        let cases = [
            ("removed.test", "127.0.1.1"),
            ("nxdomain.test", "127.0.1.2"),
            ("servfail.test", "127.0.1.3"),
            ("two.test", "127.0.1.4"),
            ("garbled.test", "127.0.1.5"),
            ("newid.test", "127.0.1.6"),
            ("sameid.test", "127.0.1.7"),
        ];
        let mut peers = Vec::new();
        let mut relay = net.relay().await;
        for (domain, ip) in cases {
            peers.push(net.mx(domain, ip).await);
            net.enforce(domain);
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            sent(&relay, &id).await;
        }
        relay.kill();
        let txt = |domain: &str| format!("_mta-sts.{domain}");
        net.zone.remove(&txt("removed.test"), RecordType::TXT);
        net.zone.fault(&txt("nxdomain.test"), RecordType::TXT, ZoneFault::NxDomain);
        net.zone.fault(&txt("servfail.test"), RecordType::TXT, ZoneFault::ServFail);
        net.zone.txt(&txt("two.test"), "v=STSv1; id=2;");
        net.zone.remove(&txt("garbled.test"), RecordType::TXT);
        net.zone.txt(&txt("garbled.test"), "v=STSv1; id=not-an-id;");
        net.zone.mta_sts("newid.test", "2", POLICY_HOST);
        net.host.pause().await;
        for mx in &peers {
            mx.forget();
            mx.script(|s| s.starttls = testkit::StartTls::Off);
        }
        relay.restart().await;
        for ((domain, _), mx) in cases.iter().zip(&peers) {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = deferred(&relay, &id).await;
            assert_eq!(event.text("reason"), "starttls-not-offered", "{event}");
            assert_eq!(event.at("/policies/0/mode"), "enforce", "{event}");
            assert_eq!(event.at("/policies/0/id"), "1", "{event}");
            assert_eq!(event.at("/policies/0/from"), "cache", "{event}");
            assert_eq!(event.at("/policies/0/first_contact"), false, "{event}");
            mx.assert_no_mail();
            if *domain != "sameid.test" {
                let fallback = |e: &sealpost_tests::Event| {
                    e.is("policy.fallback-to-cache") && e.text("domain") == *domain
                };
                let event = relay.wait_event(fallback, SOON).await;
                assert!(!event.text("cause").is_empty(), "{event}");
                assert_eq!(event.text("mode"), "enforce", "{event}");
            }
        }
    }

    async fn a4_15_nothing_at_all_from_dns_for_the_record_still_enforces() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let mut relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        relay.kill();
        net.zone.fault("_mta-sts.d.test", RecordType::TXT, ZoneFault::Drop);
        mx.certificate(&net.expired("mx.d.test")).forget();
        relay.restart().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "cert-expired", "{event}");
        assert_eq!(event.at("/policies/0/from"), "cache", "{event}");
        mx.assert_no_mail();
    }

    async fn h1_14_a_forged_nxdomain_does_not_bounce_mail_of_an_enforced_domain() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let mut relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        relay.kill();
        for kind in [RecordType::MX, RecordType::A, RecordType::AAAA] {
            net.zone.fault("d.test", kind, ZoneFault::NxDomain);
        }
        relay.restart().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert!(["4.4.3", "4.4.4"].contains(&event.text("dsn")), "{event}");
        // Without a policy the same answer is final (row E1-03).
        let id = relay.send("a@org.test", &["b@nowhere.test"], MESSAGE).await;
        assert_eq!(bounced(&relay, &id).await.text("reason"), "no-such-domain");
    }

    async fn h1_04_a_first_contact_without_an_answer_from_dns_waits() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.zone.fault("_mta-sts.d.test", RecordType::TXT, ZoneFault::ServFail);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "policy-lookup", "{event}");
        assert_eq!(event.text("dsn"), "4.4.3", "{event}");
        assert!(!event.text("advice").is_empty() && event.text("detail").contains("d.test"), "{event}");
        assert!(mx.sessions().is_empty(), "{}", mx.transcript_text());
        // The failed look-up is remembered for a moment, unless an operator has the mail tried again.
        net.zone.heal_all();
        ok(&relay, &["queue", "retry", &id]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(mx.messages().len(), 1);
    }

    async fn a4_21_two_hundred_first_contacts_share_one_look_up_and_one_fetch() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        net.host.fault("d.test", PolicyFault::Delay(Duration::from_millis(500)));
        let config = net.config().set("access.connections-per-client", "250");
        let relay = Relay::start(config).await;
        let ids = send_many(&relay, 200).await;
        mx.wait_for_messages(200, SOON).await;
        for id in &ids {
            sent(&relay, id).await;
        }
        assert_eq!(net.host.count("d.test"), 1);
        assert_eq!(net.host.handshakes(), 1);
        assert_eq!(net.zone.count("_mta-sts.d.test", RecordType::TXT), 1);
        assert_eq!(mx.messages().len(), 200);
        mx.assert_no_mail_in_clear();
    }

    async fn a4_22_the_first_message_waits_for_a_slow_policy_host() {
        let net = Net::start().await;
        let plain = net.plain_mx("plain.test", "127.0.1.1").await;
        let good = net.mx("good.test", "127.0.1.2").await;
        for domain in ["plain.test", "good.test"] {
            net.enforce(domain);
            net.host.fault(domain, PolicyFault::Delay(Duration::from_secs(4)));
        }
        let relay = net.relay().await;
        let first = relay.send("a@org.test", &["b@plain.test"], MESSAGE).await;
        let second = relay.send("a@org.test", &["b@good.test"], MESSAGE).await;
        let event = deferred(&relay, &first).await;
        assert_eq!(event.text("reason"), "starttls-not-offered", "{event}");
        assert_eq!(event.at("/policies/0/from"), "live", "{event}");
        assert_eq!(event.at("/policies/0/first_contact"), true, "{event}");
        plain.assert_no_mail();
        let event = sent(&relay, &second).await;
        assert_eq!(event.at("/tls/authenticated"), "pkix", "{event}");
        assert!(event.at("/delay").as_f64().unwrap() >= 4.0, "{event}");
        good.assert_no_mail_in_clear();
    }
}

/// Hands over so many messages at the same time.
async fn send_many(relay: &Relay, count: usize) -> Vec<String> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(relay.client().await);
    }
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move { client.send("a@org.test", &["b@d.test"], MESSAGE).await })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    ids
}
