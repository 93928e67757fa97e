//! How many notifications there are, and about whom.

use sealpost_tests::Relay;
use testkit::{Action, Rule};

use crate::net::{MESSAGE, Net, SOON, ok, sent};

testkit::net_test! {
    async fn f4_06_beyond_the_limit_notices_are_told_in_the_log_and_to_the_postmaster() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        mx.rule(Rule::always("RCPT", Action::Reply("550 5.1.1 no".into())));
        let config = net.config()
            .set("queue.notifications-per-sender", "\"2/1d\"")
            .set("server.postmaster", "\"pm@org.test\"");
        let mut relay = Relay::start(config).await;
        let mut withheld = 0;
        for n in 0..5 {
            let id = relay.send("a@org.test", &[&format!("u{n}@d.test")], MESSAGE).await;
            relay.wait_for("message.removed", &id, SOON).await;
            let of_this = |e: &&sealpost_tests::Event| e.is("dsn.withheld") && e.text("queue_id") == id;
            if let Some(event) = relay.events().iter().find(of_this) {
                assert_eq!(event.text("limit"), "queue.notifications-per-sender", "{event}");
                assert_eq!((event.text("to"), event.text("kind")), ("a@org.test", "failed"), "{event}");
                withheld += 1;
            }
        }
        assert_eq!(withheld, 3);
        // Somebody else is told as ever.
        let id = relay.send("other@org.test", &["u@d.test"], MESSAGE).await;
        relay.wait_for("dsn.sent", &id, SOON).await;
        org.wait_for_messages(3, SOON).await;
        relay.terminate(SOON).await;
        let summary = relay.wait_event(|e| e.is("dsn.withheld-summary"), SOON).await;
        assert_eq!((summary.text("to"), summary.text("withheld")), ("a@org.test", "3"), "{summary}");
        relay.restart().await;
        org.wait_for_messages(4, SOON).await;
        let told = org.messages().pop().unwrap();
        assert_eq!(told.recipients(), ["pm@org.test"]);
        let text = told.text();
        assert!(text.contains("Subject: 3 delivery notifications were not sent by relay.test"), "{text}");
        assert!(text.contains("Auto-Submitted: auto-generated") && text.contains("a@org.test"), "{text}");
    }

    async fn f4_06_a_message_counts_once_for_all_its_destinations_and_delays_apart_from_failures() {
        let net = Net::start().await;
        // Nobody listens at the first three.
        for (n, domain) in (11..).zip(["a.test", "b.test", "c.test"]) {
            net.zone.mail_domain(domain, &format!("mx.{domain}"), &format!("127.0.2.{n}"));
        }
        let mut hosts = Vec::new();
        for (n, domain) in (21..).zip(["d.test", "e.test", "f.test"]) {
            let mx = net.plain_mx(domain, &format!("127.0.2.{n}")).await;
            mx.rule(Rule::always("RCPT", Action::Reply("550 5.1.1 no".into())));
            hosts.push(mx);
        }
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let config = net.config()
            .set("queue.delay-warning", "\"1s\"")
            .set("queue.notifications-per-sender", "\"1/1d\"");
        let relay = Relay::start(config).await;
        let told = |event: &str, id: &str, kind: &str| relay.events().iter()
            .filter(|e| e.is(event) && e.text("queue_id") == id && e.text("kind") == kind)
            .count();
        let send = async |to: &[&str], event: &'static str, kind: &'static str| {
            let id = relay.send("a@org.test", to, MESSAGE).await;
            let all = sealpost_tests::eventually(SOON, async || {
                (told(event, &id, kind) == to.len()).then_some(())
            }).await;
            assert_eq!(all, Some(()), "{event} {kind}: {}", relay.story());
        };
        let late = ["u@a.test", "u@b.test", "u@c.test"];
        let refused = ["u@d.test", "u@e.test", "u@f.test"];
        send(&late, "dsn.sent", "delayed").await;
        send(&late, "dsn.withheld", "delayed").await;
        send(&refused, "dsn.sent", "failed").await;
        send(&refused, "dsn.withheld", "failed").await;
        org.wait_for_messages(6, SOON).await;
    }

    async fn f1_17_each_late_recipient_is_told_of_once() {
        let net = Net::start().await;
        net.zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        net.zone.mail_domain("e.test", "mx.e.test", "127.0.0.26");
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let config = net.config()
            .set("queue.delay-warning", "\"1s\"")
            .set("queue.retry", "[\"1s\"]");
        let relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test", "c@e.test"], MESSAGE).await;
        relay.wait_event(|e| e.is("dsn.sent"), SOON).await;
        org.wait_for_messages(2, SOON).await;
        let about = |who: &str| org.messages().iter().filter(|m| m.text().contains(who)).count();
        let final_recipient = |who: &str| about(&format!("Final-Recipient: rfc822; {who}"))
            + about(&format!("Final-Recipient: rfc822;{who}"));
        assert_eq!((final_recipient("b@d.test"), final_recipient("c@e.test")), (1, 1));
        // A further attempt at each tells of nothing again.
        let told = |e: &sealpost_tests::Event| e.is("dsn.sent") && e.text("queue_id") == id;
        let far = sealpost_tests::eventually(SOON, async || {
            let late = relay.events().into_iter().filter(|e| {
                e.is("delivery.deferred") && e.text("queue_id") == id && e.at("/attempt").as_u64() == Some(3)
            });
            (late.count() >= 2).then_some(())
        }).await;
        assert_eq!(far, Some(()), "{}", relay.story());
        assert_eq!(relay.events().iter().filter(|e| told(e)).count(), 2, "{}", relay.story());
        assert_eq!(org.messages().len(), 2);
    }

    async fn f4_06_a_warning_that_is_withheld_counts_once_and_for_those_it_would_have_told_of() {
        let net = Net::start().await;
        // Nobody listens there.
        net.zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let config = net.config()
            .set("queue.delay-warning", "\"1s\"")
            .set("queue.retry", "[\"1s\"]")
            .set("queue.notifications-per-sender", "\"1/1d\"");
        let mut relay = Relay::start(config).await;
        let mut client = relay.client().await;
        let mut ids = Vec::new();
        for _ in 0..2 {
            client.command("MAIL FROM:<a@org.test>").await.demand(250);
            client.command("RCPT TO:<quiet@d.test> NOTIFY=NEVER").await.demand(250);
            client.command("RCPT TO:<loud@d.test>").await.demand(250);
            client.command("DATA").await.demand(354);
            client.write(MESSAGE).await;
            ids.push(client.command(".").await.demand(250).queue_id());
        }
        let told = relay.wait_event(|e| e.is("dsn.sent"), SOON).await;
        assert_eq!(told.at("/nrcpt").as_u64(), Some(1), "{told}");
        let withheld = relay.wait_event(|e| e.is("dsn.withheld"), SOON).await;
        assert_eq!((withheld.text("kind"), withheld.text("nrcpt")), ("delayed", "1"), "{withheld}");
        // Later attempts find nothing to tell.
        for _ in 0..2 {
            let seen = relay.events().len();
            ok(&relay, &["queue", "retry", "--all"]).await;
            for id in &ids {
                let again = |e: &sealpost_tests::Event| e.is("delivery.deferred") && e.text("queue_id") == id;
                relay.wait_event_after(seen, again, SOON).await;
            }
        }
        relay.terminate(SOON).await;
        let summary = relay.wait_event(|e| e.is("dsn.withheld-summary"), SOON).await;
        assert_eq!((summary.text("withheld"), summary.text("nrcpt")), ("1", "1"), "{summary}");
        assert_eq!(org.messages().len(), 1);
    }

    async fn f1_10_an_added_original_recipient_is_the_address_under_which_it_came() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["Bob@D.test"], MESSAGE).await;
        sent(&relay, &id).await;
        assert!(!mx.messages()[0].to[0].1.contains("ORCPT"), "off unless it is asked for");
        drop(relay);
        let relay = Relay::start(net.config().set("delivery.add-orcpt", "true")).await;
        let id = relay.send("a@org.test", &["Bob@D.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let params = mx.messages()[1].to[0].1.clone();
        assert!(params.contains("ORCPT=rfc822;Bob@"), "{params}");
        let mut client = relay.client().await;
        let id = client.send_with("a@org.test", "", &["b@d.test"], " ORCPT=rfc822;old@x.test", MESSAGE).await;
        sent(&relay, &id).await;
        let params = mx.messages()[2].to[0].1.clone();
        assert!(params.contains("ORCPT=rfc822;old@x.test"), "{params}");
        // What xtext has a meaning for is encoded.
        for (n, (to, want)) in (3..).zip([
            ("bob+tag@d.test", "ORCPT=rfc822;bob+2Btag@d.test"),
            ("k=v@d.test", "ORCPT=rfc822;k+3Dv@d.test"),
            ("\"a b\"@d.test", "ORCPT=rfc822;\"a+20b\"@d.test"),
        ]) {
            let id = client.send("a@org.test", &[to], MESSAGE).await;
            sent(&relay, &id).await;
            let params = mx.messages()[n].to[0].1.clone();
            assert!(params.contains(want), "{to}: {params}");
        }
    }
}
