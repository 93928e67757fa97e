//! What an operator orders of a destination that is left alone, what is said of its mail, and where the
//! time of an attempt has gone.

use std::time::Duration;

use sealpost_tests::{Event, Relay};
use testkit::{Action, PolicyFault, Rule};

use crate::net::{MESSAGE, Net, SOON, deferred, ok, sent};

testkit::net_test! {
    async fn a_named_message_is_the_one_that_is_tried() {
        let net = Net::start().await;
        net.enforce("d.test");
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.certificate(&net.expired("mx.d.test"));
        let relay = net.relay().await;
        for _ in 0..3 {
            let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
            deferred(&relay, &id).await;
        }
        relay.wait_event(|e| e.is("destination.suspended"), SOON).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let put_off = deferred(&relay, &id).await;
        assert_eq!(put_off.text("reason"), "destination-suspended", "{put_off}");

        // It is what failed that somebody has to mend, and what is demanded is demanded of this one too.
        assert!(put_off.text("advice").starts_with("recipient-admin: "), "{put_off}");
        assert!(put_off.text("advice").contains("renew the certificate of mx.d.test"), "{put_off}");
        assert_eq!(put_off.at("/policies/0/mode"), "enforce", "{put_off}");

        // The oldest ones would have their turn before.
        for _ in 0..2 {
            let seen = relay.events().len();
            ok(&relay, &["queue", "retry", &id]).await;
            let its = |e: &Event| e.is("delivery.deferred") && e.text("queue_id") == id;
            let tried = relay.wait_event_after(seen, its, SOON).await;
            assert_eq!(tried.text("reason"), "cert-expired", "{tried}");
        }
        mx.certificate(&net.ca.leaf(&["mx.d.test"]));
        ok(&relay, &["queue", "retry", &id]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
        // The destination is no longer left alone.
        let next = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        relay.wait_for("delivery.sent", &next, SOON).await;
    }

    async fn an_order_stands_until_the_host_has_a_place() {
        let net = Net::start().await;
        net.enforce_for("d.test", &["mx.shared.test"]);
        let mx = net.peer("mx.shared.test", "127.0.0.25").await;
        mx.certificate(&net.expired("mx.shared.test"));
        mx.rule(Rule::always("MAIL", Action::Delay(Duration::from_secs(14))).about("slow@org.test"));
        net.zone.mx("d.test", 10, "mx.shared.test").a("mx.shared.test", "127.0.0.25");
        net.zone.mx("e.test", 10, "mx.shared.test");
        let relay = Relay::start(net.config().set("delivery.connections-per-host", "1")).await;
        for _ in 0..3 {
            let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
            deferred(&relay, &id).await;
        }
        relay.wait_event(|e| e.is("destination.suspended"), SOON).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        // It keeps the only place for longer than anybody waits for one.
        let slow = relay.send("slow@org.test", &["b@e.test"], MESSAGE).await;
        mx.wait_for_command("MAIL FROM:<slow@org.test>", SOON).await;
        let seen = relay.events().len();
        ok(&relay, &["queue", "retry", &id]).await;
        let its = |e: &Event| e.is("delivery.deferred") && e.text("queue_id") == id;
        let tried = relay.wait_event_after(seen, its, SOON).await;
        assert_eq!(tried.text("reason"), "cert-expired", "{tried}");
        sent(&relay, &slow).await;
    }

    async fn the_time_that_policy_and_dns_take_is_told() {
        let net = Net::start().await;
        net.enforce("d.test");
        let _mx = net.mx("d.test", "127.0.0.25").await;
        net.host.fault("d.test", PolicyFault::Stall);
        let config = net.config().set("policy-cache.fetch-timeout", "\"2s\"");
        let relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        let connect = event.at("/delays/connect").as_f64().unwrap();
        assert!(connect >= 1.9, "{event}");
    }
}
