//! `TLS-Required: No` (RFC 8689 section 4.2.2): the policy if it can be met, else no policy.

use sealpost_tests::{Relay, RelayConfig};
use testkit::{Banner, Extensions, StartTls};

use crate::net::{MESSAGE, Net, SOON, bounced, deferred, sent};

testkit::net_test! {
    async fn d2_01_d2_09_who_is_believed_is_configured() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.certificate(&net.expired("mx.d.test"));
        net.enforce("d.test");
        let strict = net.mx("strict.test", "127.0.0.26").await;
        strict.certificate(&net.expired("mx.strict.test"));
        net.enforce("strict.test");
        let mut relay = net.relay().await;
        // By default nobody's word counts who did not log in.
        let id = relay.send("a@org.test", &["b@d.test"], &optional()).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "cert-expired", "{event}");
        assert!(event.at("/weakened_by").is_null(), "{event}");
        mx.assert_no_mail();
        relay.reconfigure(|c: RelayConfig| everybody(c).append(
            "[[domain]]\nname = \"strict.test\"\nmta-sts = \"require\"\n",
        ));
        relay.restart().await;
        let id = relay.send("a@org.test", &["b@d.test"], &optional()).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("weakened_by"), "tls-required-no", "{event}");
        assert_eq!(event.text("level"), "warn", "{event}");
        assert!(mx.messages()[0].text().contains("TLS-Required: No\r\n"), "relayed unchanged");
        // A domain that the operator listed is not given up.
        let id = relay.send("a@org.test", &["b@strict.test"], &optional()).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "cert-expired");
        strict.assert_no_mail();
        relay.reconfigure(|c| c.set("delivery.dangerous-tls-required-no", "\"never\""));
        relay.restart().await;
        let id = relay.send("a@org.test", &["b@d.test"], &optional()).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "cert-expired");
        assert_eq!(mx.messages().len(), 1);
    }

    async fn d2_05_requiretls_beats_the_header_field() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.script(|s| s.extensions.requiretls = true);
        let good = net.ca.leaf(&["mx.d.test"]);
        mx.certificate(&net.expired("mx.d.test"));
        net.enforce("d.test");
        let config = everybody(net.config()).set("queue.retry", r#"["1s"]"#);
        let relay = Relay::start(net.tls_listener(config)).await;
        let id = net.tls_client().await
            .send_with("a@org.test", " REQUIRETLS", &["b@d.test"], "", &optional()).await;
        deferred(&relay, &id).await;
        mx.assert_no_mail();
        mx.certificate(&good);
        relay.wait_for("delivery.sent", &id, SOON).await;
        let got = mx.wait_for_message(SOON).await;
        assert!(got.from_params.contains("REQUIRETLS"), "{got:?}");
        assert!(got.text().contains("TLS-Required: No\r\n"), "{got:?}");
    }

    async fn d2_06_d2_07_no_more_is_given_up_than_has_to_be() {
        let net = Net::start().await;
        net.zone.mx("d.test", 10, "mx1.d.test").mx("d.test", 20, "mx2.d.test");
        net.zone.a("mx1.d.test", "127.0.1.1").a("mx2.d.test", "127.0.1.2");
        let first = net.peer("mx1.d.test", "127.0.1.1").await;
        let second = net.peer("mx2.d.test", "127.0.1.2").await;
        net.enforce_for("d.test", &["*.d.test"]);
        let relay = Relay::start(everybody(net.config())).await;
        // A host that meets the policy comes before the first one in plain text.
        first.script(|s| s.starttls = StartTls::Off);
        let id = relay.send("a@org.test", &["b@d.test"], &optional()).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("mx"), "mx2.d.test", "{event}");
        assert_eq!(event.at("/tls/authenticated"), "pkix", "{event}");
        assert!(event.at("/weakened_by").is_null(), "nothing had to be set aside: {event}");
        // TLS with a bad certificate comes before none at all.
        second.certificate(&net.expired("mx2.d.test"));
        second.pause().await;
        second.resume().await;
        let id = relay.send("a@org.test", &["b@d.test"], &optional()).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("mx"), "mx2.d.test", "{event}");
        assert_eq!(event.at("/tls/would_verify"), false, "{event}");
        assert_eq!(event.text("weakened_by"), "tls-required-no", "{event}");
        first.assert_no_mail();
        // And if there is no TLS anywhere, the mail still goes.
        second.script(|s| s.starttls = StartTls::Off);
        second.pause().await;
        second.resume().await;
        let id = relay.send("a@org.test", &["b@d.test"], &optional()).await;
        let event = sent(&relay, &id).await;
        assert!(event.at("/tls").is_null(), "{event}");
        assert_eq!(first.messages().len() + second.messages().len(), 3);
        // A host that is down is waited for: that is no reason to give anything up.
        first.pause().await;
        second.pause().await;
        let id = relay.send("a@org.test", &["b@d.test"], &optional()).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "connect", "{event}");
        assert!(event.at("/weakened_by").is_null(), "{event}");
    }

    async fn d2_08_a_host_that_demands_the_tls_it_does_not_have_is_told_of() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.script(|s| s.tls_required = true);
        net.enforce("d.test");
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let relay = Relay::start(everybody(net.config())).await;
        let id = relay.send("a@org.test", &["b@d.test"], &optional()).await;
        let event = bounced(&relay, &id).await;
        assert_eq!(event.text("reason"), "tls-required-by-peer", "{event}");
        assert_eq!(event.text("dsn"), "5.7.10", "{event}");
        let notice = org.wait_for_message(SOON).await;
        assert!(notice.text().contains("Status: 5.7.10"), "{}", notice.text());
    }

    async fn d2_10_each_use_is_counted_and_tells_nothing_about_mail_that_holds_to_the_policy() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.certificate(&net.expired("mx.d.test"));
        net.enforce("d.test");
        let relay = Relay::start(everybody(net.config())).await;
        let count = "sealpost_weakened_deliveries_total{by=\"tls-required-no\"} ";
        // A connection that was opened for such mail serves no other: it lies open when the next
        // message comes, which is held to the policy, and the other way round.
        for n in 1..=4 {
            let id = relay.send("a@org.test", &["b@d.test"], &optional()).await;
            sent(&relay, &id).await;
            let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
            let held = |e: &sealpost_tests::Event| {
                e.text("queue_id") == id && e.text("event").starts_with("delivery.")
            };
            let event = relay.wait_event(held, SOON).await;
            assert!(event.is("delivery.deferred"), "{event}");
            assert_eq!(mx.messages().len(), n, "{}", mx.transcript_text());
            let (_, text) = relay.http_get("/metrics").await;
            assert!(text.contains(&format!("{count}{n}\n")), "{n}: {text}");
        }
        // After three failures of held mail the destination is left alone, but not by mail that
        // sets aside what failed.
        let last = relay.events().into_iter().rfind(|e| e.is("delivery.deferred")).unwrap();
        assert_eq!(last.text("reason"), "destination-suspended", "{last}");
        // Reports of the peer's troubles beside TLS still count as those.
        mx.script(|s| {
            s.banner = Banner::Reply("421 4.3.2 busy".into());
            s.extensions = Extensions::none();
        });
        mx.pause().await;
        mx.resume().await;
        let id = relay.send("a@org.test", &["b@d.test"], &optional()).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "remote-4xx");
    }
}

fn everybody(config: RelayConfig) -> RelayConfig {
    config.set("delivery.dangerous-tls-required-no", "\"all\"")
}

/// The usual message with the header field.
fn optional() -> Vec<u8> {
    [b"TLS-Required: No\r\n", MESSAGE].concat()
}
