//! A domain changes its policy: what is queued follows.

use sealpost_tests::Event;
use testkit::policy_text;

use crate::net::{MESSAGE, Net, POLICY_HOST, SOON, deferred, ok, sent};

testkit::net_test! {
    async fn a6_19_a6_20_queued_mail_follows_a_policy_that_stops_enforcing() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        net.host.none("d.test");
        net.zone.mta_sts("d.test", "2", POLICY_HOST);
        ok(&relay, &["policy", "refresh", "d.test"]).await;
        let weakened = relay.wait_event(|e| e.is("policy.weakened"), SOON).await;
        assert_eq!(weakened.text("domain"), "d.test", "{weakened}");
        assert_eq!(weakened.text("old_mode"), "enforce", "{weakened}");
        assert_eq!(weakened.text("mode"), "none", "{weakened}");
        assert_eq!(weakened.text("level"), "warn", "{weakened}");
        ok(&relay, &["queue", "retry", &id]).await;
        let event = relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(event.at("/policies/0/mode"), "none", "{event}");
        assert_eq!(mx.messages().len(), 1);
    }

    async fn a3_13_a_policy_that_runs_out_at_once_leaves_no_mail_unprotected() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.zone.mta_sts("d.test", "1", POLICY_HOST);
        net.host.policy("d.test", &policy_text("enforce", &["mx.d.test"], 0));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/policies/0/mode"), "enforce", "{event}");
        // Whoever takes it for a domain without a policy gives it to this host.
        mx.certificate(&net.expired("mx.d.test"));
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("policy-lookup", "4.4.3"), "{event}");
        assert!(event.text("detail").contains("at most once a minute"), "{event}");
        let said = ok(&relay, &["explain", "d.test"]).await.stdout;
        assert!(said.contains("which MTA-STS policy d.test has"), "{said}");
        assert_eq!((mx.messages().len(), net.host.count("d.test")), (1, 1));
        // That says nothing about the destination, however much mail waits for it.
        for _ in 0..3 {
            let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
            let event = deferred(&relay, &id).await;
            assert_eq!(event.text("reason"), "policy-lookup", "{event}");
        }
        assert!(!relay.events().iter().any(|e| e.is("destination.suspended")));
        // What an exemption sets aside anyway is not waited for; what else is demanded of the host still is.
        let exempt = ["policy", "exempt", "d.test", "--dangerous", "--until", "7d", "--reason", "short life"];
        ok(&relay, &exempt).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("weakened_by"), "exempt", "{event}");
    }

    async fn a2_19_a6_19_a7_05_queued_mail_follows_a_new_id_that_enforces() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.zone.mta_sts("d.test", "9", POLICY_HOST);
        net.host.policy("d.test", &policy_text("testing", &["mx.d.test"], 31_557_600));
        let mut relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        // Queued while the host is away, under the testing policy.
        mx.pause().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "connect", "{event}");
        mx.resume().await;
        mx.forget();
        // A smaller id is a change like any other.
        net.host.enforce("d.test", &["mx.d.test"]);
        net.zone.mta_sts("d.test", "1", POLICY_HOST);
        relay.kill();
        relay.restart().await;
        ok(&relay, &["queue", "retry", &id]).await;
        let enforced = |e: &Event| {
            e.is("delivery.deferred")
                && e.text("queue_id") == id
                && e.text("reason") == "starttls-not-offered"
        };
        let event = relay.wait_event(enforced, SOON).await;
        assert_eq!(event.at("/policies/0/mode"), "enforce", "{event}");
        assert_eq!(event.at("/policies/0/id"), "1", "{event}");
        assert_eq!(event.at("/policies/0/from"), "live", "{event}");
        mx.assert_no_mail();
        let changed = relay.wait_event(|e| e.is("policy.changed"), SOON).await;
        assert_eq!(changed.text("domain"), "d.test", "{changed}");
        assert_eq!(net.host.count("d.test"), 2);
    }

    async fn a_policy_that_was_mended_under_the_same_id_is_found() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        // The operator changed the record first and the policy too late (decision AMB-18).
        net.enforce_for("d.test", &["old.d.test"]);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "mx-not-in-policy", "{event}");
        net.host.enforce("d.test", &["mx.d.test"]);
        ok(&relay, &["policy", "refresh", "d.test"]).await;
        ok(&relay, &["queue", "retry", &id]).await;
        let event = relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(event.at("/policies/0/result"), "satisfied", "{event}");
        mx.assert_no_mail_in_clear();
    }
}
