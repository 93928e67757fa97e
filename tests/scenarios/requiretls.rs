//! REQUIRETLS (RFC 8689), from EHLO to the notification.

use mail_types::Timestamp;
use sealpost_tests::{Relay, RelayConfig, SmtpClient};
use testkit::{Action, FakeMx, Rule};

use crate::net::{
    MESSAGE, Net, SOON, TLS_LISTENER, bounced, deferred, events_of, of_recipient, ok, sent,
};

testkit::net_test! {
    async fn d1_01_d1_02_d1_03_d1_04_offered_only_inside_tls() {
        let net = Net::start().await;
        let relay = Relay::start(net.tls_listener(net.config())).await;
        let mut client = SmtpClient::connect(TLS_LISTENER.parse().unwrap()).await;
        let plain = client.ehlo("client.test").await;
        assert!(!plain.iter().any(|e| e == "REQUIRETLS"), "{plain:?}");
        let refused = client.command("MAIL FROM:<a@org.test> REQUIRETLS").await.demand(530);
        assert!(refused.text().starts_with("5.7.0"), "{refused:?}");
        client.starttls(&net.ca, "relay.test").await;
        let inside = client.ehlo("client.test").await;
        assert!(inside.iter().any(|e| e == "REQUIRETLS"), "{inside:?}");
        for wrong in ["REQUIRETLS=1", "REQUIRETLS REQUIRETLS"] {
            let reply = client.command(&format!("MAIL FROM:<a@org.test> {wrong}")).await.demand(501);
            assert!(reply.text().starts_with("5.5.4"), "{reply:?}");
        }
        // RFC 8689 section 2(5): the longest MAIL line of RFC 5321, and 11 octets more.
        let long = format!("MAIL FROM:<a@{}> REQUIRETLS", longest_domain());
        assert!(long.len() > 256, "{}", long.len());
        let pad = " ".repeat(512 + 11 - 2 - long.len());
        client.command(&format!("{long}{pad}")).await.demand(250);
        // The listener without TLS neither offers nor takes it.
        let mut plain = relay.client().await;
        plain.command("MAIL FROM:<a@org.test> REQUIRETLS").await.demand(555);
    }

    async fn d1_05_d1_13_d1_18_the_tag_survives_a_crash_and_goes_with_every_copy() {
        let net = Net::start().await;
        let mut hosts = Vec::new();
        for n in 1..=3 {
            let mx = net.mx(&format!("d{n}.test"), &format!("127.0.1.{n}")).await;
            net.enforce(&format!("d{n}.test"));
            // Nothing is taken before the crash.
            mx.script(|s| s.extensions.requiretls = true).rule(Rule::always("MAIL", Action::Stall));
            hosts.push(mx);
        }
        let mut relay = Relay::start(net.tls_listener(net.config())).await;
        let to = ["b@d1.test", "b@d2.test", "b@d3.test"];
        let id = net.tls_client().await
            .send_with("a@org.test", " REQUIRETLS", &to, "", MESSAGE).await;
        for mx in &hosts {
            mx.wait_for_command("MAIL", SOON).await;
        }
        relay.kill();
        for mx in &hosts {
            mx.behave();
        }
        relay.restart().await;
        for (mx, to) in hosts.iter().zip(to) {
            let event = of_recipient(&relay, "delivery.sent", &id, to).await;
            assert_eq!(event.at("/policies/0/source"), "requiretls", "{event}");
            assert_eq!(event.at("/policies/0/result"), "satisfied", "{event}");
            let got = mx.wait_for_message(SOON).await;
            assert!(got.from_params.split(' ').any(|p| p == "REQUIRETLS"), "{got:?}");
            mx.assert_no_mail_in_clear();
        }
        // What came without the tag goes without it, to the same hosts.
        let id = relay.send("a@org.test", &["b@d1.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let plain = hosts[0].messages().pop().unwrap();
        assert!(!plain.from_params.contains("REQUIRETLS"), "{plain:?}");
    }

    async fn d1_06_d1_07_d1_08_an_unvouched_name_or_a_bad_certificate_is_not_good_enough() {
        let net = Net::start().await;
        let relay = Relay::start(net.tls_listener(net.config())).await;
        let mut client = net.tls_client().await;
        // Good TLS and the keyword everywhere: what differs is who vouches for the name.
        let enforced = able(&net, "enf.test", "127.0.1.1").await;
        net.enforce("enf.test");
        let tested = able(&net, "tst.test", "127.0.1.2").await;
        net.testing("tst.test");
        let nobody = able(&net, "none.test", "127.0.1.3").await;
        let expired = able(&net, "old.test", "127.0.1.4").await;
        expired.certificate(&net.expired("mx.old.test"));
        net.enforce("old.test");
        let id = tagged(&mut client, "b@enf.test").await;
        sent(&relay, &id).await;
        assert_eq!(enforced.messages().len(), 1);
        for (to, mx) in [("b@tst.test", &tested), ("b@none.test", &nobody)] {
            let id = tagged(&mut client, to).await;
            let event = deferred(&relay, &id).await;
            assert_eq!(event.text("reason"), "requiretls-no-tls", "{event}");
            assert_eq!(event.text("dsn"), "4.7.10", "{event}");
            assert_eq!(event.at("/policies/0/result"), "failed", "{event}");
            mx.assert_no_mail();
            assert!(mx.sessions().is_empty());
            // The same domain takes ordinary mail.
            let id = relay.send("a@org.test", &[to], MESSAGE).await;
            sent(&relay, &id).await;
        }
        let id = tagged(&mut client, "b@old.test").await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "cert-expired", "{event}");
        expired.assert_no_mail();
    }

    async fn d1_09_d1_10_each_host_is_tried_until_one_offers_it() {
        let net = Net::start().await;
        let relay = Relay::start(net.tls_listener(net.config())).await;
        net.zone.mx("d.test", 10, "mx1.d.test").mx("d.test", 20, "mx2.d.test");
        net.zone.a("mx1.d.test", "127.0.1.1").a("mx2.d.test", "127.0.1.2");
        let first = net.peer("mx1.d.test", "127.0.1.1").await;
        let second = net.peer("mx2.d.test", "127.0.1.2").await;
        second.script(|s| s.extensions.requiretls = true);
        net.enforce_for("d.test", &["*.d.test"]);
        let id = tagged(&mut net.tls_client().await, "b@d.test").await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("mx"), "mx2.d.test", "{event}");
        assert_eq!(event.at("/tried/0/reason"), "requiretls-unsupported", "{event}");
        first.assert_no_mail();
        assert!(second.messages()[0].from_params.contains("REQUIRETLS"));
        // What was offered in clear only does not count (RFC 3207 section 4.2).
        second.script(|s| {
            s.extensions.requiretls = false;
            s.extensions.more_in_clear = vec!["REQUIRETLS".into()];
        });
        second.pause().await;
        second.resume().await;
        let id = tagged(&mut net.tls_client().await, "b@d.test").await;
        assert_eq!(bounced(&relay, &id).await.text("reason"), "requiretls-unsupported");
        assert_eq!(second.messages().len(), 1);
        // Nothing but QUIT follows on what was opened for it.
        for mx in [first, second] {
            mx.wait_for_command("QUIT", SOON).await;
        }
    }

    async fn d1_11_d1_14_d1_16_h3_31_no_host_offers_it() {
        let net = Net::start().await;
        let relay = Relay::start(net.tls_listener(net.config())).await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let org = able(&net, "org.test", "127.0.1.9").await;
        net.enforce("org.test");
        let mut client = net.tls_client().await;
        let id = client
            .send_with("a@org.test", " RET=FULL REQUIRETLS", &["b@d.test"], "", MESSAGE).await;
        let event = bounced(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("requiretls-unsupported", "5.7.30"));
        assert_eq!(event.at("/policies/0/reason"), "requiretls-unsupported", "{event}");
        assert_eq!(event.at("/tls/authenticated"), "pkix", "{event}");
        // Others may use the connection that was opened for it.
        let plain = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &plain).await;
        assert_eq!(mx.messages().len(), 1);
        assert!(!mx.messages()[0].from_params.contains("REQUIRETLS"));
        assert_eq!(mx.sessions().len(), 1, "{}", mx.transcript_text());
        // The notice has the tag, and of the message only its header, although RET=FULL was said.
        let notice = org.wait_for_message(SOON).await;
        assert_eq!(notice.from, "");
        assert!(notice.from_params.contains("REQUIRETLS"), "{notice:?}");
        let text = notice.text();
        assert!(text.contains("text/rfc822-headers") && text.contains("Status: 5.7.30"), "{text}");
        assert!(text.contains("Subject: hello") && !text.contains("Hello."), "{text}");
        org.assert_no_mail_in_clear();
    }

    async fn d1_11_d1_12_amb_23_passing_failures_are_waited_for_before_the_notice() {
        let net = Net::start().await;
        let config = net.config()
            .set("queue.retry", r#"["1s"]"#)
            .set("delivery.patience", r#""3s""#);
        let relay = Relay::start(net.tls_listener(config)).await;
        let org = able(&net, "org.test", "127.0.1.9").await;
        net.enforce("org.test");
        // One without TLS, one with a bad certificate, one that nobody vouches for; and one whose
        // first host is down and whose second lacks the keyword.
        let _plain = net.plain_mx("plain.test", "127.0.1.1").await;
        net.enforce("plain.test");
        let old = able(&net, "old.test", "127.0.1.2").await;
        old.certificate(&net.expired("mx.old.test"));
        net.enforce("old.test");
        let _none = able(&net, "none.test", "127.0.1.3").await;
        net.zone.mx("half.test", 10, "mx1.half.test").mx("half.test", 20, "mx2.half.test");
        net.zone.a("mx1.half.test", "127.0.1.4").a("mx2.half.test", "127.0.1.5");
        let _half = net.peer("mx2.half.test", "127.0.1.5").await;
        net.enforce_for("half.test", &["*.half.test"]);
        let mut client = net.tls_client().await;
        for (n, (to, first, reason, status)) in [
            ("b@plain.test", "starttls-not-offered", "requiretls-no-tls", "5.7.10"),
            ("b@old.test", "cert-expired", "requiretls-no-tls", "5.7.10"),
            ("b@none.test", "requiretls-no-tls", "requiretls-no-tls", "5.7.10"),
            ("b@half.test", "requiretls-unsupported", "requiretls-unsupported", "5.7.30"),
        ].into_iter().enumerate() {
            let id = tagged(&mut client, to).await;
            let event = deferred(&relay, &id).await;
            assert_eq!(event.text("reason"), first, "{event}");
            assert!(event.text("dsn").starts_with("4."), "{event}");
            let event = relay.wait_for("delivery.bounced", &id, SOON).await;
            assert_eq!((event.text("reason"), event.text("dsn")), (reason, status), "{event}");
            assert!(event.at("/delay").as_f64().unwrap() >= 3.0, "{event}");
            let notice = org.wait_for_messages(n + 1, SOON).await.pop().unwrap();
            assert!(notice.text().contains(&format!("Status: {status}")), "{}", notice.text());
        }
    }

    async fn amb_23_what_waits_for_tls_says_when_it_is_given_up() {
        let net = Net::start().await;
        let config = net.config().set("delivery.patience", r#""2h""#);
        let relay = Relay::start(net.tls_listener(config)).await;
        let _plain = net.plain_mx("plain.test", "127.0.1.1").await;
        net.enforce("plain.test");
        let mut client = net.tls_client().await;
        let began = Timestamp::from_system(std::time::SystemTime::now());
        let id = tagged(&mut client, "b@plain.test").await;
        let ordinary = client.send("a@org.test", &["b@plain.test"], MESSAGE).await;
        // Two hours and not five days; mail without the tag lives its whole life.
        let within = (began + SOON * 240 - SOON, began + SOON * 250);
        let within = (within.0.rfc3339(), within.1.rfc3339());
        for (id, is_limited) in [(&id, true), (&ordinary, false)] {
            let event = deferred(&relay, id).await;
            let shown = ok(&relay, &["queue", "show", id, "--json"]).await.json();
            for end in [event.text("gives_up"), shown["expires"].as_str().unwrap()] {
                let is_within = *within.0 < *end && *end < *within.1;
                assert_eq!(is_within, is_limited, "{end}: {event}");
            }
        }
    }

    async fn d1_15_a_rule_adds_the_tag_for_chosen_submitters() {
        let net = Net::start().await;
        let mx = able(&net, "d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let config = net.config().set("access.requiretls-senders", r#"["law.test"]"#);
        let mut relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let id = relay.send("a@LAW.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let tags = |mx: &FakeMx| -> Vec<bool> {
            mx.messages().iter().map(|m| m.from_params.contains("REQUIRETLS")).collect()
        };
        assert_eq!(tags(&mx), [false, true]);
        relay.reconfigure(|c: RelayConfig| c
            .set("access.requiretls-senders", "[]")
            .set("access.requiretls-networks", r#"["127.0.0.0/8"]"#));
        // In good order: a kill at this moment may repeat the last delivery.
        assert!(relay.terminate(SOON).await.success());
        relay.restart().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        assert_eq!(tags(&mx), [false, true, true]);
    }

    async fn d1_17_amb_24_a_notice_is_redacted_rather_than_lost() {
        let net = Net::start().await;
        let relay = Relay::start(net.tls_listener(net.config())).await;
        let _mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        // The sender's own host has good TLS, but not the keyword.
        let org = net.mx("org.test", "127.0.1.9").await;
        net.enforce("org.test");
        let id = tagged(&mut net.tls_client().await, "b@d.test").await;
        bounced(&relay, &id).await;
        let told = relay.wait_event(|e| e.is("dsn.sent"), SOON).await;
        let event = sent(&relay, told.text("dsn_id")).await;
        assert_eq!(event.at("/policies/0/mode"), "set-aside", "{event}");
        let notice = org.wait_for_message(SOON).await;
        assert!(!notice.from_params.contains("REQUIRETLS"), "{notice:?}");
        let text = notice.text();
        assert!(text.contains("Status: 5.7.30") && text.contains("<1@org.test>"), "{text}");
        assert!(!text.contains("Subject: hello") && !text.contains("Hello."), "{text}");
        let declared = notice.from_params.split("SIZE=").nth(1).unwrap();
        let declared: usize = declared.split(' ').next().unwrap().parse().unwrap();
        assert!(declared <= notice.data.len(), "{declared}: {}", notice.data.len());
        org.assert_no_mail_in_clear();
    }

    async fn d1_17_amb_24_a_notice_waits_for_tls_before_it_goes_without() {
        let net = Net::start().await;
        let config = net.config()
            .set("queue.retry", r#"["1s"]"#)
            .set("delivery.patience", r#""2s""#);
        let relay = Relay::start(net.tls_listener(config)).await;
        let _mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let id = tagged(&mut net.tls_client().await, "b@d.test").await;
        bounced(&relay, &id).await;
        let told = relay.wait_event(|e| e.is("dsn.sent"), SOON).await;
        let dsn = told.text("dsn_id").to_owned();
        let event = relay.wait_for("delivery.deferred", &dsn, SOON).await;
        assert_eq!(event.text("reason"), "requiretls-no-tls", "{event}");
        org.assert_no_mail();
        relay.wait_for("delivery.sent", &dsn, SOON).await;
        let text = org.wait_for_message(SOON).await.text();
        assert!(!text.contains("Subject: hello"), "{text}");
        assert_eq!(events_of(&relay, "dsn.sent", &dsn).len(), 0);
    }

    async fn d1_17_amb_24_a_notice_goes_without_at_its_last_attempt_however_much_patience_there_is() {
        let net = Net::start().await;
        let config = net.config()
            .set("queue.retry", r#"["1s"]"#)
            .set("queue.bounce-lifetime", r#""3s""#)
            .set("delivery.patience", r#""1d""#);
        let relay = Relay::start(net.tls_listener(config)).await;
        let _mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let id = tagged(&mut net.tls_client().await, "b@d.test").await;
        bounced(&relay, &id).await;
        let told = relay.wait_event(|e| e.is("dsn.sent"), SOON).await;
        let dsn = told.text("dsn_id").to_owned();
        let ended = |e: &sealpost_tests::Event| e.text("queue_id") == dsn
            && (e.is("delivery.sent") || e.is("delivery.expired"));
        let event = relay.wait_event(ended, SOON).await;
        assert!(event.is("delivery.sent"), "{event}");
        assert!(event.at("/delay").as_f64().unwrap() >= 3.0, "{event}");
        let text = org.wait_for_message(SOON).await.text();
        assert!(text.contains("Status: 5.7.30") && !text.contains("Subject: hello"), "{text}");
    }
}

/// The mail exchanger `mx.DOMAIN`, with good TLS and REQUIRETLS.
async fn able(net: &Net, domain: &str, ip: &str) -> FakeMx {
    let mx = net.mx(domain, ip).await;
    mx.script(|s| s.extensions.requiretls = true);
    mx
}

/// Sends a message with REQUIRETLS.
async fn tagged(client: &mut SmtpClient, to: &str) -> String {
    client
        .send_with("a@org.test", " REQUIRETLS", &[to], "", MESSAGE)
        .await
}

/// 253 octets.
fn longest_domain() -> String {
    let label = "x".repeat(60);
    format!("{label}.{label}.{label}.{label}.test")
}
