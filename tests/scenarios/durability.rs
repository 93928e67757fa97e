//! No accepted mail is lost, none comes twice: crashes, orderly ends, restarts.

use std::time::Duration;

use sealpost_tests::{Event, Relay};
use testkit::{Action, Rule};

use crate::net::{MESSAGE, Net, SOON, events_of, ok, sent};

testkit::net_test! {
    async fn e4_14_h7_01_what_was_answered_250_survives_a_crash_and_comes_once() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        // The host takes no mail yet, so that all of it is caught between 250 and delivery.
        mx.rule(Rule::always("MAIL", Action::Stall));
        let mut relay = net.relay().await;
        let mut ids = Vec::new();
        let mut client = relay.client().await;
        for n in 0..30 {
            let body = [MESSAGE, format!("number {n}\r\n").repeat(n * 40 + 1).as_bytes()].concat();
            ids.push(client.send("a@org.test", &[&format!("u{n}@d.test")], &body).await);
        }
        // One more is cut in the middle of its data: nobody was told that it is safe.
        client.command("MAIL FROM:<a@org.test>").await.demand(250);
        client.command("RCPT TO:<half@d.test>").await.demand(250);
        client.command("DATA").await.demand(354);
        client.write(b"Subject: half\r\n\r\nonly the begin").await;
        mx.wait_for_command("MAIL", SOON).await;
        relay.kill();
        mx.behave();
        relay.restart().await;
        for id in &ids {
            let event = relay.wait_for("delivery.sent", id, SOON).await;
            assert_eq!(event.at("/tls/authenticated"), "pkix", "{event}");
            relay.wait_for("message.removed", id, SOON).await;
        }
        let mut got: Vec<(String, Vec<u8>)> = mx.messages().iter()
            .map(|m| (m.recipients()[0].to_owned(), m.without_trace().to_vec()))
            .collect();
        got.sort();
        let mut want: Vec<(String, Vec<u8>)> = (0..30)
            .map(|n| {
                let body = [MESSAGE, format!("number {n}\r\n").repeat(n * 40 + 1).as_bytes()].concat();
                (format!("u{n}@d.test"), body)
            })
            .collect();
        want.sort();
        assert!(got == want, "{} messages came", got.len());
        // Nothing is left that a further start would send again.
        relay.kill();
        relay.restart().await;
        assert_eq!(ok(&relay, &["queue", "list", "--json"]).await.stdout, "");
        assert_eq!(mx.messages().len(), 30);
    }

    async fn h6_13_a_restored_queue_is_held_until_an_operator_has_looked() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("MAIL", Action::Stall));
        let mut relay = net.relay().await;
        let old = relay.send("a@org.test", &["old@d.test"], MESSAGE).await;
        mx.wait_for_command("MAIL", SOON).await;
        relay.kill();
        mx.behave();
        relay.reconfigure(|c| c.set("queue.hold-at-start", "true"));
        relay.restart().await;
        let held = relay.wait_event(|e| e.is("queue.hold"), SOON).await;
        assert_eq!(held.text("messages"), "1", "{held}");
        // What comes in now is delivered; what was there waits.
        let new = relay.send("a@org.test", &["new@d.test"], MESSAGE).await;
        sent(&relay, &new).await;
        let listed = ok(&relay, &["queue", "list", "--state", "held", "--json"]).await.stdout;
        assert!(listed.contains(&old), "{listed}");
        // It is our move, and it is said what that is.
        let ours = ok(&relay, &["queue", "list", "--side", "us", "--json"]).await.stdout;
        assert_eq!(ours, listed);
        let summary = ok(&relay, &["queue", "summary", "--json"]).await.json();
        let row = &summary["rows"][0];
        assert_eq!((&row["side"], &row["held"]), (&"us".into(), &true.into()), "{summary}");
        assert!(row["sentence"].as_str().unwrap().contains("`sealpost queue release --domain d.test`"), "{summary}");
        assert!(ok(&relay, &["status"]).await.stdout.contains("1 for us"));
        assert_eq!(mx.messages().len(), 1);
        ok(&relay, &["queue", "release", "--all"]).await;
        sent(&relay, &old).await;
        assert_eq!(mx.messages()[1].recipients(), ["old@d.test"]);
    }

    async fn h7_03_a_crash_after_delivery_repeats_what_was_not_recorded_at_most_once() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let mut relay = net.relay().await;
        let mut client = relay.client().await;
        let mut ids = Vec::new();
        for _ in 0..50 {
            ids.push(client.send("a@org.test", &["b@d.test"], MESSAGE).await);
        }
        mx.wait_for_messages(25, SOON).await;
        relay.kill();
        let before = mx.messages().len();
        relay.restart().await;
        let empty = sealpost_tests::eventually(SOON, async || {
            let left = ok(&relay, &["queue", "list", "--json"]).await.stdout;
            left.is_empty().then_some(())
        }).await;
        assert_eq!(empty, Some(()), "{}", relay.story());
        // Each of the fifty by its queue id in our trace field: all there, none more than twice,
        // and repeated only what had come before the crash.
        let count = |id: &str| {
            let ours = format!("id {id}");
            mx.messages().iter().filter(|m| m.text().contains(&ours)).count()
        };
        let counts: Vec<usize> = ids.iter().map(|id| count(id)).collect();
        assert!(counts.iter().all(|n| (1..=2).contains(n)), "{counts:?}");
        assert!(mx.messages().len() <= 50 + before);
    }

    async fn h7_07_e4_13_an_orderly_end_finishes_what_is_under_way_and_keeps_the_rest() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always(".", Action::Delay(Duration::from_secs(1))));
        let stuck = net.plain_mx("stuck.test", "127.0.0.26").await;
        stuck.rule(Rule::always("MAIL", Action::Stall));
        let mut relay = Relay::start(net.config().set("server.drain-timeout", "\"3s\"")).await;
        let mut idle = relay.client().await;
        let waiting = relay.send("a@org.test", &["b@stuck.test"], MESSAGE).await;
        stuck.wait_for_command("MAIL", SOON).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        mx.wait_for_command("BDAT", SOON).await;
        let status = relay.terminate(SOON).await;
        assert_eq!(status.code(), Some(0), "{}", relay.story());
        assert_eq!(idle.reply().await.code, 421);
        relay.wait_for("delivery.sent", &id, SOON).await;
        relay.wait_event(|e| e.is("process.stopped"), SOON).await;
        // What was not past DATA was not counted as an attempt, and is not lost.
        let tried = |e: &Event| e.text("queue_id") == waiting && e.is("delivery.deferred");
        assert!(!relay.events().iter().any(tried), "{}", relay.story());
        stuck.behave();
        relay.restart().await;
        let event = sent(&relay, &waiting).await;
        assert_eq!(event.at("/attempt"), 1, "{event}");
        assert_eq!((mx.messages().len(), stuck.messages().len()), (1, 1));
    }

    /// Also where what is under way, past its last octet, never comes to an end. With no sender: row E5-07.
    async fn h7_07_e5_07_an_orderly_end_takes_no_longer_than_is_allowed_and_loses_nothing() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always(".", Action::Stall));
        let mut relay = Relay::start(net.config().set("server.drain-timeout", "\"3s\"")).await;
        let id = relay.send("", &["b@d.test"], MESSAGE).await;
        mx.wait_for_command("BDAT", SOON).await;
        // The peer would be waited for ten minutes.
        let status = relay.terminate(2 * SOON).await;
        assert_eq!(status.code(), Some(0), "{}", relay.story());
        assert!(events_of(&relay, "delivery.sent", &id).is_empty(), "{}", relay.story());
        mx.behave();
        relay.restart().await;
        let delivered = relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(delivered.text("from"), "", "{delivered}");
        let messages = mx.messages();
        assert_eq!((messages.len(), messages[0].from.as_str()), (1, ""), "{messages:?}");
    }

    async fn h7_03_e5_12_a_connection_lost_after_the_final_dot_is_tried_again() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::once(".", Action::AcceptThenClose));
        let relay = Relay::start(net.config().set("queue.retry", "[\"1s\"]")).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = relay.wait_for("delivery.deferred", &id, SOON).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("connection-lost", "4.4.2"), "{event}");
        relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(mx.messages().len(), 2);
    }

    async fn h3_22_what_is_always_put_off_is_given_up_when_its_time_is_over() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("RCPT", Action::Reply("450 4.2.1 come back later".into())));
        let config = net.config().set("queue.retry", "[\"1s\"]").set("queue.lifetime", "\"12s\"");
        let relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let gone = relay.wait_for("delivery.expired", &id, SOON).await;
        assert_eq!((gone.text("reason"), gone.text("dsn")), ("remote-4xx", "4.4.7"), "{gone}");
        assert!(gone.text("reply").contains("come back later"), "{gone}");
        assert!(!events_of(&relay, "delivery.deferred", &id).is_empty(), "it was tried before: {}", relay.story());
        assert!(mx.messages().is_empty(), "{}", mx.transcript_text());
    }

    async fn h3_15_h3_22_e2_12_greylisting_and_dropped_sessions_wait_and_then_deliver() {
        let net = Net::start().await;
        let grey = net.plain_mx("grey.test", "127.0.1.1").await;
        grey.script(|s| s.greylist = true);
        let drops = net.plain_mx("drops.test", "127.0.1.2").await;
        drops.rule(Rule::once("BDAT", Action::Reset));
        let relay = Relay::start(net.config().set("queue.retry", "[\"1s\"]")).await;
        let first = relay.send("a@org.test", &["b@grey.test"], MESSAGE).await;
        let second = relay.send("a@org.test", &["b@drops.test"], MESSAGE).await;
        let event = relay.wait_for("delivery.deferred", &first, SOON).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("remote-4xx", "4.7.1"), "{event}");
        let event = relay.wait_for("delivery.deferred", &second, SOON).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("connection-lost", "4.4.2"), "{event}");
        for id in [&first, &second] {
            relay.wait_for("delivery.sent", id, SOON).await;
        }
        assert_eq!((grey.messages().len(), drops.messages().len()), (1, 1));
    }
}
